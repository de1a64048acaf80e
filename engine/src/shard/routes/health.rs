//! The probes.

use super::{Call, Outcome, Reply};
use crate::{
    api::error::{ApiError, Code},
    shard::Shard,
    store::settings::Durability,
};

/// `GET /livez`: the process answers.
pub(super) fn live(_: &Shard, _: &Call) -> Result<Outcome, ApiError> {
    Ok(Outcome::Reply(ok()))
}

/// `GET /readyz`: new work would be taken.
pub(super) fn ready(shard: &Shard, _: &Call) -> Result<Outcome, ApiError> {
    if shard.is_stopping() {
        return Err(ApiError::new(
            Code::PoolDraining,
            "the daemon is shutting down",
        ));
    }
    let store = &shard.shared.store;
    if store.durability() == Durability::Fsync && !store.works() {
        return Err(ApiError::new(
            Code::PoolUnready,
            "the daemon's disk has failed, so no task can be accepted",
        ));
    }
    if shard
        .shared
        .pools()
        .pools
        .iter()
        .any(|pool| pool.takes_work())
    {
        return Ok(Outcome::Reply(ok()));
    }
    Err(ApiError::new(Code::PoolUnready, "no pool is ready"))
}

fn ok() -> Reply {
    Reply::bytes(200, "text/plain; charset=utf-8", b"ok\n".to_vec())
}
