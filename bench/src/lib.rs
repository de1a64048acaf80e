//! How fast: load over real sockets, and what the programs in `src/bin` are made of.
//!
//! A load is honest only if it checks what it counts. Every stream is read to its last event, its
//! ids and token numbers are checked, and one that breaks the contract is a failure of the run, not
//! a fast stream ([`transcript`]). Our own client does the framing ([`client`]); the features have
//! another one, which owes us nothing.

pub mod belongings;
pub mod breaches;
pub mod calibration;
pub mod client;
pub mod daemon;
pub mod http2;
pub mod metrics;
pub mod transcript;
pub mod workload;

use std::fmt;

/// Why a run is worth nothing; one sentence.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// What was tried, and what came of it.
    pub fn new(tried: &str, error: impl fmt::Display) -> Self {
        Self(format!("{tried}: {error}"))
    }
}
