//! What the daemon says about itself.

use serde::Serialize;
use utoipa::ToSchema;

/// The version of the native API.
pub const API_VERSION: &str = "v2";

/// The body of `GET /v2/meta/version`.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Version {
    /// See [`API_VERSION`].
    pub api_version: &'static str,
    /// The release.
    pub version: &'static str,
    /// The commit that was built.
    pub build_commit: &'static str,
    /// When that commit was made: the same commit always builds the same answer.
    pub build_time: &'static str,
}

impl Version {
    /// Of this binary.
    pub const fn current() -> Self {
        Self {
            api_version: API_VERSION,
            version: env!("CARGO_PKG_VERSION"),
            build_commit: env!("ORCHD_BUILD_COMMIT"),
            build_time: env!("ORCHD_BUILD_TIME"),
        }
    }
}

/// What bounds a caller's pace.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct RateLimits {
    /// Tasks that may wait in the pool.
    pub admission_capacity: u32,
}

/// One engine of `GET /v2/meta/capabilities`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EngineCapabilities {
    /// Its name.
    pub engine: &'static str,
    /// Its version.
    pub engine_version: String,
    /// Tokens of context a task may have.
    pub ctx_max: Option<u32>,
    /// Kinds of work that it serves.
    pub supported_workloads: Vec<&'static str>,
    /// Tasks that decode at a time.
    pub concurrency: u32,
    /// What requests may use.
    pub features: Vec<&'static str>,
    /// See [`RateLimits`].
    pub rate_limits: RateLimits,
}

/// The body of `GET /v2/meta/capabilities`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Capabilities {
    /// See [`API_VERSION`].
    pub api_version: &'static str,
    /// One entry a pool's engine.
    pub engines: Vec<EngineCapabilities>,
}
