//! The command line: what can be said, with its help. Checking what was said is `settings`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A scheduler and streaming gateway for language models on your own machine.
///
/// Without a command it serves: it admits tasks over HTTP, queues them by class and deadline,
/// generates with its engine, and streams the tokens as server-sent events.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "orchestratord",
    version,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub serve: ServeArguments,
}

/// Commands beside serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Say what the daemon would do with these settings on this machine, and whether it can start.
    Check(Box<CheckArguments>),
    /// Keep an engine until the standard input ends.
    #[command(hide = true)]
    KeepEngine {
        /// How long what it has started may take to follow SIGTERM, in milliseconds.
        grace_ms: u64,
        /// The engine's command.
        #[arg(last = true)]
        words: Vec<String>,
    },
    /// Become an engine that ends with its keeper.
    #[command(hide = true)]
    BecomeEngine {
        /// The keeper.
        parent: i32,
        /// The engine's command.
        #[arg(last = true)]
        words: Vec<String>,
    },
    /// Make keys for callers.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Fetch, list and remove models' files.
    #[command(subcommand)]
    Models(Box<crate::models::command::ModelsCommand>),
}

/// What is checked.
#[derive(Clone, Debug, Args)]
pub struct CheckArguments {
    /// Print a JSON Schema of the settings file instead.
    #[arg(long)]
    pub schema: bool,
    /// Print what would become of the pools as JSON, for machines.
    #[arg(long)]
    pub json: bool,
    /// The settings.
    #[command(flatten)]
    pub serve: ServeArguments,
}

/// Commands about keys.
#[derive(Clone, Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key: prints the secret once, and the stanza for the keys file.
    New {
        /// The caller's name, as it appears in logs.
        name: String,
        /// What the key may do: data, control, worker, metrics.
        #[arg(long, value_delimiter = ',', default_value = "data", value_parser = parse_scope)]
        scopes: Vec<crate::identity::Scope>,
        /// Requests a minute that its holder may make. Default: no bound.
        #[arg(long)]
        requests_per_minute: Option<std::num::NonZeroU32>,
    },
}

fn parse_scope(name: &str) -> Result<crate::identity::Scope, String> {
    crate::identity::Scope::parse(name)
        .ok_or_else(|| "a scope is one of data, control, worker, metrics".to_owned())
}

/// Which engine serves the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    /// A GGUF model, executed in this process.
    Embedded,
    /// A script of tokens with a set pace, for tests and benchmarks.
    Mock,
}

/// What a full queue does with a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AdmissionPolicy {
    /// Refuses it with 429.
    Reject,
    /// Drops the oldest waiting task of its class or a lower one for it.
    DropLru,
}

impl From<AdmissionPolicy> for orchestratord_sched::Policy {
    fn from(policy: AdmissionPolicy) -> Self {
        match policy {
            AdmissionPolicy::Reject => Self::Reject,
            AdmissionPolicy::DropLru => Self::DropLru,
        }
    }
}

/// How much of a queue one caller may have, in each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AdmissionShare {
    /// All of it.
    All,
    /// As many places as are left for others.
    LeavesRoom,
}

