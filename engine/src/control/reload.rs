//! Reload: a pool is given another model while it serves.
//!
//! The new model is loaded and its engines started beside the old ones, on a thread of its own. Only
//! when each of them has answered its probe is the new pool published under the id; from then on the
//! old one takes no new work and serves what it has ([`super::retire`]). Until then nothing has
//! changed, so a failure has nothing to undo.

use std::{sync::Arc, thread, time::Duration};

use futures_channel::oneshot;
use orchestratord_sched::ReplicaState;

use super::{
    Command, await_shards,
    bind::{self, Candidate},
    engines::Supervised,
    place::{Server, place},
    retire::retire_replicas,
    trial,
};
use crate::{
    api::error::{ApiError, Code},
    logs::{self, PoolRenewal},
    models::{self, progress::Logged, reference::Source},
    panics::{Panicked, contain},
    provision::{self, Inboxes},
    settings::{engine::EngineSettings, pool::PoolSettings},
    shared::{Shared, replica::Reach, snapshot::Pool},
};

/// How long older models may take to go, and how long a new one until it answers.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is looked whether the new engines have answered.
const TICK: Duration = Duration::from_millis(5);
/// Replaced pools of one id that may still serve when another is replaced: each holds a model.
const RETIRING_MAX: usize = 4;

/// A pool that was given another model.
pub struct Replaced {
    /// The pool that served until now.
    pub old: Arc<Pool>,
    /// The pool that serves from now on.
    pub new: Arc<Pool>,
    /// Those of its engines that are processes.
    pub engines: Supervised,
}

/// A reload that was asked for.
pub struct Reload {
    /// The pool.
    pub pool_id: String,
    /// What it is to be.
    pub target: Target,
    /// To whoever asked; the settings ask for no answer, and have a line in the log.
    pub answer: Option<oneshot::Sender<Result<Arc<Pool>, ApiError>>>,
}

/// What a pool is to be.
pub enum Target {
    /// The same with another model.
    Model(String),
    /// What the settings say now.
    Settings(Box<PoolSettings>),
}

impl Reload {
    /// Carries it out on a thread of its own, which ends with [`Command::Reloaded`].
    pub fn start(self, shared: &Arc<Shared>) {
        let shared = Arc::clone(shared);
        let pool_id = self.pool_id.clone();
        let started = thread::Builder::new().name("reload".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || self.carry_out(&shared)
        });
        if started.is_err() {
            // Who asked is told by the sender that was dropped with the closure.
            done(&shared, pool_id, None);
        }
    }

    /// Refuses it.
    pub fn refuse(self, cause: &str) {
        answer(self.answer, &self.pool_id, Err(failed(cause)));
    }

    fn carry_out(self, shared: &Arc<Shared>) {
        let replaced = contain(|| replace(shared, &self.pool_id, self.target));
        let replaced =
            replaced.unwrap_or_else(|Panicked| Err("it ran into a bug of ours".to_owned()));
        let (outcome, replaced) = match replaced {
            Ok(replaced) => (Ok(Arc::clone(&replaced.new)), Some(replaced)),
            Err(cause) => (Err(failed(&cause)), None),
        };
        // First the control thread, so that the next reload is not refused because of this one.
        done(shared, self.pool_id.clone(), replaced);
        answer(self.answer, &self.pool_id, outcome);
    }
}

fn answer(
    asked: Option<oneshot::Sender<Result<Arc<Pool>, ApiError>>>,
    pool_id: &str,
    outcome: Result<Arc<Pool>, ApiError>,
) {
    match (asked, outcome) {
        // Whoever asked may have gone away.
        (Some(asked), outcome) => _ = asked.send(outcome),
        (None, Ok(pool)) => logs::pool_renewed(&pool.id, PoolRenewal::Replaced),
        (None, Err(error)) => logs::pool_kept(pool_id, &error.message),
    }
}

/// Tells the control thread. It is gone only when the daemon stops, and the rest goes with it.
fn done(shared: &Shared, pool_id: String, replaced: Option<Replaced>) {
    let _ = shared
        .commands
        .send(Command::Reloaded { pool_id, replaced });
}

fn failed(cause: &str) -> ApiError {
    let message = format!("the pool still serves its old model: {cause}");
    ApiError::new(Code::ReloadFailed, message)
}

/// Brings the new pool up and publishes it.
///
/// # Errors
///
/// Why the old one still stands, in words for the caller.
fn replace(shared: &Arc<Shared>, pool_id: &str, target: Target) -> Result<Replaced, String> {
    await_room(shared, pool_id, shared.clock.elapsed() + PATIENCE)?;
    let pools = shared.pools();
    let old = pools.pool(pool_id).ok_or("the pool is gone")?;
    let settings = match target {
        Target::Settings(settings) => *settings,
        Target::Model(model_ref) => PoolSettings {
            engine: with_model(shared, &old.settings.engine, &model_ref)?,
            servers: of_model(&old.settings.servers, &model_ref),
            ..old.settings.clone()
        },
    };
    // A download takes as long as it takes; what comes after it does not.
    let give_up = shared.clock.elapsed() + PATIENCE + settings.engine.ready_timeout();
    let (new, inboxes) = provision::pool(settings, shared.mailboxes.len(), Some(old));
    expect(shared, &new);
    let engines = bring_up(shared, old, &new, inboxes, give_up)
        .inspect_err(|_| retire_replicas(shared, &new))?;
    publish(shared, &new, old);
    // From here on none admits to the old pool.
    await_shards(shared);
    Ok(Replaced {
        old: Arc::clone(old),
        new,
        engines,
    })
}

