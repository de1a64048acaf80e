//! Tasks: submit, show, read, cancel.

use std::{sync::Arc, time::Duration};

use orchestratord_http::sse_log::Audience;
use orchestratord_sched::{
    budget::{Allowance, Exhausted},
    session::NoTurn,
};
use uuid::Uuid;

use super::{Call, Outcome, Reply};
use crate::{
    api::{
        self,
        error::{ApiError, Code},
        task::{Accepted, Preparation, Streams, Submission},
    },
    clock,
    metrics::{CancelReason, RejectReason},
    shard::{
        Shard,
        reader::Subscription,
        table::{Application, Cancel, Rejected, Shown},
    },
    shared::{
        catalog::{Model, Unusable},
        gate::Passage,
        record::TaskRecord,
        sessions::{Refused, Turn},
        snapshot::Pool,
    },
};

/// What a caller waits before asking again for a pool without a live replica: the engine's thread
/// probes at this pace at first.
const UNAVAILABLE_WAIT: Duration = Duration::from_secs(1);

/// What a caller waits before asking again for a model that was retired: only a person takes it
/// back.
const RETIRED_WAIT: Duration = Duration::from_secs(60);

/// The longest wait that is advised while a pool drains: it may be taken back at any time.
const DRAINING_WAIT_MAX: Duration = Duration::from_secs(60);

/// `POST /v2/tasks`.
pub(super) fn submit(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let submission = Submission::parse(&call.body)?;
    let id = submission.task_id.unwrap_or_else(clock::new_id);
    match shard.shared.directory.claim(id, shard.id) {
        Ok(()) => {
            let outcome = accept(shard, call, id, submission);
            if !matches!(outcome, Ok(Outcome::Reply(_))) {
                shard.shared.directory.forget(id);
            }
            outcome
        }
        Err(home) if home != shard.id => Ok(Outcome::Elsewhere(home)),
        Err(_) => accepted_before(shard, call, id, &submission),
    }
}

