//! SIGHUP: the settings are read anew, and what they say holds from then on.
//!
//! ```text
//!   SIGHUP ──► read, check, load the models of pools that are new or changed ──► Renewed
//!                │ anything is wrong                                               │
//!                ▼                                                                 ▼
//!              nothing has changed, and the log says why        limits swapped, pools added, retired, replaced
//! ```
//!
//! Reading takes a thread of its own, because models are large. What it has read is carried out by the
//! control thread, to which pools belong. A pool that is said as before is left alone, whatever was done to it by
//! requests meanwhile; one that is said otherwise is replaced as by a reload ([`super::reload`]); one that
//! is not said any more serves what it has and goes ([`super::retire`]).

use std::{io, sync::Arc, thread};

use super::{
    Changes, Command,
    bind::Origin,
    reload::{Reload, Target},
    retire,
};
use crate::{
    logs::{self, PoolRenewal},
    panics::{Panicked, contain},
    provision,
    settings::{
        Limits, Settings, StartError,
        key::EngineKey,
        layers,
        pool::{Admission, PoolSettings, PoolStanza},
    },
    shared::{
        Shared,
        snapshot::{Pool, Snapshot},
    },
};

/// What was read.
pub struct Renewed {
    /// What holds from now on.
    pub limits: Limits,
    /// Every pool that is said.
    pub said: Vec<Said>,
    /// The key of the llama.cpp server.
    pub llamacpp_key: Option<EngineKey>,
    /// The pools among them that are new or said otherwise than before, ready to be built.
    pub pools: Vec<PoolSettings>,
    /// Settings that differ and hold only when the daemon is started again.
    pub at_restart: Vec<&'static str>,
}

/// What is said of a pool and can change while it serves.
pub struct Said {
    /// Its id.
    pub pool_id: String,
    /// Who may wait for it.
    pub admission: Admission,
    /// The key that its servers want to be shown. One that is replaced keeps the one that it has.
    pub key: Option<EngineKey>,
}

/// Whether the settings are being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renewing {
    /// They are not.
    #[default]
    No,
    /// They are.
    Yes,
    /// They are, and must be again afterwards: they may have changed since.
    AndAgain,
}

impl Changes {
    /// Someone says that the settings have changed.
    pub(super) fn read_settings(&mut self, shared: &Arc<Shared>) {
        if self.renewing != Renewing::No {
            self.renewing = Renewing::AndAgain;
            return;
        }
        match start(shared) {
            Ok(()) => self.renewing = Renewing::Yes,
            Err(error) => logs::settings_refused(&StartError::new(
                format!("the machine gives no thread to read them: {error}"),
                "send SIGHUP again",
            )),
        }
    }

    /// They were read, or can't be used.
    pub(super) fn settings_were_read(
        &mut self,
        shared: &Arc<Shared>,
        read: Result<Box<Renewed>, StartError>,
    ) {
        match read {
            Ok(renewed) => self.renew(shared, *renewed),
            Err(error) => logs::settings_refused(&error),
        }
        if std::mem::take(&mut self.renewing) == Renewing::AndAgain {
            self.read_settings(shared);
        }
    }

    /// Carries out what the settings say now.
    fn renew(&mut self, shared: &Arc<Shared>, renewed: Renewed) {
        let Renewed {
            limits,
            said,
            llamacpp_key,
            pools,
            at_restart,
        } = renewed;
        renew_key(shared.settings.llamacpp_key.as_ref(), llamacpp_key.as_ref());
        let standing = shared.pools();
        for pool in &standing.pools {
            let of_pool = said.iter().find(|said| said.pool_id == pool.id);
            match (of_pool, &pool.settings.stanza) {
                (Some(said), _) => {
                    pool.set_admission(said.admission);
                    renew_key(pool.settings.key.as_ref(), said.key.as_ref());
                }
                (None, Some(_)) => self.remove(shared, pool),
                // It came with its servers, and stays with them.
                (None, None) => pool.set_admission(limits.binding.admission),
            }
        }
        shared.sessions.renew(limits.sessions);
        let keys = limits.keys.counting_on(&shared.limits().keys);
        shared.limits.store(Arc::new(Limits { keys, ..limits }));
        for pool in pools {
            match standing.pool(&pool.id) {
                Some(old) => self.replace(shared, old, pool),
                None => self.add(shared, pool),
            }
        }
        logs::settings_renewed(&at_restart);
    }

