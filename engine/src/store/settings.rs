//! What the store was told on the command line and in the environment.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::{
    settings::{StartError, bounds::within},
    trust::TrustedKeys,
};

/// What is kept of a task's stream when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transcripts {
    /// Nothing.
    Off,
    /// How it went, and no word of what was asked or generated.
    Metadata,
    /// The prompt and every event too.
    Full,
}

/// What the answer to a task is worth if the machine fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// A 202 and the end of a stream wait until they are on the disk: neither is taken back by a crash.
    Fsync,
    /// Both are written, and nobody waits: a crash takes back what was said in its last moments.
    Async,
    /// Tasks live in memory, and end with the daemon.
    Off,
}

/// Settings of the store: each a flag and an environment variable.
#[derive(Clone, Debug, Args)]
pub struct StoreArguments {
    /// What is kept of each finished stream, as an artifact. `full` writes prompts and texts to the
    /// disk.
    #[arg(
        long,
        env = "ORCHD_TRANSCRIPTS",
        value_enum,
        default_value = "metadata"
    )]
    pub transcripts: Transcripts,

    /// Whether accepted tasks survive a crash. With `fsync` and `async` requests are written to the disk
    /// until their tasks have ended.
    #[arg(long, env = "ORCHD_DURABILITY", value_enum, default_value = "fsync")]
    pub durability: Durability,

    /// Ended tasks whose outcome is kept on the disk; one more drops the oldest.
    #[arg(long, env = "ORCHD_OUTCOMES_MAX", default_value_t = 10_000)]
    pub outcomes_max: u64,

    /// Artifacts that are kept; one more drops the oldest.
    #[arg(long, env = "ORCHD_ARTIFACTS_MAX", default_value_t = 10_000)]
    pub artifacts_max: u64,

    /// Bytes of all artifacts together; beyond, the oldest are dropped.
    #[arg(long, env = "ORCHD_ARTIFACTS_BYTES_MAX", default_value_t = 256 << 20)]
    pub artifacts_bytes_max: u64,

    /// How long artifacts are kept. Default: thirty days.
    #[arg(long, env = "ORCHD_ARTIFACTS_AGE_MAX_MS", default_value_t = 30 * 24 * 3_600_000)]
    pub artifacts_age_max_ms: u64,

    /// The file of public keys whose signatures of models count. Without one no model is trusted,
    /// and the strict trust policy refuses every model.
    #[arg(long, env = "ORCHD_TRUSTED_KEYS", value_name = "FILE.toml")]
    pub trusted_keys: Option<PathBuf>,
}

/// How many artifacts are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Artifacts.
    pub count_max: u64,
    /// Bytes of all of them.
    pub bytes_max: u64,
    /// How long.
    pub age_max: Duration,
}

/// Everything the store was told, checked.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// See [`Transcripts`].
    pub transcripts: Transcripts,
    /// See [`Durability`].
    pub durability: Durability,
    /// Ended tasks whose outcome is kept.
    pub outcomes_max: u64,
    /// See [`Retention`].
    pub retention: Retention,
    /// Whose signatures count.
    pub trusted: TrustedKeys,
}

impl StoreSettings {
    /// Checks what was said.
    ///
    /// # Errors
    ///
    /// The first thing that can't work, with its remedy.
    pub fn check(arguments: &StoreArguments) -> Result<Self, StartError> {
        let age_max_ms = within("artifacts_age_max_ms", arguments.artifacts_age_max_ms)?;
        Ok(Self {
            transcripts: arguments.transcripts,
            durability: arguments.durability,
            outcomes_max: within("outcomes_max", arguments.outcomes_max)?,
            retention: Retention {
                count_max: within("artifacts_max", arguments.artifacts_max)?,
                bytes_max: within("artifacts_bytes_max", arguments.artifacts_bytes_max)?,
                age_max: Duration::from_millis(age_max_ms),
            },
            trusted: trusted_keys(arguments)?,
        })
    }
}

fn trusted_keys(arguments: &StoreArguments) -> Result<TrustedKeys, StartError> {
    let Some(path) = &arguments.trusted_keys else {
        return Ok(TrustedKeys::default());
    };
    TrustedKeys::load(path).map_err(|error| {
        StartError::new(
            format!(
                "the file of trusted keys {} can't be used: {error}",
                path.display()
            ),
            "give each [[key]] a name and the ed25519 public key as 64 hexadecimal digits, or leave \
             --trusted-keys out",
        )
    })
}
