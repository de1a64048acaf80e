//! The model of a pool whose engines the daemon runs or starts: where it comes from, and what it is.

use std::{fs, sync::Arc};

use orchestratord_gpu::embedded;

use super::{Engine, PoolStanza};
use crate::{
    cli::ServeArguments,
    models::{
        Models,
        error::FetchError,
        progress::Shown,
        reference::{ModelRef, Place, Source},
    },
    settings::{StartError, engine::EngineSettings},
};

/// Context of a slot unless asked otherwise: its KV cache grows with it.
const CONTEXT_TOKENS_DEFAULT_MAX: u32 = 4096;

impl PoolStanza {
    /// What the daemon itself has to know of the model: a file that is here or is to be downloaded, or a
    /// name that leads to one or that the engine knows. `None`: the shipped one, or a server's business.
    pub(super) fn model_ref(&self) -> Result<Option<ModelRef>, StartError> {
        let meant = match (&self.model_file, &self.model) {
            _ if self.engine != Engine::Embedded && !self.is_started() => return Ok(None),
            (Some(file), _) => ModelRef::Source(Place::File(file.clone()).into()),
            (None, Some(model)) => ModelRef::parse(model).map_err(|bad| {
                StartError::new(format!("pool `{}`: {bad}", self.id), "mend its `model`")
            })?,
            (None, None) => return Ok(None),
        };
        Ok(Some(match meant {
            ModelRef::Source(source) => ModelRef::Source(source.or_digest(self.model_digest)),
            name @ ModelRef::Name(_) => name,
        }))
    }

    /// The place that its model would have to be downloaded from, if it is not here.
    ///
    /// # Errors
    ///
    /// When it may not be, or the place is none.
    pub fn to_download(&self, models: &Models) -> Result<Option<Place>, StartError> {
        match self.model_ref()? {
            Some(ModelRef::Source(source)) if models.is_missing(&source) => {
                let place = source.place;
                models
                    .allow(&place)
                    .map_err(|error| self.no_model(&place, &error))?;
                Ok(Some(place))
            }
            _ => Ok(None),
        }
    }

    fn no_model(&self, place: &Place, error: &FetchError) -> StartError {
        StartError::new(
            format!(
                "pool `{}`: the model {place} can't be had: {error}",
                self.id
            ),
            "mend the settings of the pool, or of `model_…`; `orchestratord models fetch` tries the \
             same alone",
        )
    }

    pub(super) fn embedded(
        &self,
        flags: &ServeArguments,
        slots: u32,
        models: &Models,
    ) -> Result<EngineSettings, StartError> {
        let source = match self.model_ref()? {
            Some(ModelRef::Source(source)) => Some(source),
            Some(ModelRef::Name(_)) | None => None,
        };
        let model = self.load(source.as_ref(), models)?;
        let context_tokens = self
            .context_tokens
            .or(flags.context_tokens)
            .unwrap_or(CONTEXT_TOKENS_DEFAULT_MAX);
        Ok(EngineSettings::Embedded {
            options: embedded::EngineOptions {
                slots,
                context_tokens: context_tokens.min(model.context_tokens()),
            },
            model: Arc::new(model),
            source,
        })
    }

    fn load(
        &self,
        source: Option<&Source>,
        models: &Models,
    ) -> Result<embedded::Model, StartError> {
        let Some(source) = source else {
            return embedded::Model::load(embedded::SHIPPED).map_err(|error| {
                StartError::new(
                    format!("the shipped model is broken: {error}"),
                    "build again from a clean checkout",
                )
            });
        };
        let place = &source.place;
        let found = models.obtain(source, &Shown::of(place));
        let path = match (found, place) {
            (Ok(found), _) => found.path,
            // Reading it tells better what is wrong.
            (Err(FetchError::Disk(_)), Place::File(path)) => path.clone(),
            (Err(error), _) => return Err(self.no_model(place, &error)),
        };
        let shown = path.display();
        let bytes = fs::read(&path).map_err(|error| {
            StartError::new(
                format!("the model {shown} can't be read: {error}"),
                "name a GGUF file that this user may read with --model (`model_file` in a \
                 `[[pool]]` table), or leave it out",
            )
        })?;
        embedded::Model::load(&bytes).map_err(|error| {
            StartError::new(
                format!("the model {shown} can't be used: {error}"),
                "name a whole GGUF file of a llama architecture with --model; if it was \
                 downloaded, download it again and compare its checksum",
            )
        })
    }
}
