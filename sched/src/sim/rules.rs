//! What must hold, told independently of how it is made to hold.
//!
//! The ledger is a plain list of who waits where and who runs. It is told what happened, and
//! compares it with what may happen and with what the pool counts; it knows nothing of runways,
//! heads or tickets.

use crate::shared::{Pool, RUNWAY_LEN};
use crate::urgency::{Class, Urgency};
use std::collections::BTreeMap;

/// A rule of the simulator; [`sim`](super) has them in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// No slot is idle while a task waits.
    WorkConservation,
    /// Nothing waits behind a less urgent task longer than one dispatch.
    BoundedPriorityInversion,
    /// First in, first out, within a class and a shard.
    FirstInFirstOut,
    /// Every count is exact, and every task ends once.
    ExactAccounting,
}

/// A breach: which rule, and what was seen.
pub(super) type Breach = (Rule, String);

/// A task, by its number in order of arrival.
pub(super) type TaskNumber = u32;

/// A waiting task.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) shard: usize,
    pub(super) urgency: Urgency,
    pub(super) has_deadline: bool,
    pub(super) expected_tokens: u32,
}

/// Who waits, who runs, and what is under way.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    waiting: BTreeMap<TaskNumber, Waiting>,
    running: BTreeMap<TaskNumber, usize>,
    /// By shard: thefts that the victim has not been told of yet.
    thefts_untold: BTreeMap<usize, usize>,
    /// Shards that were told to look for work and have not done so yet.
    pokes: usize,
    overtaken: u64,
}

impl Ledger {
    pub(super) fn admitted(&mut self, task: TaskNumber, waiting: Waiting) {
        self.waiting.insert(task, waiting);
    }

    /// Where the task waits, if it does.
    pub(super) fn waits_at(&self, task: TaskNumber) -> Option<usize> {
        Some(self.waiting.get(&task)?.shard)
    }

    pub(super) const fn overtaken(&self) -> u64 {
        self.overtaken
    }

    pub(super) fn poked(&mut self, shards: usize) {
        self.pokes += shards;
    }

    pub(super) fn poke_arrived(&mut self) {
        self.pokes -= 1;
    }

    pub(super) fn victim_was_told(&mut self, victim: usize) {
        *self.thefts_untold.entry(victim).or_default() -= 1;
    }

    /// A task left the queue without having run.
    pub(super) fn removed(&mut self, task: TaskNumber) -> Result<(), Breach> {
        let waited = self.waiting.remove(&task);
        waited.map(drop).ok_or_else(|| {
            (
                Rule::ExactAccounting,
                format!("task {task} was removed and does not wait"),
            )
        })
    }

    /// A full queue dropped a task at this shard for a newcomer of this class: the oldest of all,
    /// or while a theft is untold, the oldest there.
    pub(super) fn dropped(
        &mut self,
        task: TaskNumber,
        shard: usize,
        newcomer: Class,
    ) -> Result<(), Breach> {
        let all_told = self.thefts_untold.values().all(|thefts| *thefts == 0);
        let may_go = |waiting: &Waiting| {
            (all_told || waiting.shard == shard) && waiting.urgency.class() >= newcomer
        };
        let oldest = self.waiting.iter().find(|(_, waiting)| may_go(waiting));
        if oldest.is_none_or(|(oldest, _)| *oldest != task) {
            let seen = format!("task {task} was dropped, and not the oldest, {oldest:?}");
            return Err((Rule::ExactAccounting, seen));
        }
        self.removed(task)
    }

    /// A task started. `thief` if a shard other than its own took it.
    pub(super) fn dispatched(
        &mut self,
        task: TaskNumber,
        replica: usize,
        origin: usize,
        thief: bool,
    ) -> Result<(), Breach> {
        let Some(started) = self.waiting.remove(&task) else {
            let seen = format!("task {task} started and does not wait");
            return Err((Rule::ExactAccounting, seen));
        };
        if started.shard != origin {
            let seen = format!(
                "task {task} waited at {} and started from {origin}",
                started.shard
            );
            return Err((Rule::ExactAccounting, seen));
        }
        self.check_order(task, &started)?;
        self.running.insert(task, replica);
        *self.thefts_untold.entry(origin).or_default() += usize::from(thief);
        Ok(())
    }

    /// Nobody was overtaken by this task who should not have been.
    fn check_order(&mut self, task: TaskNumber, started: &Waiting) -> Result<(), Breach> {
        for (other, waiting) in &self.waiting {
            let is_queue_mate = waiting.shard == started.shard
                && waiting.urgency.class() == started.urgency.class()
                && !waiting.has_deadline
                && !started.has_deadline;
            if is_queue_mate && *other < task {
                let seen = format!("task {task} overtook {other} in the same queue");
                return Err((Rule::FirstInFirstOut, seen));
            }
            if waiting.urgency < started.urgency {
                self.overtaken += 1;
                let untold = self.thefts_untold.get(&waiting.shard).copied().unwrap_or(0);
                if untold < RUNWAY_LEN {
                    let seen = format!("task {task} overtook {other}, which stood in sight");
                    return Err((Rule::BoundedPriorityInversion, seen));
                }
            }
        }
        Ok(())
    }

    /// A running task ended, however.
    pub(super) fn ended(&mut self, task: TaskNumber) -> Result<(), Breach> {
        let ran = self.running.remove(&task);
        ran.map(drop).ok_or_else(|| {
            (
                Rule::ExactAccounting,
                format!("task {task} ended and does not run"),
            )
        })
    }

