//! What must hold, told independently of how it is made to hold.
//!
//! The ledger is a plain list of who waits where and who runs. It is told what happened, and
//! compares it with what may happen and with what the pool counts; it knows nothing of runways,
//! heads or tickets.

use super::shares::Shares;
use crate::fairness::{Flow, charge};
use crate::shared::{Pool, RUNWAY_LEN, ShardId};
use crate::urgency::{Class, Urgency};
use std::collections::{BTreeMap, BTreeSet};

/// A rule of the simulator; [`sim`](super) has them in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// No slot is idle while a task waits.
    WorkConservation,
    /// Nothing in reach waits behind a task whose turn comes later.
    BoundedPriorityInversion,
    /// First in, first out, within a class, an identity and a shard.
    FirstInFirstOut,
    /// A newcomer waits for one task of each other identity, and rivals are served alike.
    FairShare,
    /// Who floods leaves room for others, and whoever has no task waiting is let in while there is any.
    RoomForOthers,
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
    pub(super) flow: Flow,
    pub(super) urgency: Urgency,
    pub(super) has_deadline: bool,
    pub(super) expected_tokens: u32,
}

impl Waiting {
    const fn class(&self) -> Class {
        self.urgency.class()
    }
}

/// A task starts.
pub(super) struct Start<'s> {
    pub(super) task: TaskNumber,
    /// The shard that starts it.
    pub(super) shard: usize,
    /// The shard where it is said to have waited.
    pub(super) origin: usize,
    /// Shards that are asked to refill on this occasion.
    pub(super) outdated: &'s [ShardId],
}

/// Who waits, who runs, and what is under way.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The order in which those that wait came, or came again.
    queue: Vec<TaskNumber>,
    waiting: BTreeMap<TaskNumber, Waiting>,
    running: BTreeMap<TaskNumber, Waiting>,
    shares: Shares,
    /// By shard: thefts that the victim has not been told of yet.
    thefts_untold: BTreeMap<usize, usize>,
    /// By shard: requests to refill that have not arrived.
    requests: BTreeMap<usize, usize>,
    /// Shards that were told to look for work and have not done so yet.
    pokes: usize,
    /// The most slots that there were.
    most_slots: u64,
    overtaken: u64,
}

impl Ledger {
    pub(super) fn admitted(&mut self, task: TaskNumber, waiting: Waiting) {
        self.shares.admitted(waiting.class(), waiting.flow);
        self.waiting.insert(task, waiting);
        self.queue.push(task);
    }

    /// Whether this identity is to be let in with one more task of this class, of so many that may wait.
    pub(super) fn check_room(
        &self,
        (flow, class): (Flow, Class),
        tasks_queued_max: u32,
        admitted: bool,
    ) -> Result<(), Breach> {
        let own = self
            .waiting
            .values()
            .filter(|waiting| waiting.flow == flow && waiting.class() == class);
        let (own, left) = (
            own.count(),
            (tasks_queued_max as usize).saturating_sub(self.waiting.len()),
        );
        if admitted == (left > 0 && own == 0 || own < left) {
            return Ok(());
        }
        let what = if admitted { "let in" } else { "refused" };
        let seen = format!(
            "{flow:?} has {own} of {class:?} waiting and was {what} with {left} places left"
        );
        Err((Rule::RoomForOthers, seen))
    }

    /// The engine of a running task broke at this shard, and it waits there again.
    pub(super) fn readmitted(&mut self, task: TaskNumber, shard: usize) -> Result<(), Breach> {
        let ran = self.running.get(&task).cloned();
        self.ended(task, 0)?;
        if let Some(ran) = ran {
            self.admitted(task, Waiting { shard, ..ran });
        }
        Ok(())
    }

