//! The slow thread's loop: signals, changes of pools, once-a-second figures, and the way down.

pub mod bind;
pub mod device;
pub mod download;
pub mod drain;
pub mod engines;
pub mod folder;
pub mod handoff;
pub mod kept;
pub mod launch;
pub mod output;
pub mod place;
pub mod process;
pub mod purge;
pub mod reload;
pub mod renew;
pub mod retire;
pub mod settings;
pub mod trial;
pub mod watch;
pub mod watchdog;

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use crossbeam::channel::{Receiver, bounded, never, select};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use self::{
    bind::{Bindings, Origin, Register, Unregister},
    drain::{Drain, Drains},
    engines::Engines,
    handoff::Handoffs,
    purge::{Purge, Purges},
    reload::{Reload, Replaced},
    renew::{Renewed, Renewing},
    retire::Retirements,
};
use crate::{
    api::error::{ApiError, Code},
    logs, metrics, panics,
    settings::StartError,
    shard::mailbox::Message,
    shared::{
        Shared,
        readiness::tell_shards,
        snapshot::{Pool, PoolKey},
        stage::Stage,
    },
};

/// How often pools' rates are measured.
const TICK: Duration = Duration::from_secs(1);
/// How often a starting daemon looks whether its engines have answered.
const STARTING_TICK: Duration = Duration::from_millis(5);
/// How often a stopping daemon looks whether it is done.
const STOPPING_TICK: Duration = Duration::from_millis(10);
/// How long readers have for the last event after the grace is over.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often pools are looked at that are about to be idle.
const IDLE_TICK: Duration = Duration::from_millis(20);
/// Changes of pools that may wait to be begun: each is one request of an operator.
pub const COMMANDS_MAX: usize = 64;

/// What shards ask of this thread.
pub enum Command {
    /// End what is left of a pool at a deadline.
    Drain(Drain),
    /// Give a pool another model.
    Reload(Reload),
    /// A reload has ended.
    Reloaded {
        /// Of which pool.
        pool_id: String,
        /// The pool that was replaced and the one that serves now, if it went well.
        replaced: Option<Replaced>,
    },
    /// Remove what belongs to a pool.
    Purge(Purge),
    /// Bind a server, or note that it is still there.
    Register(Register),
    /// Unbind a server.
    Unregister(Unregister),
    /// The settings were read anew.
    Renewed(Result<Box<Renewed>, StartError>),
}

/// Someone asked the daemon to stop.
pub struct StopRequests(Receiver<()>);

/// Someone asked the daemon to read its settings anew.
pub struct RenewRequests(Receiver<()>);

/// Listens for SIGTERM and SIGINT, and for SIGHUP. A second signal to stop while the daemon is stopping
/// ends the grace.
///
/// # Errors
///
/// When the machine gives no thread or pipe.
pub fn listen() -> io::Result<(StopRequests, RenewRequests)> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (stop, stops) = bounded(1);
    let (renew, renewals) = bounded(1);
    panics::spawn_vital("signals", move || {
        for signal in signals.forever() {
            let asked = if signal == SIGHUP { &renew } else { &stop };
            // Full: a request is waiting already.
            let _ = asked.try_send(());
        }
    })?;
    Ok((StopRequests(stops), RenewRequests(renewals)))
}

impl StopRequests {
    /// Waits; whether a stop was asked for meanwhile.
    fn wait(&self, limit: Duration) -> bool {
        self.0.recv_timeout(limit).is_ok()
    }
}

/// Runs until the daemon has stopped. Calls `announce` as soon as every engine has answered its
/// first probe, or failed to.
pub fn run(
    shared: &Arc<Shared>,
    (stops, renewals): (&StopRequests, &RenewRequests),
    commands: Receiver<Command>,
    (bindings, engines): (Bindings, Engines),
    announce: impl FnOnce(),
) -> Engines {
    let mut changes = Changes {
        bindings,
        engines,
        ..Changes::default()
    };
    if await_engines(shared, stops) {
        announce();
        steer(shared, (stops, renewals), &commands, &mut changes);
    }
    // Whoever waits for a change of a pool is told that the daemon stops.
    drop(commands);
    stop(shared, stops);
    changes.engines
}

/// Serves commands until a stop is asked for.
fn steer(
    shared: &Arc<Shared>,
    (stops, renewals): (&StopRequests, &RenewRequests),
    commands: &Receiver<Command>,
    changes: &mut Changes,
) {
    let mut rates = Rates::default();
    let mut measured = shared.clock.elapsed();
    let handoffs = &shared.settings.runtime_dir;
    let mut handoffs_changed = folder::watch(handoffs).unwrap_or_else(|error| {
        logs::folder_unwatched(handoffs, &error);
        never()
    });
    loop {
        select! {
            recv(stops.0) -> _ => return,
            recv(renewals.0) -> _ => changes.read_settings(shared),
            recv(commands) -> command => match command {
                Ok(command) => changes.begin(shared, command),
                Err(_) => return,
            },
            recv(handoffs_changed) -> changed => match changed {
                Ok(()) => changes.handoffs.look_now(),
                // The folder can't be watched; the interval serves.
                Err(_) => handoffs_changed = never(),
            },
            default(changes.wait(shared)) => {}
        }
        changes.go_on(shared);
        let now = shared.clock.elapsed();
        if now - measured >= TICK {
            measured = now;
            rates.measure(shared);
            let over = shared.sessions.sweep(shared.clock.now());
            shared.store.expired(over);
        }
    }
}

/// Changes of pools that are under way.
#[derive(Default)]
struct Changes {
    drains: Drains,
    purges: Purges,
    retirements: Retirements,
    reloading: HashSet<String>,
    bindings: Bindings,
    handoffs: Handoffs,
    engines: Engines,
    renewing: Renewing,
}

