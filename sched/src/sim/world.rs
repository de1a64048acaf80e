//! The world: events in order of their time, and what each shard does about them.
//!
//! Each event is one call from the outside, followed by what the crate asks of callers: whoever
//! admits, removes or refills then dispatches until there is nothing to dispatch; whoever steals
//! sends the victim a message, which arrives some time later.

use super::rules::{Breach, Ledger, Start, TaskNumber, Waiting};
use super::workload::{Arrival, arrivals};
use super::{Options, Report, Violation};
use crate::admission::{Admission, Admitted, Policy, Share};
use crate::dispatch::{Dispatched, Dispatcher, Origin};
use crate::prng::Prng;
use crate::queue::Ticket;
use crate::shared::{Bill, Full, Lease, Pool, PoolOptions, ReplicaIndex, ShardId};
use crate::time::Instant;
use crate::urgency::{Class, Urgency};
use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival(TaskNumber),
    Finish(TaskNumber),
    /// The engine of a task breaks before it has said anything.
    Break(TaskNumber),
    Cancel(TaskNumber),
    /// A thief's message reaches this shard.
    Stolen(usize),
    /// This shard is asked to refill.
    Request(usize),
    /// This shard is told that a replica offers slots again.
    Poke(usize),
    /// A replica offers its slots again.
    Return(usize),
}

struct Running {
    shard: usize,
    lease: Lease,
    bill: Bill,
}

pub(super) struct World<'o> {
    seed: u64,
    options: &'o Options,
    arrivals: Vec<Arrival>,
    messages: Prng,
    pool: Arc<Pool<TaskNumber>>,
    shards: Vec<Dispatcher<TaskNumber>>,
    tickets: BTreeMap<TaskNumber, Ticket>,
    /// Tasks whose engine has broken.
    unlucky: BTreeSet<TaskNumber>,
    running: BTreeMap<TaskNumber, Running>,
    /// By time, then in the order in which they were scheduled.
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    scheduled: u64,
    now: Instant,
    ledger: Ledger,
    report: Report,
}

impl<'o> World<'o> {
    pub(super) fn new(seed: u64, options: &'o Options) -> Self {
        let pool = Arc::new(Pool::new(PoolOptions {
            shards: options.shards,
            replica_slots: options.replica_slots.clone(),
            tasks_queued_max: options.tasks_queued_max,
            tokens_queued_max: None,
        }));
        let shard = |index| Dispatcher::new(ShardId(index), Arc::clone(&pool));
        let mut world = Self {
            seed,
            options,
            arrivals: arrivals(seed, options),
            messages: Prng::new(seed, "messages"),
            shards: (0..options.shards).map(shard).collect(),
            pool,
            tickets: BTreeMap::new(),
            unlucky: BTreeSet::new(),
            running: BTreeMap::new(),
            events: BinaryHeap::new(),
            scheduled: 0,
            now: Instant::ZERO,
            ledger: Ledger::default(),
            report: Report::default(),
        };
        let times: Vec<Instant> = world.arrivals.iter().map(|arrival| arrival.at).collect();
        for (task, at) in (0..).zip(times) {
            world.schedule(at, Event::Arrival(task));
        }
        world
    }

