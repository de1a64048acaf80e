//! Pools built from what was said of them, and the threads of their engines started.

use std::sync::{Arc, atomic::AtomicU64};

use crossbeam::channel::{Receiver, Sender, bounded};
use orchestratord_gpu::{embedded, mock};
use orchestratord_sched::{self as sched, PoolOptions, ReplicaIndex};

use crate::{
    compute::{BuildEngine, ORDERS_MAX, Worker},
    metrics,
    settings::{EngineSettings, PoolSettings, StartError},
    shared::{
        Shared,
        snapshot::{Condition, Order, Pool, PoolKey, Replica},
    },
};

/// A pool whose engines are yet to be started, and where each will hear its orders. The pool
/// before it under the same id hands on its counts, and its replicas' ids are not given again.
pub fn pool(
    settings: PoolSettings,
    shards: usize,
    predecessor: Option<&Pool>,
) -> (Arc<Pool>, Vec<Receiver<Order>>) {
    let engine = &settings.engine;
    let replicas_before = predecessor.map_or(0, |pool| pool.replicas_before + pool.replicas.len());
    let (orders, inboxes): (Vec<_>, Vec<_>) =
        (0..settings.replicas).map(|_| bounded(ORDERS_MAX)).unzip();
    let scheduling = sched::Pool::new(PoolOptions {
        shards,
        // None until its engine has answered a probe.
        replica_slots: vec![0; orders.len()],
        tasks_queued_max: settings.admission_capacity,
        tokens_queued_max: None,
    });
    let replica = |(number, orders): (usize, Sender<Order>)| {
        Arc::new(Replica {
            id: format!("r{number}"),
            slots_total: settings.slots,
            orders,
            condition: Condition::default(),
            counters: metrics::per_shard(shards),
        })
    };
    let pool = Pool {
        key: PoolKey::unique(),
        id: settings.id.clone(),
        model: engine.model().to_owned(),
        model_aliases: engine.model_aliases(),
        engine: engine.name(),
        engine_version: env!("CARGO_PKG_VERSION"),
        ctx_max: engine.context_tokens(),
        admission_capacity: settings.admission_capacity,
        admission_policy: settings.admission_policy,
        gate: predecessor.map_or_else(Arc::default, |pool| Arc::clone(&pool.gate)),
        replicas: (replicas_before..).zip(orders).map(replica).collect(),
        replicas_before,
        tokens_per_s: AtomicU64::new(0),
        scheduling: Arc::new(scheduling),
        counters: predecessor.map_or_else(
            || Arc::new(metrics::per_shard(shards)),
            |pool| Arc::clone(&pool.counters),
        ),
        settings,
    };
    (Arc::new(pool), inboxes)
}

/// Starts a thread for each of the pool's engines.
///
/// # Errors
///
/// When the machine gives no more threads; those that were started go on.
pub fn start(
    shared: &Arc<Shared>,
    pool: &Arc<Pool>,
    inboxes: Vec<Receiver<Order>>,
) -> Result<(), StartError> {
    for (index, orders) in inboxes.into_iter().enumerate() {
        let worker = Worker {
            shared: Arc::clone(shared),
            pool: Arc::clone(pool),
            replica: ReplicaIndex(index),
            orders,
            build: build(pool.settings.engine.clone()),
        };
        worker.spawn().map_err(|error| {
            StartError::new(
                format!("the engine's thread can't be started: {error}"),
                "raise the limit of threads",
            )
        })?;
    }
    Ok(())
}

fn build(engine: EngineSettings) -> BuildEngine {
    match engine {
        EngineSettings::Mock { options, .. } => {
            Box::new(move || Box::new(mock::Engine::new(options)))
        }
        EngineSettings::Embedded { model, options, .. } => {
            Box::new(move || Box::new(embedded::Engine::new(Arc::clone(&model), options)))
        }
    }
}
