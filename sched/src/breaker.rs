//! Whether an engine that keeps failing is worth another task.
//!
//! A server may answer its health probe and fail every task all the same. So what tasks meet counts as
//! well: after [`FAILURES_MAX`] failures in a row the breaker *opens*, and no task goes there for a
//! while. Then it is *half open*: one task at a time goes there, and tells. If it fares well the
//! breaker closes; if not it opens again, for twice as long. (Nygard, "Release It!", 2007, names the
//! pattern.)
//!
//! ```text
//!             FAILURES_MAX in a row                 a while has passed
//!   Closed ──────────────────────────► Open ──────────────────────────► HalfOpen
//!     ▲                                 ▲                                │   │
//!     │                                 └────────── a failure ───────────┘   │
//!     └───────────────────────────────── a success ──────────────────────────┘
//! ```

use crate::time::Instant;
use core::time::Duration;

/// Failures in a row that open the breaker: fewer may be the tasks' own bad luck.
pub const FAILURES_MAX: u32 = 5;
/// How long it is open at first.
pub const OPEN_MIN: Duration = Duration::from_millis(500);
/// How long at most, however often it has opened in a row.
pub const OPEN_MAX: Duration = Duration::from_secs(30);

/// How much an engine is trusted with now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// All its slots.
    Full,
    /// One task, to see how it fares.
    OneTask,
    /// Nothing until then.
    NothingUntil(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen,
}

/// One engine's breaker.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    state: State,
    /// How long it is open the next time.
    wait: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed { failures: 0 },
            wait: OPEN_MIN,
        }
    }
}

impl Breaker {
    /// How much the engine is trusted with now.
    pub fn trust(&mut self, now: Instant) -> Trust {
        if let State::Open { until } = self.state
            && until <= now
        {
            self.state = State::HalfOpen;
        }
        match self.state {
            State::Closed { .. } => Trust::Full,
            State::HalfOpen => Trust::OneTask,
            State::Open { until } => Trust::NothingUntil(until),
        }
    }

    /// A task fared well. Whether that changes how much the engine is trusted with.
    pub fn succeeded(&mut self) -> bool {
        let was_closed = matches!(self.state, State::Closed { .. });
        // One that was given before it opened, and fares well, tells nothing of now.
        if !matches!(self.state, State::Open { .. }) {
            *self = Self::default();
        }
        !was_closed && matches!(self.state, State::Closed { .. })
    }

    /// A task failed, and it was the engine's fault. Whether that changes how much the engine is
    /// trusted with.
    pub fn failed(&mut self, now: Instant) -> bool {
        match &mut self.state {
            State::Open { .. } => false,
            State::Closed { failures } if *failures + 1 < FAILURES_MAX => {
                *failures += 1;
                false
            }
            State::Closed { .. } | State::HalfOpen => {
                let until = now + self.wait;
                self.state = State::Open { until };
                self.wait = (self.wait * 2).min(OPEN_MAX);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    /// A breaker that has just opened, at zero.
    fn open() -> Breaker {
        let mut breaker = Breaker::default();
        let opened: Vec<bool> = (0..FAILURES_MAX).map(|_| breaker.failed(at(0))).collect();
        assert_eq!(opened.iter().filter(|opened| **opened).count(), 1);
        assert_eq!(opened.last(), Some(&true));
        breaker
    }

    #[test]
    fn a_success_forgives_the_failures_before_it() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            for _ in 1..FAILURES_MAX {
                assert!(!breaker.failed(at(0)));
            }
            assert!(!breaker.succeeded(), "nothing changes: it was trusted");
        }
        assert_eq!(breaker.trust(at(0)), Trust::Full);
    }

    #[test]
    fn an_engine_that_keeps_failing_is_left_alone_for_a_while() {
        let mut breaker = open();
        assert_eq!(breaker.trust(at(0)), Trust::NothingUntil(at(500)));
        assert_eq!(breaker.trust(at(499)), Trust::NothingUntil(at(500)));
        assert_eq!(breaker.trust(at(500)), Trust::OneTask);
    }

    #[test]
    fn one_task_that_fares_well_brings_all_trust_back() {
        let mut breaker = open();
        assert_eq!(breaker.trust(at(500)), Trust::OneTask);
        assert!(breaker.succeeded());
        assert_eq!(breaker.trust(at(500)), Trust::Full);
        assert_eq!(
            open().wait,
            OPEN_MIN * 2,
            "and the next wait is short again"
        );
        assert_eq!(breaker.wait, OPEN_MIN);
    }

    #[test]
    fn one_task_that_fails_doubles_the_wait_up_to_a_bound() {
        let mut breaker = open();
        let mut now = at(500);
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert_eq!(breaker.trust(now), Trust::OneTask);
            assert!(breaker.failed(now));
            let Trust::NothingUntil(until) = breaker.trust(now) else {
                panic!("it is open");
            };
            waits.push(until.since(now));
            now = until;
        }
        assert_eq!(waits[0], OPEN_MIN * 2);
        assert_eq!(waits[1], OPEN_MIN * 4);
        assert_eq!(waits.last(), Some(&OPEN_MAX));
    }

    #[test]
    fn what_was_given_before_it_opened_tells_nothing() {
        let mut breaker = open();
        assert!(!breaker.succeeded());
        assert!(!breaker.failed(at(1)));
        assert_eq!(breaker.trust(at(1)), Trust::NothingUntil(at(500)));
    }
}
