//! A conversation: how many turns it may still have, what it may still spend, and when it is over.

use crate::budget::{Allowance, Budget, Exhausted, Spending};
use crate::time::Instant;
use core::time::Duration;

/// What holds for every session.
#[derive(Clone, Copy, Debug)]
pub struct SessionRules {
    /// How long it is kept after its last turn began or ended.
    pub ttl: Duration,
    /// How many turns it may have.
    pub turns_max: u32,
    /// What it may spend.
    pub allowance: Allowance,
}

/// Why there is no next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// It has had them all.
    TurnsUsed,
    /// A budget does not cover it.
    Budget(Exhausted),
}

/// One conversation.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    budget: Budget,
    turns: u32,
    /// Turns that have not ended: while there are any, it does not expire.
    open: u32,
    touched: Instant,
}

impl Session {
    /// A session without turns.
    #[must_use]
    pub fn new(rules: &SessionRules, now: Instant) -> Self {
        Self {
            budget: Budget::new(rules.allowance),
            turns: 0,
            open: 0,
            touched: now,
        }
    }

    /// Turns that have begun.
    #[must_use]
    pub const fn turns(&self) -> u32 {
        self.turns
    }

    /// What may still be spent.
    #[must_use]
    pub fn remaining(&self) -> Allowance {
        self.budget.remaining()
    }

    /// How long it is still kept if nothing happens.
    #[must_use]
    pub fn time_to_live(&self, rules: &SessionRules, now: Instant) -> Duration {
        if self.open > 0 {
            return rules.ttl;
        }
        rules.ttl.saturating_sub(now.since(self.touched))
    }

    /// Whether it is over.
    #[must_use]
    pub fn has_expired(&self, rules: &SessionRules, now: Instant) -> bool {
        self.time_to_live(rules, now).is_zero()
    }

    /// Begins a turn for which `wanted` is set aside.
    ///
    /// # Errors
    /// Why there is none; nothing has changed then.
    pub fn begin_turn(
        &mut self,
        rules: &SessionRules,
        now: Instant,
        wanted: Spending,
    ) -> Result<(), NoTurn> {
        if self.turns >= rules.turns_max {
            return Err(NoTurn::TurnsUsed);
        }
        self.budget.set_aside(wanted).map_err(NoTurn::Budget)?;
        self.turns += 1;
        self.open += 1;
        self.touched = now;
        Ok(())
    }

    /// A turn that began was not admitted after all: it does not count.
    pub fn call_off_turn(&mut self, set_aside: Spending) {
        self.turns = self.turns.saturating_sub(1);
        self.open = self.open.saturating_sub(1);
        self.budget.settle(set_aside, Spending::default());
    }

    /// A turn has ended.
    pub fn end_turn(&mut self, now: Instant, set_aside: Spending, spent: Spending) {
        self.open = self.open.saturating_sub(1);
        self.budget.settle(set_aside, spent);
        self.touched = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: SessionRules = SessionRules {
        ttl: Duration::from_secs(600),
        turns_max: 8,
        allowance: Allowance {
            tokens: Some(100),
            time: None,
            cost_micros: None,
        },
    };
    const NOTHING: Spending = Spending {
        tokens: 0,
        time: Duration::ZERO,
        cost_micros: 0,
    };

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn it_is_kept_from_its_last_turn_on() {
        let mut session = Session::new(&RULES, at(0));
        session.begin_turn(&RULES, at(500), NOTHING).unwrap();
        assert!(!session.has_expired(&RULES, at(5000)), "a turn is open");
        session.end_turn(at(5000), NOTHING, NOTHING);
        assert_eq!(
            session.time_to_live(&RULES, at(5100)),
            Duration::from_secs(500)
        );
        assert!(!session.has_expired(&RULES, at(5599)));
        assert!(session.has_expired(&RULES, at(5600)));
    }

    #[test]
    fn it_has_so_many_turns_and_no_more() {
        let mut session = Session::new(&RULES, at(0));
        for _ in 0..RULES.turns_max {
            session.begin_turn(&RULES, at(0), NOTHING).unwrap();
        }
        let one_more = session.begin_turn(&RULES, at(0), NOTHING);
        assert_eq!(one_more, Err(NoTurn::TurnsUsed));
        assert_eq!(session.turns(), RULES.turns_max);
    }

    #[test]
    fn a_turn_that_was_not_admitted_costs_nothing() {
        let mut session = Session::new(&RULES, at(0));
        let all = Spending {
            tokens: 100,
            ..NOTHING
        };
        session.begin_turn(&RULES, at(0), all).unwrap();
        let over = session.begin_turn(&RULES, at(0), all);
        assert_eq!(over, Err(NoTurn::Budget(Exhausted::Tokens)));
        session.call_off_turn(all);
        assert_eq!((session.turns(), session.remaining()), (0, RULES.allowance));
        assert!(session.has_expired(&RULES, at(600)), "no turn is open");
    }
}
