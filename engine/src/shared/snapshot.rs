//! The pools as published: what every shard may read without asking anybody.
//!
//! A snapshot never changes; what changes about a pool (free slots, readiness, queue) stands in
//! atomics behind it. The shared scheduling state of a pool is `sched`'s; the order queue of a
//! replica leads to the thread that runs its engine.
//!
//! A pool that is given another model is another [`Pool`] under the same id: with its own queue and
//! replicas, so that what was admitted for the old model is served by the old model. Whoever looks
//! a pool up gets the newest; whoever has one keeps it.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use orchestratord_gpu::Generation;
use orchestratord_sched::{self as sched, Class, Policy, ReplicaIndex, ReplicaState, ShardId};

use super::{
    gate::{Gate, Passage},
    record::TaskRecord,
};
use crate::{
    metrics::{PerShard, PoolCounters, ReplicaCounters},
    settings::PoolSettings,
};

/// What a shard asks an engine's thread. Orders of one replica arrive in the order in which they
/// were sent: a slot that a `Cancel` frees can be ordered again at once.
#[derive(Debug)]
pub enum Order {
    /// Generate; tell `home` about it under `sequence`.
    Start {
        /// The shard that hears of it.
        home: ShardId,
        /// Unique while it runs.
        sequence: orchestratord_gpu::SequenceKey,
        /// What to generate.
        generation: Generation,
    },
    /// Stop, and tell nobody.
    Cancel {
        /// Which.
        sequence: orchestratord_gpu::SequenceKey,
    },
    /// Let go of a session's KV cache.
    Forget {
        /// Which.
        session: orchestratord_gpu::SessionKey,
    },
    /// Nothing runs any more and nothing will: give the engine up and end the thread.
    Retire,
}

/// One running engine of a pool.
pub struct Replica {
    /// Its id within the pool.
    pub id: String,
    /// Its slots.
    pub slots_total: u32,
    /// To its thread; bounded.
    pub orders: crossbeam::channel::Sender<Order>,
    /// Where it stands.
    pub condition: Condition,
    /// What each shard counts about it.
    pub counters: PerShard<ReplicaCounters>,
}

/// Where a replica stands: written by its engine's thread, read by everybody.
#[derive(Debug)]
pub struct Condition {
    inner: Mutex<(ReplicaState, Option<String>)>,
    /// The bits of a double from 0 to 1; not a number while nothing was told.
    kv_cache_usage: AtomicU64,
}

impl Default for Condition {
    fn default() -> Self {
        Self {
            inner: Mutex::new((ReplicaState::Starting, None)),
            kv_cache_usage: AtomicU64::new(f64::NAN.to_bits()),
        }
    }
}

impl Condition {
    /// The state now.
    pub fn state(&self) -> ReplicaState {
        self.lock().0
    }

    /// What last went wrong.
    pub fn last_error(&self) -> Option<String> {
        self.lock().1.clone()
    }

    /// A change of state, and what caused it if something went wrong.
    pub fn change(&self, state: ReplicaState, error: Option<String>) {
        let mut inner = self.lock();
        inner.0 = state;
        inner.1 = error.or(inner.1.take());
    }

    /// How full the KV caches of its slots are, from 0 to 1, if its engine tells.
    pub fn kv_cache_usage(&self) -> Option<f64> {
        let usage = f64::from_bits(self.kv_cache_usage.load(Relaxed));
        (!usage.is_nan()).then_some(usage)
    }

