//! Pools as callers see them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{catalog::SOURCE_BYTES_MAX, check_name, error::ApiError, preparation::Preparation};

/// A device of this machine. What its driver does not tell is absent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeviceView {
    /// Its number, as its driver counts.
    pub device: u32,
    /// What it is.
    pub name: Option<String>,
    /// The share of the last moments in which it computed, from 0 to 1.
    pub utilization: Option<f64>,
    /// Bytes of its memory.
    pub vram_total_bytes: Option<u64>,
    /// Of these, held by programs.
    pub vram_used_bytes: Option<u64>,
    /// Of these, free.
    pub vram_free_bytes: Option<u64>,
    /// Errors of its memory that could not be corrected, since its driver was started.
    pub memory_errors: Option<u64>,
    /// The programs that compute on it, those that hold most of its memory first.
    pub processes: Option<Vec<DeviceProcessView>>,
}

/// A program that computes on a device.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeviceProcessView {
    /// Its id on this machine.
    pub pid: u32,
    /// Bytes of the device's memory that it holds.
    pub vram_used_bytes: Option<u64>,
}

/// One replica of a pool.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReplicaView {
    /// Its id within the pool.
    pub replica_id: String,
    /// `starting` `ready` `unready` `draining` `gone`.
    pub state: &'static str,
    /// Tasks it can decode at a time.
    pub slots_total: u32,
    /// Of these, free.
    pub slots_free: u32,
    /// Requests that its engine says that it works on, whoever sent them; `null` if it does not say.
    pub requests_running: Option<u64>,
    /// Requests that its engine says that it has waiting; `null` if it does not say.
    pub requests_waiting: Option<u64>,
    /// Those devices of this machine that it runs on, as far as that was said and they answer.
    pub devices: Vec<DeviceView>,
}

/// What a pool is doing now.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct PoolMetrics {
    /// Tasks waiting.
    pub queue_depth: u32,
    /// Slots of all replicas.
    pub slots_total: u32,
    /// Of these, free.
    pub slots_free: u32,
    /// Tokens generated in the last whole second.
    pub tokens_per_s: u64,
    /// Tasks started so far.
    pub tasks_started: u64,
    /// Tokens generated so far.
    pub tokens_out: u64,
}

/// The body of `GET /v2/pools/{id}/health`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PoolHealth {
    /// Its engine's thread is alive.
    pub live: bool,
    /// It can start a task now or when a slot is free.
    pub ready: bool,
    /// It takes no new work.
    pub draining: bool,
    /// What last went wrong, in one sentence.
    pub last_error: Option<String>,
    /// See [`PoolMetrics`].
    pub metrics: PoolMetrics,
    /// See [`ReplicaView`].
    pub replicas: Vec<ReplicaView>,
    /// What must happen to those that the daemon starts and that can't be used yet.
    pub preparation: Preparation,
}

/// One line of `GET /v2/pools`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PoolView {
    /// Its id.
    pub pool_id: String,
    /// The model that it serves.
    pub model_ref: String,
    /// The engine that runs it.
    pub engine: &'static str,
    /// The engine's version.
    pub engine_version: String,
    /// What the sampler of its engines is pinned to, if somebody vouches for that.
    pub sampler_profile_version: Option<String>,
    /// The devices that its replicas run on, if that is known of all of them.
    pub device_mask: Option<String>,
    /// Tokens of context a task may have; `null` while nobody knows a bound.
    pub ctx_max: Option<u32>,
    /// See [`PoolHealth`].
    #[serde(flatten)]
    pub health: PoolHealth,
}

/// The body of `GET /v2/pools`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PoolList {
    /// In the order of configuration.
    pub pools: Vec<PoolView>,
}

/// The body of `POST /v2/pools/{id}/drain`.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Milliseconds until what has not finished is ended.
    pub deadline_ms: u64,
}

/// The body of `POST /v2/pools/{id}/reload`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReloadRequest {
    /// What the pool is to serve from now on.
    pub new_model_ref: String,
}

impl ReloadRequest {
    /// Parses and checks a body.
    ///
    /// # Errors
    ///
    /// 400 with a sentence that names the field.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let request: Self = super::parse(body)?;
        check_name("new_model_ref", &request.new_model_ref, SOURCE_BYTES_MAX)?;
        Ok(request)
    }
}

/// The body of `POST /v2/pools/{id}/purge`.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PurgeRequest {
    /// Wait until what runs and waits has finished.
    pub drain_first: bool,
    /// Stop the pool's engines; a reload brings them back.
    pub purge_engine: bool,
    /// Remove the model's file, if the daemon has downloaded it.
    pub purge_models: bool,
    /// Remove what has come of it by downloads that broke off.
    pub delete_cache_dirs: bool,
    /// End what runs and waits.
    pub force: bool,
}

/// What a change of a pool has led to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PoolChanged {
    /// The pool.
    pub pool_id: String,
    /// The model that it serves.
    pub model_ref: String,
    /// Its replicas.
    pub replicas: Vec<String>,
    /// It takes no new work.
    pub draining: bool,
}
