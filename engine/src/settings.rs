//! What was said on the command line and in the environment, checked.
//!
//! A [`Settings`] that exists is one that the daemon can start with, as far as that can be known
//! without touching the machine; what the machine must offer is `preflight`'s business. Where it was said
//! (a flag, a variable, the file) is `layers`' business.

pub mod bounds;
pub mod engine;
pub mod file;
pub mod key;
pub mod layers;
pub mod link;
pub mod pool;
pub mod schema;

use std::{env, fmt, num::NonZeroU32, path::PathBuf, thread, time::Duration};

use orchestratord_sched::{Share, budget::Allowance, pulse::Patience, session::SessionRules};

use self::{
    bounds::within,
    key::EngineKey,
    link::LinkSettings,
    pool::{Admission, PoolSettings, PoolStanza},
};
use crate::{
    cli::{LogFormat, ServeArguments},
    control::{bind::Candidate, settings::BindingSettings},
    identity::Keys,
    models::{Models, settings::ModelSettings},
    shared::sessions::SessionSettings,
    store::settings::StoreSettings,
};

/// Shards beyond this are a typing mistake: no machine has more cores that serve one socket well.
const SHARDS_MAX: u16 = 256;
/// Sessions that are kept at a time: more are some gigabytes.
const SESSIONS_MAX: u64 = 1 << 24;

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
    /// How long a shard may stand still before that is told.
    pub shard_stall: Patience,
    /// From a stop signal until streams are ended.
    pub shutdown_grace: Duration,
}

/// What holds as long as the process does.
#[derive(Clone)]
pub struct Fixed {
    /// Where to listen.
    pub addr: std::net::SocketAddr,
    /// Threads that own connections and queues.
    pub shards: u16,
    /// Connections of clients at a time, if fewer than the file limit allows.
    pub connections_max: Option<u64>,
    /// Bytes of all bodies that are being read.
    pub bodies_max_bytes: u64,
    /// What this daemon keeps to itself.
    pub data_dir: PathBuf,
    /// What is kept there, and whose signatures count.
    pub store: StoreSettings,
    /// Where handoff files are.
    pub runtime_dir: PathBuf,
    /// A server that is bound from the start, beside those of the pools.
    pub llamacpp: Option<Candidate>,
    /// The key that it wants to be shown. What it is holds until the settings are read anew.
    pub llamacpp_key: Option<EngineKey>,
    /// Threads that compute the embedded model.
    pub compute_threads: u16,
    /// How log lines look.
    pub log_format: LogFormat,
    /// The least level logged.
    pub log: tracing::level_filters::LevelFilter,
}

impl Fixed {
    /// The settings that differ; they hold when the daemon is started again.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let differ = [
            ("addr", self.addr != other.addr),
            ("shards", self.shards != other.shards),
            (
                "connections_max",
                self.connections_max != other.connections_max,
            ),
            (
                "bodies_max_bytes",
                self.bodies_max_bytes != other.bodies_max_bytes,
            ),
            ("data_dir", self.data_dir != other.data_dir),
            (
                "transcripts",
                self.store.transcripts != other.store.transcripts,
            ),
            (
                "durability",
                self.store.durability != other.store.durability,
            ),
            (
                "outcomes_max",
                self.store.outcomes_max != other.store.outcomes_max,
            ),
            ("artifacts_…", self.store.retention != other.store.retention),
            ("trusted_keys", self.store.trusted != other.store.trusted),
            ("runtime_dir", self.runtime_dir != other.runtime_dir),
            (
                "llamacpp_…",
                self.llamacpp != other.llamacpp
                    || self.llamacpp_key.is_some() != other.llamacpp_key.is_some(),
            ),
            (
                "compute_threads",
                self.compute_threads != other.compute_threads,
            ),
            ("log_format", self.log_format != other.log_format),
            ("log", self.log != other.log),
        ];
        let differ = differ.into_iter().filter(|(_, differs)| *differs);
        differ.map(|(name, _)| name).collect()
    }
}

/// What can change while the daemon runs. It is replaced as a whole, and read when a thing begins: a
/// connection, a request, a turn.
#[derive(Clone)]
pub struct Limits {
    /// Who may call.
    pub keys: Keys,
    /// Keys that nobody has, from one network.
    pub auth_failures_per_minute: NonZeroU32,
    /// How much of a queue one of them may have.
    pub share: Share,
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
    /// How they are reached.
    pub link: LinkSettings,
    /// Where models come from and where they are kept.
    pub models: ModelSettings,
}

impl Limits {
    /// Models' files, as far as these settings reach.
    pub fn models(&self) -> Models {
        Models::new(&self.models, &self.link.roots)
    }
}

/// Everything the daemon was told, checked.
pub struct Settings {
    /// What holds as long as the process does.
    pub fixed: Fixed,
    /// What holds until the settings are read anew.
    pub limits: Limits,
    arguments: ServeArguments,
}