    /// What the pool counts, against what is so.
    pub(super) fn check(&self, pool: &Pool<TaskNumber>) -> Result<(), Breach> {
        let count = |class| {
            let waiting = self.waiting.values();
            waiting
                .filter(|waiting| waiting.urgency.class() == class)
                .count()
        };
        let tokens: u64 = self
            .waiting
            .values()
            .map(|waiting| u64::from(waiting.expected_tokens))
            .sum();
        let counted = Class::ALL.map(|class| pool.queued(class) as usize);
        let so = Class::ALL.map(count);
        if counted != so || pool.tokens_queued() != tokens {
            let counted = (counted, pool.tokens_queued());
            let seen = format!(
                "the pool counts {counted:?} waiting, and it is {:?}",
                (so, tokens)
            );
            return Err((Rule::ExactAccounting, seen));
        }
        if pool.leases() as usize != self.running.len() {
            let seen = format!("{} leases and {} run", pool.leases(), self.running.len());
            return Err((Rule::ExactAccounting, seen));
        }
        self.check_slots(pool.slots_free())
    }

    fn check_slots(&self, slots_free: u32) -> Result<(), Breach> {
        let untold: usize = self.thefts_untold.values().sum();
        let is_quiet = untold == 0 && self.pokes == 0;
        if is_quiet && slots_free > 0 && !self.waiting.is_empty() {
            let seen = format!(
                "{slots_free} slots are free and {} wait",
                self.waiting.len()
            );
            return Err((Rule::WorkConservation, seen));
        }
        Ok(())
    }

    /// Nothing is left over.
    pub(super) fn check_end(&self) -> Result<(), Breach> {
        if self.waiting.is_empty() && self.running.is_empty() {
            return Ok(());
        }
        let seen = format!(
            "{:?} wait and {:?} run for ever",
            self.waiting, self.running
        );
        Err((Rule::WorkConservation, seen))
    }
}

/// Rules that catch nothing are no rules: each is shown a breach.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    fn waiting(shard: usize, due_ms: u64) -> Waiting {
        let due = Instant::from_nanos(due_ms * 1_000_000);
        Waiting {
            shard,
            urgency: Urgency::new(Class::Interactive, Instant::ZERO, Some(due)),
            has_deadline: true,
            expected_tokens: 0,
        }
    }

    fn rule(result: Result<(), Breach>) -> Option<Rule> {
        result.err().map(|(rule, _)| rule)
    }

    fn two_wait(first: Waiting, second: Waiting) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.admitted(1, first);
        ledger.admitted(2, second);
        ledger
    }

    #[test]
    fn an_idle_slot_beside_a_waiting_task_is_caught() {
        let mut ledger = Ledger::default();
        ledger.admitted(1, waiting(0, 5));
        assert_eq!(rule(ledger.check_slots(1)), Some(Rule::WorkConservation));
        assert_eq!(rule(ledger.check_slots(0)), None);
        ledger.poked(1);
        assert_eq!(
            rule(ledger.check_slots(1)),
            None,
            "somebody is about to look"
        );
    }

    #[test]
    fn a_less_urgent_task_that_starts_first_is_caught() {
        let mut ledger = two_wait(waiting(0, 5), waiting(1, 9));
        let caught = rule(ledger.dispatched(2, 0, 1, false));
        assert_eq!(caught, Some(Rule::BoundedPriorityInversion));
    }

    #[test]
    fn a_task_behind_an_emptied_runway_may_be_overtaken() {
        let mut ledger = two_wait(waiting(0, 5), waiting(1, 9));
        ledger.thefts_untold.insert(0, RUNWAY_LEN);
        assert_eq!(rule(ledger.dispatched(2, 0, 1, false)), None);
        assert_eq!(ledger.overtaken(), 1);
    }

    #[test]
    fn a_queue_that_is_not_first_in_first_out_is_caught() {
        let patient = |due_ms| Waiting {
            has_deadline: false,
            ..waiting(0, due_ms)
        };
        let mut ledger = two_wait(patient(5), patient(9));
        let caught = rule(ledger.dispatched(2, 0, 0, false));
        assert_eq!(caught, Some(Rule::FirstInFirstOut));
    }

    #[test]
    fn a_task_that_runs_twice_or_ends_twice_is_caught() {
        let mut ledger = Ledger::default();
        ledger.admitted(1, waiting(0, 5));
        assert_eq!(rule(ledger.dispatched(1, 0, 0, false)), None);
        assert_eq!(
            rule(ledger.dispatched(1, 0, 0, false)),
            Some(Rule::ExactAccounting)
        );
        assert_eq!(rule(ledger.removed(1)), Some(Rule::ExactAccounting));
        assert_eq!(rule(ledger.ended(1)), None);
        assert_eq!(rule(ledger.ended(1)), Some(Rule::ExactAccounting));
    }

    #[test]
    fn dropping_another_than_the_oldest_is_caught() {
        let mut ledger = two_wait(waiting(0, 5), waiting(1, 9));
        let caught = rule(ledger.dropped(2, 1, Class::Interactive));
        assert_eq!(caught, Some(Rule::ExactAccounting));
        assert_eq!(rule(ledger.dropped(1, 0, Class::Interactive)), None);
    }

    #[test]
    fn a_task_that_is_forgotten_is_caught() {
        let mut ledger = Ledger::default();
        ledger.admitted(1, waiting(0, 5));
        assert_eq!(rule(ledger.check_end()), Some(Rule::WorkConservation));
    }
}
