//! What is said to an engine that knows nothing of it.

use super::{Engine, PoolStanza, is_place};

impl PoolStanza {
    /// What is said to an engine that knows nothing of it was meant otherwise: the key, and a remedy.
    pub(super) fn check_keys(&self) -> Result<(), (&'static str, &'static str)> {
        let is_started = self.is_started();
        let said = |key, is_said: bool, remedy| if is_said { Err((key, remedy)) } else { Ok(()) };
        if self.engine == Engine::Embedded {
            let remedy = "name the place of the model's file, as file:/abs/path, https://host/path or \
                          hf:org/repo, or the file with `model_file`; its name stands in the file";
            let is_name = self.model.as_deref().is_some_and(|model| !is_place(model));
            said("model", is_name, remedy)?;
            let remedy = "leave one of `model` and `model_file` out";
            let is_both = self.model.is_some() && self.model_file.is_some();
            said("model", is_both, remedy)?;
        }
        let remedy =
            "name the place of the model's file with `model`, or the file with `model_file`";
        let has_file = self.model_file.is_some() || self.model.as_deref().is_some_and(is_place);
        let runs_file = has_file && (self.engine == Engine::Embedded || is_started);
        said(
            "model_digest",
            self.model_digest.is_some() && !runs_file,
            remedy,
        )?;
        if !self.is_script() {
            let remedy = "leave it out, or choose the engine `mock`";
            let first_token = self.mock_first_token_ms.is_some();
            said("mock_first_token_ms", first_token, remedy)?;
            let pace = self.mock_tokens_per_s.is_some();
            said("mock_tokens_per_s", pace, remedy)?;
            said("mock_fault", self.mock_fault.is_some(), remedy)?;
        }
        if self.engine == Engine::Embedded || self.is_script() {
            let remedy = "leave it out: only servers want to be shown a key";
            said("key_file", self.key_file.is_some(), remedy)?;
            said("key_env", self.key_env.is_some(), remedy)?;
        }
        if !is_started {
            let remedy = "leave it out, or have the daemon start the engine with `start`";
            said("ready_timeout_ms", self.ready_timeout_ms.is_some(), remedy)?;
            said("stop_grace_ms", self.stop_grace_ms.is_some(), remedy)?;
            said("env", !self.env.is_empty(), remedy)?;
        }
        Ok(())
    }
}
