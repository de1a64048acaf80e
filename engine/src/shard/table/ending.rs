//! How tasks end other than well, and the books of all that have ended.

use std::{rc::Rc, sync::Arc, time::Duration};

use orchestratord_gpu::SequenceKey;
use orchestratord_http::sse_log::Audience;
use orchestratord_sched::budget::Spending;
use uuid::Uuid;

use super::{Shown, Table};
use crate::{
    api::error::{ApiError, Code},
    logs::{self, StreamEnd},
    metrics::CancelReason,
    panics::Panicked,
    shard::{
        mailbox::Message,
        task::{Phase, Run, Task},
    },
    shared::{readiness, record::TaskRecord, replica::Order, snapshot::PoolKey},
    store::{
        GATHERED_MAX,
        settings::{Durability, Transcripts},
        task::{Ended, Kept},
    },
};

/// What became of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// The task has ended, by this cancel or before.
    Done,
    /// A thief has it and has not told us yet: wait until it has moved, then ask its new home.
    InTransit,
}

impl Table {
    /// Ends a task that runs or waits with an error event.
    pub(super) fn fail(&mut self, task: &Shown, error: &ApiError) {
        let engine = task.borrow().record.pool.engine;
        let now = self.now();
        let run = task.borrow_mut().break_off(error, engine, now);
        self.settle(task, run, Some(error));
    }

    /// What was done about one of our running tasks ran into a bug of ours, in the middle of whatever it was.
    pub fn give_up(&mut self, sequence: SequenceKey) {
        if let Some(task) = self.running.get(&sequence).map(Rc::clone)
            && !task.borrow().has_ended()
            && self.take_back(&task)
        {
            self.fail(&task, &Panicked.into());
            self.reuse_slots();
        }
    }

    /// The books of a task that has ended: counts, log line, retention; and its slot, if it had
    /// one, goes to the next.
    pub(super) fn settle(&mut self, task: &Shown, run: Option<Run>, error: Option<&ApiError>) {
        let ended = task.borrow();
        let record = Arc::clone(&ended.record);
        let end = StreamEnd {
            replica: run.as_ref().map(|run| Arc::clone(&run.replica)),
            tokens_in: ended.tokens_in,
            tokens_out: ended.tokens_out,
            decode: ended.decode_time(self.now()),
        };
        let tokens = ended.tokens_known();
        drop(ended);
        let time = run
            .as_ref()
            .map_or(Duration::ZERO, |run| self.now().since(run.started));
        let spent = self.shared.sessions.spending(tokens, time);
        self.keep(task, spent, error);
        logs::stream_ended(&record, &end, error);
        self.shared.stages.live_tasks.leave();
        self.retain(record.id);
        self.end_turn(&record, spent);
        let Some(run) = run else {
            return;
        };
        run.bill.settle(tokens.into());
        self.running.remove(&run.sequence);
        let now = self.now();
        let estimate = &mut self.lane(&record.pool).estimate;
        estimate.observe_service(now.since(run.started));
        if run.first_token.is_some() {
            estimate.observe_decode(end.decode, end.tokens_out.saturating_sub(1));
            let counters = self.counters(&record.pool);
            counters.decoded(record.class(), end.decode);
        }
        self.slots_in_hand
            .push((Arc::clone(&record.pool), run.lease));
    }

    /// Hands what became of the task over to the store. Where its end is a promise, nobody is told of it
    /// before it is on the disk.
    fn keep(&self, task: &Shown, spent: Spending, error: Option<&ApiError>) {
        let mut ended = task.borrow_mut();
        let (store, record) = (&self.shared.store, &ended.record);
        if store.transcripts() == Transcripts::Off && !record.is_promised {
            return;
        }
        let is_awaited = record.is_promised && store.durability() == Durability::Fsync;
        let events = store.transcripts() == Transcripts::Full;
        let only_event = (ended.log.next_id() == 1).then(|| ended.log.to_vec(Audience::Plain));
        let report = Ended {
            record: Arc::clone(record),
            view: ended.view(self.shared.clock.elapsed()),
            events: events.then(|| ended.log.to_vec(Audience::Plain)),
            only_event,
            spent,
            kept: is_awaited.then(|| self.when_kept(record.id)),
        };
        if is_awaited {
            ended.await_keeping(error.is_some_and(|error| error.code == Code::Canceled));
        }
        drop(ended);
        store.ended(report);
    }