impl From<AdmissionShare> for orchestratord_sched::Share {
    fn from(share: AdmissionShare) -> Self {
        match share {
            AdmissionShare::All => Self::All,
            AdmissionShare::LeavesRoom => Self::LeavesRoom,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// Settings of the daemon: each a flag, an environment variable, and a key of the settings file.
#[derive(Clone, Debug, Args)]
pub struct ServeArguments {
    /// The settings file. Default: orchestratord.toml in the working directory, if it is there.
    #[arg(long, env = "ORCHD_CONFIG", value_name = "FILE.toml")]
    pub config: Option<PathBuf>,

    /// The `[[pool]]` tables of the settings file; they take the place of the one pool that the flags
    /// describe.
    #[arg(skip)]
    pub pools: Vec<crate::settings::pool::PoolStanza>,

    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, env = "ORCHD_ADDR", default_value = "127.0.0.1:8080")]
    pub addr: SocketAddr,

    /// Shards: threads that own connections and queues. Default: one a core.
    #[arg(long, env = "ORCHD_SHARDS")]
    pub shards: Option<u16>,

    /// The engine of the pool.
    #[arg(long, env = "ORCHD_ENGINE", value_enum, default_value = "embedded")]
    pub engine: EngineName,

    /// A GGUF file of a llama architecture to run instead of the shipped model: a path, or
    /// `https://host/path[#sha256=HEX]` or `hf:org/repo[/file][@revision]`, which is downloaded once.
    #[arg(long, env = "ORCHD_MODEL", value_name = "FILE.gguf|REF")]
    pub model: Option<String>,

    /// Where models come from and where they are kept.
    #[command(flatten)]
    pub models: crate::models::settings::ModelArguments,

    /// Tasks that decode at a time.
    #[arg(long, env = "ORCHD_SLOTS", default_value_t = 4)]
    pub slots: u32,

    /// Tokens of context a slot has. Default: what the model was trained on, at most 4096.
    #[arg(long, env = "ORCHD_CONTEXT_TOKENS")]
    pub context_tokens: Option<u32>,

    /// Threads that compute the embedded model. Default: half of the cores, at least one.
    #[arg(long, env = "ORCHD_COMPUTE_THREADS")]
    pub compute_threads: Option<u16>,

    /// Tasks that may wait; what happens to one more is --admission-policy's choice.
    #[arg(long, env = "ORCHD_ADMISSION_CAPACITY", default_value_t = 16)]
    pub admission_capacity: u32,

    /// Tokens that those who wait may expect together (`expected_tokens`). Default: no bound.
    #[arg(long, env = "ORCHD_ADMISSION_TOKENS_MAX")]
    pub admission_tokens_max: Option<u64>,

    /// What a full queue does with a newcomer.
    #[arg(
        long,
        env = "ORCHD_ADMISSION_POLICY",
        value_enum,
        default_value = "reject"
    )]
    pub admission_policy: AdmissionPolicy,

    /// How much of a queue one caller may have, in each class. Default: leaves-room where there are several keys,
    /// else all.
    #[arg(long, env = "ORCHD_ADMISSION_SHARE", value_enum)]
    pub admission_share: Option<AdmissionShare>,

    /// The file of callers' keys (see `orchestratord keys new`).
    #[arg(long, env = "ORCHD_KEYS", value_name = "FILE.toml")]
    pub keys: Option<PathBuf>,

    /// Keys that nobody has, which may come from one address (of version 6: one /64) in a minute; then every key
    /// from there is answered 429, but for those of callers that were let in from there before.
    #[arg(long, env = "ORCHD_AUTH_FAILURES_PER_MINUTE", default_value_t = 60)]
    pub auth_failures_per_minute: u32,

    /// The directory that this daemon keeps to itself. Default: orchestratord/ in
    /// $XDG_STATE_HOME, or in ~/.local/state.
    #[arg(long, env = "ORCHD_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// What the daemon keeps on its disk.
    #[command(flatten)]
    pub store: crate::store::settings::StoreArguments,

    /// How servers are found and bound.
    #[command(flatten)]
    pub binding: crate::control::settings::BindingArguments,

    /// How they are reached.
    #[command(flatten)]
    pub link: crate::settings::link::LinkArguments,

    /// Connections of clients at a time; one more is told 503 and closed. Default: what the file limit allows.
    #[arg(long, env = "ORCHD_CONNECTIONS_MAX")]
    pub connections_max: Option<u64>,

    /// Bytes of a request body; a larger one is refused with 413.
    #[arg(long, env = "ORCHD_BODY_MAX_BYTES", default_value_t = 1 << 20)]
    pub body_max_bytes: u64,

    /// Bytes of all request bodies that are being read, beyond the first 16 KiB of each; one more is told 503.
    #[arg(long, env = "ORCHD_BODIES_MAX_BYTES", default_value_t = 256 << 20)]
    pub bodies_max_bytes: u64,

    /// How long a request head may take from its first byte; then 408.
    #[arg(long, env = "ORCHD_HEAD_TIMEOUT_MS", default_value_t = 10_000)]
    pub head_timeout_ms: u64,

    /// How long a request body may take; then 408.
    #[arg(long, env = "ORCHD_BODY_TIMEOUT_MS", default_value_t = 30_000)]
    pub body_timeout_ms: u64,

    /// How long a connection may rest between requests before it is closed.
    #[arg(long, env = "ORCHD_IDLE_TIMEOUT_MS", default_value_t = 75_000)]
    pub idle_timeout_ms: u64,

    /// How long a client may take nothing of what it is sent before it is cut off.
    #[arg(long, env = "ORCHD_WRITE_TIMEOUT_MS", default_value_t = 60_000)]
    pub write_timeout_ms: u64,

    /// How long an engine may be silent about a running task; then it ends with DECODE_TIMEOUT.
    #[arg(long, env = "ORCHD_DECODE_TIMEOUT_MS", default_value_t = 60_000)]
    pub decode_timeout_ms: u64,

    /// How long a shard may stand still before the log and `shard_stalled` tell it; after five times as long
    /// /livez answers 503.
    #[arg(long, env = "ORCHD_SHARD_STALL_MS", default_value_t = 2_000)]
    pub shard_stall_ms: u64,

    /// How long streams may go on after SIGTERM or SIGINT; then they end with an error event.
    #[arg(long, env = "ORCHD_SHUTDOWN_GRACE_MS", default_value_t = 30_000)]
    pub shutdown_grace_ms: u64,

    /// Finished tasks that stay readable on each shard.
    #[arg(long, env = "ORCHD_FINISHED_TASKS_MAX", default_value_t = 1000)]
    pub finished_tasks_max: usize,

    /// How long a session is kept after its last turn.
    #[arg(long, env = "ORCHD_SESSION_TTL_MS", default_value_t = 600_000)]
    pub session_ttl_ms: u64,

    /// Turns that a session may have.
    #[arg(long, env = "ORCHD_SESSION_TURNS_MAX", default_value_t = 8)]
    pub session_turns_max: u32,

    /// Tokens that a session may take, of prompts and of texts. Default: no bound.
    #[arg(long, env = "ORCHD_SESSION_TOKENS_BUDGET")]
    pub session_tokens_budget: Option<u64>,

    /// Time that a session may spend on slots. Default: no bound.
    #[arg(long, env = "ORCHD_SESSION_TIME_BUDGET_MS")]
    pub session_time_budget_ms: Option<u64>,

    /// What a session may cost, at --cost-per-1k-tokens. Default: no bound.
    #[arg(long, env = "ORCHD_SESSION_COST_BUDGET", value_parser = parse_amount)]
    pub session_cost_budget: Option<Micros>,

    /// What a thousand tokens cost, in any currency.
    #[arg(long, env = "ORCHD_COST_PER_1K_TOKENS", default_value = "0", value_parser = parse_amount)]
    pub cost_per_1k_tokens: Micros,

    /// Sessions that are kept at a time.
    #[arg(long, env = "ORCHD_SESSIONS_MAX", default_value_t = 100_000)]
    pub sessions_max: usize,

    /// How log lines on stderr look.
    #[arg(long, env = "ORCHD_LOG_FORMAT", value_enum, default_value = "auto")]
    pub log_format: LogFormat,

    /// The least level that is logged: error, warn, info, debug, trace.
    #[arg(long, env = "ORCHD_LOG", default_value = "info")]
    pub log: tracing::level_filters::LevelFilter,

    /// The mock engine's time to first token.
    #[arg(long, env = "ORCHD_MOCK_FIRST_TOKEN_MS", default_value_t = 20)]
    pub mock_first_token_ms: u64,

    /// The mock engine's tokens a second and task; 0 is as fast as it can.
    #[arg(long, env = "ORCHD_MOCK_TOKENS_PER_S", default_value_t = 100)]
    pub mock_tokens_per_s: u32,

    /// How the mock engine breaks: none, refuse, die-after:TOKENS, hang-after:TOKENS.
    #[arg(long, env = "ORCHD_MOCK_FAULT", default_value = "none", value_parser = parse_fault)]
    pub mock_fault: orchestratord_gpu::mock::Fault,
}

