//! What a caller may still spend: tokens, time on slots, and cost.
//!
//! What a task will need is set aside when it is admitted and settled when it has ended, so that tasks
//! that run side by side don't each spend the same rest. A task that turns out dearer than was
//! expected may overdraw by the difference; the next is refused.

use core::time::Duration;

/// An amount of everything that is budgeted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    /// Tokens, of prompts and of texts.
    pub tokens: u64,
    /// Time on slots.
    pub time: Duration,
    /// Millionths of the operator's currency.
    pub cost_micros: u64,
}

impl Spending {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            time: self.time.saturating_add(other.time),
            cost_micros: self.cost_micros.saturating_add(other.cost_micros),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            time: self.time.saturating_sub(other.time),
            cost_micros: self.cost_micros.saturating_sub(other.cost_micros),
        }
    }
}

/// How much may be spent, or is left; `None` is without bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Tokens.
    pub tokens: Option<u64>,
    /// Time on slots.
    pub time: Option<Duration>,
    /// Millionths of the operator's currency.
    pub cost_micros: Option<u64>,
}

/// Which budget does not cover a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// Its tokens.
    Tokens,
    /// Its time.
    Time,
    /// Its cost.
    Cost,
}

/// An allowance and what was taken from it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    allowance: Allowance,
    spent: Spending,
    set_aside: Spending,
}

impl Budget {
    /// Nothing is spent yet.
    #[must_use]
    pub fn new(allowance: Allowance) -> Self {
        Self {
            allowance,
            ..Self::default()
        }
    }

    /// So much was spent of it before; nothing is set aside.
    #[must_use]
    pub fn spent_before(allowance: Allowance, spent: Spending) -> Self {
        Self {
            spent,
            ..Self::new(allowance)
        }
    }

    /// What is neither spent nor set aside.
    #[must_use]
    pub fn remaining(&self) -> Allowance {
        let gone = self.spent.plus(self.set_aside);
        let Allowance {
            tokens,
            time,
            cost_micros,
        } = self.allowance;
        Allowance {
            tokens: tokens.map(|tokens| tokens.saturating_sub(gone.tokens)),
            time: time.map(|time| time.saturating_sub(gone.time)),
            cost_micros: cost_micros.map(|cost| cost.saturating_sub(gone.cost_micros)),
        }
    }

    /// Sets an amount aside for a task.
    ///
    /// # Errors
    /// The first budget that has nothing left, or less than that.
    pub fn set_aside(&mut self, wanted: Spending) -> Result<(), Exhausted> {
        let left = self.remaining();
        let covers =
            |left: Option<u64>, wanted: u64| left.is_none_or(|left| left > 0 && left >= wanted);
        if !covers(left.tokens, wanted.tokens) {
            return Err(Exhausted::Tokens);
        }
        if left
            .time
            .is_some_and(|left| left.is_zero() || left < wanted.time)
        {
            return Err(Exhausted::Time);
        }
        if !covers(left.cost_micros, wanted.cost_micros) {
            return Err(Exhausted::Cost);
        }
        self.keep_aside(wanted);
        Ok(())
    }

    /// Sets an amount aside that was granted before, whatever is left.
    pub fn keep_aside(&mut self, granted: Spending) {
        self.set_aside = self.set_aside.plus(granted);
    }

    /// A task for which `set_aside` was kept has ended and spent `spent`.
    pub fn settle(&mut self, set_aside: Spending, spent: Spending) {
        self.set_aside = self.set_aside.minus(set_aside);
        self.spent = self.spent.plus(spent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn tokens(tokens: u64) -> Spending {
        Spending {
            tokens,
            time: Duration::ZERO,
            cost_micros: 0,
        }
    }

    fn of_tokens(limit: u64) -> Budget {
        Budget::new(Allowance {
            tokens: Some(limit),
            ..Allowance::default()
        })
    }

    #[test]
    fn without_a_bound_nothing_runs_out() {
        let mut budget = Budget::new(Allowance::default());
        assert_eq!(budget.set_aside(tokens(u64::MAX)), Ok(()));
        assert_eq!(budget.set_aside(tokens(u64::MAX)), Ok(()));
        assert_eq!(budget.remaining(), Allowance::default());
    }

    #[test]
    fn tasks_side_by_side_do_not_spend_the_same_rest() {
        let mut budget = of_tokens(100);
        assert_eq!(budget.set_aside(tokens(60)), Ok(()));
        assert_eq!(budget.set_aside(tokens(60)), Err(Exhausted::Tokens));
        budget.settle(tokens(60), tokens(10));
        assert_eq!(budget.remaining().tokens, Some(90));
        assert_eq!(budget.set_aside(tokens(60)), Ok(()));
    }

    #[test]
    fn time_runs_out_only_by_being_spent() {
        let mut budget = Budget::new(Allowance {
            time: Some(Duration::from_secs(1)),
            ..Allowance::default()
        });
        assert_eq!(budget.set_aside(Spending::default()), Ok(()));
        let second = Spending {
            time: Duration::from_secs(1),
            ..Spending::default()
        };
        budget.settle(Spending::default(), second);
        assert_eq!(budget.set_aside(Spending::default()), Err(Exhausted::Time));
    }

    proptest! {
        /// However tasks come and go: if each spends at most what was set aside for it, no more than
        /// the allowance is ever spent, and what is left is what nobody has or may still take.
        #[test]
        fn who_keeps_to_what_was_set_aside_never_overdraws(
            limit in 0_u64..1000,
            tasks in prop::collection::vec((0_u64..200, 0_u64..=100, any::<bool>()), 0..40),
        ) {
            let mut budget = of_tokens(limit);
            let (mut spent, mut open) = (0, Vec::new());
            for (wanted, percent, ends) in tasks {
                if budget.set_aside(tokens(wanted)).is_ok() {
                    open.push((wanted, wanted * percent / 100));
                }
                if ends && let Some((wanted, used)) = open.pop() {
                    budget.settle(tokens(wanted), tokens(used));
                    spent += used;
                }
                let held: u64 = open.iter().map(|(wanted, _)| wanted).sum();
                prop_assert!(spent + held <= limit);
                prop_assert_eq!(budget.remaining().tokens, Some(limit - spent - held));
            }
        }
    }
}
