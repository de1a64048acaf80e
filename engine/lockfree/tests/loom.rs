//! The ring's wake under every order of steps, and every value that the memory model lets a load return.
//!
//! A message that is slept over shows as a receiver that waits while nobody is left to wake it, which the
//! checker calls a deadlock. Runs with `cargo loom`.
#![cfg(loom)]

use loom::future::block_on;
use loom::model::Builder;
use loom::thread;
use orchestratord_lockfree::ring::Ring;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

/// How often a thread may be interrupted where it would not wait: as in `sched/tests/loom.rs`.
const PREEMPTIONS_MAX: usize = 2;

fn every_order(scene: impl Fn() + Send + Sync + 'static) {
    let mut model = Builder::new();
    model.preemption_bound = Some(PREEMPTIONS_MAX);
    model.check(scene);
}

/// As shards and engines send: a ring that is full is rung, too, and tried again.
fn send(ring: &Ring<u32>, message: u32) {
    while ring.push(message).is_err() {
        ring.ring();
        thread::yield_now();
    }
    ring.ring();
}

/// As a shard receives: waits, takes what is there, and waits again, until it has so many.
async fn receive(ring: &Ring<u32>, count: usize) -> Vec<u32> {
    let mut received = Vec::new();
    while received.len() < count {
        ring.wait().await;
        received.extend(std::iter::from_fn(|| ring.pop()));
    }
    received.sort_unstable();
    received
}

fn spawn(ring: &Arc<Ring<u32>>, send: impl FnOnce(&Ring<u32>) + 'static) -> thread::JoinHandle<()> {
    let ring = Arc::clone(ring);
    thread::spawn(move || send(&ring))
}

fn join(senders: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for sender in senders {
        sender.join().expect("it does not panic");
    }
}

#[test]
fn two_senders_wake_one_receiver() {
    every_order(|| {
        let ring = Arc::new(Ring::new(2));
        let senders = [1, 2].map(|message| spawn(&ring, move |ring| send(ring, message)));
        assert_eq!(block_on(receive(&ring, 2)), [1, 2]);
        join(senders);
    });
}

#[test]
fn a_batch_that_is_rung_for_once_is_received_whole() {
    every_order(|| {
        let ring = Arc::new(Ring::new(2));
        let sender = spawn(&ring, |ring| {
            assert_eq!((ring.push(1), ring.push(2)), (Ok(()), Ok(())));
            ring.ring();
        });
        assert_eq!(block_on(receive(&ring, 2)), [1, 2]);
        join([sender]);
    });
}

#[test]
fn a_message_for_which_a_full_ring_has_no_room_comes_after_it() {
    every_order(|| {
        let ring = Arc::new(Ring::new(1));
        let sender = spawn(&ring, |ring| {
            [1, 2].into_iter().for_each(|it| send(ring, it))
        });
        assert_eq!(block_on(receive(&ring, 2)), [1, 2]);
        join([sender]);
    });
}

#[test]
fn an_engine_that_takes_one_at_a_time_takes_them_all() {
    every_order(|| {
        let ring = Arc::new(Ring::new(2));
        let senders = [1, 2].map(|message| spawn(&ring, move |ring| send(ring, message)));
        let next = || block_on(poll_fn(|context| ring.poll_pop(context)));
        let mut received = [next(), next()];
        received.sort_unstable();
        assert_eq!(received, [1, 2]);
        join(senders);
    });
}

#[test]
fn a_receiver_that_gave_up_waiting_is_woken_when_it_waits_again() {
    every_order(|| {
        let ring = Arc::new(Ring::new(1));
        let sender = spawn(&ring, |ring| send(ring, 1));
        {
            // Woken by nobody, and dropped as it waits.
            let wait = pin!(ring.wait());
            let _ = wait.poll(&mut Context::from_waker(Waker::noop()));
        }
        assert_eq!(block_on(receive(&ring, 1)), [1]);
        join([sender]);
    });
}
