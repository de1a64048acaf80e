//! One task at its home: its state, its event log, its readers.
//!
//! The log is the one truth about a task: what readers see is what was appended, and nothing can
//! be appended to a closed log. That is why a cancel is race-free: it closes the log before it is
//! answered.

use std::{sync::Arc, task::Waker, time::Duration};

use orchestratord_gpu::{SequenceKey, event::Finish};
use orchestratord_http::sse_log::Log;
use orchestratord_sched::{Bill, Instant, Lease, TaskEvent, TaskState, Ticket};

use crate::{
    api::{
        self,
        error::{ApiError, Code},
        event::{self, End, Metrics, MetricsVerbose, Started, StartedVerbose, Usage},
        preparation::Preparation,
        task::{Placement, Streams, TaskView, Timings},
    },
    shard::upstream::Line,
    shared::{
        record::TaskRecord,
        replica::{Reach, Replica},
    },
};

/// The least time between two `metrics` events of one stream.
const METRICS_INTERVAL: Duration = Duration::from_millis(250);

/// Where a task stands, with what belongs to that stand.
pub enum Phase {
    /// In this shard's queue, or on its way to a thief who has not told us yet.
    Queued(Ticket),
    /// On a slot.
    Running(Run),
    /// Its log is closed.
    Ended(Ending),
}

/// What a running task holds.
pub struct Run {
    /// Its slot.
    pub lease: Lease,
    /// What its caller's share was charged, to be settled when it ends.
    pub bill: Bill,
    /// The replica that the slot is of.
    pub replica: Arc<Replica>,
    /// What its engine calls it.
    pub sequence: SequenceKey,
    /// When it got the slot.
    pub started: Instant,
    /// When its first token came.
    pub first_token: Option<Instant>,
    /// When the engine last said something about it.
    pub heard: Instant,
    /// To its engine, if that is a server: dropped with the run, which ends what it still generates.
    pub line: Option<Line>,
    /// When its last `metrics` event was appended.
    measured: Option<Instant>,
}

impl Run {
    /// A run that begins now.
    pub fn new(
        lease: Lease,
        bill: Bill,
        replica: Arc<Replica>,
        sequence: SequenceKey,
        now: Instant,
    ) -> Self {
        Self {
            lease,
            bill,
            replica,
            sequence,
            started: now,
            first_token: None,
            heard: now,
            line: None,
            measured: None,
        }
    }

    fn reach(&self) -> &Reach {
        &self.replica.reach
    }
}

/// What is left of a task that ended.
#[derive(Clone)]
pub struct Ending {
    error: Option<Code>,
    replica_id: Option<String>,
    started: Option<Instant>,
    first_token: Option<Instant>,
    ended: Instant,
}

/// How far the end of a task is on its way to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    /// It is there, or it has not ended, or it is not to go there.
    Settled,
    /// Its readers wait for it.
    Awaited,
    /// The disk has failed to take it, and is tried again.
    Owed,
}

/// One task at home.
pub struct Task {
    /// What was decided at admission.
    pub record: Arc<TaskRecord>,
    /// Its events.
    pub log: Log,
    /// Where it stands.
    pub phase: Phase,
    /// Tokens of the prompt, once the engine has counted them; some never tell.
    pub tokens_in: Option<u32>,
    /// Of these, those that were in the KV cache already, once the engine has told.
    pub tokens_cached: Option<u32>,
    /// Tokens generated.
    pub tokens_out: u32,
    /// Its last reader left while a thief had it.
    pub abandoned: bool,
    state: TaskState,
    /// A thief has it: readers go on to the directory's answer.
    moved: bool,
    keeping: Keeping,
    readers: usize,
    /// Readers in the middle of a write.
    writes: usize,
    waiting: Vec<Waker>,
}

impl Task {
    /// A task that waits, or is about to start.
    pub fn new(record: Arc<TaskRecord>, phase: Phase) -> Self {
        Self {
            record,
            log: Log::new(),
            phase,
            tokens_in: None,
            tokens_cached: None,
            tokens_out: 0,
            abandoned: false,
            state: TaskState::Queued,
            moved: false,
            keeping: Keeping::Settled,
            readers: 0,
            writes: 0,
            waiting: Vec::new(),
        }
    }

