//! What is counted, by whom, and under which labels.
//!
//! Each shard counts into its own cache lines ([`ShardCounters`]), so that counting costs an
//! uncontended add; a scrape sums over shards. Label values come from the configuration and from
//! closed enums only: no request can make a new time series. Names and labels are the contract's.

mod exposition;
mod key;
mod placement;

pub use exposition::{Format, expose};
pub use key::{KeyCounters, KeyRefusal};
pub use placement::{PlacementCounters, PlacementOutcome};

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crossbeam::utils::CachePadded;
use orchestratord_sched::Class;

use crate::shared::snapshot::Pool;

/// Upper bounds of `latency_first_token_ms`, in milliseconds.
pub const FIRST_TOKEN_MS: [u64; 11] = [50, 100, 150, 200, 300, 500, 750, 1000, 1500, 2000, 3000];
/// Upper bounds of `latency_decode_ms`, in milliseconds.
pub const DECODE_MS: [u64; 10] = [250, 500, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 12000];

/// Why a submission was turned away.
#[derive(Clone, Copy, Debug)]
pub enum RejectReason {
    /// The queue was full.
    QueueFull,
    /// The caller had as much of the queue as was left.
    QueueShare,
    /// The deadline could not be met.
    Deadline,
    /// No live replica.
    PoolUnavailable,
    /// The pool takes no new work.
    PoolDraining,
    /// No pool is one that the task wishes, or strict enough.
    Placement,
    /// The session has no turn left or can't afford one.
    Budget,
    /// There are too many sessions.
    Sessions,
    /// The daemon is stopping.
    ShuttingDown,
    /// The model was retired.
    ModelRetired,
    /// The model is not trusted, or not what its digest says.
    ModelUntrusted,
}

impl RejectReason {
    const ALL: [Self; 11] = [
        Self::QueueFull,
        Self::QueueShare,
        Self::Deadline,
        Self::PoolUnavailable,
        Self::PoolDraining,
        Self::Placement,
        Self::Budget,
        Self::Sessions,
        Self::ShuttingDown,
        Self::ModelRetired,
        Self::ModelUntrusted,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::QueueShare => "queue_share",
            Self::Deadline => "deadline",
            Self::PoolUnavailable => "pool_unavailable",
            Self::PoolDraining => "pool_draining",
            Self::Placement => "placement",
            Self::Budget => "budget",
            Self::Sessions => "sessions",
            Self::ShuttingDown => "shutting_down",
            Self::ModelRetired => "model_retired",
            Self::ModelUntrusted => "model_untrusted",
        }
    }
}

/// Why a task was canceled.
#[derive(Clone, Copy, Debug)]
pub enum CancelReason {
    /// The caller asked.
    Requested,
    /// The last reader went away and the task was to end with it.
    Disconnected,
}

impl CancelReason {
    const ALL: [Self; 2] = [Self::Requested, Self::Disconnected];

    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Disconnected => "disconnected",
        }
    }
}

/// The two classes, in the order of their counters.
const CLASSES: [(Class, &str); 2] = [(Class::Interactive, "interactive"), (Class::Batch, "batch")];

fn class_index(class: Class) -> usize {
    usize::from(class == Class::Batch)
}

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Some more.
    pub fn add(&self, count: u64) {
        // Relaxed: a count orders nothing.
        self.0.fetch_add(count, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A distribution over `N` bounds and everything above them.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    counts: [Counter; N],
    above: Counter,
    sum_ms: Counter,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| Counter::default()),
            above: Counter::default(),
            sum_ms: Counter::default(),
        }
    }
}

impl<const N: usize> Histogram<N> {
    /// Counts one observation.
    pub fn observe(&self, bounds_ms: &[u64; N], observed: Duration) {
        let ms = crate::api::whole_ms(observed);
        let bucket = bounds_ms.iter().position(|&bound| ms <= bound);
        bucket
            .map_or(&self.above, |at| &self.counts[at])
            .increment();
        self.sum_ms.add(ms);
    }
}

