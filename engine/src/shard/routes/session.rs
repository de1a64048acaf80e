//! Sessions: look, delete.

use uuid::Uuid;

use super::{Call, Outcome, Reply};
use crate::{
    api::{
        error::{ApiError, Code},
        session::SessionView,
    },
    identity::Identity,
    shard::Shard,
    shared::replica::Order,
};

/// `GET /v2/sessions/{id}`.
pub(super) fn show(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let (owner, id) = find(shard, call).ok_or_else(not_found)?;
    let (sessions, now) = (&shard.shared.sessions, shard.shared.clock.now());
    let state = sessions.state(&owner, id, now);
    let view = SessionView::new(id, &state.ok_or_else(not_found)?);
    Ok(Outcome::Reply(Reply::json(200, &view)))
}

/// `DELETE /v2/sessions/{id}`. One that is not there is as good as deleted.
pub(super) fn delete(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let sessions = &shard.shared.sessions;
    let deleted = find(shard, call).and_then(|(owner, id)| sessions.delete(&owner, id));
    if let Some((session, Some(replica))) = deleted {
        // A replica too busy to be told lets go of it when it needs the room.
        replica.order(Order::Forget { session });
    }
    Ok(Outcome::Reply(Reply::empty(204)))
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