    /// Its state's name.
    pub fn state(&self) -> &'static str {
        self.state.name()
    }

    /// Whether its log is closed.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// Whether its readers must look elsewhere.
    pub fn has_moved(&self) -> bool {
        self.moved
    }

    /// Its end is on its way to the disk, and its readers have to wait for it until it is there: unless they
    /// are told of a cancel, which takes nothing back.
    pub fn await_keeping(&mut self, is_canceled: bool) {
        self.keeping = Keeping::Awaited;
        if !is_canceled {
            self.log.hold();
        }
    }

    /// Its end is on the disk, or the disk has failed to take it: nobody waits any more.
    pub fn kept(&mut self, is_on_disk: bool) {
        self.keeping = match is_on_disk {
            true => Keeping::Settled,
            false => Keeping::Owed,
        };
        self.log.release();
        self.wake_readers();
    }

    /// Whether its end is on its way to the disk, and somebody waits for that.
    pub fn is_being_kept(&self) -> bool {
        self.keeping == Keeping::Awaited
    }

    /// Whether the disk has its end, as far as it is to have it.
    pub fn is_settled(&self) -> bool {
        self.keeping == Keeping::Settled
    }

    /// A thief has it: its readers are told.
    pub fn leave(&mut self) {
        self.moved = true;
        self.wake_readers();
    }

    /// One more reader.
    pub fn attach(&mut self) {
        self.readers += 1;
    }

    /// One reader less. Whether the task was abandoned by that: nobody reads it, and it is one
    /// that ends with its readers.
    pub fn detach(&mut self) -> bool {
        self.readers -= 1;
        let wanted = self.moved || self.has_ended() || !self.record.ends_with_readers();
        self.is_unread() && !wanted
    }

    /// Whether nobody reads it.
    pub fn is_unread(&self) -> bool {
        self.readers == 0
    }

    /// One of the readers writes.
    pub fn begin_write(&mut self) {
        self.writes += 1;
    }

    /// It has written, or its client is gone.
    pub fn end_write(&mut self) {
        self.writes -= 1;
        if self.writes == 0 && self.has_ended() {
            self.wake_readers();
        }
    }

    /// Whether one of the readers is in the middle of a write.
    pub fn is_being_written(&self) -> bool {
        self.writes > 0
    }

    /// Wakes `reader` when the log grows or the task moves.
    pub fn notify(&mut self, reader: &Waker) {
        if !self.waiting.iter().any(|waiting| waiting.will_wake(reader)) {
            self.waiting.push(reader.clone());
        }
    }

    fn wake_readers(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }

    fn advance(&mut self, event: TaskEvent) {
        self.state = self
            .state
            .next(event)
            .expect("only queued and running tasks are advanced, each along the table");
    }

    /// It got a slot. On an engine of this process its stream begins; a server may yet turn out to be
    /// broken, and then it runs elsewhere as if nothing had happened.
    pub fn start(&mut self, run: Run) {
        self.advance(TaskEvent::Start);
        let is_sure = matches!(run.reach(), Reach::Local(_));
        self.phase = Phase::Running(run);
        if is_sure {
            self.begin();
        }
    }

    /// Whether nothing was said of it yet.
    pub fn has_not_begun(&self) -> bool {
        self.log.is_empty()
    }

    /// The stream begins, if it has not.
    pub fn begin(&mut self) {
        let Phase::Running(run) = &self.phase else {
            return;
        };
        if !self.log.is_empty() {
            return;
        }
        let started = Started {
            queue_position: self.record.queue_position,
            predicted_start_ms: api::whole_ms(self.record.predicted_start),
        };
        let verbose = StartedVerbose {
            started,
            pool_id: &self.record.pool.id,
            replica_id: &run.replica.id,
            kv_warmth: if self.record.is_warm_on(&run.replica) {
                1.0
            } else {
                0.0
            },
        };
        let (plain, verbose) = (api::json(&started), api::json(&verbose));
        self.log.append_by_audience("started", &plain, &verbose);
        self.wake_readers();
    }

    /// It waits again, under this ticket. What it held while it ran, if it did.
    pub fn wait_again(&mut self, ticket: Ticket) -> Option<Run> {
        self.advance(TaskEvent::Return);
        match std::mem::replace(&mut self.phase, Phase::Queued(ticket)) {
            Phase::Running(run) => Some(run),
            Phase::Queued(_) | Phase::Ended(_) => None,
        }
    }

    /// Whether it may wait for the daemon's next life: the journal knows it, and nobody has read a word of it.
    pub fn may_wait_for_the_next_life(&self) -> bool {
        let has_said_nothing = self.tokens_out == 0 && !self.has_ended();
        self.record.is_promised && has_said_nothing && !self.record.ends_with_readers()
    }

    /// A token came. `scratch` is memory to write in. Whether `metrics` are due.
    pub fn token(&mut self, text: &str, scratch: &mut Vec<u8>) {
        scratch.clear();
        event::token(scratch, text, self.tokens_out);
        self.log.append("token", scratch);
        self.tokens_out += 1;
        self.wake_readers();
    }

    /// How much of its prompt was found in the KV cache, from 0 to 1; nothing, as far as nobody has told.
    pub fn kv_warmth(&self) -> f64 {
        let [cached, all] = [self.tokens_cached, self.tokens_in].map(Option::unwrap_or_default);
        f64::from(cached) / f64::from(all.max(1))
    }

    /// Tokens in and out, as far as they are known.
    pub fn tokens_known(&self) -> u32 {
        self.tokens_in
            .unwrap_or_default()
            .saturating_add(self.tokens_out)
    }

    /// Whether a `metrics` event is due; if so, the next is due an interval from now.
    pub fn metrics_due(&mut self, now: Instant) -> bool {
        let Phase::Running(run) = &mut self.phase else {
            return false;
        };
        let due = run
            .measured
            .is_none_or(|measured| now.since(measured) >= METRICS_INTERVAL);
        if due {
            run.measured = Some(now);
        }
        due
    }

    /// Tells the readers how things stand.
    pub fn measure(&mut self, metrics: Metrics) {
        let verbose = MetricsVerbose {
            metrics,
            prep: Preparation::default(),
            human: "The task is generating.",
        };
        let (plain, verbose) = (api::json(&metrics), api::json(&verbose));
        self.log.append_by_audience("metrics", &plain, &verbose);
    }

    /// The engine has finished: the stream ends well.
    pub fn finish(&mut self, finish: Finish, now: Instant) -> Option<Run> {
        let decode_ms = api::whole_ms(self.decode_time(now));
        let end = End {
            tokens_out: self.tokens_out,
            decode_time_ms: decode_ms,
            decode_ms,
            finish_reason: finish.name(),
            usage: Usage {
                prompt_tokens: self.tokens_in,
                completion_tokens: self.tokens_out,
                total_tokens: self
                    .tokens_in
                    .map(|tokens| tokens.saturating_add(self.tokens_out)),
                cached_tokens: self.tokens_cached,
            },
        };
        self.log.close("end", &api::json(&end));
        self.close(TaskEvent::Finish, None, now)
    }

    /// The stream ends with an error: canceled, or failed.
    pub fn break_off(&mut self, error: &ApiError, engine: &str, now: Instant) -> Option<Run> {
        self.begin();
        self.log.close("error", &event::error(error, engine));
        let event = match error.code {
            Code::Canceled => TaskEvent::Cancel,
            _ => TaskEvent::Fail,
        };
        self.close(event, Some(error.code), now)
    }

    /// What it held while it ran is handed back.
    fn close(&mut self, event: TaskEvent, error: Option<Code>, now: Instant) -> Option<Run> {
        self.advance(event);
        self.wake_readers();
        let ending = Ending {
            error,
            ended: now,
            ..self.so_far()
        };
        match std::mem::replace(&mut self.phase, Phase::Ended(ending)) {
            Phase::Running(run) => Some(run),
            Phase::Queued(_) | Phase::Ended(_) => None,
        }
    }

    /// From the first token until `now`, or until it ended.
    pub fn decode_time(&self, now: Instant) -> Duration {
        let (first_token, last) = match &self.phase {
            Phase::Queued(_) => (None, now),
            Phase::Running(run) => (run.first_token, now),
            Phase::Ended(ending) => (ending.first_token, ending.ended),
        };
        first_token.map_or(Duration::ZERO, |first| last.since(first))
    }

    /// What must be done before it can start, at this time of the daemon's clock.
    pub fn preparation(&self, now: Duration) -> Preparation {
        match self.phase {
            Phase::Queued(_) => Preparation::before_tasks(&self.record.pool, now),
            Phase::Running(_) | Phase::Ended(_) => Preparation::default(),
        }
    }

    /// What `GET /v2/tasks/{id}` says, at this time of the daemon's clock.
    pub fn view(&self, now: Duration) -> TaskView {
        let record = &self.record;
        let ending = self.so_far();
        let unix_ms = |at: Instant| record.since_unix_ms + api::whole_ms(at.since(record.admitted));
        TaskView {
            task_id: record.id,
            state: self.state.name(),
            session_id: record.submission.session_id,
            priority: record.submission.priority,
            queue_position: record.queue_position,
            predicted_start_ms: api::whole_ms(record.predicted_start),
            timings: Timings {
                admitted_ms: record.admitted_unix_ms,
                started_ms: ending.started.map(unix_ms),
                first_token_ms: ending.first_token.map(unix_ms),
                ended_ms: self.has_ended().then(|| unix_ms(ending.ended)),
            },
            placement: Placement {
                pool_id: record.pool.id.clone(),
                replica_id: ending.replica_id,
                chosen_by: record.basis.name(),
            },
            preparation: self.preparation(now),
            tokens_in: self.tokens_in,
            tokens_out: self.tokens_out,
            error: ending.error.map(Code::name),
            transcript_artifact_id: record.transcript.get().cloned(),
            streams: Streams::of(record.id),
        }
    }

    /// What an ending would keep of it now.
    fn so_far(&self) -> Ending {
        let nothing = Ending {
            error: None,
            replica_id: None,
            started: None,
            first_token: None,
            ended: self.record.admitted,
        };
        match &self.phase {
            Phase::Queued(_) => nothing,
            Phase::Ended(ending) => ending.clone(),
            Phase::Running(run) => Ending {
                replica_id: Some(run.replica.id.clone()),
                started: Some(run.started),
                first_token: run.first_token,
                ..nothing
            },
        }
    }
}
