//! Can a deadline still be met?
//!
//! Asked at admission, where "no" turns the task away. So it errs towards "yes": it supposes that
//! the task starts at once, with nobody ahead, and says no only when even then hardly any of a
//! thousand such tasks would be in time. A deadline that the queue will probably spoil is the
//! caller's risk to take; `on_time_probability` names it.

use crate::estimate::{Estimate, Progress, Text};
use core::time::Duration;

/// Whether a task with a deadline should be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feasibility {
    /// It may be in time.
    Feasible,
    /// The work alone takes longer.
    Infeasible,
}

/// The chance below which a deadline is called infeasible.
const CHANCE_MIN: f64 = 0.001;

impl Feasibility {
    /// Of a task that asks for this text and has so much time from now.
    #[must_use]
    pub fn of(estimate: &Estimate, text: Text, time_left: Duration) -> Self {
        let chance = estimate.on_time_probability(Progress::Prefill, text, time_left);
        if chance < CHANCE_MIN {
            Self::Infeasible
        } else {
            Self::Feasible
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tokens: u32) -> Text {
        Text {
            tokens_expected: tokens,
            tokens_max: tokens,
            tokens_out: 0,
        }
    }

    #[test]
    fn a_millisecond_for_a_hundred_tokens_is_infeasible_before_anything_was_seen() {
        let estimate = Estimate::new();
        let of = |time_left| Feasibility::of(&estimate, text(100), time_left);
        assert_eq!(of(Duration::from_millis(1)), Feasibility::Infeasible);
        assert_eq!(of(Duration::from_secs(2)), Feasibility::Feasible);
    }

    #[test]
    fn a_fast_engine_makes_a_short_deadline_feasible() {
        let mut estimate = Estimate::new();
        let tight = Duration::from_millis(5);
        assert_eq!(
            Feasibility::of(&estimate, text(10), tight),
            Feasibility::Infeasible
        );
        for _ in 0..1000 {
            estimate.observe_first_token(Duration::from_micros(500));
            estimate.observe_decode(Duration::from_micros(1000), 10);
        }
        assert_eq!(
            Feasibility::of(&estimate, text(10), tight),
            Feasibility::Feasible
        );
    }
}
