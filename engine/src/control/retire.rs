//! Pools that were replaced: they serve what they have, then their engines stop and they are
//! forgotten.

use std::{sync::Arc, time::Duration};

use orchestratord_sched::{ReplicaEvent, ReplicaIndex};

use super::{await_shards, engines::Engines};
use crate::{
    api::error::{ApiError, Code},
    shard::mailbox::Message,
    shared::{
        Shared,
        readiness::{self, tell_shards},
        replica::{Order, Reach, Replica},
        snapshot::Pool,
    },
};

/// A replaced pool on its way out.
struct Retirement {
    pool: Arc<Pool>,
    /// Since when no engine of it works.
    dead_since: Option<Duration>,
}

/// Replaced pools that still have tasks.
#[derive(Default)]
pub struct Retirements(Vec<Retirement>);

impl Retirements {
    /// One more. No shard takes it for new work any more.
    pub fn add(&mut self, pool: Arc<Pool>) {
        self.0.push(Retirement {
            pool,
            dead_since: None,
        });
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets go of those that are done.
    pub fn let_go(&mut self, shared: &Shared, engines: &mut Engines) {
        self.0.retain_mut(|retirement| {
            if !retirement.pool.is_idle() {
                retirement.give_up_if_dead(shared);
                return true;
            }
            retire_replicas(shared, &retirement.pool);
            engines.end_of(retirement.pool.key);
            // One that comes up just now is still bound to the pool that it was started for.
            let stays = engines.has(retirement.pool.key);
            if !stays {
                forget(shared, &retirement.pool);
            }
            stays
        });
    }
}

impl Retirement {
    /// What waits for an engine that does not come back is told so, after as long as a running
    /// task would have waited for a word of it.
    fn give_up_if_dead(&mut self, shared: &Shared) {
        let now = shared.clock.elapsed();
        if self.pool.is_ready() {
            self.dead_since = None;
            return;
        }
        let dead_since = *self.dead_since.get_or_insert(now);
        if now - dead_since < shared.limits().timeouts.decode {
            return;
        }
        self.dead_since = None;
        let pools: Arc<[_]> = Arc::new([self.pool.key]);
        let error = Arc::new(ApiError::new(
            Code::PoolUnavailable,
            "the model was replaced while its engine was down; send the task again",
        ));
        tell_shards(shared, || Message::EndTasks {
            pools: Arc::clone(&pools),
            error: Arc::clone(&error),
        });
    }
}

/// Takes a pool away: from here on none admits to it, and it serves what it has.
pub fn unpublish(shared: &Shared, pool: &Arc<Pool>) {
    shared.snapshot.rcu(|snapshot| {
        let mut snapshot = snapshot.as_ref().clone();
        snapshot.pools.retain(|published| published.key != pool.key);
        snapshot.retiring.push(Arc::clone(pool));
        snapshot
    });
    await_shards(shared);
}

/// Stops the pool's engines. Nothing runs on them and nothing will.
pub fn retire_replicas(shared: &Shared, pool: &Arc<Pool>) {
    for (place, replica) in pool.replicas.iter() {
        retire(shared, pool, place, &replica);
    }
}

/// Lets go of the engine at this place.
pub fn retire(shared: &Shared, pool: &Arc<Pool>, place: ReplicaIndex, replica: &Replica) {
    match &replica.reach {
        // An engine too busy to take orders has none to run: it will hear the next one.
        Reach::Local(_) => _ = replica.order(Order::Retire),
        Reach::Remote(remote) => {
            readiness::advance(shared, pool, place, ReplicaEvent::Stop, None);
            remote.look_again();
        }
    }
}

fn forget(shared: &Shared, pool: &Pool) {
    shared.snapshot.rcu(|snapshot| {
        let mut snapshot = snapshot.as_ref().clone();
        snapshot
            .retiring
            .retain(|retiring| retiring.key != pool.key);
        snapshot
    });
    tell_shards(shared, || Message::ForgetPool(pool.key));
}
