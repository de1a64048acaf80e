//! One pool: what generates, and how many may wait for it.
//!
//! A pool is a `[[pool]]` table of the settings file, or what the flags say where there is no such
//! table. Both become a [`PoolStanza`] and are checked as one.

mod stanza;

pub use stanza::{KEYS, PoolStanza, READY_TIMEOUT_MAX_MS, STOP_GRACE_MAX_MS, stanzas};

use orchestratord_gpu::embedded;
use orchestratord_sched::{DeviceMask, Policy};

use super::{StartError, engine::EngineSettings, key::EngineKey};
use crate::{
    control::bind::Candidate,
    endpoint::{Endpoint, Networks},
};

/// Slots beyond this are a typing mistake: each holds a KV cache.
pub const SLOTS_MAX: u32 = 4096;
/// Engines of a pool beyond this are one too.
pub const REPLICAS_MAX: u32 = 64;
/// Tasks that may wait in a pool: 24 bits of tasks are some gigabytes of prompts.
pub const ADMISSION_CAPACITY_MAX: u32 = 1 << 24;

/// Why a pool's server is not shown the pool's key.
pub const KEY_IN_CLEAR: &str = "the pool's key would be sent in clear to another machine; give the \
                                server an https `url`";

/// Who may wait for a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Tasks that may.
    pub capacity: u32,
    /// Tokens that those who wait may expect together; `None` for no such bound.
    pub tokens_max: Option<u64>,
    /// What a full queue does with a newcomer.
    pub policy: Policy,
}

/// A pool, checked.
#[derive(Clone)]
pub struct PoolSettings {
    /// Its id.
    pub id: String,
    /// What generates.
    pub engine: EngineSettings,
    /// Engines that run in the daemon or are started by it.
    pub replicas: u32,
    /// Tasks that decode at a time on each.
    pub slots: u32,
    /// Who may wait.
    pub admission: Admission,
    /// The devices that it runs on.
    pub device_mask: Option<DeviceMask>,
    /// Those that each of its engines runs on, where that was said.
    pub device_masks: Vec<DeviceMask>,
    /// The version of its engine, vouched for.
    pub engine_version: Option<String>,
    /// The version of how its engine chooses tokens, vouched for.
    pub sampler_profile_version: Option<String>,
    /// Servers that it has from the start.
    pub servers: Vec<Candidate>,
    /// The key that its servers want to be shown.
    pub key: Option<EngineKey>,
    /// What the settings say of it; a pool that came with its first server has nothing said of it.
    pub stanza: Option<PoolStanza>,
}

impl PoolSettings {
    /// The devices that its engine of that number runs on.
    pub fn device_mask_of(&self, engine: usize) -> Option<DeviceMask> {
        self.device_masks.get(engine).copied().or(self.device_mask)
    }

    /// The version of its engine, if somebody vouches for that. For its own engines this release does.
    pub fn vouched_version(&self) -> Option<&str> {
        let of_engine = Some(self.engine.version()).filter(|version| !version.is_empty());
        self.engine_version.as_deref().or(of_engine)
    }

    /// The version of how its engine chooses tokens, if somebody vouches for that.
    pub fn vouched_sampler_profile(&self) -> Option<&str> {
        let own = match self.engine {
            EngineSettings::Embedded { .. } => Some(embedded::SAMPLER_PROFILE_VERSION),
            EngineSettings::Remote { .. } | EngineSettings::Mock { .. } => None,
        };
        self.sampler_profile_version.as_deref().or(own)
    }

    /// Whether its servers may be called, and shown its key.
    ///
    /// # Errors
    ///
    /// Why one of them may not, with a remedy.
    pub fn check_servers(&self, networks: &Networks) -> Result<(), StartError> {
        for server in &self.servers {
            let problem = |what: String| {
                StartError::new(format!("pool `{}`: {what}", self.id), "mend its `urls`")
            };
            let endpoint = Endpoint::resolve(&server.url, networks);
            let endpoint = endpoint.map_err(|bad| problem(bad.to_string()))?;
            if self.key.is_some() && !endpoint.keeps_secrets() {
                return Err(problem(KEY_IN_CLEAR.to_owned()));
            }
        }
        Ok(())
    }

    /// What it is, in a line for people.
    pub fn describe(&self) -> String {
        let engines = match &self.engine {
            EngineSettings::Embedded { .. } | EngineSettings::Mock { .. } => {
                format!("{} in this process", self.replicas)
            }
            EngineSettings::Remote {
                process: Some(_), ..
            } => format!("{} that the daemon starts", self.replicas),
            EngineSettings::Remote { .. } => match self.servers.as_slice() {
                [] => "servers that register".to_owned(),
                servers => {
                    let urls: Vec<_> = servers.iter().map(|server| &*server.url).collect();
                    format!("at {}", urls.join(" and "))
                }
            },
        };
        let context = match self.engine.context_tokens() {
            None | Some(u32::MAX) => String::new(),
            Some(tokens) => format!(", {tokens} tokens of context"),
        };
        format!(
            "`{}` serves the model `{}` ({} engine, {engines}, {} slots each{context}; {} may wait)",
            self.id,
            self.engine.model(),
            self.engine.name(),
            self.slots,
            self.admission.capacity,
        )
    }
}