    fn take(&mut self, task: TaskNumber) -> Option<Waiting> {
        self.queue.retain(|waiting| *waiting != task);
        self.waiting.remove(&task)
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

    pub(super) fn request_arrived(&mut self, shard: usize) {
        *self.requests.entry(shard).or_default() -= 1;
    }

    /// A task left the queue without having run.
    pub(super) fn removed(&mut self, task: TaskNumber) -> Result<(), Breach> {
        let Some(waited) = self.take(task) else {
            let seen = format!("task {task} was removed and does not wait");
            return Err((Rule::ExactAccounting, seen));
        };
        self.shares.removed(waited.class(), waited.flow);
        Ok(())
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
        let may_go =
            |waiting: &Waiting| (all_told || waiting.shard == shard) && waiting.class() >= newcomer;
        let mut queue = self.queue.iter();
        let oldest = queue.find(|task| may_go(&self.waiting[task]));
        if oldest != Some(&task) {
            let seen = format!("task {task} was dropped, and not the oldest, {oldest:?}");
            return Err((Rule::ExactAccounting, seen));
        }
        self.removed(task)
    }

    /// A task started.
    pub(super) fn dispatched(&mut self, start: &Start<'_>) -> Result<(), Breach> {
        let Start {
            task,
            shard,
            origin,
            outdated,
        } = start;
        let Some(started) = self.take(*task) else {
            let seen = format!("task {task} started and does not wait");
            return Err((Rule::ExactAccounting, seen));
        };
        if started.shard != *origin {
            let seen = format!(
                "task {task} waited at {} and started from {origin}",
                started.shard
            );
            return Err((Rule::ExactAccounting, seen));
        }
        for ShardId(asked) in *outdated {
            *self.requests.entry(*asked).or_default() += 1;
        }
        self.check_queue_mates(*task, &started)?;
        self.check_order(start, &started)?;
        *self.thefts_untold.entry(*origin).or_default() += usize::from(origin != shard);
        let expected = charge(started.expected_tokens.into());
        self.shares
            .started(started.class(), started.flow, expected)?;
        self.running.insert(*task, started);
        Ok(())
    }

    /// Nobody of its queue that came before it has the same claim and was overtaken.
    fn check_queue_mates(&self, task: TaskNumber, started: &Waiting) -> Result<(), Breach> {
        let is_mate = |waiting: &Waiting| {
            waiting.shard == started.shard
                && waiting.flow == started.flow
                && waiting.class() == started.class()
                && !waiting.has_deadline
                && !started.has_deadline
        };
        let mut earlier = self.waiting.range(..task);
        match earlier.find(|(_, waiting)| is_mate(waiting)) {
            None => Ok(()),
            Some((other, _)) => {
                let seen = format!("task {task} overtook {other} in the same queue");
                Err((Rule::FirstInFirstOut, seen))
            }
        }
    }

    /// Nobody was overtaken by this task who should not have been.
    fn check_order(&mut self, start: &Start<'_>, started: &Waiting) -> Result<(), Breach> {
        let turn = self.turn(started);
        let overtaken: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| self.turn(waiting) < turn)
            .map(|(other, waiting)| (*other, waiting.clone()))
            .collect();
        for (other, waiting) in overtaken {
            self.overtaken += 1;
            if waiting.shard == start.shard || !self.was_out_of_reach(&waiting, start, started) {
                let seen = format!("task {} overtook {other}, which was in reach", start.task);
                return Err((Rule::BoundedPriorityInversion, seen));
            }
            if waiting.class() == started.class() {
                self.shares.overtaken(waiting.class(), waiting.flow);
            }
        }
        Ok(())
    }

    /// A task stood behind its shard's runway, and a message about that is on its way.
    fn was_out_of_reach(&self, waiting: &Waiting, start: &Start<'_>, started: &Waiting) -> bool {
        let at_shard = self.waiting.values();
        let at_shard = at_shard.filter(|other| other.shard == waiting.shard);
        let mut flows: BTreeSet<_> = at_shard.map(|other| other.flow).collect();
        if start.origin == waiting.shard {
            flows.insert(started.flow);
        }
        let count = |messages: &BTreeMap<usize, usize>| {
            let count = messages.get(&waiting.shard);
            count.copied().unwrap_or(0)
        };
        let thefts = count(&self.thefts_untold);
        if flows.len() == 1 && count(&self.requests) == 0 {
            return thefts >= RUNWAY_LEN;
        }
        let is_victim = start.origin == waiting.shard;
        thefts + usize::from(is_victim) + count(&self.requests) > 0
    }

    fn turn(&self, waiting: &Waiting) -> (Class, u64, Urgency) {
        let class = waiting.class();
        (class, self.shares.tag(class, waiting.flow), waiting.urgency)
    }

    /// A running task ended, however, after this many tokens.
    pub(super) fn ended(&mut self, task: TaskNumber, used: u64) -> Result<(), Breach> {
        let Some(ran) = self.running.remove(&task) else {
            let seen = format!("task {task} ended and does not run");
            return Err((Rule::ExactAccounting, seen));
        };
        let expected = charge(ran.expected_tokens.into());
        self.shares
            .ended(ran.class(), ran.flow, expected, charge(used));
        Ok(())
    }

