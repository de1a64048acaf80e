//! Sessions: look, delete.

use uuid::Uuid;

use super::{Call, Outcome, Reply, later};
use crate::{
    api::{
        error::{ApiError, Code},
        session::SessionView,
    },
    identity::Identity,
    shard::Shard,
    shared::{replica::Order, sessions::Over},
    store::settings::Durability,
};

/// `GET /v2/sessions/{id}`.
pub(super) fn show(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let (owner, id) = find(shard, call).ok_or_else(not_found)?;
    let (sessions, now) = (&shard.shared.sessions, shard.shared.clock.now());
    let state = sessions.state(&owner, id, now);
    let view = SessionView::new(id, &state.ok_or_else(not_found)?);
    Ok(Outcome::Reply(Reply::json(200, &view)))
}

/// `DELETE /v2/sessions/{id}`. One that is not there is as good as deleted; but it may stand on the disk, if
/// that has failed when it was.
pub(super) fn delete(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let (sessions, store) = (&shard.shared.sessions, &shard.shared.store);
    let gone = Reply::empty(204);
    let Ok(id) = call.path_id().parse() else {
        return Ok(Outcome::Reply(gone));
    };
    // Before the look: what is made after it has this key or a larger one, and stays.
    let next_key = sessions.next_key();
    let found = sessions.owner(call.caller(), id);
    let owner = found.unwrap_or_else(|| call.caller().identity.clone());
    let over = sessions.delete(&owner, id);
    let before = over.as_ref().map_or(next_key, Over::before);
    if let Some(Over {
        key: session,
        last: Some(replica),
        ..
    }) = over
    {
        // A replica too busy to be told lets go of it when it needs the room.
        replica.order(Order::Forget { session });
    }
    let durability = store.durability();
    if durability == Durability::Off {
        return Ok(Outcome::Reply(gone));
    }
    let forgotten = store.delete_session(owner.to_string(), id, before)?;
    Ok(match durability {
        Durability::Fsync => later(forgotten, |()| gone),
        Durability::Async | Durability::Off => Outcome::Reply(gone),
    })
}

/// The session of the path, and whose it is, for a caller who may know of it.
fn find(shard: &Shard, call: &Call) -> Option<(Identity, Uuid)> {
    let id = call.path_id().parse().ok()?;
    let owner = shard.shared.sessions.owner(call.caller(), id)?;
    Some((owner, id))
}

fn not_found() -> ApiError {
    ApiError::new(Code::NotFound, "there is no such session")
}
