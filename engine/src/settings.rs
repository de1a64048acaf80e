//! What was said on the command line and in the environment, checked.
//!
//! A [`Settings`] that exists is one that the daemon can start with, as far as that can be known
//! without touching the machine; what the machine must offer is `preflight`'s business.

use std::{env, fmt, fs, path::PathBuf, sync::Arc, thread, time::Duration};

use orchestratord_gpu::{EngineKind, Workload, embedded, mock};
use orchestratord_sched::{Policy, budget::Allowance, session::SessionRules};

use crate::{
    cli::{EngineName, LogFormat, ServeArguments},
    control::{process::ProcessSettings, settings::BindingSettings},
    identity::Keys,
    shared::sessions::SessionSettings,
    store::settings::StoreSettings,
};

/// The id of the pool that the command line describes.
const POOL_ID: &str = "default";
/// Shards beyond this are a typing mistake: no machine has more cores that serve one socket well.
const SHARDS_MAX: u16 = 256;
/// Slots beyond this are a typing mistake too: each holds a KV cache.
pub const SLOTS_MAX: u32 = 4096;
/// Tasks that may wait in a pool: 24 bits of tasks are some gigabytes of prompts.
const ADMISSION_CAPACITY_MAX: u32 = 1 << 24;
/// Sessions that are kept at a time: more are some gigabytes.
const SESSIONS_MAX: usize = 1 << 24;
/// Context of a slot unless asked otherwise: its KV cache grows with it.
const CONTEXT_TOKENS_DEFAULT_MAX: u32 = 4096;

/// Why the daemon does not start, and what to do about it. Exit code 2.
#[derive(Debug)]
pub struct StartError {
    /// What is wrong, one sentence.
    pub problem: String,
    /// What to do about it, one or more sentences.
    pub remedy: String,
}

impl StartError {
    /// A problem with its remedy.
    pub fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  what to do: {}", self.problem, self.remedy)
    }
}

impl std::error::Error for StartError {}

/// The engine of the pool, ready to be built.
#[derive(Clone)]
pub enum EngineSettings {
    /// A loaded model and how to run it.
    Embedded {
        /// The model.
        model: Arc<embedded::Model>,
        /// Where it came from, if not shipped.
        file: Option<PathBuf>,
        /// How to run it.
        options: embedded::EngineOptions,
    },
    /// Servers that are spoken to over HTTP.
    Remote {
        /// What they are.
        kind: EngineKind,
        /// What they call their model.
        model: String,
        /// Their version, if whoever wrote the settings vouches for it.
        version: Option<String>,
        /// Tokens of context that they have, if known.
        context_tokens: Option<u32>,
        /// How the daemon starts them, if it does.
        process: Option<ProcessSettings>,
    },
    /// A script.
    Mock {
        /// What it is called in requests.
        model: String,
        /// Its pace and its faults.
        options: mock::Options,
    },
}

impl EngineSettings {
    /// What it is.
    pub const fn kind(&self) -> EngineKind {
        match self {
            Self::Embedded { .. } => EngineKind::Embedded,
            Self::Remote { kind, .. } => *kind,
            Self::Mock { .. } => EngineKind::Mock,
        }
    }

    /// The engine's name.
    pub const fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// The name of the model that it runs.
    pub fn model(&self) -> &str {
        match self {
            Self::Embedded { model, .. } => model.name(),
            Self::Remote { model, .. } | Self::Mock { model, .. } => model,
        }
    }

    /// What else the model may be called in a request.
    pub fn model_aliases(&self) -> Vec<String> {
        match self {
            Self::Embedded { file, .. } => file
                .iter()
                .map(|file| format!("file:{}", file.display()))
                .collect(),
            Self::Remote { .. } | Self::Mock { .. } => Vec::new(),
        }
    }

