//! The engines that the daemon starts as processes, by the pools that they are for.

use std::{collections::HashMap, io, sync::Arc, thread::JoinHandle};

use crossbeam::channel::{Sender, bounded};

use super::process::Supervisor;
use crate::{
    settings::engine::EngineSettings,
    shared::{
        Shared,
        snapshot::{Pool, PoolKey},
    },
};

/// Every supervisor that lives.
#[derive(Default)]
pub struct Engines {
    of_pools: HashMap<PoolKey, Supervised>,
    /// Those whose engines are being ended.
    ending: Vec<(PoolKey, JoinHandle<()>)>,
}

/// The supervisors of a pool. Its engines end when this is let go of.
pub struct Supervised {
    /// Dropped when the engines are to end.
    wanted: Sender<()>,
    supervisors: Vec<JoinHandle<()>>,
}

impl Supervised {
    /// Starts those of a pool; none if it has none of this kind.
    ///
    /// # Errors
    ///
    /// When the machine gives no more threads; then none of the pool's goes on.
    pub fn start(shared: &Arc<Shared>, pool: &Arc<Pool>) -> io::Result<Self> {
        let (wanted, is_wanted) = bounded(0);
        let mut supervisors = Vec::new();
        if let (
            Some(provisioning),
            EngineSettings::Remote {
                process: Some(process),
                ..
            },
        ) = (&pool.provisioning, &pool.settings.engine)
        {
            for engine in 0..provisioning.engines().len() {
                let supervisor = Supervisor {
                    shared: Arc::clone(shared),
                    pool: Arc::clone(pool),
                    provisioning: Arc::clone(provisioning),
                    engine,
                    process: process.clone(),
                    wanted: is_wanted.clone(),
                };
                supervisors.push(supervisor.spawn()?);
            }
        }
        Ok(Self {
            wanted,
            supervisors,
        })
    }

    /// Ends the engines, and waits until they have ended.
    pub fn end(self) {
        drop(self.wanted);
        for supervisor in self.supervisors {
            // One that panicked has let go of its engine, which its keeper ends.
            let _ = supervisor.join();
        }
    }
}

impl Engines {
    /// Starts those of a pool.
    ///
    /// # Errors
    ///
    /// As [`Supervised::start`].
    pub fn start(&mut self, shared: &Arc<Shared>, pool: &Arc<Pool>) -> io::Result<()> {
        self.add(pool.key, Supervised::start(shared, pool)?);
        Ok(())
    }

    /// Those of a pool that were started elsewhere.
    pub fn add(&mut self, pool: PoolKey, engines: Supervised) {
        if !engines.supervisors.is_empty() {
            self.of_pools.insert(pool, engines);
        }
    }

    /// Whether the pool still has some, and be it that they are being ended.
    pub fn has(&self, pool: PoolKey) -> bool {
        let mut ending = self.ending.iter();
        self.of_pools.contains_key(&pool) || ending.any(|(of, _)| *of == pool)
    }

    /// Begins to end those of a pool, and forgets whoever has ended.
    pub fn end_of(&mut self, pool: PoolKey) {
        if let Some(Supervised { supervisors, .. }) = self.of_pools.remove(&pool) {
            let ending = supervisors.into_iter().map(|supervisor| (pool, supervisor));
            self.ending.extend(ending);
        }
        self.ending
            .retain(|(_, supervisor)| !supervisor.is_finished());
    }

    /// Ends them all, and waits until they have ended.
    pub fn end(mut self) {
        let pools: Vec<_> = self.of_pools.keys().copied().collect();
        pools.into_iter().for_each(|pool| self.end_of(pool));
        for (_, supervisor) in self.ending {
            // See Supervised::end.
            let _ = supervisor.join();
        }
    }
}
