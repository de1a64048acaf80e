//! What the settings say of a pool, word for word, and what becomes of it when it is checked.

mod misplaced;
mod model;
mod remote;

pub use remote::{READY_TIMEOUT_MAX_MS, STOP_GRACE_MAX_MS};

use std::{path::PathBuf, time::Duration};

use orchestratord_gpu::{
    EngineKind,
    mock::{self, Fault},
};
use orchestratord_sched::{BadDeviceMask, DeviceMask, Policy};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use super::{Admission, PoolSettings};
use crate::{
    cli::{self, AdmissionPolicy, ServeArguments},
    control::{bind::Candidate, launch::Variables},
    digest::Digest,
    models::{Models, reference::ModelRef},
    settings::{
        StartError,
        bounds::within,
        engine::EngineSettings,
        key::{EngineKey, KeySource},
    },
};

/// The id of the pool that the flags describe.
const POOL_ID: &str = "default";

/// The keys of a `[[pool]]` table.
pub const KEYS: &[&str] = &[
    "id",
    "engine",
    "model",
    "model_file",
    "model_digest",
    "urls",
    "key_file",
    "key_env",
    "start",
    "command",
    "ready_timeout_ms",
    "stop_grace_ms",
    "replicas",
    "slots",
    "context_tokens",
    "admission_capacity",
    "admission_policy",
    "admission_tokens_max",
    "device_mask",
    "device_masks",
    "env",
    "engine_version",
    "sampler_profile_version",
    "mock_first_token_ms",
    "mock_tokens_per_s",
    "mock_fault",
];

/// What generates, as the file names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// A GGUF model, executed in the daemon.
    Embedded,
    /// llama.cpp's server.
    LlamaCpp,
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// Text Generation Inference.
    Tgi,
    /// Triton Inference Server.
    Triton,
    /// Any server that speaks OpenAI's API.
    OpenAi,
    /// A script of tokens.
    Mock,
}

impl From<Engine> for EngineKind {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Embedded => Self::Embedded,
            Engine::LlamaCpp => Self::LlamaCpp,
            Engine::Vllm => Self::Vllm,
            Engine::Sglang => Self::Sglang,
            Engine::Tgi => Self::Tgi,
            Engine::Triton => Self::Triton,
            Engine::OpenAi => Self::OpenAi,
            Engine::Mock => Self::Mock,
        }
    }
}

