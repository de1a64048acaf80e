//! The lock-free pieces under every order of their steps, and every value that the memory model lets a
//! load return, as far as so few preemptions show ([`PREEMPTIONS_MAX`]).
//!
//! Runs with `cargo loom`; without its atomics there is nothing to try.
#![cfg(loom)]

use loom::model::Builder;
use loom::thread;
use orchestratord_sched::{
    Admission, Class, Dispatcher, Flow, Instant, Pool, PoolOptions, ReplicaIndex, ShardId, Share,
    Urgency,
};
use std::sync::Arc;

/// How often a thread may be interrupted where it would not wait. Nearly all mistakes of this kind show
/// with two (Musuvathi & Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded
/// Programs", PLDI 2007).
const PREEMPTIONS_MAX: usize = 2;

/// Steps of one run; the longest here has some hundreds.
const STEPS_MAX: usize = 20_000;

fn every_order(scene: impl Fn() + Send + Sync + 'static) {
    let mut model = Builder::new();
    model.preemption_bound = Some(PREEMPTIONS_MAX);
    model.max_branches = STEPS_MAX;
    model.check(scene);
}

type Shard = Dispatcher<&'static str>;

/// Two shards of a pool.
fn house(slots: u32, tasks_queued_max: u32) -> (Arc<Pool<&'static str>>, Shard, Shard) {
    let pool = Arc::new(Pool::new(PoolOptions {
        shards: 2,
        replica_slots: vec![slots],
        tasks_queued_max,
        tokens_queued_max: None,
    }));
    let shard = |index| Dispatcher::new(ShardId(index), Arc::clone(&pool));
    (Arc::clone(&pool), shard(0), shard(1))
}

fn admission(flow: u32) -> Admission {
    Admission {
        share: Share::All,
        flow: Flow(flow),
        urgency: Urgency::new(Class::Interactive, Instant::ZERO, None),
        expected_tokens: 1,
    }
}

fn bring(shard: &mut Shard, task: &'static str) {
    shard.admit(admission(0), task).expect("there is room");
}

/// Runs whatever there is to run, each to its end; what ran.
fn work(shard: &mut Shard) -> Vec<&'static str> {
    let mut ran = Vec::new();
    while let Some(mut next) = shard.dispatch() {
        loop {
            ran.push(next.task);
            next.bill.settle(1);
            match shard.dispatch_with(next.lease) {
                Some(another) => next = another,
                None => break,
            }
        }
    }
    ran
}

/// What the pool counts when all is over.
fn nothing_is_left(pool: &Pool<&'static str>, slots: u32) {
    assert_eq!(Class::ALL.map(|class| pool.queued(class)), [0, 0]);
    assert_eq!((pool.tokens_queued(), pool.leases()), (0, 0));
    assert_eq!(pool.slots_free(), slots);
}

#[test]
fn a_task_that_comes_as_a_slot_falls_free_is_not_left_beside_it() {
    every_order(|| {
        let (pool, mut here, mut there) = house(1, 9);
        bring(&mut here, "first");
        let first = here.dispatch().expect("a slot is free");
        let other = thread::spawn(move || {
            bring(&mut there, "second");
            work(&mut there)
        });
        first.bill.settle(1);
        let next = here.dispatch_with(first.lease);
        let mut ran: Vec<_> = next.iter().map(|next| next.task).collect();
        drop(next);
        ran.extend(work(&mut here));
        ran.extend(other.join().expect("it does not panic"));
        assert_eq!(ran, ["second"]);
        nothing_is_left(&pool, 1);
    });
}

#[test]
fn a_task_that_comes_as_a_replica_does_is_not_left_beside_its_slot() {
    every_order(|| {
        let (pool, mut here, mut there) = house(0, 9);
        let other = thread::spawn(move || {
            bring(&mut there, "task");
            work(&mut there)
        });
        pool.offer(ReplicaIndex(0), 1);
        let mut ran = work(&mut here);
        ran.extend(other.join().expect("it does not panic"));
        assert_eq!(ran, ["task"]);
        nothing_is_left(&pool, 1);
    });
}

#[test]
fn a_task_that_owner_and_thief_reach_for_runs_once() {
    every_order(|| {
        let (pool, mut here, mut there) = house(0, 9);
        bring(&mut here, "one");
        bring(&mut here, "two");
        pool.offer(ReplicaIndex(0), 2);
        let other = thread::spawn(move || work(&mut there));
        let mut ran = work(&mut here);
        ran.extend(other.join().expect("it does not panic"));
        ran.sort_unstable();
        assert_eq!(ran, ["one", "two"]);
        nothing_is_left(&pool, 2);
    });
}

#[test]
fn a_task_that_is_canceled_as_it_is_stolen_is_either() {
    every_order(|| {
        let (pool, mut here, mut there) = house(0, 9);
        let ticket = here
            .admit(admission(0), "task")
            .expect("there is room")
            .ticket;
        pool.offer(ReplicaIndex(0), 1);
        let other = thread::spawn(move || work(&mut there));
        let canceled = here.remove(ticket);
        let mut ran = work(&mut here);
        ran.extend(other.join().expect("it does not panic"));
        ran.extend(canceled);
        assert_eq!(ran, ["task"]);
        nothing_is_left(&pool, 1);
    });
}

#[test]
fn a_task_that_is_dropped_for_a_newcomer_as_it_is_stolen_is_either() {
    every_order(|| {
        let (pool, mut here, mut there) = house(0, 9);
        bring(&mut here, "oldest");
        pool.offer(ReplicaIndex(0), 1);
        let other = thread::spawn(move || work(&mut there));
        let dropped = here.drop_oldest(Class::Interactive);
        let mut ran = work(&mut here);
        ran.extend(other.join().expect("it does not panic"));
        ran.extend(dropped.map(|(_, task)| task));
        assert_eq!(ran, ["oldest"]);
        nothing_is_left(&pool, 1);
    });
}

#[test]
fn two_that_come_for_the_last_place_do_not_both_have_it() {
    every_order(|| {
        let (pool, mut here, mut there) = house(0, 1);
        let other = thread::spawn(move || there.admit(admission(1), "there").is_ok());
        let one = here.admit(admission(0), "here").is_ok();
        let other = other.join().expect("it does not panic");
        assert_ne!(one, other);
        assert_eq!(pool.queued(Class::Interactive), 1);
    });
}

#[test]
fn two_first_tasks_of_one_identity_are_charged_to_the_same_account() {
    every_order(|| {
        let (pool, mut here, mut there) = house(0, 9);
        let other = thread::spawn(move || bring(&mut there, "there"));
        bring(&mut here, "here");
        other.join().expect("it does not panic");
        assert_eq!(pool.ahead_of(Flow(0), Class::Interactive), 2);
    });
}
