//! What is counted about placing tasks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use orchestratord_sched::placement::{Basis, Choice, Wish};

use super::Counter;

/// What became of a task that was to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlacementOutcome {
    /// It went where it was to go.
    Placed,
    /// It went elsewhere, as it allowed.
    FellBack,
    /// No pool took it.
    Refused,
}

impl PlacementOutcome {
    pub(super) const ALL: [Self; 3] = [Self::Placed, Self::FellBack, Self::Refused];

    /// The labels `outcome` and `fallback`.
    pub(super) fn labels(self) -> (&'static str, bool) {
        match self {
            Self::Placed => ("placed", false),
            Self::FellBack => ("placed", true),
            Self::Refused => ("refused", false),
        }
    }
}

impl From<Basis> for PlacementOutcome {
    fn from(basis: Basis) -> Self {
        match basis {
            Basis::Auto | Basis::Preference | Basis::Pin => Self::Placed,
            Basis::Fallback => Self::FellBack,
        }
    }
}

/// What one shard counts about placing tasks.
#[derive(Debug, Default)]
pub struct PlacementCounters {
    /// Decisions about tasks that were pinned to a pool, and about all others.
    pinned: [Counter; PlacementOutcome::ALL.len()],
    unpinned: [Counter; PlacementOutcome::ALL.len()],
    /// How many pools the last decision chose among.
    considered: AtomicU64,
}

impl PlacementCounters {
    /// A task was placed, or not.
    pub fn decided(&self, wish: &Wish, outcome: PlacementOutcome) {
        let is_pinned = matches!(wish.choice, Choice::Pin(_));
        self.decisions(is_pinned, outcome).increment();
    }

    /// A decision chooses among so many pools.
    pub fn considers(&self, candidates: usize) {
        let candidates = u64::try_from(candidates).unwrap_or(u64::MAX);
        self.considered.store(candidates, Relaxed);
    }

    pub(super) fn decisions(&self, is_pinned: bool, outcome: PlacementOutcome) -> &Counter {
        let of = if is_pinned {
            &self.pinned
        } else {
            &self.unpinned
        };
        &of[outcome as usize]
    }

    pub(super) fn considered(&self) -> u64 {
        self.considered.load(Relaxed)
    }
}
