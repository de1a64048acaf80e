//! Models' files: what a reference means, and how the file comes here.
//!
//! ```text
//!   reference ──► in the cache? ──yes──► its path
//!                      │ no
//!                      ▼
//!   may its host be asked? ──► one download of it at a time ──► its digest ──► in the cache
//! ```
//!
//! A file that is here is never asked for again, whatever has become of the place that it came from. What
//! is in the cache is named by what it hashes to ([`cache`]); what may be asked is the operator's to say
//! ([`hosts`]). Everything here may take long: it is called from slow threads and never from a shard.

pub mod cache;
pub mod command;
pub mod download;
pub mod error;
pub mod hosts;
pub mod hub;
pub mod progress;
pub mod range;
pub mod reference;
pub mod request;
pub mod settings;

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use self::{
    cache::{Cache, Entry, Partial},
    download::{Download, Progress, Watch, persist, rest},
    error::FetchError,
    reference::{BadReference, ModelRef, Place, Source},
    request::Client,
    settings::ModelSettings,
};
use crate::{clock, digest::Digest, logs, roots::Roots, shared::catalog::Catalog};

/// How often it is looked whether somebody else has fetched the file.
const OTHERS_TICK: Duration = Duration::from_millis(250);

/// Models' files.
pub struct Models {
    cache: Cache,
    client: Client,
    hub_url: String,
    bytes_max: u64,
}

/// A model's file that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub path: PathBuf,
    /// What is known of it, if it is in the cache.
    pub entry: Option<Entry>,
}

/// What a reference means: a name that the catalog has a source for means that source.
///
/// # Errors
///
/// When it, or that source, begins like a place and is none.
pub fn resolve(reference: &str, catalog: &Catalog) -> Result<ModelRef, BadReference> {
    let parsed = ModelRef::parse(reference)?;
    let ModelRef::Name(name) = &parsed else {
        return Ok(parsed);
    };
    let Some(spec) = catalog.model(name).map(|model| &model.spec) else {
        return Ok(parsed);
    };
    match spec.source_url.as_deref().map(ModelRef::parse) {
        Some(source) => Ok(match source? {
            ModelRef::Source(source) => ModelRef::Source(source.or_digest(spec.digest)),
            // What some engine knows by another name.
            name @ ModelRef::Name(_) => name,
        }),
        None => Ok(parsed),
    }
}

impl Models {
    /// With these settings.
    pub fn new(settings: &ModelSettings, roots: &Roots) -> Self {
        Self {
            cache: Cache::new(settings.cache_dir.clone()),
            client: Client {
                hosts: settings.hosts.clone(),
                hub: settings.hub.clone(),
                hub_token: settings.hub_token.clone(),
                tls: roots.agents(),
            },
            hub_url: settings.hub_url.clone(),
            bytes_max: settings.bytes_max,
        }
    }

    /// What has been downloaded.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The file, if it is here.
    pub fn cached(&self, source: &Source) -> Option<Found> {
        let reference = source.place.reference();
        let entry = self.cache.entry(&reference)?;
        let is_wanted = source.digest.is_none_or(|digest| digest == entry.digest);
        is_wanted.then(|| self.found(entry))
    }

    /// Whether it is a file that would have to be downloaded.
    pub fn is_missing(&self, source: &Source) -> bool {
        let is_far = !matches!(source.place, Place::File(_));
        is_far && self.cached(source).is_none() && self.held(source).is_none()
    }

    /// Whether the file could be fetched, as far as that is known without asking anybody.
    ///
    /// # Errors
    ///
    /// When its host may not be asked.
    pub fn allow(&self, place: &Place) -> Result<(), FetchError> {
        match place {
            Place::File(_) => Ok(()),
            Place::Url(url) => self.client.allow(url).map(drop),
            Place::Hub(_) => match self.hub_url.parse() {
                Ok(url) => self.client.allow(&url).map(drop),
                Err(_) => Err(FetchError::NoModel),
            },
        }
    }

    /// The file, brought here if it is not.
    ///
    /// # Errors
    ///
    /// Why it can't be had.
    pub fn obtain(&self, source: &Source, watch: &dyn Watch) -> Result<Found, FetchError> {
        if let Place::File(path) = &source.place {
            check_file(path, source.digest)?;
            return Ok(Found {
                path: path.clone(),
                entry: None,
            });
        }
        let reference = source.place.reference();
        let key = Cache::key(&reference, source.digest);
        loop {
            if let Some(found) = self.cached(source) {
                return Ok(found);
            }
            if let Some((digest, bytes)) = self.held(source) {
                return self.keep(reference, digest, bytes, None);
            }
            self.allow(&source.place)?;
            watch.tell(Progress::default());
            // Somebody else may be at it, and may be done before it is our turn.
            let Some(mut partial) = self.cache.partial(&key)? else {
                rest(watch, OTHERS_TICK)?;
                continue;
            };
            if self.cached(source).is_some() {
                partial.discard()?;
                continue;
            }
            let digest = match self.download(source, &mut partial, watch) {
                Ok(digest) => digest,
                Err(error) => {
                    // What came of nothing leaves nothing.
                    if partial.bytes() == 0 {
                        partial.discard()?;
                    }
                    return Err(error);
                }
            };
            let (bytes, etag) = (partial.bytes(), partial.etag().map(str::to_owned));
            self.cache.adopt(partial, digest)?;
            logs::model_downloaded(&source.place, digest, bytes);
            return self.keep(reference, digest, bytes, etag);
        }
    }

    fn download(
        &self,
        source: &Source,
        partial: &mut Partial,
        watch: &dyn Watch,
    ) -> Result<Digest, FetchError> {
        let url = match &source.place {
            Place::Hub(file) => persist(watch, || {
                (hub::locate(&self.client, &self.hub_url, file), 0)
            })?,
            Place::Url(url) => url.clone(),
            Place::File(_) => return Err(FetchError::NoModel),
        };
        let download = Download {
            client: &self.client,
            url: &url,
            expected: source.digest,
            bytes_max: self.bytes_max,
            watch,
        };
        download.finish(partial)
    }

    /// A file that is here under another reference.
    fn held(&self, source: &Source) -> Option<(Digest, u64)> {
        let digest = source.digest?;
        Some((digest, self.cache.holds(digest)?))
    }

    fn keep(
        &self,
        reference: String,
        digest: Digest,
        bytes: u64,
        etag: Option<String>,
    ) -> Result<Found, FetchError> {
        let entry = Entry {
            reference,
            digest,
            bytes,
            etag,
            fetched_ms: clock::unix_ms(),
        };
        self.cache.put(&entry)?;
        Ok(self.found(entry))
    }

    fn found(&self, entry: Entry) -> Found {
        Found {
            path: self.cache.blob(entry.digest),
            entry: Some(entry),
        }
    }
}

/// A file of this machine must be what it should be. Of which nothing is said, whoever loads it may judge.
fn check_file(path: &Path, digest: Option<Digest>) -> Result<(), FetchError> {
    let Some(expected) = digest else {
        return Ok(());
    };
    let found = File::open(path).and_then(Digest::of_stream)?;
    if found == expected {
        return Ok(());
    }
    Err(FetchError::Mismatch { expected, found })
}
