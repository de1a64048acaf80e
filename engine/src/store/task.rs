//! The journal: tasks that were promised, and what became of them.
//!
//! ```text
//!   accepted ──► promise ──────────────────────────► outcome ──► forgotten, the oldest first
//!                   └─ its text begins: a mark ─┘
//! ```
//!
//! A promise holds the request as it came, so that the task can be admitted again. Once its text has begun, somebody may have
//! read of it, and it is not begun again: a daemon that finds the mark after a crash ends the task with
//! an error ([`super::recovery`]). An outcome is what `GET /v2/tasks/{id}` says, and no word of what was
//! asked or generated: of the request only a digest stays, to know it again.
//!
//! A task may end on another shard before its own has handed the promise in. So what comes second finds what
//! came first, whichever that is.

use std::sync::Arc;

use futures_channel::oneshot;
use orchestratord_http::sse;
use orchestratord_sched::{TaskState, budget::Spending, placement::Basis};
use redb::{ReadableTable as _, TableDefinition, TableHandle as _};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Fault, Store, Work,
    artifact::Viewer,
    books::Books,
    listing,
    replay::read_back,
    session::{self, Change, TurnOf},
    settings::Durability,
    transcript,
};
use crate::{
    api::{
        self,
        error::{ApiError, Code},
        event,
        preparation::Preparation,
        task::{Placement, Streams, Submission, TaskView, Timings},
    },
    digest::Digest,
    shared::{record::TaskRecord, sessions::Turn},
};

/// Tasks that were accepted and have not ended, by their ids, as JSON.
pub const PROMISES: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("task_promises");
/// Tasks whose text has begun.
pub const BEGUN: TableDefinition<'_, u128, ()> = TableDefinition::new("task_begun");
/// Tasks that have ended, by their ids, as JSON.
pub const OUTCOMES: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("task_outcomes");
/// The ids of those, in the order of their ends.
pub const OUTCOME_AGES: TableDefinition<'_, u64, u128> = TableDefinition::new("task_outcome_ages");

/// Where a task waits: enough to make the pool again, if a worker had brought it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PoolName {
    /// Its id.
    pub id: String,
    /// Its engine.
    pub engine: String,
    /// Its model.
    pub model: String,
    /// Slots of a replica.
    pub slots: u32,
}

/// A task that was accepted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Promise {
    /// Its id.
    pub id: Uuid,
    /// Its place among all promises: the smallest was given first. The store's own.
    #[serde(default)]
    pub number: u64,
    /// Whose it is, as [`crate::identity::Identity`] is written.
    pub owner: String,
    /// Of the request that brought it.
    pub correlation_id: String,
    /// Of the same, as 32 hexadecimal digits.
    pub trace_id: String,
    /// With which its text can be had again.
    pub seed: u64,
    /// The turn that it is, if it is one.
    #[serde(default)]
    pub turn: Option<TurnOf>,
    /// Where it waits.
    pub pool: PoolName,
    /// What made that pool the one.
    pub chosen_by: String,
    /// When, in milliseconds since 1970.
    pub admitted_unix_ms: u64,
    /// Until when its last token is wanted, likewise.
    pub deadline_unix_ms: Option<u64>,
    /// What was answered.
    pub answer: Answer,
    /// The request, word for word.
    pub body: String,
}

/// What the caller was told that can't be told from the task.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// See [`crate::api::task::Accepted`].
    pub queue_position: u32,
    /// Likewise.
    pub predicted_start_ms: u64,
    /// Likewise.
    pub backoff_ms: u64,
}

/// What became of a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Whose it was.
    pub(super) owner: String,
    /// What is said of it.
    pub(super) view: Value,
    /// The request and its answer, once the promise has come.
    #[serde(default)]
    asked: Option<Asked>,
    /// The events of its stream, if none of them is of its text.
    #[serde(default)]
    pub(super) events: Option<Vec<Value>>,
    /// Whether the stream had others, which a crash has taken.
    #[serde(default)]
    pub(super) is_cut: bool,
}

