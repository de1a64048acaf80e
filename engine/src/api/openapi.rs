//! The types of bodies, as the published description (OpenAPI 3.1) names them.
//!
//! They are the very types that parse requests and write answers, so the description can't say
//! anything else of them.

use utoipa::OpenApi;

use super::{artifact, catalog, error, meta, pool, session, task, worker};

/// Every body, by its name.
#[derive(OpenApi)]
#[openapi(components(schemas(
    artifact::Artifact,
    artifact::ArtifactSpec,
    artifact::Created,
    catalog::ModelSpec,
    catalog::ModelView,
    catalog::StateRequest,
    error::ErrorBody,
    meta::Capabilities,
    meta::Version,
    pool::DrainRequest,
    pool::PoolChanged,
    pool::PoolHealth,
    pool::PoolList,
    pool::PurgeRequest,
    pool::ReloadRequest,
    session::SessionView,
    task::Accepted,
    task::list::TaskList,
    task::TaskRequest,
    task::TaskView,
    worker::RegisterRequest,
    worker::Registered,
)))]
pub struct Bodies;
