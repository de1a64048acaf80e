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
    ending: Vec<JoinHandle<()>>,
}

/// The supervisors of a pool.
struct Supervised {
    /// Dropped when the engines are to end.
    _wanted: Sender<()>,
    supervisors: Vec<JoinHandle<()>>,
}

impl Engines {
    /// Starts those of a pool; none if it has none of this kind.
    ///
    /// # Errors
    ///
    /// When the machine gives no more threads; then none of the pool's goes on.
    pub fn start(&mut self, shared: &Arc<Shared>, pool: &Arc<Pool>) -> io::Result<()> {
        let (
            Some(provisioning),
            EngineSettings::Remote {
                kind,
                process: Some(process),
                model,
                ..
            },
        ) = (&pool.provisioning, &pool.settings.engine)
        else {
            return Ok(());
        };
        let (wanted, is_wanted) = bounded(0);
        let supervisor = |engine: usize| Supervisor {
            shared: Arc::clone(shared),
            provisioning: Arc::clone(provisioning),
            engine,
            pool_id: pool.id.clone(),
            kind: *kind,
            model: model.clone(),
            slots: pool.settings.slots,
            device_mask: pool.settings.device_mask,
            key: pool.settings.key.clone(),
            process: process.clone(),
            wanted: is_wanted.clone(),
        };
        let engines = 0..provisioning.engines().len();
        let supervisors = engines.map(|engine| supervisor(engine).spawn());
        let supervised = Supervised {
            supervisors: supervisors.collect::<Result<_, _>>()?,
            _wanted: wanted,
        };
        self.of_pools.insert(pool.key, supervised);
        Ok(())
    }

    /// Begins to end those of a pool.
    pub fn end_of(&mut self, pool: PoolKey) {
        if let Some(Supervised { supervisors, .. }) = self.of_pools.remove(&pool) {
            self.ending.extend(supervisors);
        }
        self.ending.retain(|supervisor| !supervisor.is_finished());
    }

    /// Ends them all, and waits until they have ended.
    pub fn end(mut self) {
        for (_, Supervised { supervisors, .. }) in self.of_pools.drain() {
            self.ending.extend(supervisors);
        }
        for supervisor in self.ending {
            // One that panicked has let its engine fall into the kernel's hands.
            let _ = supervisor.join();
        }
    }
}