/// How a task has ended.
#[derive(Debug)]
pub struct End<'e> {
    /// What is said of it.
    pub view: Value,
    /// The turn that it was, and what that has spent.
    pub turn: Option<(&'e Turn, Spending)>,
    /// The events of its stream, if none of them is of its text.
    pub events: Option<Vec<Value>>,
    /// Whether the stream had others, which a crash has taken.
    pub is_cut: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Asked {
    request: Digest,
    answer: Answer,
}

impl Promise {
    /// What is said of the task if it ends at once, with this error.
    pub fn failed(&self, code: Code, now_ms: u64) -> Value {
        let submission = Submission::parse(self.body.as_bytes()).ok();
        let view = TaskView {
            task_id: self.id,
            state: TaskState::Failed.name(),
            session_id: submission.as_ref().and_then(|it| it.session_id),
            priority: submission.map_or_else(Default::default, |it| it.priority),
            queue_position: self.answer.queue_position,
            predicted_start_ms: self.answer.predicted_start_ms,
            timings: Timings {
                admitted_ms: self.admitted_unix_ms,
                ended_ms: Some(now_ms),
                ..Timings::default()
            },
            placement: Placement {
                pool_id: self.pool.id.clone(),
                replica_id: None,
                chosen_by: self.basis().name(),
            },
            preparation: Preparation::default(),
            tokens_in: None,
            tokens_out: 0,
            error: Some(code.name()),
            transcript_artifact_id: None,
            streams: Streams::of(self.id),
        };
        said(&view)
    }

    /// What made its pool the one.
    pub fn basis(&self) -> Basis {
        let mut all = Basis::ALL.into_iter();
        let named = all.find(|basis| basis.name() == self.chosen_by);
        named.unwrap_or(Basis::Auto)
    }

    fn asked(&self) -> Asked {
        Asked {
            request: Digest::of(self.body.as_bytes()),
            answer: self.answer,
        }
    }
}

/// Writes a promise down, and counts the turn that it is.
///
/// # Errors
///
/// When the disk fails.
pub fn promise(
    books: &mut Books<'_>,
    mut promise: Promise,
    turn: Option<&Turn>,
) -> Result<(), Fault> {
    let key = promise.id.as_u128();
    // The end has counted the turn.
    if let Some(mut outcome) = read::<Outcome>(books, OUTCOMES, key)? {
        outcome.asked = Some(promise.asked());
        return write(books, OUTCOMES, key, &outcome);
    }
    promise.number = books.ledger.next_promise;
    books.ledger.next_promise += 1;
    write(books, PROMISES, key, &promise)?;
    if let Some(turn) = turn {
        let begun = Change {
            turns: 1,
            ..Change::default()
        };
        session::change(books, &promise.owner, turn, begun)?;
    }
    Ok(())
}

/// Writes down that a task's text has begun.
///
/// # Errors
///
/// When the disk fails.
pub fn begin(books: &mut Books<'_>, id: Uuid) -> Result<(), Fault> {
    books.write(BEGUN)?.insert(id.as_u128(), ())?;
    Ok(())
}

/// Writes down what became of a task, and what the turn that it was has spent, and forgets what became of the
/// oldest if there are too many.
///
/// # Errors
///
/// When the disk fails.
pub fn end(books: &mut Books<'_>, id: Uuid, owner: &str, end: End<'_>) -> Result<(), Fault> {
    let key = id.as_u128();
    let promise = read::<Promise>(books, PROMISES, key)?;
    books.write(PROMISES)?.remove(key)?;
    books.write(BEGUN)?.remove(key)?;
    listing::add(books, owner, id, &end.view)?;
    let outcome = Outcome {
        owner: owner.to_owned(),
        view: end.view,
        asked: promise.as_ref().map(Promise::asked),
        events: end.events,
        is_cut: end.is_cut,
    };
    write(books, OUTCOMES, key, &outcome)?;
    let mut ages = books.write(OUTCOME_AGES)?;
    let newest = ages.last()?.map(|(number, _)| number.value());
    ages.insert(newest.map_or(0, |newest| newest + 1), key)?;
    drop(ages);
    books.ledger.outcomes += 1;
    if let Some((turn, spent)) = end.turn {
        let turns = u32::from(promise.is_none());
        session::change(books, owner, turn, Change { turns, spent })?;
    }
    forget_old(books)
}

/// Ends a task that was promised in an earlier life of the daemon and can't go on. All that its readers are told
/// is why.
///
/// # Errors
///
/// When the disk fails.
pub fn give_up(books: &mut Books<'_>, promise: &Promise, error: &ApiError) -> Result<(), Fault> {
    let mut told = Vec::new();
    let data = event::error(error, &promise.pool.engine);
    sse::encode(&mut told, 0, "error", &data);
    let given_up = End {
        view: promise.failed(error.code, books.now_ms),
        turn: None,
        events: Some(read_back(&told)),
        is_cut: error.code == Code::WorkerReset,
    };
    end(books, promise.id, &promise.owner, given_up)?;
    match promise.turn {
        Some(turn) => session::end_lost(books, &promise.owner, turn),
        None => Ok(()),
    }
}

fn forget_old(books: &mut Books<'_>) -> Result<(), Fault> {
    while books.ledger.outcomes > books.settings.outcomes_max {
        let mut ages = books.write(OUTCOME_AGES)?;
        let oldest = ages.pop_first()?.map(|(_, key)| key.value());
        drop(ages);
        let Some(key) = oldest else {
            return Ok(());
        };
        let id = Uuid::from_u128(key);
        if let Some(outcome) = outcome(books, id)? {
            listing::remove(books, &outcome.owner, id, &outcome.view)?;
        }
        books.write(OUTCOMES)?.remove(key)?;
        books.ledger.outcomes -= 1;
        books.ledger.forgotten.push(id);
    }
    Ok(())
}

/// Whose outcome it is, and what is said of the task; nothing if it can't be read.
pub(super) fn owner_and_view(outcome: &[u8]) -> Option<(String, Value)> {
    let Outcome { owner, view, .. } = serde_json::from_slice(outcome).ok()?;
    Some((owner, view))
}

/// What became of a task, for a caller who may know of it.
///
/// # Errors
///
/// When the disk fails; within, when there is none.
pub fn find(
    books: &mut Books<'_>,
    id: Uuid,
    viewer: &Viewer,
) -> Result<Result<Value, ApiError>, Fault> {
    let outcome = outcome(books, id)?;
    let seen = outcome.filter(|outcome| viewer.sees(&outcome.owner));
    let view = seen.map(|outcome| outcome.view);
    Ok(view.ok_or_else(ApiError::task_not_found))
}

/// What was answered to the request that brought a task which has ended, if this is the same of the same
/// caller.
///
/// # Errors
///
/// When the disk fails.
pub fn answered(
    books: &mut Books<'_>,
    id: Uuid,
    owner: &str,
    body: &[u8],
) -> Result<Option<Answer>, Fault> {
    Ok(outcome(books, id)?
        .filter(|outcome| outcome.owner == owner)
        .and_then(|outcome| outcome.asked)
        .filter(|asked| asked.request == Digest::of(body))
        .map(|asked| asked.answer))
}

/// What is said of a task that has ended.
///
/// # Errors
///
/// When the disk fails.
pub(super) fn view(books: &Books<'_>, id: Uuid) -> Result<Option<Value>, Fault> {
    Ok(outcome(books, id)?.map(|outcome| outcome.view))
}

/// What became of a task.
///
/// # Errors
///
/// When the disk fails.
pub(super) fn outcome(books: &Books<'_>, id: Uuid) -> Result<Option<Outcome>, Fault> {
    read(books, OUTCOMES, id.as_u128())
}

fn read<T: DeserializeOwned>(
    books: &Books<'_>,
    table: TableDefinition<'static, u128, &'static [u8]>,
    key: u128,
) -> Result<Option<T>, Fault> {
    let bytes = {
        let table = books.read(table)?;
        let bytes = table.get(key)?;
        bytes.map(|bytes| bytes.value().to_vec())
    };
    let name = Uuid::from_u128(key).to_string();
    bytes.map_or(Ok(None), |bytes| books.decode(table.name(), &name, &bytes))
}

fn write(
    books: &Books<'_>,
    table: TableDefinition<'static, u128, &'static [u8]>,
    key: u128,
    record: &impl Serialize,
) -> Result<(), Fault> {
    let bytes = api::json(record);
    books.write(table)?.insert(key, bytes.as_slice())?;
    Ok(())
}

fn said(view: &TaskView) -> Value {
    serde_json::to_value(view).expect("our own types have string keys and serialize infallibly")
}

/// Told whether an end is on the disk: each time that it was tried.
pub type Kept = Box<dyn Fn(bool) + Send>;

/// A task that has ended, on its way to the disk.
pub struct Ended {
    /// What was decided about it.
    pub record: Arc<TaskRecord>,
    /// How it stands.
    pub view: TaskView,
    /// Its events as its readers have them, if they are to be kept.
    pub events: Option<Vec<u8>>,
    /// The only event that it has, if there was no text.
    pub only_event: Option<Vec<u8>>,
    /// What it has spent.
    pub spent: Spending,
    /// Who waits for it to be there.
    pub kept: Option<Kept>,
}

impl Work for Ended {
    fn carry_out(&mut self, books: &mut Books<'_>) -> Result<(), Fault> {
        let Self {
            record,
            view,
            events,
            only_event,
            spent,
            ..
        } = self;
        view.transcript_artifact_id = transcript::file(books, record, view, events.as_deref())?;
        if !record.is_promised {
            return Ok(());
        }
        let owner = record.owner.to_string();
        let ended = End {
            view: said(view),
            turn: record.turn.as_ref().map(|turn| (turn, *spent)),
            events: only_event.as_deref().map(read_back),
            is_cut: false,
        };
        end(books, record.id, &owner, ended)
    }

    /// Whoever waits for it waits for the disk once. Then it is owed: a task whose end is not known would run again in
    /// the daemon's next life.
    fn settle(mut self: Box<Self>, store: &Store, committed: bool) -> Option<Box<dyn Work>> {
        if committed {
            if self.record.is_promised {
                store.outcomes.insert(self.record.id);
            }
            if let Some(id) = self.view.transcript_artifact_id.take() {
                // Its first transcript is its only one.
                let _ = self.record.transcript.set(id);
            }
        }
        if let Some(kept) = &self.kept {
            kept(committed);
        }
        (!committed).then_some(self)
    }
}

/// The mark that a text has begun, on its way to the disk.
struct Begun(Uuid);

impl Work for Begun {
    fn carry_out(&mut self, books: &mut Books<'_>) -> Result<(), Fault> {
        begin(books, self.0)
    }

    fn settle(self: Box<Self>, _store: &Store, committed: bool) -> Option<Box<dyn Work>> {
        (!committed).then_some(self)
    }
}

/// A promise that can't be held, on its way to the disk.
struct GivenUp {
    promise: Promise,
    error: ApiError,
}

impl Work for GivenUp {
    fn carry_out(&mut self, books: &mut Books<'_>) -> Result<(), Fault> {
        give_up(books, &self.promise, &self.error)
    }

    fn settle(self: Box<Self>, store: &Store, committed: bool) -> Option<Box<dyn Work>> {
        if committed {
            store.outcomes.insert(self.promise.id);
        }
        (!committed).then_some(self)
    }
}

impl Store {
    /// What the answer to a task is worth.
    pub fn durability(&self) -> Durability {
        self.settings.durability
    }

    /// Whether a task of this id has ended, and it is kept how.
    pub fn has_outcome(&self, id: Uuid) -> bool {
        self.outcomes.contains(&id)
    }

    /// Has a promise written down, with the turn that it is, and told when it is on the disk.
    ///
    /// # Errors
    ///
    /// When too much waits already, or the daemon is going.
    pub fn promise(
        &self,
        given: Promise,
        turn: Option<Turn>,
    ) -> Result<oneshot::Receiver<Result<(), ApiError>>, ApiError> {
        self.ask(move |books| promise(books, given, turn.as_ref()).map(Ok))
    }

    /// Has it written down, in its time, that a task's text has begun.
    pub fn begun(&self, id: Uuid) {
        self.gather(Box::new(Begun(id)));
    }

    /// Has it written down that a promise can't be held.
    pub fn give_up(&self, promise: Promise, error: ApiError) {
        self.gather(Box::new(GivenUp { promise, error }));
    }

    /// Has it written down what became of a task: at once if somebody waits for that.
    pub fn ended(&self, ended: Ended) {
        let is_awaited = ended.kept.is_some();
        self.gather(Box::new(ended));
        if is_awaited {
            self.hurry();
        }
    }
}
