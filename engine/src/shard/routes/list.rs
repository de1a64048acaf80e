//! The caller's own tasks, wherever they live, and those that have ended, as long as the journal knows them.

use std::sync::Arc;

use futures_channel::oneshot;
use orchestratord_http::Target;
use orchestratord_sched::{ShardId, TaskState};

use super::{Call, Outcome, Reply, told};
use crate::{
    api::{
        error::ApiError,
        task::list::{Listed, Position, TaskList, Wanted},
    },
    shard::{Shard, mailbox::Message},
    store::listing::Page,
};

/// Tasks of a page unless asked otherwise.
const LIMIT_DEFAULT: usize = 100;
/// The most that may be asked.
const LIMIT_MAX: usize = 1000;

/// `GET /v2/tasks`. Every shard is asked for a page of its own, and then the journal, so that what ends
/// meanwhile is told by one of them; the first of all of them are the answer. A task that is being stolen may be
/// told by both shards, or by none: such is a look at what moves.
pub(super) fn list(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let wanted = wanted(call)?;
    let limit = wanted.limit;
    // One more than a page, to know whether another follows.
    let wanted = Arc::new(Wanted {
        limit: limit + 1,
        ..wanted
    });
    let asked: Vec<_> = (0..shard.shared.mailboxes.len())
        .map(|index| {
            let (answer, answered) = oneshot::channel();
            let wanted = Arc::clone(&wanted);
            shard.send(ShardId(index), Message::ListTasks { wanted, answer });
            answered
        })
        .collect();
    let shared = Arc::clone(&shard.shared);
    Ok(Outcome::Later(Box::pin(async move {
        let mut tasks = Vec::new();
        for answered in asked {
            // A shard that ends with the daemon has nothing to tell any more.
            tasks.extend(answered.await.unwrap_or_default());
        }
        let kept = told(shared.store.list(wanted)?).await?;
        Ok(Reply::json(200, &page(tasks, kept, limit)))
    })))
}

/// What both tell of a task is told as its home does.
fn page(mut tasks: Vec<(Position, Listed)>, kept: Page, limit: usize) -> TaskList {
    tasks.extend(kept.tasks);
    tasks.sort_by_key(|(position, _)| *position);
    tasks.dedup_by_key(|(position, _)| *position);
    // Beyond, the journal may have more.
    tasks.retain(|(position, _)| kept.looked_to.is_none_or(|end| *position <= end));
    let is_full = tasks.len() > limit;
    tasks.truncate(limit);
    let last = tasks.last().filter(|_| is_full);
    let next = last.map(|(position, _)| *position).or(kept.looked_to);
    TaskList {
        next_cursor: next.map(|position| position.to_string()),
        tasks: tasks.into_iter().map(|(_, task)| task).collect(),
    }
}

fn wanted(call: &Call) -> Result<Wanted, ApiError> {
    let target = &call.request.target;
    let text = |name| target.query(name).map(|value| value.into_owned());
    Ok(Wanted {
        caller: call.caller().clone(),
        state: text("state").map(state).transpose()?,
        pool: text("pool"),
        after: text("cursor").map(|cursor| cursor.parse()).transpose()?,
        limit: limit(target)?,
    })
}

fn state(state: String) -> Result<String, ApiError> {
    if TaskState::ALL.iter().any(|known| known.name() == state) {
        return Ok(state);
    }
    Err(ApiError::invalid(
        "`state` must be queued, running, completed, canceled or failed",
    ))
}

fn limit(target: &Target) -> Result<usize, ApiError> {
    let Some(limit) = target.query("limit") else {
        return Ok(LIMIT_DEFAULT);
    };
    match limit.parse() {
        Ok(limit @ 1..=LIMIT_MAX) => Ok(limit),
        _ => Err(ApiError::invalid(format!(
            "`limit` must be a number from 1 to {LIMIT_MAX}"
        ))),
    }
}
