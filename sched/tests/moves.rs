//! Tasks that wait for one pool and are taken over by another.

use orchestratord_sched::{
    Admission, Class, Dispatcher, Flow, Full, Instant, Pool, PoolOptions, ReplicaIndex, ShardId,
    Share, Ticket, Urgency,
};
use std::sync::Arc;
use std::time::Duration;

const HERE: ShardId = ShardId(0);
const THERE: ShardId = ShardId(1);
const FLOW: Flow = Flow(0);
const TOKENS: u32 = 10;

type Task = String;

fn pool(slots: u32, tasks_queued_max: u32) -> Arc<Pool<Task>> {
    Arc::new(Pool::new(PoolOptions {
        shards: 2,
        replica_slots: vec![slots],
        tasks_queued_max,
        tokens_queued_max: None,
    }))
}

/// The `n`th to come.
fn admit(dispatcher: &mut Dispatcher<Task>, n: u64) -> Ticket {
    let arrival = Instant::ZERO + Duration::from_micros(n);
    let admission = Admission {
        share: Share::All,
        flow: FLOW,
        urgency: Urgency::new(Class::Interactive, arrival, None),
        expected_tokens: TOKENS,
    };
    let admitted = dispatcher.admit(admission, format!("task {n}"));
    admitted.expect("there is room").ticket
}

#[test]
fn a_task_that_is_taken_over_waits_there_as_urgent_as_before() {
    let (old, new) = (pool(0, 8), pool(1, 8));
    let mut from = Dispatcher::new(HERE, Arc::clone(&old));
    let mut to = Dispatcher::new(HERE, Arc::clone(&new));
    let first = admit(&mut from, 1);
    admit(&mut to, 2);
    let taken = to.take_over(&mut from, first, FLOW, TOKENS, |task| task + ", moved");
    assert!(taken.is_ok_and(|admitted| admitted.is_some()));
    assert_eq!(
        (old.queued(Class::Interactive), old.tokens_queued()),
        (0, 0)
    );
    assert_eq!(
        (new.queued(Class::Interactive), new.tokens_queued()),
        (2, 20)
    );
    assert!(from.remove(first).is_none(), "it waits there no longer");
    let next = to.dispatch().expect("a slot is free");
    assert_eq!(next.task, "task 1, moved");
    let last = to.dispatch_with(next.lease).expect("another waits");
    assert_eq!(last.task, "task 2");
}

#[test]
fn where_there_is_no_room_nothing_has_changed() {
    let (old, new) = (pool(1, 8), pool(0, 1));
    let mut from = Dispatcher::new(HERE, Arc::clone(&old));
    let mut to = Dispatcher::new(HERE, Arc::clone(&new));
    let first = admit(&mut from, 1);
    admit(&mut to, 2);
    let refused = to.take_over(&mut from, first, FLOW, TOKENS, |task| task);
    assert_eq!(refused.expect_err("it is full"), Full::Tasks);
    let next = from.dispatch().expect("it waits where it was");
    assert_eq!(next.task, "task 1");
}

#[test]
fn a_task_that_a_thief_has_is_not_taken_over() {
    let (old, new) = (pool(1, 8), pool(1, 8));
    let mut from = Dispatcher::new(HERE, Arc::clone(&old));
    let mut thief = Dispatcher::new(THERE, Arc::clone(&old));
    let mut to = Dispatcher::new(HERE, Arc::clone(&new));
    let first = admit(&mut from, 1);
    let stolen = thief.dispatch().expect("it stands on the runway");
    assert_eq!(stolen.task, "task 1");
    let taken = to.take_over(&mut from, first, FLOW, TOKENS, |task| task);
    assert!(taken.is_ok_and(|admitted| admitted.is_none()));
    assert_eq!(
        (new.queued(Class::Interactive), new.tokens_queued()),
        (0, 0)
    );
    assert!(to.dispatch().is_none());
}

#[test]
fn every_task_of_a_long_queue_can_be_taken_over() {
    let (old, new) = (pool(0, 64), pool(0, 64));
    let mut from = Dispatcher::new(HERE, Arc::clone(&old));
    let mut to = Dispatcher::new(HERE, Arc::clone(&new));
    let tickets: Vec<_> = (0..32).map(|n| admit(&mut from, n)).collect();
    for ticket in tickets {
        let taken = to.take_over(&mut from, ticket, FLOW, TOKENS, |task| task);
        assert!(taken.is_ok_and(|admitted| admitted.is_some()));
    }
    assert_eq!(old.queued(Class::Interactive), 0);
    assert_eq!(new.queued(Class::Interactive), 32);
    new.offer(ReplicaIndex(0), 32);
    let mut leases = Vec::new();
    for n in 0..32 {
        let next = to.dispatch().expect("as many slots as tasks");
        assert_eq!(next.task, format!("task {n}"));
        leases.push(next.lease);
    }
}
