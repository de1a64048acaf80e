//! Artifacts: store one, read one back.

use super::{Call, Outcome, Reply, later};
use crate::{
    api::{
        artifact::{Artifact, ArtifactSpec},
        error::ApiError,
    },
    shard::Shard,
    store::artifact::{self, Viewer},
};

/// `POST /v2/artifacts`.
pub(super) fn store(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let spec = ArtifactSpec::parse(&call.body)?;
    let owner = call.caller().identity.to_string();
    let answered = shard
        .shared
        .store
        .ask(move |books| artifact::put(books, &owner, spec))?;
    Ok(later(answered, |artifact: Artifact| {
        let location = format!("/v2/artifacts/{}", artifact.id);
        Reply::json(201, &artifact.created()).with("Location", location)
    }))
}

/// `GET /v2/artifacts/{id}`.
pub(super) fn show(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let id = call.path_id().into_owned();
    let viewer = Viewer::from(call.caller());
    let answered = shard
        .shared
        .store
        .ask(move |books| artifact::find(books, &id, &viewer))?;
    Ok(later(answered, |artifact: Artifact| {
        Reply::json(200, &artifact)
    }))
}
