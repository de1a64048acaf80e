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

use super::Command;
use crate::{
    endpoint::Endpoint,
    settings::{
        Limits, Settings, StartError, layers,
        pool::{Admission, PoolSettings, PoolStanza},
    },
    shared::{Shared, snapshot::Snapshot},
};

/// What was read.
pub struct Renewed {
    /// What holds from now on.
    pub limits: Limits,
    /// Every pool that is said, and who may wait for it.
    pub said: Vec<(String, Admission)>,
    /// The pools among them that are new or said otherwise than before, ready to be built.
    pub pools: Vec<PoolSettings>,
    /// Settings that differ and hold only when the daemon is started again.
    pub at_restart: Vec<&'static str>,
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

/// Reads on a thread of its own, which ends with [`Command::Renewed`].
///
/// # Errors
///
/// When the machine gives no more threads.
pub fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    let read = move || {
        let renewed = read(&shared).map(Box::new);
        // The control thread is gone only when the daemon stops, and then nobody needs settings.
        let _ = shared.commands.send(Command::Renewed(renewed));
    };
    thread::Builder::new()
        .name("settings".to_owned())
        .spawn(read)
        .map(drop)
}

fn read(shared: &Shared) -> Result<Renewed, StartError> {
    let settings = Settings::check(layers::read()?.serve)?;
    stay_closed(shared, &settings)?;
    let standing = shared.pools();
    let (mut said, mut pools) = (Vec::new(), Vec::new());
    for stanza in settings.pools() {
        said.push((stanza.id.clone(), stanza.admission()?));
        if !stands(&standing, &stanza) {
            let pool = settings.load(&stanza)?;
            check_servers(&pool, &settings.limits)?;
            pools.push(pool);
        }
    }
    Ok(Renewed {
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

fn check_servers(pool: &PoolSettings, limits: &Limits) -> Result<(), StartError> {
    for server in &pool.servers {
        Endpoint::resolve(&server.url, &limits.binding.networks).map_err(|bad| {
            StartError::new(format!("pool `{}`: {bad}", pool.id), "mend its `urls`")
        })?;
    }
    Ok(())
}
