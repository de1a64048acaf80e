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
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use orchestratord_gpu::{EngineKind, Workload};
use orchestratord_sched::{
    self as sched, Class, DeviceMask, Policy, ReplicaIndex, ReplicaState, placement::Versions,
};

use super::{
    device::Device,
    gate::{Gate, Passage},
    places::Places,
    provisioning::{Preparing, Provisioning, Step},
    record::TaskRecord,
    replica::Replica,
};
use crate::{
    metrics::{PerShard, PoolCounters},
    settings::pool::{Admission, PoolSettings},
};

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

/// What a pool does with a newcomer when its queue is full.
#[derive(Debug)]
pub struct FullQueue {
    /// Written when the settings are read anew, read at admission; nothing else depends on it: `Relaxed`.
    drops_oldest: AtomicBool,
}

impl FullQueue {
    /// It follows this policy.
    pub fn new(policy: Policy) -> Self {
        Self {
            drops_oldest: AtomicBool::new(policy == Policy::DropLru),
        }
    }

    fn policy(&self) -> Policy {
        if self.drops_oldest.load(Relaxed) {
            Policy::DropLru
        } else {
            Policy::Reject
        }
    }

    fn set(&self, policy: Policy) {
        self.drops_oldest.store(policy == Policy::DropLru, Relaxed);
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
    /// What its engine is.
    pub kind: EngineKind,
    /// The engine's name.
    pub engine: &'static str,
    /// The engine's version.
    pub engine_version: String,
    /// The kinds of work that it does.
    pub workloads: &'static [Workload],
    /// What a full queue does.
    pub full: FullQueue,
    /// Whether it takes new work.
    pub gate: Arc<Gate>,
    /// How far its engines are, if the daemon starts them as processes.
    pub provisioning: Option<Arc<Provisioning>>,
    /// Its engines.
    pub replicas: Places,
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
    ///
    /// # Panics
    ///
    /// If nobody stands there, which nobody who holds a lease finds.
    pub fn replica(&self, place: ReplicaIndex) -> Arc<Replica> {
        let replica = self.replicas.get(place);
        replica.expect("a place is vacated when nobody holds a lease of it")
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

    /// Tasks that may wait.
    pub fn admission_capacity(&self) -> u32 {
        self.scheduling.tasks_queued_max()
    }

    /// What a full queue does.
    pub fn admission_policy(&self) -> Policy {
        self.full.policy()
    }

    /// From now on these may wait. Who waits already goes on waiting.
    pub fn set_admission(&self, admission: Admission) {
        self.scheduling.set_tasks_queued_max(admission.capacity);
        self.scheduling.set_tokens_queued_max(admission.tokens_max);
        self.full.set(admission.policy);
    }

    /// Whether as many tasks wait as may.
    pub fn is_full(&self) -> bool {
        self.queue_depth() >= self.admission_capacity()
    }

    /// Whether the reference names this pool's model.
    pub fn serves(&self, model_ref: &str) -> bool {
        self.model == model_ref || self.model_aliases.iter().any(|alias| alias == model_ref)
    }

    /// Whether a replica is ready.
    pub fn is_ready(&self) -> bool {
        self.states().any(|state| state == ReplicaState::Ready)
    }

    /// Whether it has replicas, and none has answered its first probe yet.
    pub fn is_starting(&self) -> bool {
        let mut states = self.states().peekable();
        states.peek().is_some() && states.all(|state| state == ReplicaState::Starting)
    }

    /// The devices that its replicas run on, if that is known of all of them.
    pub fn device_mask(&self) -> Option<DeviceMask> {
        let masks = self.staying().map(|replica| replica.device_mask);
        masks.reduce(|all, more| Some(all?.union(more?)))?
    }

    /// Bytes that are free on those devices of this machine that its replicas run on, if all that is
    /// known.
    pub fn vram_free_bytes(&self, here: &[Device]) -> Option<u64> {
        let runs_on =
            |device: &&Device| self.staying().any(|replica| replica.runs_on(device.number));
        let devices = here.iter().filter(runs_on);
        let free = devices.map(|device| Some(device.memory?.free_bytes));
        free.reduce(|all, more| Some(all? + more?))?
    }

    /// What its replicas are pinned to. A replica that tells another version than was vouched for
    /// undoes that.
    pub fn versions(&self) -> Versions<'_> {
        let holds = |vouched: &&str| {
            self.staying()
                .all(|replica| match replica.engine_version() {
                    "" => true,
                    told => told == *vouched,
                })
        };
        Versions {
            engine: self.settings.vouched_version().filter(holds),
            sampler_profile: self.settings.vouched_sampler_profile(),
        }
    }

    /// The version of its engine: what was said of the pool, or else what all its replicas tell. Empty if nobody
    /// knows, or they differ.
    pub fn told_version(&self) -> String {
        if !self.engine_version.is_empty() {
            return self.engine_version.clone();
        }
        let mut versions = self
            .staying()
            .map(|replica| replica.engine_version().to_owned());
        let first = versions.next().unwrap_or_default();
        match versions.all(|version| version == first) {
            true => first,
            false => String::new(),
        }
    }

    /// The replicas that may get tasks, now or later.
    fn staying(&self) -> impl Iterator<Item = Arc<Replica>> {
        let replicas = self.replicas.iter().map(|(_, replica)| replica);
        replicas.filter(|replica| {
            let state = replica.condition.state();
            !matches!(state, ReplicaState::Draining | ReplicaState::Gone)
        })
    }

    fn states(&self) -> impl Iterator<Item = ReplicaState> {
        let replicas = self.replicas.iter();
        replicas.map(|(_, replica)| replica.condition.state())
    }

    /// Whether it has no engine that answers, and one is being started.
    pub fn is_being_provisioned(&self) -> bool {
        let provisioning = self.provisioning.as_ref();
        !self.is_ready() && provisioning.is_some_and(|provisioning| provisioning.is_under_way())
    }

    /// Whether the daemon starts one of its engines as this replica.
    pub fn owns(&self, replica_id: &str) -> bool {
        let provisioning = self.provisioning.as_ref();
        provisioning.is_some_and(|provisioning| provisioning.owns(replica_id))
    }

    /// Those of its engines that can't be used yet, and what must happen to each next.
    pub fn preparing(&self) -> impl Iterator<Item = (&Preparing, Arc<Step>)> {
        let engines = self.provisioning.iter().flat_map(|it| it.engines());
        let steps = engines.map(|engine| (engine, engine.step()));
        steps.filter(|(engine, step)| **step != Step::Bind || !self.has_ready(&engine.replica_id))
    }

    fn has_ready(&self, replica_id: &str) -> bool {
        let mut replicas = self.replicas.iter();
        replicas.any(|(_, replica)| {
            replica.id == replica_id && replica.condition.state() == ReplicaState::Ready
        })
    }

    /// Tokens of context a task may have: what was said of the pool, or else the least that one of its
    /// servers has told. `None`: nobody knows a bound.
    pub fn ctx_max(&self) -> Option<u32> {
        let replicas = self.replicas.iter();
        let told = || replicas.filter_map(|(_, replica)| replica.ctx_max.get().copied());
        self.settings
            .engine
            .context_tokens()
            .or_else(|| told().min())
    }

    /// What last went wrong with one of its replicas.
    pub fn last_error(&self) -> Option<String> {
        let mut replicas = self.replicas.iter();
        let of_replica = replicas.find_map(|(_, replica)| replica.condition.last_error());
        of_replica.or_else(|| self.provisioning.as_ref()?.last_error())
    }

    /// Slots of all its replicas, whether they are offered now or not.
    pub fn slots_total(&self) -> u32 {
        self.replicas
            .iter()
            .map(|(_, replica)| replica.slots())
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
    /// Those that take no work yet: they are to replace one, and their engines come up.
    pub coming: Vec<Arc<Pool>>,
}

impl Snapshot {
    /// These pools, and none that retires.
    pub fn of(pools: Vec<Arc<Pool>>) -> Self {
        Self {
            pools,
            ..Self::default()
        }
    }

    /// The pool of that id.
    pub fn pool(&self, id: &str) -> Option<&Arc<Pool>> {
        self.pools.iter().find(|pool| pool.id == id)
    }

    /// The pool among those of that id, whatever becomes of it, whose engine the daemon starts as this
    /// replica. No other of them ever had a replica of that id.
    pub fn owner_of(&self, pool_id: &str, replica_id: &str) -> Option<&Arc<Pool>> {
        let mut pools = self.all().chain(&self.coming);
        pools.find(|pool| pool.id == pool_id && pool.owns(replica_id))
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
