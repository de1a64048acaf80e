//! Whether a pool takes new work.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use orchestratord_sched::Instant;

/// Where a pool's gate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// New work is taken.
    Open,
    /// No new work is taken; what is there is served until then.
    Draining(Instant),
    /// The deadline has passed: nothing is started any more, and what was left was ended.
    Closed,
}

impl Passage {
    /// A drain that ends when all is done.
    pub const WITHOUT_DEADLINE: Self = Self::Draining(Instant::from_nanos(u64::MAX));
}

/// A pool's gate, written by whoever drains it and read at every admission. All pools that follow
/// each other under one id share it: a pool that is given another model while it drains goes on
/// draining.
///
/// One word: 0 is open, 1 is closed, anything else the nanosecond at which the drain ends.
#[derive(Debug, Default)]
pub struct Gate(AtomicU64);

const OPEN: u64 = 0;
const CLOSED: u64 = 1;

impl Gate {
    /// Where it stands.
    pub fn passage(&self) -> Passage {
        match self.0.load(SeqCst) {
            OPEN => Passage::Open,
            CLOSED => Passage::Closed,
            nanos => Passage::Draining(Instant::from_nanos(nanos)),
        }
    }

    /// Whether new work is taken.
    pub fn is_open(&self) -> bool {
        self.passage() == Passage::Open
    }

    /// Moves it.
    pub fn set(&self, passage: Passage) {
        self.0.store(word(passage), SeqCst);
    }

    /// Moves it if it stands at `from`. Whether it did.
    pub fn replace(&self, from: Passage, to: Passage) -> bool {
        let (from, to) = (word(from), word(to));
        self.0.compare_exchange(from, to, SeqCst, SeqCst).is_ok()
    }
}

fn word(passage: Passage) -> u64 {
    match passage {
        Passage::Open => OPEN,
        Passage::Closed => CLOSED,
        // The daemon has run for longer than that.
        Passage::Draining(until) => until.as_nanos().max(CLOSED + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_that_was_called_off_does_not_close_the_gate() {
        let gate = Gate::default();
        let drain = Passage::Draining(Instant::from_nanos(1_000));
        gate.set(drain);
        assert!(!gate.is_open());
        gate.set(Passage::Open);
        assert!(!gate.replace(drain, Passage::Closed));
        assert!(gate.is_open());
    }

    #[test]
    fn a_drain_ends_once() {
        let gate = Gate::default();
        let drain = Passage::Draining(Instant::from_nanos(1_000));
        gate.set(drain);
        assert!(gate.replace(drain, Passage::Closed));
        assert!(!gate.replace(drain, Passage::Closed));
        assert_eq!(gate.passage(), Passage::Closed);
    }
}
