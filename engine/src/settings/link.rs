//! The line to an engine in another process: who vouches for it.

use std::path::PathBuf;

use clap::Args;

use super::StartError;
use crate::roots::Roots;

/// Settings of the line: each a flag, an environment variable and a key of the file.
#[derive(Clone, Debug, Args)]
pub struct LinkArguments {
    /// Certificates of authorities that vouch for engines at https, beside those that this system trusts.
    #[arg(long, env = "ORCHD_ENGINE_CA_FILE", value_name = "FILE.pem")]
    pub engine_ca_file: Option<PathBuf>,
}

/// What holds for every line.
#[derive(Clone)]
pub struct LinkSettings {
    /// Whom we trust to vouch for a server.
    pub roots: Roots,
}

impl LinkSettings {
    /// Checks what was said.
    ///
    /// # Errors
    ///
    /// The first thing that can't work, with its remedy.
    pub fn check(arguments: &LinkArguments) -> Result<Self, StartError> {
        Ok(Self {
            roots: Roots::load(arguments.engine_ca_file.as_deref())?,
        })
    }
}
