//! Drains: when the deadline has passed, what is left is ended.

use std::{sync::Arc, time::Duration};

use orchestratord_sched::Instant;

use crate::{
    api::error::{ApiError, Code},
    shard::mailbox::Message,
    shared::{
        Shared,
        gate::{Gate, Passage},
        readiness::tell_shards,
    },
};

/// A drain that was asked for.
pub struct Drain {
    /// The pool's id; not the pool, which may be replaced before the deadline.
    pub pool_id: String,
    /// Its gate, which says so already.
    pub gate: Arc<Gate>,
    /// When what is left is ended.
    pub until: Instant,
}

/// Drains whose deadlines lie ahead.
#[derive(Default)]
pub struct Drains(Vec<Drain>);

impl Drains {
    /// One more. Those that are not in force any more are forgotten.
    pub fn add(&mut self, drain: Drain) {
        self.0
            .retain(|drain| drain.gate.passage() == Passage::Draining(drain.until));
        self.0.push(drain);
    }

    /// How long until the next deadline.
    pub fn next(&self, now: Instant) -> Option<Duration> {
        self.0.iter().map(|drain| drain.until.since(now)).min()
    }

    /// Ends what is left of the pools whose deadlines have passed. A drain that was called off, or
    /// given another deadline, is not this one any more.
    pub fn end_due(&mut self, shared: &Shared) {
        let now = shared.clock.now();
        let (due, ahead): (Vec<_>, Vec<_>) = self.0.drain(..).partition(|drain| drain.until <= now);
        self.0 = ahead;
        for drain in due {
            let in_force = Passage::Draining(drain.until);
            if drain.gate.replace(in_force, Passage::Closed) {
                end_tasks(shared, &drain.pool_id);
            }
        }
    }
}

/// Ends every task of a pool whose gate is closed.
pub fn end_tasks(shared: &Shared, pool_id: &str) {
    let pools = shared.pools().keys(pool_id);
    let error = Arc::new(ApiError::new(
        Code::PoolDraining,
        "the pool was taken out of service before the task had finished; send it again",
    ));
    tell_shards(shared, || Message::EndTasks {
        pools: Arc::clone(&pools),
        error: Arc::clone(&error),
    });
}
