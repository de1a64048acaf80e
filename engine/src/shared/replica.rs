//! One running engine of a pool: how it is reached, and how it stands.

use std::{
    fmt,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use crossbeam::channel::Sender;
use orchestratord_gpu::{Generation, SequenceKey, SessionKey};
use orchestratord_sched::{
    DeviceMask, Instant, ReplicaEvent, ReplicaState, ShardId,
    breaker::{Breaker, Trust},
};

use crate::{
    endpoint::Endpoint,
    metrics::{PerShard, ReplicaCounters},
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
        sequence: SequenceKey,
        /// What to generate.
        generation: Generation,
    },
    /// Stop, and tell nobody.
    Cancel {
        /// Which.
        sequence: SequenceKey,
    },
    /// Let go of a session's KV cache.
    Forget {
        /// Which.
        session: SessionKey,
    },
    /// Nothing runs any more and nothing will: give the engine up and end the thread.
    Retire,
}

/// How an engine is reached.
#[derive(Debug)]
pub enum Reach {
    /// It runs in this process, on a thread of its own that takes orders; bounded.
    Local(Sender<Order>),
    /// It is a server, which the shards speak to themselves.
    Remote(Remote),
}

/// A server that generates.
#[derive(Debug)]
pub struct Remote {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// What it calls its model.
    pub model: String,
    /// Wakes the thread that watches it, to look at once; room for one.
    pub watcher: Sender<Notice>,
}

impl Remote {
    /// Something went wrong with it, or changed: whoever watches it is to look again now.
    pub fn look_again(&self) {
        // Full: it will look anyway.
        let _ = self.watcher.try_send(Notice::LookAgain);
    }
}

/// What a replica's watcher is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something went wrong with it: look again now.
    LookAgain,
}

/// One running engine of a pool.
#[derive(Debug)]
pub struct Replica {
    /// Its id within the pool.
    pub id: String,
    /// Its slots, as whoever bound it has said.
    pub slots_claimed: u32,
    /// How it is reached.
    pub reach: Reach,
    /// Its version: what whoever bound it has said, or else what it says itself once it answers.
    pub engine_version: OnceLock<String>,
    /// Tokens of context that it has, if it has told.
    pub ctx_max: OnceLock<u32>,
    /// The devices that it runs on, if that was said.
    pub device_mask: Option<DeviceMask>,
    /// Where it stands.
    pub condition: Condition,
    /// What each shard counts about it.
    pub counters: PerShard<ReplicaCounters>,
}

impl Replica {
    /// Its engine's version; empty while nobody has told.
    pub fn engine_version(&self) -> &str {
        self.engine_version.get().map_or("", String::as_str)
    }

    /// Its slots. An engine that has fewer than was claimed would have the others' tasks wait inside of it,
    /// where they can't be put in order.
    pub fn slots(&self) -> u32 {
        match self.condition.slots_told.load(Relaxed) {
            0 => self.slots_claimed,
            told => self.slots_claimed.min(told),
        }
    }

    /// Whether it runs on this device of this machine, as far as that was said. A server elsewhere
    /// counts the devices of its own machine.
    pub fn runs_on(&self, device_number: u32) -> bool {
        let is_here = match &self.reach {
            Reach::Local(_) => true,
            Reach::Remote(remote) => remote.endpoint.is_loopback(),
        };
        is_here && self.device_mask.is_some_and(|mask| mask.has(device_number))
    }

    /// Orders something of an engine of this process. `false`: it takes no orders now. A server
    /// takes none ever: what there is to say to it is said on the connection of a generation.
    pub fn order(&self, order: Order) -> bool {
        match &self.reach {
            Reach::Local(orders) => orders.try_send(order).is_ok(),
            Reach::Remote(_) => false,
        }
    }
}

struct Standing {
    /// As its engine has it.
    state: ReplicaState,
    last_error: Option<String>,
    /// What its tasks have met.
    breaker: Breaker,
    /// Which of its devices has failed, and why.
    device_failure: Option<String>,
}