/// Starts the new pool's engines and tries them out. Those that are processes have ended when this fails.
fn bring_up(
    shared: &Arc<Shared>,
    old: &Pool,
    new: &Arc<Pool>,
    inboxes: Inboxes,
    give_up: Duration,
) -> Result<Supervised, String> {
    provision::start(shared, new, inboxes).map_err(|error| error.problem)?;
    bring_servers(shared, old, new)?;
    let engines = Supervised::start(shared, new)
        .map_err(|_| "the machine gives no thread for its engines")?;
    let ready = await_probes(shared, new, give_up).and_then(|()| try_servers(shared, new));
    match ready {
        Ok(()) => Ok(engines),
        Err(cause) => {
            engines.end();
            Err(cause)
        }
    }
}

/// The same engine with another model, which may have to be downloaded.
fn with_model(
    shared: &Shared,
    engine: &EngineSettings,
    model_ref: &str,
) -> Result<EngineSettings, String> {
    let meant = models::resolve(model_ref, &shared.store.catalog());
    let meant = meant.map_err(|bad| bad.to_string())?;
    let obtain = |source: &Source| {
        shared
            .limits()
            .models()
            .obtain(source, &Logged::of(&source.place))
    };
    engine.with_model(model_ref, &meant, obtain)
}

/// The servers that the settings name, asked for another model.
fn of_model(servers: &[Candidate], model_ref: &str) -> Vec<Candidate> {
    let of_model = |server: &Candidate| Candidate {
        model: model_ref.to_owned(),
        ..server.clone()
    };
    servers.iter().map(of_model).collect()
}

/// The servers of the old pool stand in the new one too, where they are asked for the new model; but
/// those that the settings named are those that they name now, and engines that the daemon has started
/// for the old one go with it.
fn bring_servers(shared: &Arc<Shared>, old: &Pool, new: &Arc<Pool>) -> Result<(), String> {
    let is_named = |id: &str| {
        let mut servers = old.settings.servers.iter();
        servers.any(|server| server.replica_id == id) || old.owns(id)
    };
    for candidate in &new.settings.servers {
        let server = bind::server(shared, new, candidate).map_err(|error| error.message)?;
        place(shared, new, server).map_err(|why| why.to_string())?;
    }
    let others = old.replicas.iter().filter(|(_, it)| !is_named(&it.id));
    for (_, replica) in others {
        if let (Some(server), EngineSettings::Remote { .. }) =
            (Server::of(&replica, &new.model), &new.settings.engine)
        {
            place(shared, new, server).map_err(|why| why.to_string())?;
        }
    }
    // Settings may name a pool whose servers are yet to come; a model is given to servers that are there.
    let is_as_said = new.settings.stanza == old.settings.stanza;
    if is_as_said && new.provisioning.is_none() && new.replicas.iter().next().is_none() {
        return Err("none of its servers is bound".to_owned());
    }
    Ok(())
}

/// Each server generates with the new model once before it is asked to in earnest.
fn try_servers(shared: &Shared, new: &Pool) -> Result<(), String> {
    let link = shared.limits().link.clone();
    new.replicas
        .iter()
        .try_for_each(|(_, replica)| match &replica.reach {
            Reach::Remote(remote) => trial::generate(new, remote, &link),
            Reach::Local(_) => Ok(()),
        })
}

fn await_room(shared: &Shared, pool_id: &str, give_up: Duration) -> Result<(), String> {
    let retiring = || {
        let pools = shared.pools();
        let of_id = pools.retiring.iter().filter(|pool| pool.id == pool_id);
        of_id.count()
    };
    while retiring() >= RETIRING_MAX {
        if shared.clock.elapsed() > give_up {
            return Err("the models that it replaced before are still busy".to_owned());
        }
        thread::sleep(TICK);
    }
    Ok(())
}

fn await_probes(shared: &Shared, new: &Pool, give_up: Duration) -> Result<(), String> {
    loop {
        let mut replicas = new.replicas.iter();
        if new.preparing().next().is_none()
            && replicas.all(|(_, replica)| replica.condition.state() == ReplicaState::Ready)
        {
            return Ok(());
        }
        if let Some(cause) = new.last_error() {
            return Err(cause);
        }
        if shared.clock.elapsed() > give_up {
            return Err("the new engine has not answered in time".to_owned());
        }
        thread::sleep(TICK);
    }
}

/// From now on engines that come up for the new pool find it, and nobody else does.
fn expect(shared: &Shared, new: &Arc<Pool>) {
    shared.snapshot.rcu(|snapshot| {
        let mut snapshot = snapshot.as_ref().clone();
        snapshot.coming.push(Arc::clone(new));
        snapshot
    });
}

/// The pool that was to come does not. Called by the thread that binds, when its engines have ended: none
/// can come up any more.
pub(super) fn forget_coming(shared: &Shared, pool_id: &str) {
    shared.snapshot.rcu(|snapshot| {
        let mut snapshot = snapshot.as_ref().clone();
        snapshot.coming.retain(|coming| coming.id != pool_id);
        snapshot
    });
}

fn publish(shared: &Shared, new: &Arc<Pool>, old: &Arc<Pool>) {
    shared.snapshot.rcu(|snapshot| {
        let mut snapshot = snapshot.as_ref().clone();
        for pool in &mut snapshot.pools {
            if pool.key == old.key {
                *pool = Arc::clone(new);
            }
        }
        snapshot.coming.retain(|coming| coming.key != new.key);
        snapshot.retiring.push(Arc::clone(old));
        snapshot
    });
}