impl Changes {
    fn begin(&mut self, shared: &Arc<Shared>, command: Command) {
        match command {
            Command::Drain(drain) => self.drains.add(drain),
            Command::Purge(purge) => self.purges.add(shared, purge),
            Command::Reload(reload) if self.reloading.insert(reload.pool_id.clone()) => {
                reload.start(shared);
            }
            Command::Reload(reload) => reload.refuse("another reload of it is under way"),
            // Whoever asked may have gone away.
            Command::Register(Register { candidate, answer }) => {
                let bound = self.bindings.bind(shared, candidate, Origin::Worker);
                let _ = answer.send(bound);
            }
            Command::Unregister(Unregister {
                pool_id,
                replica_id,
                answer,
            }) => {
                let unbound = self.bindings.unbind(shared, &pool_id, &replica_id);
                let _ = answer.send(if unbound { Ok(()) } else { Err(not_bound()) });
            }
            Command::Renewed(renewed) => self.settings_were_read(shared, renewed),
            Command::Reloaded { pool_id, replaced } => {
                self.reloading.remove(&pool_id);
                if let Some(Replaced { old, new, engines }) = replaced {
                    self.bindings.follow(shared, &old, &new);
                    self.engines.add(new.key, engines);
                    self.retirements.add(old);
                } else {
                    reload::forget_coming(shared, &pool_id);
                }
            }
        }
    }

    fn go_on(&mut self, shared: &Arc<Shared>) {
        self.drains.end_due(shared);
        self.purges.carry_out_due(shared);
        self.retirements.let_go(shared, &mut self.engines);
        self.handoffs.follow(shared, &mut self.bindings);
        self.bindings.unbind_silent(shared);
        self.bindings.let_go(shared);
    }

    /// How long nothing needs to be done if nobody asks for anything.
    fn wait(&self, shared: &Shared) -> Duration {
        let none_waits =
            self.purges.is_empty() && self.retirements.is_empty() && self.bindings.is_settled();
        let tick = if none_waits { TICK } else { IDLE_TICK };
        let tick = tick.min(self.handoffs.next(shared));
        let next = self.drains.next(shared.clock.now());
        next.map_or(tick, |next| next.min(tick))
    }
}

/// Tells what waits for a pool that it waits in vain.
fn end_tasks_of_dead(shared: &Shared, pool: PoolKey) {
    let pools: Arc<[_]> = Arc::new([pool]);
    let message = "the model's engine could not be started; send the task again later";
    let error = Arc::new(ApiError::new(Code::PoolUnavailable, message));
    tell_shards(shared, || Message::EndTasks {
        pools: Arc::clone(&pools),
        error: Arc::clone(&error),
    });
}

fn not_bound() -> ApiError {
    ApiError::new(Code::NotFound, "no such replica is bound")
}

/// Waits until every shard has seen what was published before.
fn await_shards(shared: &Shared) {
    let (seen, all_seen) = bounded(shared.mailboxes.len());
    tell_shards(shared, || Message::Acknowledge(seen.clone()));
    drop(seen);
    // Fewer than all: a shard has ended with the daemon.
    let _ = all_seen.iter().count();
}

/// Whether all pools have started before a stop was asked for.
fn await_engines(shared: &Shared, stops: &StopRequests) -> bool {
    while shared.pools().pools.iter().any(|pool| pool.is_starting()) {
        if stops.wait(STARTING_TICK) {
            return false;
        }
    }
    true
}

/// Tokens a second of each pool, from two looks a tick apart.
#[derive(Default)]
struct Rates {
    tokens_before: HashMap<PoolKey, u64>,
}

impl Rates {
    fn measure(&mut self, shared: &Shared) {
        let look = |pool: &Arc<Pool>| {
            let (tokens, _) = metrics::pool_totals(pool);
            let before = self.tokens_before.get(&pool.key).unwrap_or(&0);
            // A replica that left took its count along.
            pool.tokens_per_s
                .store(tokens.saturating_sub(*before), Relaxed);
            (pool.key, tokens)
        };
        self.tokens_before = shared.pools().pools.iter().map(look).collect();
    }
}

/// The way down, a stage at a time: no new work; then, when all is done or the grace is over, the
/// rest is ended and told; then nothing.
fn stop(shared: &Shared, stops: &StopRequests) {
    let grace = shared.limits().timeouts.shutdown_grace;
    logs::stopping(grace);
    step(shared, Stage::Draining);
    until_idle(shared, grace, || stops.wait(STOPPING_TICK));
    step(shared, Stage::Ending);
    until_idle(shared, LAST_WORDS, || {
        thread::sleep(STOPPING_TICK);
        false
    });
    step(shared, Stage::Gone);
    logs::stopped();
}

fn step(shared: &Shared, stage: Stage) {
    shared.stages.step(stage);
    for mailbox in &shared.mailboxes {
        // A full mailbox is being read, and whoever reads it looks at the stage.
        let _ = mailbox.push(Message::StageChanged);
        mailbox.ring();
    }
}

/// Waits until nothing lives any more, at most `limit`, a tick at a time; a `tick` may say that
/// there is no more time. A reader that moves between shards is counted by neither for a moment, so
/// the daemon must look idle twice.
fn until_idle(shared: &Shared, limit: Duration, tick: impl Fn() -> bool) {
    let give_up = shared.clock.elapsed() + limit;
    let mut idle_looks = 0;
    while idle_looks < 2 && shared.clock.elapsed() < give_up && !tick() {
        idle_looks = if shared.stages.is_idle() {
            idle_looks + 1
        } else {
            0
        };
    }
}
