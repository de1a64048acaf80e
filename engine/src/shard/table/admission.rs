//! Who is let in: what is decided about a task before it waits.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use orchestratord_sched::{
    Admission, Class, Feasibility, Flow, Full, Load, Policy, ShardId, Share, admission,
    placement::Basis,
};
use uuid::Uuid;

use super::Table;
use crate::{
    api::{
        error::{ApiError, Code},
        task::Submission,
    },
    clock,
    identity::Identity,
    logs,
    metrics::RejectReason,
    shard::task::{Phase, Task},
    shared::{
        record::{TaskRecord, Tried},
        sessions::Turn,
        snapshot::Pool,
    },
    store::settings::Durability,
    trace::TraceId,
};

/// What refuses a caller who has as much of the queue as is left, as it is told to them.
const SHARE: &str = "admission_share";

/// A submission whose pool is found.
pub struct Application {
    /// Its id, claimed in the directory.
    pub id: Uuid,
    /// The pool.
    pub pool: Arc<Pool>,
    /// What made it the one.
    pub basis: Basis,
    /// The turn of its session that it is.
    pub turn: Option<Turn>,
    /// What is asked.
    pub submission: Submission,
    /// Who asks.
    pub owner: Identity,
    /// In which request.
    pub correlation_id: String,
    /// In which trace.
    pub trace: TraceId,
}

/// Why an application was turned away, for the metrics and for the caller.
pub type Rejected = (RejectReason, ApiError);

impl Table {
    /// Puts a task into the queue, and to work if there is a slot.
    ///
    /// # Errors
    ///
    /// Why it is turned away: its deadline, or a full queue.
    pub fn admit(&mut self, application: Application) -> Result<Arc<TaskRecord>, Rejected> {
        let (owner, turn) = (application.owner.clone(), application.turn.clone());
        let admitted = self.try_admit(application);
        if admitted.is_err()
            && let Some(turn) = turn
        {
            self.shared.sessions.call_off(&owner, &turn);
        }
        admitted
    }

    fn try_admit(&mut self, application: Application) -> Result<Arc<TaskRecord>, Rejected> {
        let pool = Arc::clone(&application.pool);
        let record = Arc::new(self.record(application)?);
        let mut admission = Admission {
            share: self.shared.limits().share,
            ..record.admission()
        };
        let mut task = Arc::clone(&record);
        // A task that expects many tokens may take the room of several.
        let admitted = loop {
            match self.lane(&pool).queue.admit(admission, task) {
                Ok(admitted) => break admitted,
                Err(refused) => {
                    self.make_room(&record, refused.full)?;
                    if refused.full == Full::Share {
                        // It has the place of one of its own.
                        admission.share = Share::All;
                    }
                    task = refused.task;
                }
            }
        };
        self.counters(&pool).enqueued(record.class());
        self.shared.stages.live_tasks.enter();
        logs::admitted(&record);
        self.put(Task::new(
            Arc::clone(&record),
            Phase::Queued(admitted.ticket),
        ));
        self.look_for_work(&pool);
        Ok(record)
    }

    /// A task of an earlier life of the daemon waits again.
    pub fn restore(&mut self, record: Arc<TaskRecord>) {
        let pool = Arc::clone(&record.pool);
        let queue = &mut self.lane(&pool).queue;
        let ticket = queue.restore(record.admission(), Arc::clone(&record));
        self.counters(&pool).enqueued(record.class());
        self.shared.stages.live_tasks.enter();
        logs::restored(&record);
        self.put(Task::new(record, Phase::Queued(ticket)));
        self.look_for_work(&pool);
    }

    /// The shard that can make room for a newcomer, if this one should not even try.
    pub fn makes_room(&mut self, pool: &Pool, newcomer: Class) -> Option<ShardId> {
        if !pool.is_full() || !drops_for_newcomers(pool) {
            return None;
        }
        let shard = self.lane(pool).queue.oldest_at(newcomer)?;
        (shard != self.me).then_some(shard)
    }

    /// There is no room: what the pool's policy does for a newcomer.
    fn make_room(&mut self, newcomer: &TaskRecord, full: Full) -> Result<(), Rejected> {
        let pool = &newcomer.pool;
        if !drops_for_newcomers(pool) {
            return Err(self.no_room(newcomer, full));
        }
        let queue = &mut self.lane(pool).queue;
        let dropped = match full {
            Full::Share => queue.drop_oldest_of(newcomer.owner.flow(), newcomer.class()),
            Full::Tasks | Full::Tokens => queue.drop_oldest(newcomer.class()),
        };
        let (_, dropped) = dropped.ok_or_else(|| self.no_room(newcomer, full))?;
        let task = self
            .get(dropped.id)
            .expect("a queued task stands in the table");
        let message = "the task was dropped from a full queue for a newer one; send it again";
        self.fail(&task, &ApiError::new(Code::QueueFullDropLru, message));
        Ok(())
    }

