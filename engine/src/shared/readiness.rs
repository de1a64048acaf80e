//! A replica comes up, breaks or goes: its state, what it offers, and who is told.
//!
//! Whoever looks after an engine says so here: the thread that runs it, the one that watches it, or a
//! shard that found a server gone. The state decides what is offered, so that the two can't disagree.

use std::{sync::Arc, thread, time::Duration};

use orchestratord_sched::{ReplicaEvent, ReplicaIndex, ReplicaState, breaker::Trust};

use super::{Shared, replica::Replica, snapshot::Pool, stage::Stage};
use crate::{logs, shard::mailbox::Message};

/// How long a sender rests when a shard's mailbox is full: the shard drains it in one turn.
const FULL_MAILBOX_WAIT: Duration = Duration::from_micros(50);

/// Something happened to the replica at this place, and what caused it if something went wrong.
/// Whether that could happen in its state; if not, nothing has changed.
///
/// What brings slots is not for a shard to say: it would wait for the others' mailboxes.
pub fn advance(
    shared: &Shared,
    pool: &Arc<Pool>,
    place: ReplicaIndex,
    event: ReplicaEvent,
    error: Option<String>,
) -> bool {
    let Some(replica) = pool.replicas.get(place) else {
        return false;
    };
    let Some(state) = replica.condition.advance(event, error) else {
        return false;
    };
    offer(shared, pool, place, &replica, state);
    true
}

/// A device that the replica at this place runs on has failed, and why; or none has. As long as one has,
/// no task goes there whatever its engine answers; what runs there, the engine ends or not.
pub fn judge_devices(
    shared: &Shared,
    pool: &Arc<Pool>,
    place: ReplicaIndex,
    failure: Option<String>,
) {
    let Some(replica) = pool.replicas.get(place) else {
        return;
    };
    let before = replica.condition.judge_devices(failure.clone());
    match (&before, &failure) {
        (None, None) => return,
        (None, Some(reason)) => logs::replica_without_device(pool, &replica, reason),
        (Some(_), None) => logs::replica_has_devices(pool, &replica),
        // Offered again all the same: a probe that was answered meanwhile may have offered more.
        (Some(_), Some(_)) => {}
    }
    offer(shared, pool, place, &replica, replica.condition.state());
}

/// Offers what a replica in this state has to offer.
fn offer(
    shared: &Shared,
    pool: &Arc<Pool>,
    place: ReplicaIndex,
    replica: &Replica,
    state: ReplicaState,
) {
    let is_ready = state == ReplicaState::Ready;
    let slots = match replica.condition.trust(shared.clock.now()) {
        _ if !is_ready => 0,
        Trust::Full => replica.slots(),
        Trust::OneTask => 1,
        Trust::NothingUntil(_) => 0,
    };
    let slots_before = pool.scheduling.replica_slots_offered(place);
    pool.scheduling.offer(place, slots);
    if slots > slots_before {
        // Tasks may have waited for a slot of this replica.
        tell_shards(shared, || Message::LookForWork {
            pool: Arc::clone(pool),
        });
    }
}

/// Sends a message to every shard. Not from a shard: it waits for full mailboxes.
pub fn tell_shards(shared: &Shared, message: impl Fn() -> Message) {
    for shard in 0..shared.mailboxes.len() {
        tell(shared, shard, message());
        shared.mailboxes[shard].ring();
    }
}

/// Puts a message into a shard's mailbox without waking it. A full mailbox holds the sender back:
/// that is the backpressure of a shard that can't keep up.
pub fn tell(shared: &Shared, shard: usize, mut message: Message) {
    let mailbox = &shared.mailboxes[shard];
    while let Err(back) = mailbox.push(message) {
        if shared.stages.now() == Stage::Gone {
            return;
        }
        message = back;
        mailbox.ring();
        thread::sleep(FULL_MAILBOX_WAIT);
    }
}