impl Standing {
    fn state(&self) -> ReplicaState {
        match self.device_failure {
            Some(_) => self.state.without_its_device(),
            None => self.state,
        }
    }
}

/// Where a replica stands: written by whoever looks after its engine, read by everybody.
pub struct Condition {
    inner: Mutex<Standing>,
    /// How full the KV caches of its slots are, from 0 to 1.
    pub kv_cache_usage: Gauge,
    /// Requests that it works on, whoever sent them.
    pub requests_running: Gauge,
    /// Requests that wait inside of it.
    pub requests_waiting: Gauge,
    /// Slots that its engine says it has; 0 while it has not said. What is offered is changed after it is
    /// written, by the same thread: `Relaxed`.
    slots_told: AtomicU32,
}

/// What its engine has last told of itself, if it tells.
pub struct Gauge {
    /// The bits of a double; not a number while nothing was told. Nothing else depends on it: `Relaxed`.
    bits: AtomicU64,
}

impl Default for Gauge {
    fn default() -> Self {
        Self {
            bits: AtomicU64::new(f64::NAN.to_bits()),
        }
    }
}

impl Gauge {
    /// What was told last.
    pub fn get(&self) -> Option<f64> {
        let told = f64::from_bits(self.bits.load(Relaxed));
        (!told.is_nan()).then_some(told)
    }

    /// The same of something that is counted.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "probes tell no count below 0, and none that has more digits than a double"
    )]
    pub fn count(&self) -> Option<u64> {
        self.get().map(|told| told as u64)
    }

    /// This is told now.
    pub fn set(&self, told: Option<f64>) {
        self.bits.store(told.unwrap_or(f64::NAN).to_bits(), Relaxed);
    }
}

impl Default for Condition {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Standing {
                state: ReplicaState::Starting,
                last_error: None,
                breaker: Breaker::default(),
                device_failure: None,
            }),
            kv_cache_usage: Gauge::default(),
            requests_running: Gauge::default(),
            requests_waiting: Gauge::default(),
            slots_told: AtomicU32::new(0),
        }
    }
}

impl Condition {
    /// The state now.
    pub fn state(&self) -> ReplicaState {
        self.lock().state()
    }

    /// What is wrong with it, or else what last was.
    pub fn last_error(&self) -> Option<String> {
        let inner = self.lock();
        let error = inner.device_failure.as_ref();
        error.or(inner.last_error.as_ref()).cloned()
    }

    /// How much it is trusted with after what its tasks have met.
    pub fn trust(&self, now: Instant) -> Trust {
        self.lock().breaker.trust(now)
    }

    /// A task fared well there. Whether that changes how much it is trusted with.
    pub fn task_succeeded(&self) -> bool {
        self.lock().breaker.succeeded()
    }

    /// A task failed there, and not by its own fault. Whether that changes how much it is trusted with.
    pub fn task_failed(&self, now: Instant) -> bool {
        self.lock().breaker.failed(now)
    }

    /// Something happened to it, and what caused it if something went wrong. The state from now on;
    /// `None` if that cannot happen in its state, as when an engine answers a probe after it was let go.
    pub fn advance(&self, event: ReplicaEvent, error: Option<String>) -> Option<ReplicaState> {
        let mut inner = self.lock();
        let state = inner.state.next(event)?;
        inner.state = state;
        inner.last_error = error.or(inner.last_error.take());
        Some(inner.state())
    }

    /// One of its devices has failed, and why; or none has. What was said of them before.
    pub fn judge_devices(&self, failure: Option<String>) -> Option<String> {
        std::mem::replace(&mut self.lock().device_failure, failure)
    }

    /// Its engine says how many slots it has. Whether it said something else before.
    pub fn tell_slots(&self, slots: u32) -> bool {
        self.slots_told.swap(slots, Relaxed) != slots
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Standing> {
        // A panic while it was held can't have left half of it behind.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.state()).finish()
    }
}