/// What one shard counts about one replica and class.
#[derive(Debug, Default)]
pub struct ReplicaCounters {
    /// Tasks that got a slot.
    started: [Counter; 2],
    /// Tasks canceled, by reason.
    canceled: [Counter; CancelReason::ALL.len()],
    /// Prompt tokens.
    pub tokens_in: Counter,
    /// Generated tokens.
    pub tokens_out: Counter,
}

impl ReplicaCounters {
    /// A task got a slot.
    pub fn started(&self, class: Class) {
        self.started[class_index(class)].increment();
    }

    /// A task was canceled while it ran here.
    pub fn canceled(&self, reason: CancelReason) {
        self.canceled[reason as usize].increment();
    }
}

/// What one shard counts about one pool.
#[derive(Debug, Default)]
pub struct PoolCounters {
    /// Tasks admitted, by class.
    enqueued: [Counter; 2],
    /// Submissions turned away, by reason.
    rejected: [Counter; RejectReason::ALL.len()],
    /// Canceled before any replica was found, by reason.
    canceled_queued: [Counter; CancelReason::ALL.len()],
    /// Times the queue was full.
    backpressure: Counter,
    first_token: [Histogram<11>; 2],
    decode: [Histogram<10>; 2],
}

impl PoolCounters {
    /// A task was admitted.
    pub fn enqueued(&self, class: Class) {
        self.enqueued[class_index(class)].increment();
    }

    /// A submission was turned away.
    pub fn rejected(&self, reason: RejectReason) {
        self.rejected[reason as usize].increment();
        if matches!(reason, RejectReason::QueueFull) {
            self.backpressure.increment();
        }
    }

    /// A task was canceled while it waited.
    pub fn canceled(&self, reason: CancelReason) {
        self.canceled_queued[reason as usize].increment();
    }

    /// From admission to the first token.
    pub fn first_token(&self, class: Class, observed: Duration) {
        self.first_token[class_index(class)].observe(&FIRST_TOKEN_MS, observed);
    }

    /// From the first token to the end.
    pub fn decoded(&self, class: Class, observed: Duration) {
        self.decode[class_index(class)].observe(&DECODE_MS, observed);
    }
}

/// What one shard counts about the whole daemon.
#[derive(Debug)]
pub struct ShardCounters {
    /// Tasks that this shard took from each other shard.
    pub stolen_from: Vec<Counter>,
    /// Connections for which there was no place.
    pub connections_refused: Counter,
    /// Submissions for a model that no pool serves.
    pub model_not_found: Counter,
    /// Where it sent tasks.
    pub placements: PlacementCounters,
    /// Whom it turned away for their keys.
    pub keys: KeyCounters,
}

/// One of each for every shard. Padded, so that no two shards write one cache line.
pub type PerShard<C> = Box<[CachePadded<C>]>;

/// Counters of one kind for `shards` shards, all zero.
pub fn per_shard<C: Default>(shards: usize) -> PerShard<C> {
    (0..shards).map(|_| CachePadded::default()).collect()
}

/// Counters of the whole daemon for `shards` shards, all zero.
pub fn shard_counters(shards: usize) -> PerShard<ShardCounters> {
    let counters = |_| ShardCounters {
        stolen_from: (0..shards).map(|_| Counter::default()).collect(),
        connections_refused: Counter::default(),
        model_not_found: Counter::default(),
        placements: PlacementCounters::default(),
        keys: KeyCounters::default(),
    };
    (0..shards).map(|shard| counters(shard).into()).collect()
}

/// One count, over all shards.
fn total<C>(shards: &PerShard<C>, counter: impl Fn(&C) -> &Counter) -> u64 {
    shards.iter().map(|shard| counter(shard).get()).sum()
}

/// Tokens generated and tasks started so far by the replicas that the pool has now.
pub fn pool_totals(pool: &Pool) -> (u64, u64) {
    let sum = |counter: fn(&ReplicaCounters) -> &Counter| -> u64 {
        let replicas = pool.replicas.iter();
        replicas
            .map(|(_, replica)| total(&replica.counters, counter))
            .sum()
    };
    let started = sum(|replica| &replica.started[0]) + sum(|replica| &replica.started[1]);
    (sum(|replica| &replica.tokens_out), started)
}
