//! Who is let in: what is decided about a task before it waits.

use std::{sync::Arc, time::Duration};

use orchestratord_sched::{
    Admission, Class, Feasibility, Load, Policy, ShardId, Urgency, admission,
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
    shared::record::TaskRecord,
};

/// A submission whose pool is found.
pub struct Application {
    /// Its id, claimed in the directory.
    pub id: Uuid,
    /// The pool, by its place in the snapshot.
    pub pool: usize,
    /// What is asked.
    pub submission: Submission,
    /// Who asks.
    pub owner: Identity,
    /// In which request.
    pub correlation_id: String,
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
        let pool = application.pool;
        let record = Arc::new(self.record(application)?);
        let admission = Admission {
            urgency: Urgency::new(record.class(), record.admitted, record.deadline),
            expected_tokens: record.submission.expected_tokens,
        };
        let queue = &mut self.queues[pool];
        let admitted = match queue.admit(admission, Arc::clone(&record)) {
            Ok(admitted) => admitted,
            Err(refused) => {
                self.make_room(pool, record.class())?;
                self.queues[pool]
                    .admit(admission, refused.task)
                    .map_err(|_| self.queue_full(pool))?
            }
        };
        self.counters(pool).enqueued(record.class());
        self.shared.stages.live_tasks.enter();
        logs::admitted(&record, self.pool(pool));
        self.put(Task::new(
            Arc::clone(&record),
            Phase::Queued(admitted.ticket),
        ));
        self.look_for_work(pool);
        Ok(record)
    }

    /// The shard that can make room for a newcomer, if this one should not even try.
    pub fn makes_room(&self, pool: usize, newcomer: Class) -> Option<ShardId> {
        let full = self.pool(pool).queue_depth() >= self.pool(pool).admission_capacity;
        if !full || self.pool(pool).admission_policy == Policy::Reject {
            return None;
        }
        let shard = self.queues[pool].oldest_at(newcomer)?;
        (shard != self.me).then_some(shard)
    }

    /// The queue is full: what its policy does for a newcomer.
    fn make_room(&mut self, pool: usize, newcomer: Class) -> Result<(), Rejected> {
        if self.pool(pool).admission_policy == Policy::Reject {
            return Err(self.queue_full(pool));
        }
        let (_, dropped) = self.queues[pool]
            .drop_oldest(newcomer)
            .ok_or_else(|| self.queue_full(pool))?;
        let task = self
            .get(dropped.id)
            .expect("a queued task stands in the table");
        let message = "the task was dropped from a full queue for a newer one; send it again";
        self.fail(&task, &ApiError::new(Code::QueueFullDropLru, message));
        Ok(())
    }

    /// What is decided about a task before it is admitted.
    fn record(&self, application: Application) -> Result<TaskRecord, Rejected> {
        let Application {
            id,
            pool,
            submission,
            owner,
            correlation_id,
        } = application;
        let estimate = &self.estimates[pool];
        let load = self.load_ahead(pool, submission.priority.into());
        let now = self.now();
        if let Some(deadline) = submission.deadline
            && Feasibility::of(estimate, submission.expected_tokens, deadline)
                == Feasibility::Infeasible
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
            pool,
            admitted: now,
            admitted_unix_ms: clock::unix_ms(),
            deadline: submission.deadline.map(|deadline| now + deadline),
            queue_position: load.tasks_ahead,
            predicted_start: estimate.predicted_start(load),
            backoff: self.backoff(pool),
            submission,
        })
    }

    fn load_ahead(&self, pool: usize, class: Class) -> Load {
        let scheduling = &self.pool(pool).scheduling;
        let interactive = scheduling.queued(Class::Interactive);
        Load {
            tasks_ahead: match class {
                Class::Interactive => interactive,
                Class::Batch => interactive + scheduling.queued(Class::Batch),
            },
            // Those that are not offered now will be again.
            slots_total: self.pool(pool).slots_total(),
            slots_free: scheduling.slots_free(),
        }
    }

    /// None while there is room for another task.
    fn backoff(&self, pool: usize) -> Duration {
        if self.pool(pool).queue_depth() < self.pool(pool).admission_capacity {
            return Duration::ZERO;
        }
        self.retry_after(pool)
    }

    /// When it is worth coming back.
    fn retry_after(&self, pool: usize) -> Duration {
        admission::retry_after(&self.estimates[pool], self.load_ahead(pool, Class::Batch))
    }

    fn queue_full(&self, pool: usize) -> Rejected {
        let policy = self.pool(pool).admission_policy;
        let (code, message) = match policy {
            Policy::Reject => (Code::AdmissionReject, "the queue is full; come back later"),
            Policy::DropLru => (
                Code::QueueFullDropLru,
                "the queue is full of tasks that go before this one; come back later",
            ),
        };
        let error = ApiError {
            policy_label: Some(policy.name()),
            ..ApiError::new(code, message)
        };
        (RejectReason::QueueFull, error.after(self.retry_after(pool)))
    }
}
