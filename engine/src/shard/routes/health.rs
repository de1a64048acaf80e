//! The probes.

use super::{Call, Outcome, Reply};
use crate::{
    api::error::{ApiError, Code},
    shard::Shard,
    store::settings::Durability,
};

/// How often a stall is longer than is borne before a supervisor had better start the process anew. What
/// passes by itself has passed by then.
const STALLS_BORNE: u32 = 5;

/// `GET /livez`: the process answers, and all of its shards do.
pub(super) fn live(shard: &Shard, _: &Call) -> Result<Outcome, ApiError> {
    let bearable = shard.shared.limits().timeouts.shard_stall.stall * STALLS_BORNE;
    let mut stalls = shard
        .shared
        .turning
        .iter()
        .filter_map(|other| other.stalled_for());
    if stalls.any(|stalled| stalled >= bearable) {
        let message = "a shard of the daemon stands still";
        return Err(ApiError::new(Code::PoolUnavailable, message));
    }
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
