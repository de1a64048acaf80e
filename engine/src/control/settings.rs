//! How servers that generate are found and bound: what can be said about it, checked.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use orchestratord_gpu::EngineKind;

use super::bind::Candidate;
use crate::{
    endpoint::Networks,
    settings::{
        StartError,
        bounds::within,
        key::{EngineKey, KeySource},
        pool::Admission,
    },
};

/// Settings of binding: each a flag and an environment variable.
#[derive(Clone, Debug, Args)]
pub struct BindingArguments {
    /// The folder of handoff files: each binds the engine that some supervisor has started.
    #[arg(
        long,
        env = "ORCHD_RUNTIME_DIR",
        value_name = "DIR",
        default_value = ".runtime/engines"
    )]
    pub runtime_dir: PathBuf,

    /// How often that folder is looked at, beside whenever the kernel tells that something changed.
    #[arg(long, env = "ORCHD_HANDOFF_WATCH_INTERVAL_MS", default_value_t = 1000)]
    pub handoff_watch_interval_ms: u64,

    /// Networks beside this machine that engines may be in, as 10.0.0.0/8,fd00::/8.
    #[arg(long, env = "ORCHD_ENGINE_NETWORKS", value_name = "CIDR,…")]
    pub engine_networks: Option<Networks>,

    /// How long a worker may be silent before it is unbound.
    #[arg(
        long,
        env = "ORCHD_WORKER_HEARTBEAT_TIMEOUT_MS",
        default_value_t = 30_000
    )]
    pub worker_heartbeat_timeout_ms: u64,

    /// What workers show as Authorization: Bearer when they register.
    #[arg(long, env = "AUTH_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub worker_token: Option<String>,

    /// A llama.cpp server to put tasks on.
    #[arg(long, env = "ORCHD_LLAMACPP_URL", value_name = "URL")]
    pub llamacpp_url: Option<String>,

    /// The file of the key that it wants to be shown.
    #[arg(long, env = "ORCHD_LLAMACPP_KEY_FILE", value_name = "FILE")]
    pub llamacpp_key_file: Option<PathBuf>,

    /// The variable of the environment that holds that key instead.
    #[arg(long, env = "ORCHD_LLAMACPP_KEY_ENV", value_name = "NAME")]
    pub llamacpp_key_env: Option<String>,

    /// Its pool.
    #[arg(long, env = "ORCHD_LLAMACPP_POOL", default_value = "llamacpp")]
    pub llamacpp_pool: String,

    /// Its id there.
    #[arg(long, env = "ORCHD_LLAMACPP_REPLICA", default_value = "r0")]
    pub llamacpp_replica: String,

    /// What requests call its model.
    #[arg(long, env = "ORCHD_LLAMACPP_MODEL", default_value = "llamacpp")]
    pub llamacpp_model: String,

    /// Tasks that it decodes at a time: its own --parallel.
    #[arg(long, env = "ORCHD_LLAMACPP_SLOTS", default_value_t = 4)]
    pub llamacpp_slots: u32,
}

/// How servers are found and bound.
#[derive(Clone, Debug)]
pub struct BindingSettings {
    /// How often that folder is looked at.
    pub handoff_interval: Duration,
    /// Where engines may be.
    pub networks: Networks,
    /// How long a worker may be silent.
    pub heartbeat_timeout: Duration,
    /// Who may wait for a pool that came with its first server.
    pub admission: Admission,
}

impl BindingSettings {
    /// Checks what was said.
    ///
    /// # Errors
    ///
    /// The first thing that can't work, with its remedy.
    pub fn check(arguments: &BindingArguments, admission: Admission) -> Result<Self, StartError> {
        let interval = |key: &str, ms: u64| within(key, ms).map(Duration::from_millis);
        Ok(Self {
            handoff_interval: interval(
                "handoff_watch_interval_ms",
                arguments.handoff_watch_interval_ms,
            )?,
            heartbeat_timeout: interval(
                "worker_heartbeat_timeout_ms",
                arguments.worker_heartbeat_timeout_ms,
            )?,
            networks: arguments.engine_networks.clone().unwrap_or_default(),
            admission,
        })
    }
}

impl BindingArguments {
    /// The llama.cpp server, if one is named.
    ///
    /// # Errors
    ///
    /// Why it can't be bound, with a remedy.
    pub fn llamacpp(&self) -> Result<Option<Candidate>, StartError> {
        let Some(url) = &self.llamacpp_url else {
            return Ok(None);
        };
        let candidate = Candidate {
            pool_id: self.llamacpp_pool.clone(),
            replica_id: self.llamacpp_replica.clone(),
            kind: EngineKind::LlamaCpp,
            url: url.clone(),
            slots: self.llamacpp_slots,
            engine_version: None,
            device_mask: None,
            model: self.llamacpp_model.clone(),
        };
        candidate.check().map(Some).map_err(|error| {
            StartError::new(
                format!("the llama.cpp server can't be bound: {}", error.message),
                "mend the --llamacpp-… settings",
            )
        })
    }

    /// Its key, if it has one.
    ///
    /// # Errors
    ///
    /// Why it can't be used, with a remedy.
    pub fn llamacpp_key(&self) -> Result<Option<EngineKey>, StartError> {
        let source = KeySource {
            file: self.llamacpp_key_file.as_ref(),
            variable: self.llamacpp_key_env.as_ref(),
        };
        source.load("the llama.cpp server")
    }
}
