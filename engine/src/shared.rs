//! The only state that several threads touch. Everything else is single-threaded.

pub mod bell;
pub mod bodies;
pub mod catalog;
pub mod connections;
pub mod device;
pub mod directory;
pub mod gate;
pub mod places;
pub mod provisioning;
pub mod readiness;
pub mod record;
pub mod replica;
pub mod ring;
pub mod sessions;
pub mod snapshot;
pub mod stage;
pub mod turning;

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use crossbeam::channel::Sender;

use crate::{
    clock::Clock,
    control::Command,
    identity::guesses::Guesses,
    metrics::{PerShard, ShardCounters},
    models::{
        self,
        reference::{ModelRef, Source},
    },
    settings::{Fixed, Limits},
    shard::mailbox::Message,
    shared::{
        bodies::Bodies,
        connections::Connections,
        device::Devices,
        directory::Directory,
        ring::Ring,
        sessions::Sessions,
        snapshot::{Pool, Snapshot},
        stage::Stages,
        turning::Turning,
    },
    store::Store,
};

/// What every thread of the daemon can reach.
pub struct Shared {
    /// Where it listens, with its port.
    pub addr: std::net::SocketAddr,
    /// What holds as long as the process does.
    pub settings: Fixed,
    /// What holds until the settings are read anew.
    pub limits: ArcSwap<Limits>,
    /// The one zero of time.
    pub clock: Clock,
    /// The pools.
    pub snapshot: ArcSwap<Snapshot>,
    /// How much memory bodies may take while they are read.
    pub bodies: Bodies,
    /// How many clients are connected.
    pub connections: Connections,
    /// Which shard is home to which task.
    pub directory: Directory,
    /// Conversations.
    pub sessions: Sessions,
    /// Keys that were guessed.
    pub guesses: Guesses,
    /// Each shard's mailbox.
    pub mailboxes: Vec<Arc<Ring<Message>>>,
    /// What shards ask of the control thread; bounded.
    pub commands: Sender<Command>,
    /// The devices of this machine, as they were seen last.
    pub devices: Devices,
    /// Catalog and artifacts.
    pub store: Arc<Store>,
    /// Each shard's counters.
    pub metrics: PerShard<ShardCounters>,
    /// Whether each shard turns.
    pub turning: PerShard<Turning>,
    /// How far the daemon is on its way down.
    pub stages: Stages,
}

impl Shared {
    /// What holds now; to be asked anew for each connection, request or turn, and never for a token.
    pub fn limits(&self) -> Guard<Arc<Limits>> {
        self.limits.load()
    }

    /// Where the file of a pool's model comes from, if the daemon sees to that.
    pub fn source_of(&self, pool: &Pool) -> Option<Source> {
        let meant = match pool.settings.engine.model_ref()? {
            ModelRef::Name(name) => models::resolve(&name, &self.store.catalog()).ok()?,
            source @ ModelRef::Source(_) => source,
        };
        match meant {
            ModelRef::Source(source) => Some(source),
            ModelRef::Name(_) => None,
        }
    }

    /// The pools as they are published now.
    pub fn pools(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }
}