    /// The same engine with another model: `file:/abs/path`, or the name of the shipped one. A script
    /// goes by any name.
    ///
    /// # Errors
    ///
    /// Why there is no such model, in words that name no path.
    pub fn with_model(&self, model_ref: &str) -> Result<Self, String> {
        let options = match self {
            Self::Mock { options, .. } => {
                return Ok(Self::Mock {
                    model: model_ref.to_owned(),
                    options: *options,
                });
            }
            Self::Remote {
                kind,
                version,
                context_tokens,
                process,
                ..
            } => {
                if process.is_some() {
                    return Err(
                        "its engines are started with their model; change the settings".to_owned(),
                    );
                }
                return Ok(Self::Remote {
                    kind: *kind,
                    model: model_ref.to_owned(),
                    version: version.clone(),
                    context_tokens: *context_tokens,
                    process: None,
                });
            }
            Self::Embedded { options, .. } => options,
        };
        let (model, file) = match model_ref.strip_prefix("file:") {
            Some(path) => {
                let bytes = fs::read(path)
                    .map_err(|error| format!("the model's file can't be read: {error}"))?;
                (embedded::Model::load(&bytes), Some(PathBuf::from(path)))
            }
            None => (embedded::Model::load(embedded::SHIPPED), None),
        };
        let model = model.map_err(|error| format!("the model can't be used: {error}"))?;
        if file.is_none() && model.name() != model_ref {
            return Err(format!(
                "no model goes by that name; the shipped one is `{}`, others are `file:/abs/path`",
                model.name()
            ));
        }
        Ok(Self::Embedded {
            options: embedded::EngineOptions {
                context_tokens: options.context_tokens.min(model.context_tokens()),
                ..*options
            },
            model: Arc::new(model),
            file,
        })
    }

    /// Its version, as far as it is known before it runs.
    pub fn version(&self) -> &str {
        match self {
            Self::Embedded { .. } | Self::Mock { .. } => env!("CARGO_PKG_VERSION"),
            Self::Remote { version, .. } => version.as_deref().unwrap_or_default(),
        }
    }

    /// Tokens of context a task may have.
    pub fn context_tokens(&self) -> u32 {
        match self {
            Self::Embedded { options, .. } => options.context_tokens,
            Self::Remote { context_tokens, .. } => context_tokens.unwrap_or(u32::MAX),
            Self::Mock { .. } => u32::MAX,
        }
    }

    /// The kinds of work that it does.
    pub fn workloads(&self) -> &'static [Workload] {
        match self {
            Self::Embedded { model, .. } => model.workloads(),
            // What servers are asked for so far (`gpu/src/exchange.rs`).
            Self::Remote { .. } => &[Workload::Completion],
            Self::Mock { .. } => &Workload::ALL,
        }
    }
}

/// Bounds in time.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// From the end of a head to the end of its body.
    pub body: Duration,
    /// Between requests.
    pub idle: Duration,
    /// Without a byte taken by the client.
    pub write: Duration,
    /// Without a word from the engine about a running task.
    pub decode: Duration,
    /// From a stop signal until streams are ended.
    pub shutdown_grace: Duration,
}

/// One pool: what generates, and how many may wait for it.
#[derive(Clone)]
pub struct PoolSettings {
    /// Its id.
    pub id: String,
    /// What generates.
    pub engine: EngineSettings,
    /// Engines that run.
    pub replicas: u32,
    /// Tasks that decode at a time on each.
    pub slots: u32,
    /// Tasks that may wait.
    pub admission_capacity: u32,
    /// What a full queue does.
    pub admission_policy: Policy,
}

/// Everything the daemon was told, checked.
#[derive(Clone)]
pub struct Settings {
    /// Where to listen.
    pub addr: std::net::SocketAddr,
    /// Threads that own connections and queues.
    pub shards: u16,
    /// The pools; at least one.
    pub pools: Vec<PoolSettings>,
    /// Who may call.
    pub keys: Keys,
    /// What this daemon keeps to itself.
    pub data_dir: PathBuf,
    /// What is kept there, and whose signatures count.
    pub store: StoreSettings,
    /// Bytes of a body.
    pub body_max_bytes: u64,
    /// See [`Timeouts`].
    pub timeouts: Timeouts,
    /// Finished tasks that stay readable on each shard.
    pub finished_tasks_max: usize,
    /// How sessions are kept.
    pub sessions: SessionSettings,
    /// How servers are found and bound.
    pub binding: BindingSettings,
    /// How log lines look.
    pub log_format: LogFormat,
    /// The least level logged.
    pub log: tracing::level_filters::LevelFilter,
}