    fn add(&mut self, shared: &Arc<Shared>, settings: PoolSettings) {
        let pools = shared.pools();
        let mut retiring = pools.retiring.iter().rev();
        let predecessor = retiring.find(|pool| pool.id == settings.id);
        let shards = shared.mailboxes.len();
        let (pool, inboxes) = provision::pool(settings, shards, predecessor.map(|pool| &**pool));
        if let Err(error) = provision::start(shared, &pool, inboxes) {
            logs::pool_kept(&pool.id, &error.problem);
            return retire::retire_replicas(shared, &pool);
        }
        shared.snapshot.rcu(|snapshot| {
            let mut snapshot = snapshot.as_ref().clone();
            snapshot.pools.push(Arc::clone(&pool));
            snapshot
        });
        logs::pool_renewed(&pool.id, PoolRenewal::Added);
        self.handoffs.forget(&pool.id);
        for server in &pool.settings.servers {
            let bound = self.bindings.bind(shared, server.clone(), Origin::Settings);
            if let Err(error) = bound {
                logs::pool_kept(&pool.id, &error.message);
            }
        }
        if let Err(error) = self.engines.start(shared, &pool) {
            logs::pool_kept(&pool.id, &error.to_string());
        }
    }

    fn replace(&mut self, shared: &Arc<Shared>, old: &Pool, settings: PoolSettings) {
        let reload = Reload {
            pool_id: old.id.clone(),
            target: Target::Settings(Box::new(settings)),
            answer: None,
        };
        self.begin(shared, Command::Reload(reload));
    }

    fn remove(&mut self, shared: &Arc<Shared>, pool: &Arc<Pool>) {
        if self.reloading.contains(&pool.id) {
            return logs::pool_kept(&pool.id, "a reload of it is under way");
        }
        self.bindings.forget(pool);
        retire::unpublish(shared, pool);
        self.retirements.add(Arc::clone(pool));
        logs::pool_renewed(&pool.id, PoolRenewal::Removed);
    }
}

/// Reads on a thread of its own, which ends with [`Command::Renewed`].
///
/// # Errors
///
/// When the machine gives no more threads.
fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    let read = move || {
        let renewed = contain(|| read(&shared)).unwrap_or_else(|Panicked| Err(bug()));
        let renewed = renewed.map(Box::new);
        // The control thread is gone only when the daemon stops, and then nobody needs settings.
        let _ = shared.commands.send(Command::Renewed(renewed));
    };
    thread::Builder::new()
        .name("settings".to_owned())
        .spawn(read)
        .map(drop)
}

fn bug() -> StartError {
    StartError::new(
        "reading the settings ran into a bug of ours",
        "start the daemon again to have them",
    )
}

fn read(shared: &Shared) -> Result<Renewed, StartError> {
    let settings = Settings::check(layers::read()?.serve)?;
    stay_closed(shared, &settings)?;
    let standing = shared.pools();
    let (mut said, mut pools) = (Vec::new(), Vec::new());
    for stanza in settings.pools() {
        let stands = stands(&standing, &stanza);
        said.push(Said {
            pool_id: stanza.id.clone(),
            admission: stanza.admission()?,
            key: if stands { stanza.key()? } else { None },
        });
        if !stands {
            pools.push(settings.load(&stanza)?);
        }
    }
    Ok(Renewed {
        llamacpp_key: settings.fixed.llamacpp_key.clone(),
        at_restart: shared.settings.differences(&settings.fixed),
        limits: settings.limits,
        said,
        pools,
    })
}

/// What is listened on does not change; so an address that others reach stays behind keys, whatever
/// address the file names now.
fn stay_closed(shared: &Shared, settings: &Settings) -> Result<(), StartError> {
    if settings.limits.keys.required() || shared.addr.ip().is_loopback() {
        return Ok(());
    }
    Err(StartError::new(
        format!("{} can be reached from other machines", shared.addr),
        "name the file of keys, or start the daemon again on 127.0.0.1",
    ))
}

fn stands(standing: &Snapshot, stanza: &PoolStanza) -> bool {
    let pool = standing.pool(&stanza.id);
    let before = pool.and_then(|pool| pool.settings.stanza.as_ref());
    before.is_some_and(|before| before.asks_for_the_same(stanza))
}

fn renew_key(standing: Option<&EngineKey>, said: Option<&EngineKey>) {
    if let (Some(standing), Some(said)) = (standing, said) {
        standing.renew(said);
    }
}
