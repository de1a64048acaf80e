//! The slow thread's loop: signals, once-a-second figures, and the way down.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use crossbeam::channel::{Receiver, bounded};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    logs, metrics,
    shard::mailbox::Message,
    shared::{
        Shared,
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

/// Someone asked the daemon to stop.
pub struct StopRequests(Receiver<()>);

impl StopRequests {
    /// Listens for SIGTERM and SIGINT. A second signal while the daemon is stopping ends the grace.
    ///
    /// # Errors
    ///
    /// When the machine gives no thread or pipe.
    pub fn listen() -> io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let (sender, receiver) = bounded(1);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for _ in signals.forever() {
                    // Full: a request is waiting already.
                    let _ = sender.try_send(());
                }
            })?;
        Ok(Self(receiver))
    }

    /// Waits; whether a stop was asked for meanwhile.
    fn wait(&self, limit: Duration) -> bool {
        self.0.recv_timeout(limit).is_ok()
    }
}

/// Runs until the daemon has stopped. Calls `announce` as soon as every engine has answered its
/// first probe, or failed to.
pub fn run(shared: &Shared, stops: &StopRequests, announce: impl FnOnce()) {
    if await_engines(shared, stops) {
        announce();
        let mut rates = Rates::default();
        while !stops.wait(TICK) {
            rates.measure(shared);
        }
    }
    stop(shared, stops);
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
            pool.tokens_per_s.store(tokens - before, Relaxed);
            (pool.key, tokens)
        };
        self.tokens_before = shared.pools().pools.iter().map(look).collect();
    }
}

/// The way down, a stage at a time: no new work; then, when all is done or the grace is over, the
/// rest is ended and told; then nothing.
fn stop(shared: &Shared, stops: &StopRequests) {
    let grace = shared.settings.timeouts.shutdown_grace;
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
