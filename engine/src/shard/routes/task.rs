//! Tasks: submit, show, read, cancel.

use std::sync::Arc;

use orchestratord_http::sse_log::Audience;
use orchestratord_sched::{
    ShardId,
    budget::{Allowance, Exhausted},
    session::NoTurn,
};
use serde_json::Value;
use uuid::Uuid;

use super::{Call, Outcome, Reply, later, told};
use crate::{
    api::{
        self,
        error::{ApiError, Code},
        preparation::Preparation,
        task::{Accepted, KvHint, Streams, Submission},
    },
    clock,
    metrics::{CancelReason, PlacementOutcome, RejectReason},
    shard::{
        Shard,
        mailbox::Message,
        placement::{self, Placed, UNAVAILABLE_WAIT, Unplaced},
        reader::Subscription,
        replay::Replay,
        table::{Application, Cancel, Rejected, Shown},
    },
    shared::{
        Shared,
        record::TaskRecord,
        replica::Replica,
        sessions::{Refused, Turn},
    },
    store::{self, artifact::Viewer, settings::Durability, task::Answer},
};

/// `POST /v2/tasks`.
pub(super) fn submit(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let submission = Submission::parse(&call.body)?;
    let (task_id, session_id) = (submission.task_id, submission.session_id);
    let id = task_id.unwrap_or_else(clock::new_id);
    let shared = &shard.shared;
    if shared.directory.home(id).is_none() && shared.store.has_outcome(id) {
        return answered_before(shard, call, id);
    }
    let outcome = match shared.directory.claim(id, shard.id) {
        Ok(()) => {
            let outcome = accept(shard, call, id, submission);
            if !matches!(outcome, Ok(Outcome::Reply(_) | Outcome::Later(_))) {
                shared.directory.forget(id);
            }
            outcome
        }
        Err(home) if home != shard.id => Ok(Outcome::Elsewhere(home)),
        Err(_) => accepted_before(shard, call, id, &submission),
    };
    outcome.map_err(|error| error.about_submission(task_id, session_id))
}

fn accept(
    shard: &Shard,
    call: &Call,
    id: Uuid,
    submission: Submission,
) -> Result<Outcome, ApiError> {
    let placements = &shard.shared.metrics[shard.id.0].placements;
    let Placed { pool, basis } = resolve(shard, call, &submission)?;
    let mut table = shard.table.borrow_mut();
    // Once: what is heard of another shard's queue may be out of date when the task gets there.
    if call.hops == 0
        && let Some(shard) = table.makes_room(&pool, submission.priority.into())
    {
        return Ok(Outcome::Elsewhere(shard));
    }
    placements.decided(&submission.placement, basis.into());
    let admitted = in_service(shard)
        .and_then(|()| begin_turn(shard, call, &submission))
        .and_then(|turn| {
            table.admit(Application {
                id,
                pool: Arc::clone(&pool),
                basis,
                turn,
                submission,
                owner: call.caller().identity.clone(),
                correlation_id: call.correlation_id.clone(),
                trace: call.trace,
            })
        });
    let (reason, error) = match admitted {
        Ok(record) => {
            drop(table);
            return promise(shard, call, &record);
        }
        Err(rejected) => rejected,
    };
    table.count_rejected(&pool, reason);
    Err(error.about(&pool))
}

/// Answers 202 as soon as that can be held.
fn promise(shard: &Shard, call: &Call, record: &TaskRecord) -> Result<Outcome, ApiError> {
    let reply = accepted(shard, record);
    if !record.is_promised {
        return Ok(Outcome::Reply(reply));
    }
    let id = record.id;
    let given = record.promise(&call.body);
    let written = shard.shared.store.promise(given, record.turn.clone());
    match (shard.shared.store.durability(), written) {
        (Durability::Fsync, Ok(written)) => {
            let shared = Arc::clone(&shard.shared);
            Ok(Outcome::Later(Box::pin(async move {
                let written = told(written).await;
                written.map(|()| reply).inspect_err(|_| disown(&shared, id))
            })))
        }
        (Durability::Fsync, Err(error)) => {
            shard.table.borrow_mut().break_promise(id);
            Err(error)
        }
        // The log says what the disk can't do.
        (Durability::Async | Durability::Off, _) => Ok(Outcome::Reply(reply)),
    }
}

/// A task that could not be promised goes on for nobody.
fn disown(shared: &Shared, id: Uuid) {
    if let Some(ShardId(home)) = shared.directory.home(id) {
        // A mailbox that is full keeps the task alive, which harms nobody.
        let _ = shared.mailboxes[home].push(Message::BreakPromise { task: id });
        shared.mailboxes[home].ring();
    }
}

fn in_service(shard: &Shard) -> Result<(), Rejected> {
    if shard.is_stopping() {
        let error = ApiError::new(Code::PoolDraining, "the daemon is shutting down");
        return Err((RejectReason::ShuttingDown, error.after(UNAVAILABLE_WAIT)));
    }
    Ok(())
}

