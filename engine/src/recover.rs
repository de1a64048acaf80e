//! Tasks of an earlier life of the daemon: each finds its session and its pool again and waits there.
//!
//! This happens before anybody is listened to, so that nobody sees the daemon without them. Pools may be
//! others than before: a task goes to the pool that it waited for, or to one of its model, or to one that
//! is made for the worker which brought it before and is likely to come back. What finds none ends
//! with an error.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use orchestratord_gpu::EngineKind;
use orchestratord_sched::ShardId;

use crate::{
    api::{
        error::{ApiError, Code},
        task::Submission,
    },
    clock,
    control::bind,
    logs,
    settings::engine::EngineSettings,
    shared::{
        Shared,
        record::{TaskRecord, Tried},
        snapshot::Pool,
    },
    store::{
        Left,
        task::{PoolName, Promise},
    },
    trace::TraceId,
};

/// The tasks that each shard is home to from now on, the oldest first. Sessions go on, whether a task waits in
/// them or not.
pub fn tasks(shared: &Shared, left: Left) -> Vec<Vec<Arc<TaskRecord>>> {
    let Left { promises, sessions } = left;
    let now = shared.clock.now();
    shared.sessions.recall(sessions, now, clock::unix_ms());
    let shards = shared.mailboxes.len();
    let mut homes: Vec<Vec<_>> = vec![Vec::new(); shards];
    for (number, promise) in promises.into_iter().enumerate() {
        let home = number % shards;
        match record(shared, &promise) {
            Ok(record) if shared.directory.claim(record.id, ShardId(home)).is_ok() => {
                homes[home].push(Arc::new(record));
            }
            // Twice the same id: the journal has one of each.
            Ok(_) => {}
            Err(error) => {
                logs::given_up(&promise, &error);
                shared.store.give_up(promise, error);
            }
        }
    }
    homes
}

/// The task as it was, as far as the time that has passed allows.
fn record(shared: &Shared, promise: &Promise) -> Result<TaskRecord, ApiError> {
    let submission = Submission::parse(promise.body.as_bytes())?;
    let gone = |_| ApiError::new(Code::Internal, "the task's caller can't be read");
    let owner = promise.owner.parse().map_err(gone)?;
    let pool = pool(shared, &submission, &promise.pool)?;
    let (now, now_unix_ms) = (shared.clock.now(), clock::unix_ms());
    let until = |unix_ms: u64| now + Duration::from_millis(unix_ms.saturating_sub(now_unix_ms));
    let turn = promise.turn.and_then(|turn| {
        let (sessions, expected) = (&shared.sessions, submission.expected_tokens);
        sessions.take_up_turn(&owner, turn, expected)
    });
    Ok(TaskRecord {
        id: promise.id,
        seed: promise.seed,
        owner,
        correlation_id: promise.correlation_id.clone(),
        trace: TraceId::written(&promise.trace_id),
        turn,
        pool,
        basis: promise.basis(),
        admitted: now,
        since_unix_ms: now_unix_ms,
        admitted_unix_ms: promise.admitted_unix_ms,
        deadline: promise.deadline_unix_ms.map(until),
        queue_position: promise.answer.queue_position,
        predicted_start: Duration::from_millis(promise.answer.predicted_start_ms),
        backoff: Duration::from_millis(promise.answer.backoff_ms),
        is_promised: true,
        tried: Tried::default(),
        transcript: OnceLock::new(),
        submission,
    })
}

fn pool(
    shared: &Shared,
    submission: &Submission,
    before: &PoolName,
) -> Result<Arc<Pool>, ApiError> {
    let (pools, catalog) = (shared.pools(), shared.store.catalog());
    let workload = submission.input.workload();
    let serves = |pool: &&Arc<Pool>| {
        catalog.means(&submission.model_ref, pool) && pool.workloads.contains(&workload)
    };
    let same = pools.pool(&before.id).filter(serves);
    if let Some(pool) = same.or_else(|| pools.pools.iter().find(serves)) {
        return Ok(Arc::clone(pool));
    }
    let is_free = pools.pool(&before.id).is_none();
    let kind = EngineKind::parse(&before.engine).filter(|kind| is_free && is_server(*kind));
    let Some(kind) = kind else {
        let message = "no pool serves the task's model any more";
        return Err(ApiError::new(Code::PoolUnavailable, message));
    };
    let engine = EngineSettings::of_workers(kind, before.model.clone(), None);
    Ok(bind::add_pool(
        shared,
        before.id.clone(),
        engine,
        before.slots,
    ))
}

/// Whether workers bring such engines.
const fn is_server(kind: EngineKind) -> bool {
    !matches!(kind, EngineKind::Embedded | EngineKind::Mock)
}
