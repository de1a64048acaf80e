//! What the daemon says about itself.

use super::{Call, Outcome, Reply};
use crate::{
    api::{
        error::ApiError,
        meta::{API_VERSION, Capabilities, EngineCapabilities, RateLimits, Version},
    },
    metrics::{self, Format},
    shard::Shard,
    shared::snapshot::Pool,
};

/// `GET /v2/meta/capabilities`.
pub(super) fn capabilities(shard: &Shard, _: &Call) -> Result<Outcome, ApiError> {
    let capabilities = Capabilities {
        api_version: API_VERSION,
        engines: shard
            .shared
            .pools()
            .pools
            .iter()
            .map(|pool| engine(pool))
            .collect(),
    };
    Ok(Outcome::Reply(Reply::json(200, &capabilities)))
}

fn engine(pool: &Pool) -> EngineCapabilities {
    EngineCapabilities {
        engine: pool.engine,
        engine_version: pool.told_version(),
        ctx_max: pool.ctx_max(),
        supported_workloads: pool.workloads.iter().map(|work| work.name()).collect(),
        concurrency: pool.slots_total(),
        features: vec![
            "stream",
            "cancel",
            "seed",
            "temperature",
            "top_p",
            "top_k",
            "stop",
        ],
        rate_limits: RateLimits {
            admission_capacity: pool.admission_capacity(),
        },
    }
}

/// `GET /v2/meta/version`.
pub(super) fn version(_: &Shard, _: &Call) -> Result<Outcome, ApiError> {
    Ok(Outcome::Reply(Reply::json(200, &Version::current())))
}

/// `GET /openapi.json`.
pub(super) fn openapi(_: &Shard, _: &Call) -> Result<Outcome, ApiError> {
    let document = super::document().to_vec();
    Ok(Outcome::Reply(Reply::bytes(
        200,
        "application/json",
        document,
    )))
}

/// `GET /metrics`.
pub(super) fn metrics(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let format = Format::accepted(&call.request.fields);
    let text = metrics::expose(&shard.shared, format);
    let reply = Reply::bytes(200, format.content_type(), text.into_bytes());
    Ok(Outcome::Reply(reply))
}
