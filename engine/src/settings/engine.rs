//! What generates, ready to be built.

use std::{fs, sync::Arc, time::Duration};

use orchestratord_gpu::{EngineKind, Workload, embedded, exchange, mock};

use crate::{
    control::process::ProcessSettings,
    models::{
        Found,
        error::FetchError,
        reference::{ModelRef, Source},
    },
};

/// The engine of the pool, ready to be built.
#[derive(Clone)]
pub enum EngineSettings {
    /// A loaded model and how to run it.
    Embedded {
        /// The model.
        model: Arc<embedded::Model>,
        /// Where it came from, if not shipped.
        source: Option<Source>,
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
    /// Servers of which no more is known than what workers say.
    pub const fn of_workers(kind: EngineKind, model: String, version: Option<String>) -> Self {
        Self::Remote {
            kind,
            model,
            version,
            context_tokens: None,
            process: None,
        }
    }

    /// What it is.
    pub const fn kind(&self) -> EngineKind {
        match self {
            Self::Embedded { .. } => EngineKind::Embedded,
            Self::Remote { kind, .. } => *kind,
            Self::Mock { .. } => EngineKind::Mock,
        }
    }

    /// Whether the daemon starts it as a process.
    pub const fn is_started(&self) -> bool {
        matches!(
            self,
            Self::Remote {
                process: Some(_),
                ..
            }
        )
    }

    /// How long one may take until it answers, if the daemon starts it as a process.
    pub fn ready_timeout(&self) -> Duration {
        match self {
            Self::Remote {
                process: Some(process),
                ..
            } => process.ready_timeout,
            _ => Duration::ZERO,
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
        match self.model_ref() {
            Some(ModelRef::Source(source)) => source.names(),
            Some(ModelRef::Name(_)) | None => Vec::new(),
        }
    }

    /// What the daemon loads or has loaded, if that is not the shipped model.
    pub fn model_ref(&self) -> Option<ModelRef> {
        match self {
            Self::Embedded { source, .. } => source.clone().map(ModelRef::Source),
            Self::Remote { process, .. } => Some(process.as_ref()?.model.clone()),
            Self::Mock { .. } => None,
        }
    }

    /// The same engine with another model: where its file comes from, or the name of the shipped one. A
    /// script goes by any name, and servers know their own. The file is brought by `obtain`.
    ///
    /// # Errors
    ///
    /// Why there is no such model, in words that name no path.
    pub fn with_model(
        &self,
        model_ref: &str,
        meant: &ModelRef,
        obtain: impl FnOnce(&Source) -> Result<Found, FetchError>,
    ) -> Result<Self, String> {
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
                if let (Some(_), ModelRef::Source(source)) = (process, meant) {
                    // Its engines' supervisors find it in its place.
                    obtain(source).map_err(|error| error.to_string())?;
                }
                return Ok(Self::Remote {
                    kind: *kind,
                    model: model_ref.to_owned(),
                    version: version.clone(),
                    context_tokens: *context_tokens,
                    process: process.as_ref().map(|process| process.with_model(meant)),
                });
            }
            Self::Embedded { options, .. } => options,
        };
        let (model, source) = match meant {
            ModelRef::Source(source) => {
                let found = obtain(source).map_err(|error| error.to_string())?;
                let bytes = fs::read(found.path)
                    .map_err(|error| format!("the model's file can't be read: {error}"))?;
                (embedded::Model::load(&bytes), Some(source.clone()))
            }
            ModelRef::Name(_) => (embedded::Model::load(embedded::SHIPPED), None),
        };
        let model = model.map_err(|error| format!("the model can't be used: {error}"))?;
        if source.is_none() && model.name() != model_ref {
            return Err(format!(
                "no model goes by that name; the shipped one is `{}`, others are `file:/abs/path`, \
                 `https://host/path`, `hf:org/repo/file` or in the catalog with a `source_url`",
                model.name()
            ));
        }
        Ok(Self::Embedded {
            options: embedded::EngineOptions {
                context_tokens: options.context_tokens.min(model.context_tokens()),
                ..*options
            },
            model: Arc::new(model),
            source,
        })
    }

    /// Its version, as far as it is known before it runs.
    pub fn version(&self) -> &str {
        match self {
            Self::Embedded { .. } | Self::Mock { .. } => env!("CARGO_PKG_VERSION"),
            Self::Remote { version, .. } => version.as_deref().unwrap_or_default(),
        }
    }

    /// Tokens of context a task may have, as far as it is known before it runs.
    pub fn context_tokens(&self) -> Option<u32> {
        match self {
            Self::Embedded { options, .. } => Some(options.context_tokens),
            Self::Remote { context_tokens, .. } => *context_tokens,
            Self::Mock { .. } => Some(u32::MAX),
        }
    }

    /// The kinds of work that it does.
    pub fn workloads(&self) -> &'static [Workload] {
        match self {
            Self::Embedded { model, .. } => model.workloads(),
            Self::Remote { kind, .. } => exchange::workloads(*kind),
            Self::Mock { .. } => &Workload::ALL,
        }
    }
}