    /// Its engine tells how full they are.
    pub fn set_kv_cache_usage(&self, usage: f64) {
        self.kv_cache_usage.store(usage.to_bits(), Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (ReplicaState, Option<String>)> {
        // A panic while it was held can't have left half a pair behind.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Tells pools apart that follow each other under one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolKey(u64);

impl PoolKey {
    /// One that no other pool of this process has.
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Relaxed))
    }
}

/// Replicas that serve one model with one engine.
pub struct Pool {
    /// See [`PoolKey`].
    pub key: PoolKey,
    /// Its id.
    pub id: String,
    /// The model that it serves, by its catalog id.
    pub model: String,
    /// Other references that resolve to it.
    pub model_aliases: Vec<String>,
    /// The engine's name.
    pub engine: &'static str,
    /// The engine's version.
    pub engine_version: &'static str,
    /// Tokens of context a task may have.
    pub ctx_max: u32,
    /// Tasks that may wait.
    pub admission_capacity: u32,
    /// What a full queue does.
    pub admission_policy: Policy,
    /// Whether it takes new work.
    pub gate: Arc<Gate>,
    /// Its engines.
    pub replicas: Vec<Arc<Replica>>,
    /// Replicas that pools of this id had before: their ids are not given again.
    pub replicas_before: usize,
    /// What it was built from.
    pub settings: PoolSettings,
    /// Tokens generated in the last whole second, written by the control thread.
    pub tokens_per_s: AtomicU64,
    /// Its queues and slots.
    pub scheduling: Arc<sched::Pool<Arc<TaskRecord>>>,
    /// What each shard counts about it; it counts on when the pool is given another model.
    pub counters: Arc<PerShard<PoolCounters>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool")
            .field(&self.id)
            .field(&self.key)
            .finish()
    }
}

impl Pool {
    /// The replica that a lease is for.
    pub fn replica(&self, index: ReplicaIndex) -> &Arc<Replica> {
        &self.replicas[index.0]
    }

    /// Whether new work is taken, now or when a slot is free.
    pub fn takes_work(&self) -> bool {
        self.is_ready() && self.gate.is_open()
    }

    /// Whether its tasks may start: not once a drain has ended.
    pub fn may_start(&self) -> bool {
        self.gate.passage() != Passage::Closed
    }

    /// Whether nothing waits here and nothing runs. The queue is looked at first: a task takes its
    /// slot before it leaves the queue, so it is never out of sight.
    pub fn is_idle(&self) -> bool {
        self.queue_depth() == 0 && self.scheduling.leases() == 0
    }

    /// Whether as many tasks wait as may.
    pub fn is_full(&self) -> bool {
        self.queue_depth() >= self.admission_capacity
    }

    /// Whether the reference names this pool's model.
    pub fn serves(&self, model_ref: &str) -> bool {
        self.model == model_ref || self.model_aliases.iter().any(|alias| alias == model_ref)
    }

    /// Whether a replica is ready.
    pub fn is_ready(&self) -> bool {
        self.replicas
            .iter()
            .any(|replica| replica.condition.state() == ReplicaState::Ready)
    }

    /// Whether no replica has answered its first probe yet.
    pub fn is_starting(&self) -> bool {
        self.replicas
            .iter()
            .all(|replica| replica.condition.state() == ReplicaState::Starting)
    }

    /// Slots of all its replicas, whether they are offered now or not.
    pub fn slots_total(&self) -> u32 {
        self.replicas
            .iter()
            .map(|replica| replica.slots_total)
            .sum()
    }

    /// Tasks that wait, of both classes.
    pub fn queue_depth(&self) -> u32 {
        Class::ALL
            .iter()
            .map(|class| self.scheduling.queued(*class))
            .sum()
    }
}

/// All pools.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// In the order of configuration.
    pub pools: Vec<Arc<Pool>>,
    /// Those that take no new work because they were replaced, until what they have is done.
    pub retiring: Vec<Arc<Pool>>,
}

impl Snapshot {
    /// These pools, and none that retires.
    pub fn of(pools: Vec<Arc<Pool>>) -> Self {
        Self {
            pools,
            retiring: Vec::new(),
        }
    }

    /// The pool of that id.
    pub fn pool(&self, id: &str) -> Option<&Arc<Pool>> {
        self.pools.iter().find(|pool| pool.id == id)
    }

    /// The keys of all pools of that id, those that retire among them.
    pub fn keys(&self, id: &str) -> Arc<[PoolKey]> {
        self.all()
            .filter(|pool| pool.id == id)
            .map(|pool| pool.key)
            .collect()
    }

    /// Every pool that may still have tasks.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.pools.iter().chain(&self.retiring)
    }
}
