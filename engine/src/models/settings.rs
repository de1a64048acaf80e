//! Where models come from and where they are kept: what can be said about it, checked.

use std::path::{Path, PathBuf};

use clap::Args;
use http::Uri;

use super::hosts::{Hosts, Origin};
use crate::settings::{StartError, bounds::within};

/// Bytes that a model may have unless told otherwise: the largest that are shared have about so many.
const MODEL_BYTES_MAX: u64 = 1 << 40;

/// Settings of models: each a flag and an environment variable.
#[derive(Clone, Debug, Args)]
pub struct ModelArguments {
    /// Hosts that models may be downloaded from: host.example, *.host.example, or an origin of your own
    /// network as http://mirror:8000. Default: none, nothing is downloaded.
    #[arg(long, env = "ORCHD_MODEL_HOSTS", value_name = "HOST,…")]
    pub model_hosts: Option<Hosts>,

    /// Where downloaded models are kept. Default: models/ in the data directory.
    #[arg(long, env = "ORCHD_MODEL_CACHE_DIR", value_name = "DIR")]
    pub model_cache_dir: Option<PathBuf>,

    /// Bytes that a downloaded model may have.
    #[arg(long, env = "ORCHD_MODEL_MAX_BYTES", default_value_t = MODEL_BYTES_MAX)]
    pub model_max_bytes: u64,

    /// The hub that `hf:` references are of.
    #[arg(
        long,
        env = "ORCHD_HUB_URL",
        value_name = "URL",
        default_value = "https://huggingface.co"
    )]
    pub hub_url: String,

    /// What shows the hub who asks for models that are not for everybody.
    #[arg(long, env = "HF_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub hub_token: Option<String>,
}

/// Where models come from and where they are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct ModelSettings {
    /// Who may be asked.
    pub hosts: Hosts,
    /// Where they are kept.
    pub cache_dir: PathBuf,
    /// Bytes that a download may have.
    pub bytes_max: u64,
    /// The hub, without a slash at its end.
    pub hub_url: String,
    /// Who that is.
    pub hub: Origin,
    /// What shows it who asks.
    pub hub_token: Option<String>,
}

impl ModelSettings {
    /// Checks what was said.
    ///
    /// # Errors
    ///
    /// The first thing that can't work, with its remedy.
    pub fn check(arguments: &ModelArguments, data_dir: &Path) -> Result<Self, StartError> {
        let hub_url = arguments.hub_url.trim_end_matches('/');
        let url = hub_url.parse::<Uri>().ok();
        let url = url.filter(|url| url.query().is_none() && !hub_url.contains('@'));
        let hub = url.as_ref().and_then(Origin::of).ok_or_else(|| {
            StartError::new(
                format!("`hub_url` is {hub_url}"),
                "give the address of a model hub, as https://huggingface.co",
            )
        })?;
        let hub_token = arguments.hub_token.as_deref().map(str::trim);
        let hub_token = hub_token.filter(|token| !token.is_empty());
        // It becomes a field's value; and what is no token is not repeated to say so.
        if hub_token.is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(StartError::new(
                "the hub's token (HF_TOKEN) has characters that no token has",
                "copy it again from the hub's settings",
            ));
        }
        Ok(Self {
            hosts: arguments.model_hosts.clone().unwrap_or_default(),
            cache_dir: arguments
                .model_cache_dir
                .clone()
                .unwrap_or_else(|| data_dir.join("models")),
            bytes_max: within("model_max_bytes", arguments.model_max_bytes)?,
            hub_url: hub_url.to_owned(),
            hub,
            hub_token: hub_token.map(str::to_owned),
        })
    }
}
