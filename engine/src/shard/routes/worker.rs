//! Workers: a server binds itself, says that it is still there, and leaves.

use futures_channel::oneshot;

use super::{Call, Outcome, Reply, control::command, later};
use crate::{
    api::{
        self,
        error::ApiError,
        worker::{RegisterRequest, Registered},
    },
    control::{
        Command,
        bind::{Register, Unregister},
    },
    shard::Shard,
};

/// `POST /v2/workers/register`.
pub(super) fn register(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let candidate = api::parse::<RegisterRequest>(&call.body)?.check()?;
    let timeout = shard.shared.limits().binding.heartbeat_timeout;
    let body = Registered {
        ok: true,
        identity: call.caller().identity.to_string(),
        pool_id: candidate.pool_id.clone(),
        replica_id: candidate.replica_id.clone(),
        heartbeat_timeout_ms: api::whole_ms(timeout),
    };
    let (answer, answered) = oneshot::channel();
    command(shard, Command::Register(Register { candidate, answer }))?;
    Ok(later(answered, move |()| Reply::json(200, &body)))
}

/// `DELETE /v2/workers/{pool_id}/{replica_id}`. What runs there goes on.
pub(super) fn unregister(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let (answer, answered) = oneshot::channel();
    let unregister = Unregister {
        pool_id: call.segment(2).into_owned(),
        replica_id: call.segment(3).into_owned(),
        answer,
    };
    command(shard, Command::Unregister(unregister))?;
    Ok(later(answered, |()| Reply::empty(204)))
}