    /// What is decided about a task before it is admitted.
    fn record(&mut self, application: Application) -> Result<TaskRecord, Rejected> {
        let Application {
            id,
            pool,
            basis,
            turn,
            submission,
            owner,
            correlation_id,
            trace,
        } = application;
        let load = load_ahead(&pool, owner.flow(), submission.priority.into());
        let backoff = self.backoff(&pool);
        let (now, unix_ms) = (self.now(), clock::unix_ms());
        let estimate = &self.lane(&pool).estimate;
        if let Some(deadline) = submission.deadline
            && Feasibility::of(estimate, submission.text(0), deadline) == Feasibility::Infeasible
        {
            let message = "`deadline_ms` can't be met: the work alone takes longer than that";
            return Err((
                RejectReason::Deadline,
                ApiError::new(Code::DeadlineUnmet, message),
            ));
        }
        Ok(TaskRecord {
            id,
            seed: submission.seed.unwrap_or_else(clock::new_seed),
            owner,
            correlation_id,
            trace,
            turn,
            admitted: now,
            since_unix_ms: unix_ms,
            admitted_unix_ms: unix_ms,
            deadline: submission.deadline.map(|deadline| now + deadline),
            queue_position: load.tasks_ahead,
            predicted_start: estimate.predicted_start(load),
            backoff,
            submission,
            pool,
            basis,
            is_promised: self.shared.store.durability() != Durability::Off,
            tried: Tried::default(),
            transcript: OnceLock::new(),
        })
    }

    /// None while there is room for another task.
    fn backoff(&mut self, pool: &Pool) -> Duration {
        if pool.is_full() {
            self.retry_after(pool, pool.queue_depth())
        } else {
            Duration::ZERO
        }
    }

    /// When it is worth coming back, if so many tasks must start before there is room.
    fn retry_after(&mut self, pool: &Pool, tasks_ahead: u32) -> Duration {
        admission::retry_after(&self.lane(pool).estimate, load(pool, tasks_ahead))
    }

    fn no_room(&mut self, newcomer: &TaskRecord, full: Full) -> Rejected {
        let (pool, class) = (&newcomer.pool, newcomer.class());
        let policy = pool.admission_policy();
        let code = match policy {
            Policy::Reject => Code::AdmissionReject,
            Policy::DropLru => Code::QueueFullDropLru,
        };
        // The room that a full queue lacks is anybody's; a caller's share has room when theirs have started.
        let (reason, policy_label, tasks_ahead, message) = match (full, policy) {
            (Full::Share, _) => (
                RejectReason::QueueShare,
                SHARE,
                pool.scheduling.ahead_of(newcomer.owner.flow(), class),
                "as many of your tasks wait as places are left for others; come back later",
            ),
            (_, Policy::Reject) => (
                RejectReason::QueueFull,
                policy.name(),
                pool.queue_depth(),
                "the queue is full; come back later",
            ),
            (_, Policy::DropLru) => (
                RejectReason::QueueFull,
                policy.name(),
                pool.queue_depth(),
                "the queue is full of tasks that go before this one; come back later",
            ),
        };
        let error = ApiError {
            policy_label: Some(policy_label),
            ..ApiError::new(code, message)
        };
        (reason, error.after(self.retry_after(pool, tasks_ahead)))
    }
}

/// What stands between a newcomer of this caller and class and its slot.
fn load_ahead(pool: &Pool, flow: Flow, class: Class) -> Load {
    load(pool, pool.scheduling.ahead_of(flow, class))
}

fn load(pool: &Pool, tasks_ahead: u32) -> Load {
    Load {
        tasks_ahead,
        // Those that are not offered now will be again.
        slots_total: pool.slots_total(),
        slots_free: pool.scheduling.slots_free(),
    }
}

/// Whether room is made in a full queue. A queue that is longer than it may be by now must shrink first:
/// one task less in it makes no room.
fn drops_for_newcomers(pool: &Pool) -> bool {
    pool.admission_policy() == Policy::DropLru && pool.queue_depth() <= pool.admission_capacity()
}