/// A turn of the task's session, if it has one.
fn begin_turn(
    shard: &Shard,
    call: &Call,
    submission: &Submission,
) -> Result<Option<Turn>, Rejected> {
    let Some(session_id) = submission.session_id else {
        return Ok(None);
    };
    let (sessions, now) = (&shard.shared.sessions, shard.shared.clock.now());
    let owner = &call.caller().identity;
    sessions
        .begin_turn(owner, session_id, now, submission.expected_tokens)
        .map(Some)
        .map_err(|refused| match refused {
            Refused::NoTurn(why, time_to_live) => {
                let message = match why {
                    NoTurn::TurnsUsed => "the session has had all its turns; begin another",
                    NoTurn::Budget(Exhausted::Tokens) => {
                        "the session's token budget does not cover the task"
                    }
                    NoTurn::Budget(Exhausted::Time) => "the session's time budget is used up",
                    NoTurn::Budget(Exhausted::Cost) => {
                        "the session's cost budget does not cover the task"
                    }
                };
                let error = ApiError::new(Code::BudgetExhausted, message);
                (RejectReason::Budget, error.after(time_to_live))
            }
            Refused::TooMany => {
                let message = "as many sessions are open as may be; come back later";
                let error = ApiError::new(Code::RateLimited, message);
                (RejectReason::Sessions, error.after(UNAVAILABLE_WAIT))
            }
        })
}

/// The same id came before: the same answer to the same request, 409 to any other.
fn accepted_before(
    shard: &Shard,
    call: &Call,
    id: Uuid,
    submission: &Submission,
) -> Result<Outcome, ApiError> {
    let task = shard.table.borrow().get(id).ok_or_else(taken)?;
    let task = task.borrow();
    let record = &task.record;
    if record.owner != call.caller().identity || record.submission != *submission {
        return Err(taken());
    }
    let reply = accepted(shard, record);
    if !record.is_promised || shard.shared.store.durability() != Durability::Fsync {
        return Ok(Outcome::Reply(reply));
    }
    // What was handed to the store before this is on the disk when this comes back.
    let written = shard.shared.store.ask(|_| Ok(Ok(())))?;
    Ok(later(written, |()| reply))
}

/// The same id came before, and its task has ended and is known from the journal alone.
fn answered_before(shard: &Shard, call: &Call, id: Uuid) -> Result<Outcome, ApiError> {
    let owner = call.caller().identity.to_string();
    let body = call.body.clone();
    let asked = shard.shared.store.ask(move |books| {
        let answer = store::task::answered(books, id, &owner, &body)?;
        Ok(answer.ok_or_else(taken))
    })?;
    Ok(later(asked, move |answer| {
        let Answer {
            queue_position,
            predicted_start_ms,
            backoff_ms,
        } = answer;
        let body = Accepted {
            task_id: id,
            queue_position,
            predicted_start_ms,
            backoff_ms,
            streams: Streams::of(id),
            preparation: Preparation::default(),
        };
        Reply::json(202, &body)
            .with("Location", format!("/v2/tasks/{id}"))
            .with_budgets(Allowance::default())
    }))
}

fn taken() -> ApiError {
    let message = "`task_id` is taken by another task; choose a new one";
    ApiError::new(Code::Conflict, message)
}

fn accepted(shard: &Shard, record: &TaskRecord) -> Reply {
    let streams = Streams::of(record.id);
    let location = format!("/v2/tasks/{}", record.id);
    let body = Accepted {
        task_id: record.id,
        queue_position: record.queue_position,
        predicted_start_ms: api::whole_ms(record.predicted_start),
        backoff_ms: api::whole_ms(record.backoff),
        streams,
        preparation: Preparation::before_tasks(&record.pool, shard.shared.clock.elapsed()),
    };
    Reply::json(202, &body)
        .with("Location", location)
        .with_budgets(remaining(shard, record))
}

/// What the session of a task that lives here may still spend.
pub fn budgets(shard: &Shard, task: Uuid) -> Allowance {
    let task = shard.table.borrow().get(task);
    task.map_or_else(Allowance::default, |task| {
        remaining(shard, &task.borrow().record)
    })
}

/// The same; without a session there is no bound.
fn remaining(shard: &Shard, record: &TaskRecord) -> Allowance {
    let sessions = &shard.shared.sessions;
    let turn = record.turn.as_ref();
    turn.map_or_else(Allowance::default, |turn| {
        sessions.remaining(&record.owner, turn)
    })
}

/// The task's pool; counts what becomes of it.
fn resolve(shard: &Shard, call: &Call, submission: &Submission) -> Result<Placed, ApiError> {
    let last = last_replica(shard, call, submission);
    let counters = &shard.shared.metrics[shard.id.0];
    placement::place(&shard.shared, shard.id, submission, last.as_ref()).map_err(|unplaced| {
        let error = match unplaced {
            Unplaced::NotServed(error) => {
                counters.model_not_found.increment();
                return error;
            }
            Unplaced::Impossible(error) => error,
            Unplaced::Refused(pool, (reason, error)) => {
                shard.table.borrow().count_rejected(&pool, reason);
                error.about(&pool)
            }
        };
        let wish = &submission.placement;
        counters.placements.decided(wish, PlacementOutcome::Refused);
        error
    })
}