impl Settings {
    /// Checks what was said.
    ///
    /// # Errors
    ///
    /// The first thing that can't work, with its remedy.
    pub fn check(arguments: ServeArguments) -> Result<Self, StartError> {
        let cores = cores();
        let shards = bounded("--shards", arguments.shards.unwrap_or(cores), SHARDS_MAX)?;
        let keys = keys(&arguments)?;
        Ok(Self {
            addr: arguments.addr,
            shards,
            keys,
            timeouts: timeouts(&arguments)?,
            data_dir: data_dir(&arguments)?,
            store: StoreSettings::check(&arguments.store)?,
            body_max_bytes: arguments.body_max_bytes,
            finished_tasks_max: arguments.finished_tasks_max,
            sessions: sessions(&arguments)?,
            log_format: arguments.log_format,
            log: arguments.log,
            binding: BindingSettings::check(
                arguments.binding.clone(),
                arguments.admission_capacity,
                arguments.admission_policy.into(),
            )?,
            pools: vec![pool(arguments)?],
        })
    }
}

/// How many threads compute the embedded model: as many as were asked for, or half of the cores,
/// because the other half is for the shards.
pub fn compute_threads(arguments: &ServeArguments) -> u16 {
    arguments.compute_threads.unwrap_or(cores() / 2).max(1)
}

fn cores() -> u16 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(cores).unwrap_or(SHARDS_MAX).min(SHARDS_MAX)
}

fn bounded<N: PartialOrd + Default + fmt::Display>(
    flag: &str,
    value: N,
    max: N,
) -> Result<N, StartError> {
    if value > N::default() && value <= max {
        return Ok(value);
    }
    Err(StartError::new(
        format!("{flag} is {value}"),
        format!("give a number from 1 to {max}"),
    ))
}

fn timeouts(arguments: &ServeArguments) -> Result<Timeouts, StartError> {
    let timeout = |flag: &str, ms: u64| match ms {
        0 => Err(StartError::new(
            format!("{flag} is 0"),
            "give a number of milliseconds: everything that waits has a bound",
        )),
        ms => Ok(Duration::from_millis(ms)),
    };
    Ok(Timeouts {
        head: timeout("--head-timeout-ms", arguments.head_timeout_ms)?,
        body: timeout("--body-timeout-ms", arguments.body_timeout_ms)?,
        idle: timeout("--idle-timeout-ms", arguments.idle_timeout_ms)?,
        write: timeout("--write-timeout-ms", arguments.write_timeout_ms)?,
        decode: timeout("--decode-timeout-ms", arguments.decode_timeout_ms)?,
        // No grace at all is a choice that somebody may make.
        shutdown_grace: Duration::from_millis(arguments.shutdown_grace_ms),
    })
}

fn sessions(arguments: &ServeArguments) -> Result<SessionSettings, StartError> {
    let ttl_ms = bounded("--session-ttl-ms", arguments.session_ttl_ms, u64::MAX)?;
    let time_ms = arguments.session_time_budget_ms;
    Ok(SessionSettings {
        rules: SessionRules {
            ttl: Duration::from_millis(ttl_ms),
            turns_max: bounded("--session-turns-max", arguments.session_turns_max, u32::MAX)?,
            allowance: Allowance {
                tokens: arguments.session_tokens_budget,
                time: time_ms.map(Duration::from_millis),
                cost_micros: arguments.session_cost_budget.map(|budget| budget.0),
            },
        },
        sessions_max: bounded("--sessions-max", arguments.sessions_max, SESSIONS_MAX)?,
        cost_micros_per_1k_tokens: arguments.cost_per_1k_tokens.0,
    })
}