/// A `[[pool]]` table. What it leaves out is as the daemon's own flags say.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PoolStanza {
    /// Its id: letters, digits, `.`, `_` and `-`.
    pub id: String,
    /// What generates.
    pub engine: Engine,
    /// What requests call the model: a name, or the place that its file comes from, as
    /// `file:/abs/path`, `https://host/path[#sha256=HEX]` or `hf:org/repo[/file][@revision]`. An embedded
    /// engine needs none: it knows its model's name, or runs the shipped one.
    model: Option<String>,
    /// The model's file: what an embedded engine runs instead of the shipped one, and what fills
    /// `{model}` in a command.
    model_file: Option<PathBuf>,
    /// What that file must hash to: `sha256:` and 64 hexadecimal digits.
    #[schemars(with = "Option<String>")]
    model_digest: Option<Digest>,
    /// Servers that generate, as `http://host:port` or `https://host:port`. Others may register.
    #[serde(default)]
    urls: Vec<String>,
    /// The file of the key that its servers want to be shown, those that register too.
    key_file: Option<PathBuf>,
    /// The variable of the environment that holds that key instead.
    key_env: Option<String>,
    /// Whether the daemon starts the engines itself, by the command or else by the usual one.
    #[serde(default)]
    start: bool,
    /// How the daemon starts an engine: a program and its arguments, in which `{host}`, `{port}`,
    /// `{model}`, `{slots}`, `{devices}`, `{pool}` and `{replica}` are filled in. Implies `start`.
    command: Option<Vec<String>>,
    /// How long an engine may take until it answers. 600000 unless said.
    ready_timeout_ms: Option<u64>,
    /// How long an engine may take to follow SIGTERM before SIGKILL. 10000 unless said.
    stop_grace_ms: Option<u64>,
    /// Engines that run in the daemon or are started by it. 1 unless said.
    replicas: Option<u32>,
    /// Tasks that decode at a time on each.
    slots: Option<u32>,
    /// Tokens of context a task may have.
    context_tokens: Option<u32>,
    /// Tasks that may wait.
    admission_capacity: Option<u32>,
    /// What a full queue does with a newcomer: `reject` or `drop-lru`.
    #[serde(default, deserialize_with = "policy")]
    #[schemars(with = "Option<String>")]
    admission_policy: Option<Policy>,
    /// Tokens that those who wait may expect together (`expected_tokens`).
    admission_tokens_max: Option<u64>,
    /// The devices that it runs on, as `0,2-3`.
    pub device_mask: Option<String>,
    /// The devices that each of its engines runs on, instead: one mask a replica.
    device_masks: Option<Vec<String>>,
    /// Variables that are added to the environment of engines that the daemon starts.
    #[serde(default)]
    env: Variables,
    /// The version of the engine, vouched for: `strict` tasks run only where it is.
    pub engine_version: Option<String>,
    /// The version of how tokens are chosen, vouched for likewise.
    pub sampler_profile_version: Option<String>,
    /// A script's time to first token.
    mock_first_token_ms: Option<u64>,
    /// A script's tokens a second and task; 0 is as fast as it can.
    mock_tokens_per_s: Option<u32>,
    /// How a script breaks: none, refuse, die-after:TOKENS, hang-after:TOKENS.
    #[serde(default, deserialize_with = "fault")]
    #[schemars(with = "Option<String>")]
    mock_fault: Option<Fault>,
}

/// Whether it says where a file comes from.
fn is_place(model: &str) -> bool {
    !matches!(ModelRef::parse(model), Ok(ModelRef::Name(_)))
}

fn policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Policy>, D::Error> {
    let name = String::deserialize(deserializer)?;
    let policy = <AdmissionPolicy as clap::ValueEnum>::from_str(&name, false);
    policy
        .map(|policy| Some(policy.into()))
        .map_err(|_| de::Error::custom("`admission_policy` is `reject` or `drop-lru`"))
}

fn fault<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Fault>, D::Error> {
    let text = String::deserialize(deserializer)?;
    cli::parse_fault(&text).map(Some).map_err(de::Error::custom)
}

/// The pools of the file, or the one that the flags describe, each with nothing left out that the flags
/// say.
pub fn stanzas(flags: &ServeArguments) -> Vec<PoolStanza> {
    if flags.pools.is_empty() {
        return vec![PoolStanza::of(flags).filled(flags)];
    }
    let stanzas = flags.pools.iter().cloned();
    stanzas.map(|stanza| stanza.filled(flags)).collect()
}

impl PoolStanza {
    /// What the flags say.
    fn of(arguments: &ServeArguments) -> Self {
        Self {
            id: POOL_ID.to_owned(),
            engine: match arguments.engine {
                cli::EngineName::Embedded => Engine::Embedded,
                cli::EngineName::Mock => Engine::Mock,
            },
            model: arguments.model.clone().filter(|model| is_place(model)),
            model_file: arguments
                .model
                .as_ref()
                .filter(|model| !is_place(model))
                .map(PathBuf::from),
            model_digest: None,
            urls: Vec::new(),
            key_file: None,
            key_env: None,
            start: false,
            command: None,
            ready_timeout_ms: None,
            stop_grace_ms: None,
            replicas: None,
            slots: None,
            context_tokens: None,
            admission_capacity: None,
            admission_policy: None,
            admission_tokens_max: None,
            device_mask: None,
            device_masks: None,
            env: Variables::default(),
            engine_version: None,
            sampler_profile_version: None,
            mock_first_token_ms: None,
            mock_tokens_per_s: None,
            mock_fault: None,
        }
    }