    /// What the pool counts, against what is so.
    pub(super) fn check(&mut self, pool: &Pool<TaskNumber>) -> Result<(), Breach> {
        let count = |class| {
            let waiting = self.waiting.values();
            waiting.filter(|waiting| waiting.class() == class).count()
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
        let slots = u64::from(pool.slots_total().max(pool.leases()));
        self.most_slots = self.most_slots.max(slots);
        self.shares.check(self.most_slots)?;
        self.check_slots(pool.slots_free())
    }

    fn check_slots(&self, slots_free: u32) -> Result<(), Breach> {
        let untold: usize = self.thefts_untold.values().sum();
        let requests: usize = self.requests.values().sum();
        let is_quiet = untold + requests + self.pokes == 0;
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
            flow: Flow(0),
            urgency: Urgency::new(Class::Interactive, Instant::ZERO, Some(due)),
            has_deadline: true,
            expected_tokens: 0,
        }
    }

    fn rule(result: Result<(), Breach>) -> Option<Rule> {
        result.err().map(|(rule, _)| rule)
    }

    /// Starts where it waits.
    const fn start(task: TaskNumber, shard: usize) -> Start<'static> {
        Start {
            task,
            shard,
            origin: shard,
            outdated: &[],
        }
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
        let caught = rule(ledger.dispatched(&start(2, 1)));
        assert_eq!(caught, Some(Rule::BoundedPriorityInversion));
    }

    #[test]
    fn a_task_behind_an_emptied_runway_may_be_overtaken() {
        let mut ledger = two_wait(waiting(0, 5), waiting(1, 9));
        ledger.thefts_untold.insert(0, RUNWAY_LEN);
        assert_eq!(rule(ledger.dispatched(&start(2, 1))), None);
        assert_eq!(ledger.overtaken(), 1);
    }

    #[test]
    fn a_task_of_who_was_served_more_that_starts_first_is_caught() {
        let of = |flow, shard, due_ms| Waiting {
            flow: Flow(flow),
            expected_tokens: 9,
            ..waiting(shard, due_ms)
        };
        let mut ledger = two_wait(of(0, 0, 1), of(0, 0, 2));
        ledger.admitted(3, of(1, 1, 3));
        assert_eq!(rule(ledger.dispatched(&start(1, 0))), None);
        let caught = rule(ledger.dispatched(&start(2, 0)));
        assert_eq!(caught, Some(Rule::BoundedPriorityInversion));
    }

    #[test]
    fn a_queue_that_is_not_first_in_first_out_is_caught() {
        let patient = |due_ms| Waiting {
            has_deadline: false,
            ..waiting(0, due_ms)
        };
        let mut ledger = two_wait(patient(5), patient(9));
        let caught = rule(ledger.dispatched(&start(2, 0)));
        assert_eq!(caught, Some(Rule::FirstInFirstOut));
    }

    #[test]
    fn a_task_that_runs_twice_or_ends_twice_is_caught() {
        let mut ledger = Ledger::default();
        ledger.admitted(1, waiting(0, 5));
        assert_eq!(rule(ledger.dispatched(&start(1, 0))), None);
        assert_eq!(
            rule(ledger.dispatched(&start(1, 0))),
            Some(Rule::ExactAccounting)
        );
        assert_eq!(rule(ledger.removed(1)), Some(Rule::ExactAccounting));
        assert_eq!(rule(ledger.ended(1, 0)), None);
        assert_eq!(rule(ledger.ended(1, 0)), Some(Rule::ExactAccounting));
    }

    #[test]
    fn dropping_another_than_the_oldest_is_caught() {
        let mut ledger = two_wait(waiting(0, 5), waiting(1, 9));
        let caught = rule(ledger.dropped(2, 1, Class::Interactive));
        assert_eq!(caught, Some(Rule::ExactAccounting));
        assert_eq!(rule(ledger.dropped(1, 0, Class::Interactive)), None);
    }

    #[test]
    fn a_flood_that_is_let_in_and_a_newcomer_who_is_not_are_caught() {
        let ledger = two_wait(waiting(0, 10), waiting(0, 20));
        let room = |flow, admitted| {
            let who = (Flow(flow), Class::Interactive);
            rule(ledger.check_room(who, 4, admitted))
        };
        // Two of the first wait, and two places are left.
        assert_eq!(room(0, false), None);
        assert_eq!(room(0, true), Some(Rule::RoomForOthers));
        assert_eq!(room(1, true), None);
        assert_eq!(room(1, false), Some(Rule::RoomForOthers));
    }

    #[test]
    fn a_task_that_is_forgotten_is_caught() {
        let mut ledger = Ledger::default();
        ledger.admitted(1, waiting(0, 5));
        assert_eq!(rule(ledger.check_end()), Some(Rule::WorkConservation));
    }
}
