//! Purges: when a pool's tasks are done, its engines are stopped and its files removed.
//!
//! Only files that the daemon fetched itself are removed, and only what no other reference means. A model
//! that an operator put somewhere stays theirs.

use std::{io, sync::Arc};

use super::{await_shards, drain, retire::retire_replicas};
use crate::{
    logs,
    models::{
        cache::Cache,
        reference::{Place, Source},
    },
    shared::{Shared, gate::Passage, snapshot::Pool},
};

/// What is to be removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Its engines.
    pub engine: bool,
    /// Its model's file.
    pub models: bool,
    /// What has come of its model's file by a download that broke off.
    pub folders: bool,
}

/// A purge that was asked for: the pool takes no new work until it is done.
pub struct Purge {
    pool: Arc<Pool>,
    wish: Wish,
    /// Whether the gate was open before.
    reopens: bool,
}

impl Purge {
    /// Keeps new work out from now on.
    pub fn begin(pool: Arc<Pool>, wish: Wish) -> Self {
        let reopens = pool.gate.replace(Passage::Open, Passage::WITHOUT_DEADLINE);
        Self {
            pool,
            wish,
            reopens,
        }
    }

    /// An undrain has called it off if the gate is open by now.
    fn carry_out(&self, shared: &Shared) {
        if self.pool.gate.is_open() {
            return;
        }
        if self.wish.engine {
            retire_replicas(shared, &self.pool);
        }
        let source = shared.source_of(&self.pool);
        let removed = source.map_or(Ok(()), |source| {
            remove(shared.limits().models().cache(), &source, self.wish)
        });
        if let Err(error) = removed {
            logs::purge_failed(&self.pool, &error);
        }
        if self.reopens {
            self.pool.gate.set(Passage::Open);
        }
    }
}

/// Purges that wait for their pools to be idle.
#[derive(Default)]
pub struct Purges(Vec<Purge>);

impl Purges {
    /// One more. What is in the way of a forced one is ended now.
    pub fn add(&mut self, shared: &Shared, purge: Purge) {
        // From here on every shard finds the gate shut.
        await_shards(shared);
        if purge.pool.gate.passage() == Passage::Closed {
            drain::end_tasks(shared, &purge.pool.id);
        }
        self.0.push(purge);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Carries out those whose pools have become idle.
    pub fn carry_out_due(&mut self, shared: &Shared) {
        let (due, waiting): (Vec<_>, Vec<_>) =
            self.0.drain(..).partition(|purge| purge.pool.is_idle());
        self.0 = waiting;
        due.iter().for_each(|purge| purge.carry_out(shared));
    }
}

/// Removes what was downloaded for a pool; a file that an operator put on this machine stays theirs.
fn remove(cache: &Cache, source: &Source, wish: Wish) -> io::Result<()> {
    if let Place::File(_) = source.place {
        return Ok(());
    }
    let reference = source.place.reference();
    if wish.models {
        cache.remove(&reference)?;
    }
    if wish.folders {
        cache.discard(&reference, source.digest)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        digest::Digest,
        models::{cache::Entry, reference::ModelRef},
    };

    const EVERYTHING: Wish = Wish {
        engine: true,
        models: true,
        folders: true,
    };

    fn source(reference: &str) -> Source {
        match ModelRef::parse(reference) {
            Ok(ModelRef::Source(source)) => source,
            other => panic!("{reference}: {other:?}"),
        }
    }

    #[test]
    fn only_what_the_daemon_fetched_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("models"));
        let own = dir.path().join("tale.gguf");
        fs::write(&own, "a model").unwrap();
        let mut partial = cache.partial("key").unwrap().unwrap();
        partial.append(b"a model").unwrap();
        let digest = Digest::of(b"a model");
        cache.adopt(partial, digest).unwrap();
        let entry = Entry {
            reference: "hf:org/tale".to_owned(),
            digest,
            bytes: 7,
            etag: None,
            fetched_ms: 0,
        };
        cache.put(&entry).unwrap();
        remove(
            &cache,
            &source(&format!("file:{}", own.display())),
            EVERYTHING,
        )
        .unwrap();
        assert!(own.exists());
        remove(&cache, &source("hf:org/tale"), EVERYTHING).unwrap();
        assert_eq!(cache.holds(digest), None);
    }
}
