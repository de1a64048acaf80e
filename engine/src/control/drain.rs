//! Drains: when the deadline has passed, what is left is ended.

use std::{sync::Arc, time::Duration};

use orchestratord_sched::Instant;

use super::tell_shards;
use crate::{
    api::error::{ApiError, Code},
    shard::mailbox::Message,
    shared::{Shared, gate::Passage, snapshot::Pool},
};

/// A drain that was asked for.
pub struct Drain {
    /// The pool; its gate says so already.
    pub pool: Arc<Pool>,
    /// When what is left is ended.
    pub until: Instant,
}

/// Drains whose deadlines lie ahead.
#[derive(Default)]
pub struct Drains(Vec<Drain>);

impl Drains {
    /// One more.
    pub fn add(&mut self, drain: Drain) {
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
        let (due, ahead) = self.0.drain(..).partition(|drain| drain.until <= now);
        self.0 = ahead;
        for Drain { pool, until } in Vec::from_iter::<Vec<_>>(due) {
            if pool.gate.replace(Passage::Draining(until), Passage::Closed) {
                end_tasks(shared, &pool);
            }
        }
    }
}

/// Ends every task of a pool whose gate is closed.
pub fn end_tasks(shared: &Shared, pool: &Pool) {
    let pools = shared.pools().keys(&pool.id);
    let error = Arc::new(ApiError::new(
        Code::PoolDraining,
        "the pool was taken out of service before the task had finished; send it again",
    ));
    tell_shards(shared, || Message::EndTasks {
        pools: Arc::clone(&pools),
        error: Arc::clone(&error),
    });
}
