//! The line to an engine in another process: who vouches for it, and how long each part of an exchange may
//! take.
//!
//! ```text
//!   connect, shake hands │ write the request │ first byte of the answer │ … │ last byte
//!   ◄─ connect ─────────►◄─ first_byte ─────►◄─ first_byte ────────────►
//!   ◄─ total ─────────────────────────────────────────────────────────────────────────►
//! ```
//!
//! When one of the first three is up, the engine is broken and the task runs elsewhere. Silence, wherever it
//! falls, is bounded besides as it is for every engine (`decode_timeout_ms`).

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{StartError, bounds::within};
use crate::roots::Roots;

/// Settings of the line: each a flag, an environment variable and a key of the file.
#[derive(Clone, Debug, Args)]
pub struct LinkArguments {
    /// Certificates of authorities that vouch for engines at https, beside those that this system trusts.
    #[arg(long, env = "ORCHD_ENGINE_CA_FILE", value_name = "FILE.pem")]
    pub engine_ca_file: Option<PathBuf>,

    /// How long an engine may take to accept a connection and, at https, to show who it is.
    #[arg(long, env = "ORCHD_ENGINE_CONNECT_TIMEOUT_MS", default_value_t = 5_000)]
    pub engine_connect_timeout_ms: u64,

    /// How long an engine may take to take a request, and again until it begins to answer, which some do
    /// with the first token; then the task runs elsewhere. --decode-timeout-ms bounds this silence, too.
    #[arg(
        long,
        env = "ORCHD_ENGINE_FIRST_BYTE_TIMEOUT_MS",
        default_value_t = 60_000
    )]
    pub engine_first_byte_timeout_ms: u64,

    /// How long an engine may take for a task as a whole; then it ends with DECODE_TIMEOUT.
    #[arg(
        long,
        env = "ORCHD_ENGINE_TOTAL_TIMEOUT_MS",
        default_value_t = 3_600_000
    )]
    pub engine_total_timeout_ms: u64,
}

/// What holds for every line.
#[derive(Clone)]
pub struct LinkSettings {
    /// Whom we trust to vouch for a server.
    pub roots: Roots,
    /// From the wish for a connection until a request can be written to it.
    pub connect: Duration,
    /// Until the request is written, and again until the first byte of its answer.
    pub first_byte: Duration,
    /// From the start of a task on its engine to its end.
    pub total: Duration,
}

impl LinkSettings {
    /// Checks what was said.
    ///
    /// # Errors
    ///
    /// The first thing that can't work, with its remedy.
    pub fn check(arguments: &LinkArguments) -> Result<Self, StartError> {
        let timeout = |key: &str, ms: u64| within(key, ms).map(Duration::from_millis);
        Ok(Self {
            roots: Roots::load(arguments.engine_ca_file.as_deref())?,
            connect: timeout(
                "engine_connect_timeout_ms",
                arguments.engine_connect_timeout_ms,
            )?,
            first_byte: timeout(
                "engine_first_byte_timeout_ms",
                arguments.engine_first_byte_timeout_ms,
            )?,
            total: timeout("engine_total_timeout_ms", arguments.engine_total_timeout_ms)?,
        })
    }
}
