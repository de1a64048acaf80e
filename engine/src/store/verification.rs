//! Looking at models' files: the verifying thread's loop.
//!
//! A file of gigabytes takes seconds to hash, so this is neither a shard's work nor the disk
//! thread's. Files are looked at one after the other: two at a time would only share the disk.

use std::{fs::File, path::PathBuf, sync::Arc};

use crossbeam::channel::Receiver;

use super::{Fault, Job, Store, Work, books::Books, catalog};
use crate::{
    api::catalog::{ModelSpec, Verdict},
    digest::Digest,
    logs,
    models::{
        Models,
        reference::{ModelRef, Place, Source},
    },
};

/// A model whose file is to be looked at.
pub struct Verification {
    /// The model as it was registered.
    pub spec: ModelSpec,
    /// The engine of the pool that serves it; empty if none does.
    pub engine: &'static str,
    /// Where it is if it was downloaded.
    pub models: Models,
}

/// What a look at a model's file came to.
pub struct Looked {
    /// The model as it was registered.
    pub spec: ModelSpec,
    /// See [`Verification::engine`].
    pub engine: &'static str,
    /// What it came to.
    pub verdict: Verdict,
}

impl Work for Looked {
    fn carry_out(&mut self, books: &mut Books<'_>) -> Result<(), Fault> {
        catalog::record(books, self)
    }

    fn settle(self: Box<Self>, _store: &Store, committed: bool) -> Option<Box<dyn Work>> {
        (!committed).then_some(self)
    }
}

/// Looks at one file after the other, for as long as the daemon lives.
pub(super) fn serve(store: &Arc<Store>, queue: &Receiver<Verification>) {
    for Verification {
        spec,
        engine,
        models,
    } in queue
    {
        let verdict = look(&spec, &models);
        logs::model_verified(&spec.id, verdict);
        let looked = Looked {
            spec,
            engine,
            verdict,
        };
        // This thread may wait for room in the queue.
        if store.jobs.send(Job::Work(Box::new(looked))).is_err() {
            return;
        }
    }
}

fn look(spec: &ModelSpec, models: &Models) -> Verdict {
    let Some(expected) = spec.digest else {
        return Verdict::NoDigest;
    };
    let Some(path) = file(spec, models) else {
        return Verdict::NoFile;
    };
    match File::open(path).and_then(Digest::of_stream) {
        Ok(found) if found == expected => Verdict::Verified,
        Ok(_) => Verdict::Mismatch,
        Err(_) => Verdict::Unreadable,
    }
}

/// The file of its source, if there is one on this machine.
fn file(spec: &ModelSpec, models: &Models) -> Option<PathBuf> {
    match ModelRef::parse(spec.source_url.as_deref()?) {
        Ok(ModelRef::Source(Source {
            place: Place::File(path),
            ..
        })) => Some(path),
        // Whatever it hashes to: that is to be found out.
        Ok(ModelRef::Source(Source { place, .. })) => Some(models.cached(&place.into())?.path),
        Ok(ModelRef::Name(_)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        models::{
            hosts::{Hosts, Origin},
            settings::ModelSettings,
        },
        roots::Roots,
    };

    fn verdict(source: Option<&str>, digest: Option<Digest>) -> Verdict {
        let body = serde_json::json!({"id": "tale", "source_url": source});
        let spec = ModelSpec::parse(body.to_string().as_bytes()).unwrap();
        let settings = ModelSettings {
            hosts: Hosts::default(),
            cache_dir: PathBuf::from("/nowhere"),
            bytes_max: 1,
            hub_url: "https://hub.example".to_owned(),
            hub: Origin::of(&"https://hub.example".parse().unwrap()).unwrap(),
            hub_token: None,
        };
        let models = Models::new(&settings, &Roots::load(None).unwrap());
        look(&ModelSpec { digest, ..spec }, &models)
    }

    #[test]
    fn each_way_a_look_can_end_has_its_own_verdict() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tale.gguf");
        std::fs::write(&file, "a model").unwrap();
        let source = format!("file:{}", file.display());
        let (right, wrong) = (Digest::of(b"a model"), Digest::of(b"another"));
        assert_eq!(verdict(Some(&source), Some(right)), Verdict::Verified);
        assert_eq!(verdict(Some(&source), Some(wrong)), Verdict::Mismatch);
        assert_eq!(
            verdict(Some("file:/nowhere"), Some(right)),
            Verdict::Unreadable
        );
        assert_eq!(verdict(Some("hf:org/repo"), Some(right)), Verdict::NoFile);
        assert_eq!(verdict(Some(&source), None), Verdict::NoDigest);
    }
}