fn keys(arguments: &ServeArguments) -> Result<Keys, StartError> {
    let token = arguments.binding.worker_token.as_deref();
    let Some(path) = &arguments.keys else {
        if arguments.addr.ip().is_loopback() {
            return Ok(Keys::default().with_worker_token(token));
        }
        return Err(StartError::new(
            format!(
                "{} can be reached from other machines and no key is configured",
                arguments.addr
            ),
            "make a key with `orchestratord keys new NAME`, put its stanza into a file and name \
             that file with --keys, or listen on 127.0.1",
        ));
    };
    let keys = Keys::load(path).map(|keys| keys.with_worker_token(token));
    keys.map_err(|error| {
        StartError::new(
            format!("the keys file {} can't be used: {error}", path.display()),
            "mend the file; `orchestratord keys new NAME` prints a stanza that works",
        )
    })
}

fn data_dir(arguments: &ServeArguments) -> Result<PathBuf, StartError> {
    if let Some(dir) = &arguments.data_dir {
        return Ok(dir.clone());
    }
    let state = env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".local/state")));
    state.map(|dir| dir.join("orchestratord")).ok_or_else(|| {
        StartError::new(
            "there is no home directory to keep data in",
            "name a directory with --data-dir",
        )
    })
}

fn pool(arguments: ServeArguments) -> Result<PoolSettings, StartError> {
    Ok(PoolSettings {
        id: POOL_ID.to_owned(),
        replicas: 1,
        slots: bounded("--slots", arguments.slots, SLOTS_MAX)?,
        admission_capacity: bounded(
            "--admission-capacity",
            arguments.admission_capacity,
            ADMISSION_CAPACITY_MAX,
        )?,
        admission_policy: arguments.admission_policy.into(),
        engine: engine(arguments)?,
    })
}

fn engine(arguments: ServeArguments) -> Result<EngineSettings, StartError> {
    match arguments.engine {
        EngineName::Mock => Ok(EngineSettings::Mock {
            model: "mock".to_owned(),
            options: mock_options(&arguments),
        }),
        EngineName::Embedded => embedded_settings(arguments),
    }
}

fn mock_options(arguments: &ServeArguments) -> mock::Options {
    let token_interval = match arguments.mock_tokens_per_s {
        0 => Duration::ZERO,
        rate => Duration::from_secs(1) / rate,
    };
    mock::Options {
        slots: arguments.slots,
        first_token: Duration::from_millis(arguments.mock_first_token_ms),
        token_interval,
        seed: 0,
        fault: arguments.mock_fault,
    }
}

fn embedded_settings(arguments: ServeArguments) -> Result<EngineSettings, StartError> {
    let model = load_model(&arguments)?;
    let trained = model.context_tokens();
    let context_tokens = arguments
        .context_tokens
        .unwrap_or(CONTEXT_TOKENS_DEFAULT_MAX)
        .min(trained);
    Ok(EngineSettings::Embedded {
        options: embedded::EngineOptions {
            slots: arguments.slots,
            context_tokens: bounded("--context-tokens", context_tokens, trained)?,
        },
        model: Arc::new(model),
        file: arguments.model,
    })
}

fn load_model(arguments: &ServeArguments) -> Result<embedded::Model, StartError> {
    let Some(path) = &arguments.model else {
        return embedded::Model::load(embedded::SHIPPED).map_err(|error| {
            StartError::new(
                format!("the shipped model is broken: {error}"),
                "build again from a clean checkout",
            )
        });
    };
    let shown = path.display();
    let bytes = fs::read(path).map_err(|error| {
        StartError::new(
            format!("the model {shown} can't be read: {error}"),
            "name a GGUF file that this user may read with --model, or leave --model out",
        )
    })?;
    embedded::Model::load(&bytes).map_err(|error| {
        StartError::new(
            format!("the model {shown} can't be used: {error}"),
            "name a whole GGUF file of a llama architecture with --model; if it was downloaded, \
             download it again and compare its checksum",
        )
    })
}
