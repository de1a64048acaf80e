//! Who goes first, as one comparable word.
//!
//! Earliest deadline first is optimal on one processor: if any order meets all deadlines, this
//! one does (Liu & Layland, "Scheduling Algorithms for Multiprogramming in a Hard-Real-Time
//! Environment", J. ACM 20(1), 1973). Its weakness is the task without a deadline, which a steady
//! stream of deadlines would keep waiting for ever. So every task has one: its own, or an implicit
//! one, its arrival plus [`PATIENCE`]. Tasks without a deadline then age towards the front by
//! themselves, and among each other go first come, first served.
//!
//! ```text
//!   63      62 ........................................ 0
//!   batch   due, in nanoseconds since the daemon's start         smaller is more urgent
//! ```
//!
//! Between the tasks of different identities, fairness comes before the due time: see
//! [`fairness`](crate::fairness).
//!
//! The class stands above the due time: no batch task, however late, goes before an interactive
//! one. Starvation is excluded inside a class only, on purpose.

use crate::time::Instant;
use core::time::Duration;

/// The implicit deadline of a task that names none, counted from its arrival.
///
/// Ten minutes is about when a client gives up (the default timeout of widely used API clients):
/// earlier would let patient tasks outrun those that really are due, later would serve answers
/// that nobody waits for any more.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// The priority class of a task; `Interactive < Batch`, because what comes first is smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Somebody watches the tokens appear.
    Interactive,
    /// Somebody collects the result later.
    Batch,
}

impl Class {
    /// Both classes, the more urgent first.
    pub const ALL: [Self; 2] = [Self::Interactive, Self::Batch];

    /// The word of the contract: `interactive` or `batch`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Batch => "batch",
        }
    }
}

const BATCH_BIT: u64 = 1 << 63;

/// As late as fits.
const DUE_MAX: u64 = BATCH_BIT - 1;

/// How urgent a task is: class, then due time. Smaller is more urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Urgency(u64);

impl Urgency {
    /// The urgency of a task that arrived at `arrival` and must have ended by `deadline`, if it
    /// says so. Due times saturate after 292 years.
    #[must_use]
    pub fn new(class: Class, arrival: Instant, deadline: Option<Instant>) -> Self {
        let due = deadline
            .unwrap_or(arrival + PATIENCE)
            .as_nanos()
            .min(DUE_MAX);
        match class {
            Class::Interactive => Self(due),
            Class::Batch => Self(due | BATCH_BIT),
        }
    }

    /// The class that it was made with.
    #[must_use]
    pub const fn class(self) -> Class {
        if self.0 & BATCH_BIT == 0 {
            Class::Interactive
        } else {
            Class::Batch
        }
    }

    /// The deadline, or the arrival plus [`PATIENCE`].
    #[must_use]
    pub const fn due(self) -> Instant {
        Instant::from_nanos(self.0 & !BATCH_BIT)
    }
}