/// Millionths of a currency.
#[derive(Clone, Copy, Debug)]
pub struct Micros(pub u64);

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it was checked to lie within the bounds"
)]
fn parse_amount(text: &str) -> Result<Micros, String> {
    /// So that a thousand tokens at this price can be multiplied by any number of them.
    const AMOUNT_MAX: f64 = 1e9;
    let amount: f64 = text
        .parse()
        .map_err(|_| "an amount is a number".to_owned())?;
    if (0.0..=AMOUNT_MAX).contains(&amount) {
        return Ok(Micros((amount * 1e6).round() as u64));
    }
    Err(format!("an amount lies between 0 and {AMOUNT_MAX}"))
}

/// How a script breaks.
///
/// # Errors
///
/// What there is to choose from.
pub fn parse_fault(text: &str) -> Result<orchestratord_gpu::mock::Fault, String> {
    use orchestratord_gpu::mock::Fault;
    let tokens = |count: &str| {
        count
            .parse()
            .map_err(|_| "the count after the colon must be a whole number of tokens".to_owned())
    };
    match text.split_once(':') {
        None if text == "none" => Ok(Fault::None),
        None if text == "refuse" => Ok(Fault::RefusesAdmission),
        Some(("die-after", count)) => Ok(Fault::DiesAfterTokens(tokens(count)?)),
        Some(("hang-after", count)) => Ok(Fault::HangsAfterTokens(tokens(count)?)),
        _ => Err("a fault is none, refuse, die-after:TOKENS or hang-after:TOKENS".to_owned()),
    }
}