    pub(super) fn run(mut self) -> Result<Report, Violation> {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            self.now = at;
            self.report.steps += 1;
            self.step(event).map_err(|breach| self.violation(breach))?;
        }
        self.ledger
            .check_end()
            .map_err(|breach| self.violation(breach))?;
        self.report.overtaken = self.ledger.overtaken();
        Ok(self.report)
    }

    fn violation(&self, (rule, seen): Breach) -> Violation {
        Violation {
            seed: self.seed,
            step: self.report.steps,
            rule,
            seen,
        }
    }

    fn step(&mut self, event: Event) -> Result<(), Breach> {
        match event {
            Event::Arrival(task) => self.arrive(task),
            Event::Finish(task) => self.finish(task),
            Event::Break(task) => self.break_off(task),
            Event::Cancel(task) => self.cancel(task),
            Event::Stolen(victim) => {
                self.ledger.victim_was_told(victim);
                self.refill(victim)
            }
            Event::Request(shard) => {
                self.ledger.request_arrived(shard);
                self.refill(shard)
            }
            Event::Poke(shard) => {
                self.ledger.poke_arrived();
                self.look_for_work(shard)
            }
            Event::Return(replica) => {
                self.offer(replica, self.options.replica_slots[replica]);
                Ok(())
            }
        }?;
        self.ledger.check(&self.pool)
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.events.push(Reverse((at, self.scheduled, event)));
        self.scheduled += 1;
    }

    /// How long a message takes.
    fn delay(&mut self) -> Duration {
        let longest = u64::try_from(self.options.message_delay_max.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.messages.within(1..=longest.max(1)))
    }

    fn arrive(&mut self, task: TaskNumber) -> Result<(), Breach> {
        let arrival = self.arrivals[task as usize].clone();
        if let Some((replica, outage)) = arrival.outage {
            self.offer(replica, 0);
            self.schedule(self.now + outage, Event::Return(replica));
        }
        match self.admit(task, &arrival)? {
            None => self.report.refused += 1,
            Some(admitted) => {
                self.report.admitted += 1;
                self.tickets.insert(task, admitted.ticket);
                let waiting = Waiting {
                    shard: arrival.shard,
                    flow: arrival.flow,
                    urgency: admission(&arrival).urgency,
                    has_deadline: arrival.deadline.is_some(),
                    expected_tokens: arrival.expected_tokens,
                };
                self.ledger.admitted(task, waiting);
                if let Some(at) = arrival.cancel_at {
                    self.schedule(at, Event::Cancel(task));
                }
            }
        }
        self.look_for_work(arrival.shard)
    }

    /// Asks for a place, and again after room was made, where that is the policy.
    fn admit(&mut self, task: TaskNumber, arrival: &Arrival) -> Result<Option<Admitted>, Breach> {
        let mut share = self.options.share;
        loop {
            let admission = Admission {
                share,
                ..admission(arrival)
            };
            let admitted = self.shards[arrival.shard].admit(admission, task);
            if share == Share::LeavesRoom {
                let max = self.options.tasks_queued_max;
                let who = (arrival.flow, arrival.class);
                self.ledger.check_room(who, max, admitted.is_ok())?;
            }
            match admitted {
                Ok(admitted) => return Ok(Some(admitted)),
                Err(refused) => {
                    debug_assert_eq!(refused.task, task);
                    if !self.make_room(arrival, refused.full)? {
                        return Ok(None);
                    }
                    // It has the place of one of its own then, or the queue was full and it has none.
                    share = Share::All;
                }
            }
        }
    }

    /// Drops the oldest task of a full queue, or of a share that is used, where that is the policy. Whether it
    /// has.
    fn make_room(&mut self, arrival: &Arrival, full: Full) -> Result<bool, Breach> {
        if self.options.policy == Policy::Reject {
            return Ok(false);
        }
        let (here, class) = (arrival.shard, arrival.class);
        if full == Full::Share {
            let dropped = self.shards[here].drop_oldest_of(arrival.flow, class);
            let Some((_, task)) = dropped else {
                return Ok(false);
            };
            self.report.dropped += 1;
            self.ledger.removed(task)?;
            return Ok(true);
        }
        // A queue in which more wait than may, because engines broke, must shrink first.
        let queued: u32 = Class::ALL.map(|class| self.pool.queued(class)).iter().sum();
        if queued > self.options.tasks_queued_max {
            return Ok(false);
        }
        if let Some(ShardId(shard)) = self.shards[here].oldest_at(class)
            && let Some((_, task)) = self.shards[shard].drop_oldest(class)
        {
            self.report.dropped += 1;
            self.ledger.dropped(task, shard, class)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn finish(&mut self, task: TaskNumber) -> Result<(), Breach> {
        // It may have been canceled before.
        match self.running.remove(&task) {
            None => Ok(()),
            Some(running) => {
                self.report.finished += 1;
                self.end(task, running)
            }
        }
    }

    /// A running task ends: its slot goes on to the next.
    fn end(&mut self, task: TaskNumber, running: Running) -> Result<(), Breach> {
        let used = self.arrivals[task as usize].tokens_used;
        self.ledger.ended(task, used)?;
        let Running { shard, lease, bill } = running;
        bill.settle(used);
        self.pass_on(shard, lease)
    }

    fn pass_on(&mut self, shard: usize, lease: Lease) -> Result<(), Breach> {
        if let Some(next) = self.shards[shard].dispatch_with(lease) {
            self.start(shard, next)?;
        }
        self.look_for_work(shard)
    }

    /// A task that had started waits again, where it ran; its slot goes on to the next.
    fn break_off(&mut self, task: TaskNumber) -> Result<(), Breach> {
        let Some(mut running) = self.running.remove(&task) else {
            return Ok(());
        };
        let admission = admission(&self.arrivals[task as usize]);
        let queue = &mut self.shards[running.shard];
        let ticket = queue.readmit(&mut running.bill, admission, task);
        self.tickets.insert(task, ticket);
        self.unlucky.insert(task);
        self.report.readmitted += 1;
        self.ledger.readmitted(task, running.shard)?;
        let Running { shard, lease, .. } = running;
        self.pass_on(shard, lease)
    }

    fn cancel(&mut self, task: TaskNumber) -> Result<(), Breach> {
        if let Some(running) = self.running.remove(&task) {
            self.report.canceled += 1;
            return self.end(task, running);
        }
        let Some(shard) = self.ledger.waits_at(task) else {
            return Ok(());
        };
        if let Some(removed) = self.shards[shard].remove(self.tickets[&task]) {
            self.report.canceled += 1;
            self.ledger.removed(removed)?;
        } else {
            let seen = format!("task {task} waits at {shard} and could not be canceled");
            return Err((super::Rule::ExactAccounting, seen));
        }
        self.look_for_work(shard)
    }

    fn refill(&mut self, shard: usize) -> Result<(), Breach> {
        self.shards[shard].refill();
        self.look_for_work(shard)
    }

    /// A replica offers so many slots from now on, and some shard is told.
    fn offer(&mut self, replica: usize, slots: u32) {
        self.pool.offer(ReplicaIndex(replica), slots);
        self.ledger.poked(1);
        let told =
            usize::try_from(self.messages.next_u64() % self.shards.len() as u64).unwrap_or(0);
        let at = self.now + self.delay();
        self.schedule(at, Event::Poke(told));
    }

    fn look_for_work(&mut self, shard: usize) -> Result<(), Breach> {
        while let Some(next) = self.shards[shard].dispatch() {
            self.start(shard, next)?;
        }
        Ok(())
    }

    fn start(&mut self, shard: usize, next: Dispatched<TaskNumber>) -> Result<(), Breach> {
        let Dispatched {
            task,
            lease,
            bill,
            origin,
            outdated,
            ..
        } = next;
        self.report.dispatched += 1;
        let (origin, is_stolen) = match origin {
            Origin::Own => (shard, false),
            Origin::StolenFrom(victim) => (victim.0, true),
        };
        self.ledger.dispatched(&Start {
            task,
            shard,
            origin,
            outdated: &outdated,
        })?;
        if is_stolen {
            self.report.stolen += 1;
            let at = self.now + self.delay();
            self.schedule(at, Event::Stolen(origin));
        }
        for ShardId(asked) in outdated {
            self.report.requests += 1;
            let at = self.now + self.delay();
            self.schedule(at, Event::Request(asked));
        }
        let Arrival {
            service,
            breaks_after,
            ..
        } = self.arrivals[task as usize];
        match breaks_after.filter(|_| !self.unlucky.contains(&task)) {
            Some(after) => self.schedule(self.now + after, Event::Break(task)),
            None => self.schedule(self.now + service, Event::Finish(task)),
        }
        self.running.insert(task, Running { shard, lease, bill });
        Ok(())
    }
}

fn admission(arrival: &Arrival) -> Admission {
    Admission {
        share: Share::All,
        flow: arrival.flow,
        urgency: Urgency::new(arrival.class, arrival.at, arrival.deadline),
        expected_tokens: arrival.expected_tokens,
    }
}
