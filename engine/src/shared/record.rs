//! What travels with a task when it is stolen: everything that was decided at admission.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use orchestratord_gpu::{Generation, Sampling};
use orchestratord_sched::{Admission, Class, Instant, Urgency, placement::Basis};
use uuid::Uuid;

use crate::{
    api::task::{KvHint, OnDisconnect, Submission},
    identity::Identity,
    shared::{replica::Replica, sessions::Turn, snapshot::Pool},
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
    /// When it was admitted.
    pub admitted: Instant,
    /// The same on the calendar, in milliseconds since 1970.
    pub admitted_unix_ms: u64,
    /// When its last token is wanted.
    pub deadline: Option<Instant>,
    /// Tasks ahead at admission.
    pub queue_position: u32,
    /// The wait predicted at admission.
    pub predicted_start: Duration,
    /// How long a caller with more work should wait before the next request.
    pub backoff: Duration,
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
            flow: self.owner.flow(),
            urgency: Urgency::new(self.class(), self.admitted, self.deadline),
            expected_tokens: self.submission.expected_tokens,
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
            session: self.turn.as_ref().map(|turn| turn.key),
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
