//! What travels with a task when it is stolen: everything that was decided at admission.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use orchestratord_gpu::{Generation, Sampling};
use orchestratord_sched::{Admission, Class, Instant, Share, Urgency, placement::Basis};
use uuid::Uuid;

use crate::{
    api::{
        task::{KvHint, OnDisconnect, Submission},
        whole_ms,
    },
    identity::Identity,
    shared::{replica::Replica, sessions::Turn, snapshot::Pool},
    store::task::{Answer, PoolName, Promise},
    trace::TraceId,
};

/// An admitted task, as it was admitted. It never changes, but for the name of what it leaves behind:
/// a task that is moved to another pool while it waits has another record from then on.
#[derive(Clone, Debug)]
pub struct TaskRecord {
    /// Its id.
    pub id: Uuid,
    /// The request as it came, for comparing it with one that brings the same id.
    pub submission: Submission,
    /// The caller's seed, or one that was drawn: with it the text can be had again.
    pub seed: u64,
    /// Whose it is.
    pub owner: Identity,
    /// The request that made it, for logs.
    pub correlation_id: String,
    /// The trace that the request belongs to.
    pub trace: TraceId,
    /// The turn of its session that it is.
    pub turn: Option<Turn>,
    /// The pool that took it.
    pub pool: Arc<Pool>,
    /// What made that pool the one.
    pub basis: Basis,
    /// When it was admitted, or came back from the journal.
    pub admitted: Instant,
    /// The same on the calendar, in milliseconds since 1970.
    pub since_unix_ms: u64,
    /// When it was admitted first, likewise.
    pub admitted_unix_ms: u64,
    /// When its last token is wanted.
    pub deadline: Option<Instant>,
    /// Tasks ahead at admission.
    pub queue_position: u32,
    /// The wait predicted at admission.
    pub predicted_start: Duration,
    /// How long a caller with more work should wait before the next request.
    pub backoff: Duration,
    /// Whether the journal knows it.
    pub is_promised: bool,
    /// Where it has failed before it had said anything.
    pub tried: Tried,
    /// The artifact that is its transcript: written by the store's thread once it is on the disk.
    pub transcript: OnceLock<String>,
}

/// The servers that have failed a task. Only its home writes and reads it; it goes along when the task is
/// stolen.
#[derive(Clone, Debug, Default)]
pub struct Tried(Arc<Mutex<Vec<Weak<Replica>>>>);

impl Tried {
    /// It has failed here.
    pub fn add(&self, replica: &Arc<Replica>) {
        self.lock().push(Arc::downgrade(replica));
    }

    /// How often it has failed.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Whether it has failed here.
    pub fn has(&self, replica: &Arc<Replica>) -> bool {
        let here = Arc::downgrade(replica);
        self.lock().iter().any(|tried| tried.ptr_eq(&here))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Replica>>> {
        // Nothing that is done under it can leave a half behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskRecord {
    /// What it says of itself when it asks for a place in the queue.
    pub fn admission(&self) -> Admission {
        Admission {
            share: Share::All,
            flow: self.owner.flow(),
            urgency: Urgency::new(self.class(), self.admitted, self.deadline),
            expected_tokens: self.submission.expected_tokens,
        }
    }

    /// What the journal is to know of it: `body` is its request.
    pub fn promise(&self, body: &[u8]) -> Promise {
        let until_ms = |deadline: Instant| whole_ms(deadline.since(self.admitted));
        Promise {
            id: self.id,
            number: 0,
            owner: self.owner.to_string(),
            correlation_id: self.correlation_id.clone(),
            trace_id: self.trace.to_string(),
            seed: self.seed,
            turn: self.turn.as_ref().map(Into::into),
            pool: PoolName {
                id: self.pool.id.clone(),
                engine: self.pool.kind.name().to_owned(),
                model: self.pool.model.clone(),
                slots: self.pool.settings.slots,
            },
            chosen_by: self.basis.name().to_owned(),
            admitted_unix_ms: self.admitted_unix_ms,
            deadline_unix_ms: self.deadline.map(|it| self.since_unix_ms + until_ms(it)),
            answer: Answer {
                queue_position: self.queue_position,
                predicted_start_ms: whole_ms(self.predicted_start),
                backoff_ms: whole_ms(self.backoff),
            },
            body: String::from_utf8_lossy(body).into_owned(),
        }
    }

    /// Its class.
    pub fn class(&self) -> Class {
        self.submission.priority.into()
    }

    /// What its engine is asked.
    pub fn generation(&self) -> Generation {
        Generation {
            input: self.submission.input.clone(),
            max_tokens: self.submission.max_tokens,
            sampling: Sampling {
                seed: self.seed,
                ..self.submission.sampling
            },
            stop: self.submission.stop.clone(),
            session: self.turn.as_ref().map(|turn| turn.life.key),
            reuse: self.submission.kv_hint == KvHint::Reuse,
            traceparent: Some(self.trace.new_span()),
        }
    }

    /// Whether this replica keeps the KV cache of its session, for it to be used again.
    pub fn is_warm_on(&self, replica: &Arc<Replica>) -> bool {
        let last = self.preferred_replica();
        last.is_some_and(|last| Arc::ptr_eq(&last, replica))
            && self.turn.as_ref().is_some_and(|turn| turn.is_warm)
    }

    /// The replica that the last turn of its session ran on, if what it left there is to be used again.
    pub fn preferred_replica(&self) -> Option<Arc<Replica>> {
        if self.submission.kv_hint == KvHint::Cold || !self.submission.generates_text() {
            return None;
        }
        self.turn.as_ref()?.last.as_ref()?.upgrade()
    }

    /// Whether it ends with its last reader.
    pub fn ends_with_readers(&self) -> bool {
        self.submission.on_disconnect == OnDisconnect::Cancel
    }
}