    /// The same, with what it leaves out as the flags say it. So two are the same exactly when the same is
    /// asked for, wherever it was said.
    fn filled(self, flags: &ServeArguments) -> Self {
        let script = self.is_script();
        Self {
            slots: self.slots.or(Some(flags.slots)),
            context_tokens: match self.engine {
                Engine::Embedded => self.context_tokens.or(flags.context_tokens),
                _ => self.context_tokens,
            },
            admission_capacity: self.admission_capacity.or(Some(flags.admission_capacity)),
            admission_policy: self
                .admission_policy
                .or(Some(flags.admission_policy.into())),
            admission_tokens_max: self.admission_tokens_max.or(flags.admission_tokens_max),
            mock_first_token_ms: self
                .mock_first_token_ms
                .or(script.then_some(flags.mock_first_token_ms)),
            mock_tokens_per_s: self
                .mock_tokens_per_s
                .or(script.then_some(flags.mock_tokens_per_s)),
            mock_fault: self.mock_fault.or(script.then_some(flags.mock_fault)),
            ..self
        }
    }

    /// Who may wait. What the flags say of that was filled in.
    ///
    /// # Errors
    ///
    /// When the number lies out of its bounds.
    pub fn admission(&self) -> Result<Admission, StartError> {
        let capacity = self.admission_capacity.unwrap_or_default();
        Ok(Admission {
            capacity: within("admission_capacity", capacity)?,
            tokens_max: self
                .admission_tokens_max
                .map(|max| within("admission_tokens_max", max))
                .transpose()?,
            policy: self.admission_policy.unwrap_or(Policy::Reject),
        })
    }

    /// The key that its servers want to be shown, if they want one.
    ///
    /// # Errors
    ///
    /// Why there is none, with a remedy.
    pub fn key(&self) -> Result<Option<EngineKey>, StartError> {
        let source = KeySource {
            file: self.key_file.as_ref(),
            variable: self.key_env.as_ref(),
        };
        source.load(&format!("pool `{}`", self.id))
    }

    /// Whether both ask for the same but for who may wait, which a pool can be told while it serves.
    pub fn asks_for_the_same(&self, other: &Self) -> bool {
        let engines = |stanza: &Self| Self {
            admission_capacity: None,
            admission_policy: None,
            admission_tokens_max: None,
            ..stanza.clone()
        };
        engines(self) == engines(other)
    }

    fn is_script(&self) -> bool {
        self.engine == Engine::Mock && !self.has_servers()
    }

    /// Reads it, and loads its model if the daemon runs it.
    ///
    /// # Errors
    ///
    /// What can't work, with its remedy.
    pub fn check(
        &self,
        flags: &ServeArguments,
        models: &Models,
    ) -> Result<PoolSettings, StartError> {
        self.check_keys().map_err(|(key, remedy)| {
            let problem = format!("pool `{}`: `{key}` says nothing to its engine", self.id);
            StartError::new(problem, remedy)
        })?;
        if let Some(tokens) = self.context_tokens.or(flags.context_tokens) {
            within("context_tokens", tokens)?;
        }
        let slots = self.slots.unwrap_or(flags.slots);
        let replicas = within("replicas", self.replicas.unwrap_or(1))?;
        Ok(PoolSettings {
            slots: within("slots", slots)?,
            replicas,
            admission: self.admission()?,
            engine: self.engine(flags, slots, models)?,
            servers: self.servers(slots)?,
            key: self.key()?,
            stanza: Some(self.clone()),
            id: self.id.clone(),
            device_mask: self.device_mask()?,
            device_masks: self.device_masks(replicas)?,
            engine_version: self.engine_version.clone(),
            sampler_profile_version: self.sampler_profile_version.clone(),
        })
    }

