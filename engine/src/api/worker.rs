//! Workers as they register.

use orchestratord_gpu::EngineKind;
use orchestratord_sched::BadDeviceMask;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::ApiError;
use crate::control::bind::Candidate;

/// The body of `POST /v2/workers/register`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// The pool; it is made if there is none.
    pool_id: String,
    /// The replica's id in the pool.
    replica_id: String,
    /// `llamacpp` `vllm` `sglang` `tgi` `triton` `openai` `mock`.
    engine: String,
    /// Where it listens: `http://host:port` or `https://host:port`.
    url: String,
    /// Tasks that it can decode at a time.
    slots: u32,
    /// Its version.
    engine_version: Option<String>,
    /// The devices that it runs on, as in `0,2-3`.
    device_mask: Option<String>,
    /// What requests call its model.
    model_ref: String,
}

impl RegisterRequest {
    /// The server that it describes.
    ///
    /// # Errors
    ///
    /// 400 with a sentence that names the field.
    pub fn check(self) -> Result<Candidate, ApiError> {
        let kind = EngineKind::parse(&self.engine).filter(|kind| *kind != EngineKind::Embedded);
        let kind = kind.ok_or_else(|| ApiError::invalid("`engine` is none that can register"))?;
        let device_mask = self.device_mask.as_deref().map(str::parse).transpose();
        let device_mask = device_mask.map_err(|bad: BadDeviceMask| {
            ApiError::invalid(format!("`device_mask` can't be read: {bad}"))
        })?;
        let candidate = Candidate {
            pool_id: self.pool_id,
            replica_id: self.replica_id,
            kind,
            url: self.url,
            slots: self.slots,
            engine_version: self.engine_version,
            device_mask,
            model: self.model_ref,
        };
        candidate.check()
    }
}

/// The answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Registered {
    /// It is bound.
    pub ok: bool,
    /// Who registered it.
    pub identity: String,
    /// The pool.
    pub pool_id: String,
    /// The replica.
    pub replica_id: String,
    /// Register again within this time, again and again, or be unbound.
    pub heartbeat_timeout_ms: u64,
}