    fn when_kept(&self, task: Uuid) -> Kept {
        let (shared, me) = (Arc::clone(&self.shared), self.me.0);
        Box::new(move |is_on_disk| {
            readiness::tell(&shared, me, Message::Kept { task, is_on_disk });
            shared.mailboxes[me].ring();
        })
    }

    /// The end of a task is on the disk, or the disk has failed to take it: its readers may have it.
    pub fn kept(&mut self, id: Uuid, is_on_disk: bool) {
        if let Some(task) = self.get(id) {
            task.borrow_mut().kept(is_on_disk);
        }
        self.forget_old();
    }

    /// A promise could not be written down, and its caller was told that there is none.
    pub fn break_promise(&mut self, id: Uuid) {
        match self.get(id) {
            Some(task) if !task.borrow().has_ended() && self.take_back(&task) => {
                self.fail(&task, &ApiError::disk_failed());
                self.reuse_slots();
            }
            Some(_) => {}
            None => {
                if let Some(home) = self.shared.directory.home(id) {
                    self.outbox.send(home, Message::BreakPromise { task: id });
                }
            }
        }
    }

    /// The session's budgets pay for what was spent.
    fn end_turn(&self, record: &TaskRecord, spent: Spending) {
        if let Some(turn) = &record.turn {
            let sessions = &self.shared.sessions;
            sessions.end_turn(&record.owner, turn, self.now(), spent);
        }
    }

    /// Keeps the ended task readable.
    fn retain(&mut self, id: Uuid) {
        self.ended.push_back(id);
        self.forget_old();
    }

    /// Forgets the oldest of those that have ended when there are too many. None whose end the disk does not have
    /// yet, where it can be looked up from then on, as long as the disk may still take it.
    fn forget_old(&mut self) {
        let max = self.shared.limits().finished_tasks_max;
        while self.ended.len() > max
            && let Some(oldest) = self.ended.front().copied()
            && (self.is_settled(oldest) || self.ended.len() > max + GATHERED_MAX)
        {
            self.ended.pop_front();
            if let Some(forgotten) = self.tasks.remove(&oldest) {
                // Its readers wait for nobody else.
                forgotten.borrow_mut().kept(false);
            }
            self.shared.directory.forget(oldest);
        }
    }

    fn is_settled(&self, id: Uuid) -> bool {
        let task = self.tasks.get(&id);
        task.is_none_or(|task| task.borrow().is_settled())
    }

    /// Ends a task because nobody wants it any more.
    pub fn cancel(&mut self, task: &Shown, reason: CancelReason) -> Cancel {
        let error = ApiError::new(
            Code::Canceled,
            match reason {
                CancelReason::Requested => "the task was canceled",
                CancelReason::Disconnected => "the task was canceled: its last reader went away",
            },
        );
        if task.borrow().has_ended() {
            return Cancel::Done;
        }
        if !self.take_back(task) {
            return Cancel::InTransit;
        }
        let canceled = task.borrow();
        let record = &canceled.record;
        let replica = match &canceled.phase {
            Phase::Running(run) => {
                self.replica_counters(&run.replica).canceled(reason);
                Some(&*run.replica)
            }
            Phase::Queued(_) | Phase::Ended(_) => {
                self.counters(&record.pool).canceled(reason);
                None
            }
        };
        logs::canceled(record, replica, canceled.tokens_out, reason);
        drop(canceled);
        self.fail(task, &error);
        self.reuse_slots();
        Cancel::Done
    }

    /// The last reader left a task that ends with its readers.
    pub fn abandon(&mut self, task: &Shown) {
        if self.cancel(task, CancelReason::Disconnected) == Cancel::InTransit {
            task.borrow_mut().abandoned = true;
        }
    }