fn accept(
    shard: &Shard,
    call: &Call,
    id: Uuid,
    submission: Submission,
) -> Result<Outcome, ApiError> {
    let pool = resolve(shard, &submission)?;
    let mut table = shard.table.borrow_mut();
    // Once: what is heard of another shard's queue may be out of date when the task gets there.
    if call.hops == 0
        && let Some(shard) = table.makes_room(&pool, submission.priority.into())
    {
        return Ok(Outcome::Elsewhere(shard));
    }
    let admitted = available(shard, &pool)
        .and_then(|()| begin_turn(shard, call, &submission))
        .and_then(|turn| {
            table.admit(Application {
                id,
                pool: Arc::clone(&pool),
                turn,
                submission,
                owner: call.caller().identity.clone(),
                correlation_id: call.correlation_id.clone(),
                trace: call.trace,
            })
        });
    let (reason, error) = match admitted {
        Ok(record) => return Ok(Outcome::Reply(accepted(shard, &record))),
        Err(rejected) => rejected,
    };
    table.count_rejected(&pool, reason);
    Err(ApiError {
        engine: Some(pool.engine),
        ..error
    })
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
    let conflict = || {
        ApiError::new(
            Code::Conflict,
            "`task_id` is taken by another task; choose a new one",
        )
    };
    let task = shard.table.borrow().get(id).ok_or_else(conflict)?;
    let task = task.borrow();
    let record = &task.record;
    if record.owner != call.caller().identity || record.submission != *submission {
        return Err(conflict());
    }
    Ok(Outcome::Reply(accepted(shard, record)))
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
        preparation: Preparation {
            steps: record.pool.preparation(),
        },
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

fn resolve(shard: &Shard, submission: &Submission) -> Result<Arc<Pool>, ApiError> {
    let (pools, catalog) = (shard.shared.pools(), shard.shared.store.catalog());
    let model_ref = submission.model_ref.as_str();
    let serving = || {
        let pools = pools.pools.iter();
        pools.filter(|pool| catalog.means(model_ref, pool))
    };
    if serving().next().is_none() {
        shard.shared.metrics[shard.id.0].model_not_found.increment();
        return Err(not_served(catalog.model(model_ref)));
    }
    let wanted = submission.engine.as_deref();
    let of_engine = || serving().filter(|pool| wanted.is_none_or(|engine| engine == pool.engine));
    if of_engine().next().is_none() {
        shard.shared.metrics[shard.id.0].model_not_found.increment();
        // Waiting would not help: no pool of it is down, there is none.
        return Err(ApiError::new(
            Code::ModelNotFound,
            "no pool of that `engine` serves the model; GET /v2/pools lists them",
        ));
    }
    let workload = submission.input.workload();
    let pool = of_engine()
        .find(|pool| pool.workloads.contains(&workload))
        .ok_or_else(|| {
            ApiError::invalid(format!(
                "`workload`: no pool of the model does {}; GET /v2/meta/capabilities lists what \
                 each does",
                workload.name()
            ))
        })?;
    if let Some(unusable) = catalog.unusable(model_ref, pool, clock::unix_ms()) {
        let (reason, error) = refuse(unusable);
        shard.table.borrow().count_rejected(pool, reason);
        return Err(error);
    }
    if submission.ctx_tokens > pool.ctx_max {
        return Err(ApiError::invalid(format!(
            "`ctx` is over the {} tokens of context that the model's pool has",
            pool.ctx_max
        )));
    }
    Ok(Arc::clone(pool))
}

/// No pool serves the reference; the catalog may know more about it.
fn not_served(model: Option<&Arc<Model>>) -> ApiError {
    let Some(model) = model else {
        return ApiError::new(
            Code::ModelNotFound,
            "`model_ref` names no model that is served here; GET /v2/pools lists them",
        );
    };
    match model.unusable(clock::unix_ms()) {
        Some(unusable) => refuse(unusable).1,
        None => ApiError::new(
            Code::PoolUnavailable,
            "the model is in the catalog, and no pool serves it",
        )
        .after(UNAVAILABLE_WAIT),
    }
}

/// Why a model may not be used, as the metrics and the caller are told.
fn refuse(unusable: Unusable) -> Rejected {
    match unusable {
        Unusable::Retired => (
            RejectReason::ModelRetired,
            ApiError::new(Code::PoolUnavailable, "the model was retired; use another")
                .after(RETIRED_WAIT),
        ),
        Unusable::Mismatch => (
            RejectReason::ModelUntrusted,
            ApiError::new(
                Code::UntrustedArtifact,
                "the model's file is not what its digest says; use another until it is mended",
            ),
        ),
        Unusable::Unsigned => (
            RejectReason::ModelUntrusted,
            ApiError::new(
                Code::UntrustedArtifact,
                "the model's trust policy is strict, and no trusted key has signed its digest",
            ),
        ),
    }
}

fn available(shard: &Shard, pool: &Pool) -> Result<(), Rejected> {
    if shard.is_stopping() {
        let error = ApiError::new(Code::PoolDraining, "the daemon is shutting down");
        return Err((RejectReason::ShuttingDown, error.after(UNAVAILABLE_WAIT)));
    }
    if let Passage::Draining(until) = pool.gate.passage() {
        let left = until.since(shard.shared.clock.now());
        return Err(draining(left.clamp(UNAVAILABLE_WAIT, DRAINING_WAIT_MAX)));
    }
    if pool.gate.passage() == Passage::Closed {
        return Err(draining(UNAVAILABLE_WAIT));
    }
    if pool.is_ready() || pool.is_being_provisioned() {
        return Ok(());
    }
    let error = if pool.is_starting() {
        ApiError::new(Code::PoolUnready, "the model's pool is still starting")
    } else {
        ApiError::new(Code::PoolUnavailable, "the model's engine is down")
    };
    Err((RejectReason::PoolUnavailable, error.after(UNAVAILABLE_WAIT)))
}

fn draining(wait: Duration) -> Rejected {
    let error = ApiError::new(Code::PoolDraining, "the model's pool takes no new work");
    (RejectReason::PoolDraining, error.after(wait))
}

/// Finds the task of the path, for a caller who may know of it.
enum Found {
    /// It lives here.
    Here(Shown),
    /// Another shard is its home.
    Elsewhere(Outcome),
}

fn find(shard: &Shard, call: &Call) -> Result<Found, ApiError> {
    let id: Uuid = call
        .path_id()
        .parse()
        .map_err(|_| ApiError::task_not_found())?;
    let home = shard
        .shared
        .directory
        .home(id)
        .ok_or_else(ApiError::task_not_found)?;
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
    };
    let task = task.borrow();
    Ok(Outcome::Reply(Reply::json(200, &task.view())))
}

/// `GET /v2/tasks/{id}/events`.
pub(super) fn events(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let last_event_id = last_event_id(call)?;
    let audience = audience(call)?;
    let task = match find(shard, call)? {
        Found::Here(task) => task,
        Found::Elsewhere(outcome) => return Ok(outcome),
    };
    let id = task.borrow().record.id;
    Ok(Outcome::Stream(Subscription::new(
        id,
        last_event_id,
        audience,
    )))
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
    };
    let id = task.borrow().record.id;
    match shard
        .table
        .borrow_mut()
        .cancel(&task, CancelReason::Requested)
    {
        Cancel::Done => Ok(Outcome::ReplyAfterReaders(Reply::empty(204))),
        Cancel::InTransit => Ok(Outcome::InTransit(id)),
    }
}
