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

/// What is known of a session from before the daemon's start.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// What it might spend when it began.
    pub allowance: Allowance,
    /// What its turns that have ended have spent.
    pub spent: Spending,
    /// Turns that have begun.
    pub turns: u32,
    /// How long ago the last of them began or ended.
    pub idle: Duration,
}

/// One conversation.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    budget: Budget,
    turns: u32,
    /// Turns that have not ended: while there are any, it does not expire.
    open: u32,
    touched: Instant,
    /// How long nobody had spoken by then: no moment lies before the daemon's start.
    idle_before: Duration,
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
            idle_before: Duration::ZERO,
        }
    }

    /// A session that goes on after a restart. Its turns that have not ended are [taken
    /// up](Self::take_up_turn) next.
    #[must_use]
    pub fn recall(past: Past, now: Instant) -> Self {
        Self {
            budget: Budget::spent_before(past.allowance, past.spent),
            turns: past.turns,
            open: 0,
            touched: now,
            idle_before: past.idle,
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
        let idle = self.idle_before.saturating_add(now.since(self.touched));
        rules.ttl.saturating_sub(idle)
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
        self.touch(now);
        Ok(())
    }

    /// A turn that began before the daemon's start and has not ended goes on: it is counted already, and what
    /// was granted to it stays granted.
    pub fn take_up_turn(&mut self, granted: Spending) {
        self.open += 1;
        self.budget.keep_aside(granted);
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
        self.touch(now);
    }

    fn touch(&mut self, now: Instant) {
        self.touched = now;
        self.idle_before = Duration::ZERO;
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

    const fn tokens(tokens: u64) -> Spending {
        Spending { tokens, ..NOTHING }
    }

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
    fn it_goes_on_after_a_restart_as_if_there_had_been_none() {
        let past = Past {
            allowance: RULES.allowance,
            spent: tokens(30),
            turns: 7,
            idle: Duration::from_secs(400),
        };
        let mut session = Session::recall(past, at(1));
        assert_eq!(
            session.time_to_live(&RULES, at(101)),
            Duration::from_secs(100)
        );
        assert_eq!(session.remaining().tokens, Some(70));
        // More than is left by now: it was granted.
        session.take_up_turn(tokens(90));
        assert!(!session.has_expired(&RULES, at(5000)), "a turn is open");
        assert_eq!(
            (session.turns(), session.remaining().tokens),
            (7, Some(0)),
            "it was counted when it began"
        );
        session.end_turn(at(5000), tokens(90), tokens(20));
        assert_eq!(session.remaining().tokens, Some(50));
        assert_eq!(session.time_to_live(&RULES, at(5000)), RULES.ttl);
        session.begin_turn(&RULES, at(5000), NOTHING).unwrap();
        assert_eq!(
            session.begin_turn(&RULES, at(5000), NOTHING),
            Err(NoTurn::TurnsUsed)
        );
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
        let all = tokens(100);
        session.begin_turn(&RULES, at(0), all).unwrap();
        let over = session.begin_turn(&RULES, at(0), all);
        assert_eq!(over, Err(NoTurn::Budget(Exhausted::Tokens)));
        session.call_off_turn(all);
        assert_eq!((session.turns(), session.remaining()), (0, RULES.allowance));
        assert!(session.has_expired(&RULES, at(600)), "no turn is open");
    }
}
