//! Sessions: look, delete.

use uuid::Uuid;

use super::{Call, Outcome, Reply};
use crate::{
    api::{
        error::{ApiError, Code},
        session::SessionView,
    },
    shard::Shard,
    shared::replica::Order,
};

/// `GET /v2/sessions/{id}`.
pub(super) fn show(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let id = id(call).ok_or_else(not_found)?;
    let (sessions, now) = (&shard.shared.sessions, shard.shared.clock.now());
    let state = sessions.state(&call.caller().identity, id, now);
    let view = SessionView::new(id, &state.ok_or_else(not_found)?);
    Ok(Outcome::Reply(Reply::json(200, &view)))
}

/// `DELETE /v2/sessions/{id}`. One that is not there is as good as deleted.
pub(super) fn delete(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let sessions = &shard.shared.sessions;
    let deleted = id(call).and_then(|id| sessions.delete(&call.caller().identity, id));
    if let Some((session, Some(replica))) = deleted {
        // A replica too busy to be told lets go of it when it needs the room.
        replica.order(Order::Forget { session });
    }
    Ok(Outcome::Reply(Reply::empty(204)))
}

fn id(call: &Call) -> Option<Uuid> {
    call.path_id().parse().ok()
}

fn not_found() -> ApiError {
    ApiError::new(Code::NotFound, "there is no such session")
}