impl Settings {
    /// Checks what was said.
    ///
    /// # Errors
    ///
    /// The first thing that can't work, with its remedy.
    pub fn check(arguments: ServeArguments) -> Result<Self, StartError> {
        let shards = within("shards", arguments.shards.unwrap_or_else(cores))?;
        let keys = keys(&arguments)?;
        let fixed = Fixed {
            addr: arguments.addr,
            shards,
            connections_max: arguments
                .connections_max
                .map(|max| within("connections_max", max))
                .transpose()?,
            bodies_max_bytes: arguments.bodies_max_bytes,
            data_dir: data_dir(&arguments)?,
            store: StoreSettings::check(&arguments.store)?,
            runtime_dir: arguments.binding.runtime_dir.clone(),
            llamacpp: arguments.binding.llamacpp()?,
            llamacpp_key: llamacpp_key(&arguments)?,
            compute_threads: compute_threads(&arguments),
            log_format: arguments.log_format,
            log: arguments.log,
        };
        let limits = Limits {
            share: share(&arguments, &keys),
            keys,
            auth_failures_per_minute: within(
                "auth_failures_per_minute",
                arguments.auth_failures_per_minute,
            )?
            .try_into()
            .expect("its bounds begin with one"),
            timeouts: timeouts(&arguments)?,
            body_max_bytes: arguments.body_max_bytes,
            finished_tasks_max: arguments.finished_tasks_max,
            sessions: sessions(&arguments)?,
            binding: BindingSettings::check(
                &arguments.binding,
                Admission {
                    capacity: within("admission_capacity", arguments.admission_capacity)?,
                    tokens_max: arguments
                        .admission_tokens_max
                        .map(|max| within("admission_tokens_max", max))
                        .transpose()?,
                    policy: arguments.admission_policy.into(),
                },
            )?,
            link: LinkSettings::check(&arguments.link)?,
            models: ModelSettings::check(&arguments.models, &fixed.data_dir)?,
        };
        Ok(Self {
            fixed,
            limits,
            arguments,
        })
    }

    /// What was said of each pool; at least one.
    pub fn pools(&self) -> Vec<PoolStanza> {
        pool::stanzas(&self.arguments)
    }

    /// Reads what was said of a pool, and loads its model if the daemon runs it, which may have to be
    /// downloaded.
    ///
    /// # Errors
    ///
    /// What can't work, with its remedy.
    pub fn load(&self, pool: &PoolStanza) -> Result<PoolSettings, StartError> {
        let pool = pool.check(&self.arguments, &self.limits.models())?;
        pool.check_servers(&self.limits.binding.networks)?;
        Ok(pool)
    }

    /// All pools.
    ///
    /// # Errors
    ///
    /// The first thing that can't work, with its remedy.
    pub fn load_pools(&self) -> Result<Vec<PoolSettings>, StartError> {
        self.pools().iter().map(|pool| self.load(pool)).collect()
    }
}

/// Models' files, for commands that need no other settings.
///
/// # Errors
///
/// The first thing that can't work, with its remedy.
pub fn models(arguments: &ServeArguments) -> Result<Models, StartError> {
    let settings = ModelSettings::check(&arguments.models, &data_dir(arguments)?)?;
    let link = LinkSettings::check(&arguments.link)?;
    Ok(Models::new(&settings, &link.roots))
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

fn timeouts(arguments: &ServeArguments) -> Result<Timeouts, StartError> {
    let timeout = |key: &str, ms: u64| within(key, ms).map(Duration::from_millis);
    Ok(Timeouts {
        head: timeout("head_timeout_ms", arguments.head_timeout_ms)?,
        body: timeout("body_timeout_ms", arguments.body_timeout_ms)?,
        idle: timeout("idle_timeout_ms", arguments.idle_timeout_ms)?,
        write: timeout("write_timeout_ms", arguments.write_timeout_ms)?,
        decode: timeout("decode_timeout_ms", arguments.decode_timeout_ms)?,
        shard_stall: Patience {
            stall: timeout("shard_stall_ms", arguments.shard_stall_ms)?,
        },
        // No grace at all is a choice that somebody may make.
        shutdown_grace: Duration::from_millis(arguments.shutdown_grace_ms),
    })
}

fn sessions(arguments: &ServeArguments) -> Result<SessionSettings, StartError> {
    let ttl_ms = within("session_ttl_ms", arguments.session_ttl_ms)?;
    let time_ms = arguments.session_time_budget_ms;
    Ok(SessionSettings {
        rules: SessionRules {
            ttl: Duration::from_millis(ttl_ms),
            turns_max: within("session_turns_max", arguments.session_turns_max)?,
            allowance: Allowance {
                tokens: arguments.session_tokens_budget,
                time: time_ms.map(Duration::from_millis),
                cost_micros: arguments.session_cost_budget.map(|budget| budget.0),
            },
        },
        sessions_max: within("sessions_max", arguments.sessions_max)?,
        cost_micros_per_1k_tokens: arguments.cost_per_1k_tokens.0,
    })
}

/// Unless somebody says otherwise, room is left for others where there may be others.
fn share(arguments: &ServeArguments, keys: &Keys) -> Share {
    let usual = if keys.are_several() {
        Share::LeavesRoom
    } else {
        Share::All
    };
    arguments.admission_share.map_or(usual, Share::from)
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
             that file with --keys, or listen on 127.0.0.1",
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

/// The key of the llama.cpp server. The pool that is made for it has it; one of a table has what that says.
fn llamacpp_key(arguments: &ServeArguments) -> Result<Option<EngineKey>, StartError> {
    let key = arguments.binding.llamacpp_key()?;
    let id = &arguments.binding.llamacpp_pool;
    if key.is_some() && pool::stanzas(arguments).iter().any(|pool| pool.id == *id) {
        return Err(StartError::new(
            format!(
                "the key of the llama.cpp server is that of its pool `{id}`, which has a table"
            ),
            "give the pool's table a `key_file` or a `key_env`, and leave out those of the server",
        ));
    }
    Ok(key)
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