    /// The last reader had left before the task was stolen, and nobody has come since.
    pub fn abandoned_elsewhere(&mut self, id: Uuid) {
        if let Some(task) = self.get(id)
            && task.borrow().is_unread()
        {
            self.abandon(&task);
        }
    }

    /// Takes a task out of the queue or off its engine. `false`: a thief has it.
    fn take_back(&mut self, task: &Shown) -> bool {
        let task = task.borrow();
        match &task.phase {
            Phase::Queued(ticket) => {
                let queue = &mut self.lane(&task.record.pool).queue;
                queue.remove(*ticket).is_some()
            }
            Phase::Running(run) => {
                // An engine of this process that takes no orders hangs; it will be told nothing more
                // about this sequence, and what it says about it goes nowhere. A server is hung up
                // on when the run is dropped.
                run.replica.order(Order::Cancel {
                    sequence: run.sequence,
                });
                true
            }
            Phase::Ended(_) => true,
        }
    }

    /// Ends running tasks about which their engine has been silent for too long, or for which it has taken
    /// too long as a whole.
    pub fn end_overdue(&mut self) {
        let now = self.now();
        let (silence, total) = {
            let limits = self.shared.limits();
            (limits.timeouts.decode, limits.link.total)
        };
        let why = |task: &Task| match &task.phase {
            Phase::Running(run) if now.since(run.heard) > silence => {
                Some("the engine has stopped answering")
            }
            Phase::Running(run) if now.since(run.started) > total => {
                Some("the engine has taken longer than a task may")
            }
            Phase::Running(_) | Phase::Queued(_) | Phase::Ended(_) => None,
        };
        let running = self.running.values();
        let overdue: Vec<(Shown, &str)> = running
            .filter_map(|task| Some((Rc::clone(task), why(&task.borrow())?)))
            .collect();
        for (task, why) in overdue {
            self.take_back(&task);
            self.fail(&task, &ApiError::new(Code::DecodeTimeout, why));
        }
        self.reuse_slots();
    }

    /// The grace is over. What the journal knows and nobody has read a word of is left for the daemon's next
    /// life; every other task ends with an error event.
    pub fn end_all(&mut self) {
        self.suspend();
        let error = ApiError::new(Code::PoolDraining, "the daemon is shutting down");
        self.end_where(|_| true, &error);
    }

    fn suspend(&mut self) {
        let tasks = self.tasks.values();
        let may_wait: Vec<Shown> = tasks
            .filter(|task| task.borrow().may_wait_for_the_next_life())
            .map(Rc::clone)
            .collect();
        for task in may_wait {
            // In transit: its new home sees to it.
            if !self.take_back(&task) {
                continue;
            }
            let mut suspended = task.borrow_mut();
            let id = suspended.record.id;
            logs::suspended(&suspended.record);
            if let Phase::Running(run) = &suspended.phase {
                self.running.remove(&run.sequence);
            }
            suspended.leave();
            self.tasks.remove(&id);
            self.shared.directory.forget(id);
            self.shared.stages.live_tasks.leave();
        }
    }

    /// Every task of these pools ends with an error event.
    pub fn end_tasks(&mut self, pools: &[PoolKey], error: &ApiError) {
        self.end_where(|task| pools.contains(&task.record.pool.key), error);
    }

    fn end_where(&mut self, chosen: impl Fn(&Task) -> bool, error: &ApiError) {
        let live: Vec<Shown> = self
            .tasks
            .values()
            .filter(|task| !task.borrow().has_ended() && chosen(&task.borrow()))
            .map(Rc::clone)
            .collect();
        // Waiting tasks first: no slot that is freed here starts one of them.
        let (waiting, running): (Vec<_>, Vec<_>) = live
            .into_iter()
            .partition(|task| matches!(task.borrow().phase, Phase::Queued(_)));
        for task in waiting.into_iter().chain(running) {
            // In transit: its new home ends it.
            if !task.borrow().has_ended() && self.take_back(&task) {
                self.fail(&task, error);
            }
        }
        self.reuse_slots();
    }
}
