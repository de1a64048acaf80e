//! Pools built from what was said of them, and the threads of their engines started.

use std::sync::{Arc, OnceLock, atomic::AtomicU64};

use crossbeam::channel::{Receiver, Sender, bounded};
use orchestratord_gpu::{embedded, mock};
use orchestratord_sched::{self as sched, PoolOptions};

use crate::{
    compute::{BuildEngine, ORDERS_MAX, Worker},
    metrics,
    settings::{StartError, engine::EngineSettings, pool::PoolSettings},
    shared::{
        Shared,
        places::Places,
        provisioning::Provisioning,
        replica::{Condition, Order, Reach, Replica},
        snapshot::{FullQueue, Pool, PoolKey},
    },
};

/// Places that a pool of servers has: so many of them serve one model at a time.
pub const PLACES_MAX: usize = 64;

/// What hears the orders of each engine of this process, in the order of their places.
pub type Inboxes = Vec<Receiver<Order>>;

/// A pool whose engines are yet to be started, and where each of this process will hear its orders.
/// The pool before it under the same id hands on its counts, and its replicas' ids are not given again.
pub fn pool(
    settings: PoolSettings,
    shards: usize,
    predecessor: Option<&Pool>,
) -> (Arc<Pool>, Inboxes) {
    let engine = &settings.engine;
    let replicas_before =
        predecessor.map_or(0, |pool| pool.replicas_before + engines(&pool.settings));
    let (own, vacant) = match engine {
        EngineSettings::Remote { .. } => (0, PLACES_MAX),
        EngineSettings::Embedded { .. } | EngineSettings::Mock { .. } => (settings.replicas, 0),
    };
    let (orders, inboxes): (Vec<_>, Vec<_>) = (0..own).map(|_| bounded(ORDERS_MAX)).unzip();
    let replica = |(number, orders): (usize, Sender<Order>)| {
        Arc::new(Replica {
            id: format!("r{}", replicas_before + number),
            slots_claimed: settings.slots,
            reach: Reach::Local(orders),
            engine_version: OnceLock::from(engine.version().to_owned()),
            ctx_max: OnceLock::new(),
            device_mask: settings.device_mask_of(number),
            condition: Condition::default(),
            counters: metrics::per_shard(shards),
        })
    };
    let replicas = Places::new(orders.into_iter().enumerate().map(replica), vacant);
    let scheduling = sched::Pool::new(PoolOptions {
        shards,
        // None until its engine has answered a probe.
        replica_slots: vec![0; replicas.count()],
        tasks_queued_max: settings.admission.capacity,
        tokens_queued_max: settings.admission.tokens_max,
    });
    let pool = Pool {
        key: PoolKey::unique(),
        id: settings.id.clone(),
        model: engine.model().to_owned(),
        model_aliases: engine.model_aliases(),
        kind: engine.kind(),
        engine: engine.name(),
        engine_version: engine.version().to_owned(),
        workloads: engine.workloads(),
        full: FullQueue::new(settings.admission.policy),
        gate: predecessor.map_or_else(Arc::default, |pool| Arc::clone(&pool.gate)),
        provisioning: provisioning(&settings, replicas_before),
        replicas,
        replicas_before,
        tokens_per_s: AtomicU64::new(0),
        scheduling: Arc::new(scheduling),
        // What another engine did is not counted on under this one's name.
        counters: predecessor
            .filter(|pool| pool.kind == engine.kind())
            .map_or_else(
                || Arc::new(metrics::per_shard(shards)),
                |pool| Arc::clone(&pool.counters),
            ),
        settings,
    };
    (Arc::new(pool), inboxes)
}

/// Engines that run in the daemon or are started by it.
fn engines(settings: &PoolSettings) -> usize {
    usize::try_from(settings.replicas).unwrap_or(PLACES_MAX)
}

fn provisioning(settings: &PoolSettings, replicas_before: usize) -> Option<Arc<Provisioning>> {
    let replica_ids = (replicas_before..)
        .take(engines(settings))
        .map(|number| format!("r{number}"));
    settings
        .engine
        .is_started()
        .then(|| Arc::new(Provisioning::new(replica_ids)))
}

/// Starts a thread for each of the pool's engines of this process.
///
/// # Errors
///
/// When the machine gives no more threads; those that were started go on.
pub fn start(shared: &Arc<Shared>, pool: &Arc<Pool>, inboxes: Inboxes) -> Result<(), StartError> {
    for ((place, replica), orders) in pool.replicas.iter().zip(inboxes) {
        let Some(build) = build(pool.settings.engine.clone()) else {
            continue;
        };
        let worker = Worker {
            shared: Arc::clone(shared),
            pool: Arc::clone(pool),
            replica,
            place,
            orders,
            build,
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

/// How an engine of this process is built; a server is nobody's to build here.
fn build(engine: EngineSettings) -> Option<BuildEngine> {
    Some(match engine {
        EngineSettings::Mock { options, .. } => {
            Box::new(move || Box::new(mock::Engine::new(options)))
        }
        EngineSettings::Embedded { model, options, .. } => {
            Box::new(move || Box::new(embedded::Engine::new(Arc::clone(&model), options)))
        }
        EngineSettings::Remote { .. } => return None,
    })
}
