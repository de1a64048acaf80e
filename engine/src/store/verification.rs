//! Looking at models' files: the verifying thread's loop.
//!
//! A file of gigabytes takes seconds to hash, so this is neither a shard's work nor the disk
//! thread's. Files are looked at one after the other: two at a time would only share the disk.

use std::{fs::File, sync::Arc};

use crossbeam::channel::Receiver;

use super::{Fault, Job, Store, Work, books::Books, catalog};
use crate::{
    api::catalog::{ModelSpec, Verdict},
    digest::Digest,
    logs,
};

/// A model whose file is to be looked at.
pub struct Verification {
    /// The model as it was registered.
    pub spec: ModelSpec,
    /// The engine of the pool that serves it; empty if none does.
    pub engine: &'static str,
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

    fn settle(self: Box<Self>, _store: &Store, _committed: bool) {}
}

/// Looks at one file after the other, for as long as the daemon lives.
pub(super) fn serve(store: &Arc<Store>, queue: &Receiver<Verification>) {
    for Verification { spec, engine } in queue {
        let verdict = look(&spec);
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

fn look(spec: &ModelSpec) -> Verdict {
    let Some(expected) = spec.digest else {
        return Verdict::NoDigest;
    };
    let Some(path) = spec.file() else {
        return Verdict::NoFile;
    };
    match File::open(path).and_then(Digest::of_stream) {
        Ok(found) if found == expected => Verdict::Verified,
        Ok(_) => Verdict::Mismatch,
        Err(_) => Verdict::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(source: Option<&str>, digest: Option<Digest>) -> Verdict {
        let body = serde_json::json!({"id": "tale", "source_url": source});
        let spec = ModelSpec::parse(body.to_string().as_bytes()).unwrap();
        look(&ModelSpec { digest, ..spec })
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