    fn engine(
        &self,
        flags: &ServeArguments,
        slots: u32,
        models: &Models,
    ) -> Result<EngineSettings, StartError> {
        match self.engine {
            Engine::Embedded if self.has_servers() => Err(StartError::new(
                format!("pool `{}`: an embedded engine is no server", self.id),
                "leave out `urls`, `start` and `command`, or choose another `engine`",
            )),
            Engine::Embedded => self.embedded(flags, slots, models),
            Engine::Mock if self.is_script() => Ok(EngineSettings::Mock {
                model: self.model.clone().unwrap_or_else(|| "mock".to_owned()),
                options: self.script(flags, slots),
            }),
            engine => self.remote(engine.into()),
        }
    }

    fn device_mask(&self) -> Result<Option<DeviceMask>, StartError> {
        let mask = self.device_mask.as_deref();
        mask.map(|mask| self.parse_mask("device_mask", mask))
            .transpose()
    }

    fn device_masks(&self, replicas: u32) -> Result<Vec<DeviceMask>, StartError> {
        let Some(masks) = &self.device_masks else {
            return Ok(Vec::new());
        };
        let refuse = |problem: &str, remedy: &str| {
            let problem = format!("pool `{}`: {problem}", self.id);
            Err(StartError::new(problem, remedy))
        };
        if self.device_mask.is_some() {
            let remedy = "leave one of them out";
            return refuse("it has both a `device_mask` and `device_masks`", remedy);
        }
        if u32::try_from(masks.len()) != Ok(replicas) {
            let remedy = "give as many masks as `replicas`, one each";
            return refuse("its `device_masks` are not as many as its replicas", remedy);
        }
        let masks = masks.iter();
        masks
            .map(|mask| self.parse_mask("device_masks", mask))
            .collect()
    }

    fn parse_mask(&self, key: &str, mask: &str) -> Result<DeviceMask, StartError> {
        mask.parse().map_err(|bad: BadDeviceMask| {
            let problem = format!("pool `{}`: its `{key}` can't be read", self.id);
            StartError::new(problem, bad.to_string())
        })
    }

    /// Whether its engines are processes that the daemon starts.
    pub fn is_started(&self) -> bool {
        self.start || self.command.is_some()
    }

    fn has_servers(&self) -> bool {
        self.is_started() || !self.urls.is_empty()
    }

    /// The servers of its `urls`.
    fn servers(&self, slots: u32) -> Result<Vec<Candidate>, StartError> {
        let candidate = |(number, url): (usize, &String)| {
            let candidate = Candidate {
                pool_id: self.id.clone(),
                replica_id: format!("s{number}"),
                kind: self.engine.into(),
                url: url.clone(),
                slots,
                engine_version: self.engine_version.clone(),
                device_mask: None,
                model: self.model.clone().unwrap_or_default(),
            };
            candidate.check().map_err(|error| {
                StartError::new(
                    format!("pool `{}`: {}", self.id, error.message),
                    "mend its settings",
                )
            })
        };
        self.urls.iter().enumerate().map(candidate).collect()
    }

    fn script(&self, flags: &ServeArguments, slots: u32) -> mock::Options {
        let first_token_ms = self
            .mock_first_token_ms
            .unwrap_or(flags.mock_first_token_ms);
        mock::Options {
            slots,
            first_token: Duration::from_millis(first_token_ms),
            token_interval: match self.mock_tokens_per_s.unwrap_or(flags.mock_tokens_per_s) {
                0 => Duration::ZERO,
                rate => Duration::from_secs(1) / rate,
            },
            seed: 0,
            fault: self.mock_fault.unwrap_or(flags.mock_fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_and_the_file_know_the_same_keys() {
        let schema = schemars::schema_for!(PoolStanza);
        let described = schema.get("properties").and_then(|keys| keys.as_object());
        let mut described: Vec<&str> = described.unwrap().keys().map(String::as_str).collect();
        let mut known = KEYS.to_vec();
        described.sort_unstable();
        known.sort_unstable();
        assert_eq!(described, known);
    }
}
