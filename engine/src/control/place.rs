//! Giving a server a place in a pool, and a watcher.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use crossbeam::channel::bounded;
use orchestratord_sched::{DeviceMask, ReplicaIndex};

use super::watch::Watcher;
use crate::{
    endpoint::Endpoint,
    metrics,
    settings::pool::KEY_IN_CLEAR,
    shared::{
        Shared,
        replica::{Condition, Reach, Remote, Replica},
        snapshot::Pool,
    },
};

/// A server whose address is known and allowed.
pub struct Server {
    /// Its id within the pool.
    pub id: String,
    /// Tasks that it can decode at a time.
    pub slots: u32,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// What it calls its model.
    pub model: String,
    /// Its version, if that was said.
    pub engine_version: Option<String>,
    /// The devices that it runs on, if that was said.
    pub device_mask: Option<DeviceMask>,
}

impl Server {
    /// The same server, as it stands somewhere, with another model. `None`: it is no server.
    pub fn of(replica: &Replica, model: &str) -> Option<Self> {
        let Reach::Remote(remote) = &replica.reach else {
            return None;
        };
        Some(Self {
            id: replica.id.clone(),
            slots: replica.slots_claimed,
            endpoint: remote.endpoint.clone(),
            model: model.to_owned(),
            engine_version: replica.engine_version.get().cloned(),
            device_mask: replica.device_mask,
        })
    }
}

/// Why a server has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// Every place of the pool is taken.
    Full,
    /// The machine gives no thread to watch it.
    NoThread,
    /// The pool has a key, and others could read it on its way there.
    KeyInClear,
}

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "every place of the pool is taken; unbind a replica first",
            Self::NoThread => "the machine gives no thread to watch it",
            Self::KeyInClear => KEY_IN_CLEAR,
        })
    }
}

/// Gives the server a place; it is used once it has answered its watcher.
///
/// # Errors
///
/// Why it has none.
pub fn place(
    shared: &Arc<Shared>,
    pool: &Arc<Pool>,
    server: Server,
) -> Result<(ReplicaIndex, Arc<Replica>), NoPlace> {
    if pool.settings.key.is_some() && !server.endpoint.keeps_secrets() {
        return Err(NoPlace::KeyInClear);
    }
    // Room for one notice: to look again twice is to look again.
    let (watcher, notices) = bounded(1);
    let endpoint = server.endpoint.clone();
    let replica = Arc::new(Replica {
        id: server.id,
        slots_claimed: server.slots,
        reach: Reach::Remote(Remote {
            endpoint: server.endpoint,
            model: server.model,
            watcher,
        }),
        engine_version: server
            .engine_version
            .map_or_else(OnceLock::new, OnceLock::from),
        device_mask: server.device_mask,
        ctx_max: OnceLock::new(),
        condition: Condition::default(),
        counters: metrics::per_shard(shared.mailboxes.len()),
    });
    let place = pool.replicas.bind(&replica).ok_or(NoPlace::Full)?;
    let watcher = Watcher {
        shared: Arc::clone(shared),
        pool: Arc::clone(pool),
        replica: Arc::clone(&replica),
        place,
        endpoint,
        notices,
    };
    watcher.spawn().map_err(|_| {
        pool.replicas.vacate(place);
        NoPlace::NoThread
    })?;
    Ok((place, replica))
}