/// The replica that the last turn of the task's session ran on, if what it left there is to be used.
fn last_replica(shard: &Shard, call: &Call, submission: &Submission) -> Option<Arc<Replica>> {
    if submission.kv_hint == KvHint::Cold || !submission.generates_text() {
        return None;
    }
    let owner = &call.caller().identity;
    shard.shared.sessions.last(owner, submission.session_id?)
}

/// Finds the task of the path, for a caller who may know of it.
enum Found {
    /// It lives here.
    Here(Shown),
    /// Another shard is its home.
    Elsewhere(Outcome),
    /// It has ended, and is known from the journal alone.
    Ended(Uuid),
}

fn find(shard: &Shard, call: &Call) -> Result<Found, ApiError> {
    let id: Uuid = call
        .path_id()
        .parse()
        .map_err(|_| ApiError::task_not_found())?;
    let Some(home) = shard.shared.directory.home(id) else {
        let has_ended = shard.shared.store.has_outcome(id);
        return has_ended
            .then_some(Found::Ended(id))
            .ok_or_else(ApiError::task_not_found);
    };
    let Some(task) = shard.table.borrow().get(id) else {
        return Ok(Found::Elsewhere(Outcome::Elsewhere(home)));
    };
    if call.caller().may_see(&task.borrow().record.owner) {
        return Ok(Found::Here(task));
    }
    Err(ApiError::task_not_found())
}

/// `GET /v2/tasks/{id}`.
pub(super) fn show(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let task = match find(shard, call)? {
        Found::Here(task) => task,
        Found::Elsewhere(outcome) => return Ok(outcome),
        Found::Ended(id) => return recall(shard, call, id, |view| Ok(Reply::json(200, &view))),
    };
    let view = task.borrow().view(shard.shared.clock.elapsed());
    Ok(Outcome::Reply(Reply::json(200, &view)))
}

/// Answers with what the journal knows of a task that has ended.
fn recall(
    shard: &Shard,
    call: &Call,
    id: Uuid,
    reply: impl FnOnce(Value) -> Result<Reply, ApiError> + Send + 'static,
) -> Result<Outcome, ApiError> {
    let viewer = Viewer::from(call.caller());
    let asked = shard.shared.store.ask(move |books| {
        let view = store::task::find(books, id, &viewer)?;
        Ok(view.and_then(reply))
    })?;
    Ok(later(asked, |reply| reply))
}

/// `GET /v2/tasks/{id}/events`.
pub(super) fn events(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let last_event_id = last_event_id(call)?;
    let audience = audience(call)?;
    let task = match find(shard, call)? {
        Found::Here(task) => task,
        Found::Elsewhere(outcome) => return Ok(outcome),
        Found::Ended(id) => return replay(shard, call, id, last_event_id),
    };
    let task = task.borrow();
    let subscription = Subscription::new(task.record.id, last_event_id, audience);
    // A browser that has read to the end asks on and on for what comes after it, until it is told that
    // there is nothing (WHATWG HTML §9.2.3).
    if last_event_id.is_some() && task.log.is_drained(&subscription.cursor) {
        return Ok(Outcome::Reply(Reply::empty(204)));
    }
    Ok(Outcome::Stream(subscription))
}

/// Streams what is kept of a task that has ended.
fn replay(
    shard: &Shard,
    call: &Call,
    id: Uuid,
    last_event_id: Option<u64>,
) -> Result<Outcome, ApiError> {
    let (shared, viewer) = (Arc::clone(&shard.shared), Viewer::from(call.caller()));
    let asked = shared
        .store
        .ask(move |books| store::replay::recall(books, id, &viewer))?;
    Ok(Outcome::Replay(Box::pin(async move {
        let recalled = told(asked).await?;
        Ok(Replay::new(&shared, recalled, last_event_id))
    })))
}

fn last_event_id(call: &Call) -> Result<Option<u64>, ApiError> {
    let Some(id) = call.request.fields.get("last-event-id") else {
        return Ok(None);
    };
    id.parse()
        .map(Some)
        .map_err(|_| ApiError::invalid("`Last-Event-ID` must be the id of an event of this stream"))
}

fn audience(call: &Call) -> Result<Audience, ApiError> {
    match call.request.target.query("verbose").as_deref() {
        None | Some("false") => Ok(Audience::Plain),
        Some("true" | "") => Ok(Audience::Verbose),
        Some(_) => Err(ApiError::invalid("`verbose` must be true or false")),
    }
}

/// `POST /v2/tasks/{id}/cancel`.
pub(super) fn cancel(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let task = match find(shard, call)? {
        Found::Here(task) => task,
        Found::Elsewhere(outcome) => return Ok(outcome),
        Found::Ended(id) => return recall(shard, call, id, |_| Ok(Reply::empty(204))),
    };
    let id = task.borrow().record.id;
    match shard
        .table
        .borrow_mut()
        .cancel(&task, CancelReason::Requested)
    {
        Cancel::Done => Ok(Outcome::ReplyAfterReaders(id, Reply::empty(204))),
        Cancel::InTransit => Ok(Outcome::InTransit(id)),
    }
}
