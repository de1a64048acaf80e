//! Purges: when a pool's tasks are done, its engines are stopped and its files removed.
//!
//! Only files that the daemon fetched itself are removed: those below the `models` folder of its
//! data directory. A model that an operator put somewhere else stays theirs.

use std::{fs, io, path::Path, sync::Arc};

use super::{await_shards, drain, retire::retire_replicas};
use crate::{
    logs,
    settings::engine::EngineSettings,
    shared::{Shared, gate::Passage, snapshot::Pool},
};

/// What is to be removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Its engines.
    pub engine: bool,
    /// Its model's file.
    pub models: bool,
    /// The folder of its model's file.
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
        if let EngineSettings::Embedded {
            file: Some(file), ..
        } = &self.pool.settings.engine
            && let Err(error) = remove(&shared.settings.data_dir, file, self.wish)
        {
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

fn remove(data_dir: &Path, file: &Path, wish: Wish) -> io::Result<()> {
    let fetched = data_dir.join("models");
    let Some(folder) = file.parent() else {
        return Ok(());
    };
    if !file.starts_with(&fetched) {
        return Ok(());
    }
    if wish.models {
        fs::remove_file(file)?;
    }
    if wish.folders && folder != fetched {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: Wish = Wish {
        engine: true,
        models: true,
        folders: true,
    };

    #[test]
    fn only_what_the_daemon_fetched_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("data/models/tale/tale.gguf");
        let foreign = dir.path().join("elsewhere/tale.gguf");
        for file in [&own, &foreign] {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "a model").unwrap();
            remove(&dir.path().join("data"), file, EVERYTHING).unwrap();
        }
        assert!(!own.parent().unwrap().exists());
        assert!(foreign.exists());
    }
}
