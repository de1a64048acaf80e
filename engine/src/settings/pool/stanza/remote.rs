//! A pool of servers, some of which the daemon starts itself.

use std::time::Duration;

use orchestratord_gpu::{EngineKind, command::Template};

use super::PoolStanza;
use crate::{
    control::process::ProcessSettings,
    models::reference::ModelRef,
    settings::{StartError, bounds::within, engine::EngineSettings},
};

/// How long an engine may take to start unless told otherwise: models of a hundred gigabytes are read.
const READY_TIMEOUT_MS: u64 = 600_000;
/// A day: no model takes longer to load.
pub const READY_TIMEOUT_MAX_MS: u64 = 24 * 3_600_000;
/// How long an engine may take to end when nobody has said it: it has memory and devices to give back.
const STOP_GRACE_MS: u64 = 10_000;
/// The longest that it may be given: the daemon's own end waits for it.
pub const STOP_GRACE_MAX_MS: u64 = 600_000;

impl PoolStanza {
    pub(super) fn remote(&self, kind: EngineKind) -> Result<EngineSettings, StartError> {
        let model = self.model.clone().ok_or_else(|| {
            StartError::new(
                format!(
                    "pool `{}`: nothing says what requests call its model",
                    self.id
                ),
                "give it a `model`",
            )
        })?;
        let command = match &self.command {
            Some(words) => Some(Template::parse(words.clone()).map_err(|bad| {
                let problem = format!("pool `{}`: {bad}", self.id);
                StartError::new(problem, "mend its `command`")
            })?),
            None if self.start => Some(Template::default_of(kind).ok_or_else(|| {
                StartError::new(
                    format!(
                        "pool `{}`: nobody knows how such an engine is started",
                        self.id
                    ),
                    "give it a `command`",
                )
            })?),
            None => None,
        };
        if let Some(name) = self.env.impossible() {
            let problem = format!(
                "pool `{}`: no process can have the variable `{name}`",
                self.id
            );
            return Err(StartError::new(problem, "mend its `env`"));
        }
        let meant = self.model_ref()?;
        let ready_timeout_ms = self.ready_timeout_ms.unwrap_or(READY_TIMEOUT_MS);
        within("ready_timeout_ms", ready_timeout_ms)?;
        let stop_grace_ms = self.stop_grace_ms.unwrap_or(STOP_GRACE_MS);
        within("stop_grace_ms", stop_grace_ms)?;
        Ok(EngineSettings::Remote {
            kind,
            version: self.engine_version.clone(),
            context_tokens: self.context_tokens,
            process: command.map(|command| ProcessSettings {
                command,
                model: meant.unwrap_or_else(|| ModelRef::Name(model.clone())),
                ready_timeout: Duration::from_millis(ready_timeout_ms),
                stop_grace: Duration::from_millis(stop_grace_ms),
                variables: self.env.clone(),
            }),
            model,
        })
    }
}
