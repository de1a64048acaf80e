//! What is counted, by whom, and under which labels.
//!
//! Each shard counts into its own cache lines ([`ShardCounters`]), so that counting costs an
//! uncontended add; a scrape sums over shards. Label values come from the configuration and from
//! closed enums only: no request can make a new time series. Names and labels are the contract's.

mod exposition;

pub use exposition::{Format, expose};

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use orchestratord_sched::Class;

use crate::shared::snapshot::{Pool, Snapshot};

/// Upper bounds of `latency_first_token_ms`, in milliseconds.
pub const FIRST_TOKEN_MS: [u64; 11] = [50, 100, 150, 200, 300, 500, 750, 1000, 1500, 2000, 3000];
/// Upper bounds of `latency_decode_ms`, in milliseconds.
pub const DECODE_MS: [u64; 10] = [250, 500, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 12000];

/// Why a submission was turned away.
#[derive(Clone, Copy, Debug)]
pub enum RejectReason {
    /// The queue was full.
    QueueFull,
    /// The deadline could not be met.
    Deadline,
    /// No live replica.
    PoolUnavailable,
    /// The daemon is stopping.
    ShuttingDown,
}

impl RejectReason {
    const ALL: [Self; 4] = [
        Self::QueueFull,
        Self::Deadline,
        Self::PoolUnavailable,
        Self::ShuttingDown,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Deadline => "deadline",
            Self::PoolUnavailable => "pool_unavailable",
            Self::ShuttingDown => "shutting_down",
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
    pub started: [Counter; 2],
    /// Tasks canceled, by reason.
    pub canceled: [Counter; 2],
    /// Prompt tokens.
    pub tokens_in: Counter,
    /// Generated tokens.
    pub tokens_out: Counter,
}

/// What one shard counts about one pool.
#[derive(Debug, Default)]
pub struct PoolCounters {
    /// Tasks admitted, by class.
    enqueued: [Counter; 2],
    /// Submissions turned away, by reason.
    rejected: [Counter; RejectReason::ALL.len()],
    /// Canceled before any replica was found, by reason.
    canceled_queued: [Counter; 2],
    /// Times the queue was full.
    backpressure: Counter,
    replicas: Vec<ReplicaCounters>,
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

    /// A task got a slot.
    pub fn started(&self, replica: usize, class: Class) {
        self.replicas[replica].started[class_index(class)].increment();
    }

    /// A task was canceled; `replica` is where it ran, if it did.
    pub fn canceled(&self, replica: Option<usize>, reason: CancelReason) {
        let by_reason = match replica {
            Some(replica) => &self.replicas[replica].canceled,
            None => &self.canceled_queued,
        };
        by_reason[reason as usize].increment();
    }

    /// The replica's tokens.
    pub fn tokens(&self, replica: usize) -> &ReplicaCounters {
        &self.replicas[replica]
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

/// What one shard counts.
#[derive(Debug)]
pub struct ShardCounters {
    /// By pool.
    pub pools: Vec<PoolCounters>,
    /// Tasks that this shard took from each other shard.
    pub stolen_from: Vec<Counter>,
    /// Submissions for a model that no pool serves.
    pub model_not_found: Counter,
}

/// Everything that is counted, by shard. Padded, so that no two shards write one cache line.
pub type Metrics = Vec<crossbeam::utils::CachePadded<ShardCounters>>;

/// Counters of `shards` shards, all zero.
pub fn counters(shards: usize, snapshot: &Snapshot) -> Metrics {
    let pool = |pool: &Pool| PoolCounters {
        replicas: pool
            .replicas
            .iter()
            .map(|_| ReplicaCounters::default())
            .collect(),
        ..PoolCounters::default()
    };
    let shard = |_| ShardCounters {
        pools: snapshot.pools.iter().map(pool).collect(),
        stolen_from: (0..shards).map(|_| Counter::default()).collect(),
        model_not_found: Counter::default(),
    };
    (0..shards).map(|index| shard(index).into()).collect()
}

/// Tokens generated and tasks started by a pool so far, for its health.
pub fn pool_totals(metrics: &Metrics, pool: usize) -> (u64, u64) {
    let replicas = || {
        metrics
            .iter()
            .flat_map(move |shard| &shard.pools[pool].replicas)
    };
    let tokens_out = replicas().map(|replica| replica.tokens_out.get()).sum();
    let started = replicas()
        .flat_map(|replica| &replica.started)
        .map(Counter::get)
        .sum();
    (tokens_out, started)
}
