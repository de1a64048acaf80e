//! A bounded lock-free queue from many threads to one, with one wake a batch.
//!
//! **The wake protocol.** A sender pushes and then sets `rung`; only the sender that finds it
//! clear wakes the receiver, so that a batch costs one wake however many senders there are. The
//! receiver clears `rung` *before* it looks. Suppose a sender finds `rung` set and does not wake:
//! its swap read a value that the receiver had not cleared yet, so the receiver's clearing swap
//! comes later in the order of that word, reads the sender's (release) write, and therefore sees
//! the pushed message. No message is slept over.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicBool, Ordering::AcqRel},
    task::{Context, Poll},
};

use atomic_waker::AtomicWaker;
use crossbeam::queue::ArrayQueue;

/// Many senders, one receiver.
pub struct Ring<M> {
    messages: ArrayQueue<M>,
    /// Set by senders after a push, cleared by the receiver before it looks.
    rung: AtomicBool,
    receiver: AtomicWaker,
}

impl<M> Ring<M> {
    /// A ring with room for `capacity` messages.
    ///
    /// # Panics
    ///
    /// If `capacity` is 0.
    pub fn new(capacity: usize) -> Self {
        Self {
            messages: ArrayQueue::new(capacity),
            rung: AtomicBool::new(false),
            receiver: AtomicWaker::new(),
        }
    }

    /// Puts a message in without waking anybody: call [`Ring::ring`] after the batch.
    ///
    /// # Errors
    ///
    /// The message, when the ring is full.
    pub fn push(&self, message: M) -> Result<(), M> {
        self.messages.push(message)
    }

    /// Wakes the receiver, once a batch.
    pub fn ring(&self) {
        if !self.rung.swap(true, AcqRel) {
            self.receiver.wake();
        }
    }

    /// Waits until there is a message; take them with [`Ring::pop`].
    pub async fn wait(&self) {
        poll_fn(|context| self.poll_wait(context)).await;
    }

    fn poll_wait(&self, context: &Context<'_>) -> Poll<()> {
        self.receiver.register(context.waker());
        self.rung.swap(false, AcqRel);
        match self.messages.is_empty() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }

    /// The oldest message; if there is none, wakes the receiver when there is.
    pub fn poll_pop(&self, context: &Context<'_>) -> Poll<M> {
        if let Some(message) = self.pop() {
            return Poll::Ready(message);
        }
        match self.poll_wait(context) {
            Poll::Ready(()) => self.pop().map_or(Poll::Pending, Poll::Ready),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The oldest message.
    pub fn pop(&self) -> Option<M> {
        self.messages.pop()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn every_message_of_every_sender_arrives() {
        const SENDERS: usize = 4;
        const EACH: usize = 10_000;
        let ring = Arc::new(Ring::new(64));
        let senders: Vec<_> = (0..SENDERS)
            .map(|_| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || (0..EACH).for_each(|number| send(&ring, number)))
            })
            .collect();
        let mut received = 0;
        futures_lite::future::block_on(async {
            while received < SENDERS * EACH {
                ring.wait().await;
                while ring.pop().is_some() {
                    received += 1;
                }
            }
        });
        senders
            .into_iter()
            .for_each(|sender| sender.join().unwrap());
        assert!(ring.pop().is_none());
    }

    fn send(ring: &Ring<usize>, number: usize) {
        while ring.push(number).is_err() {
            ring.ring();
            thread::yield_now();
        }
        ring.ring();
    }

    #[test]
    fn a_receiver_takes_what_is_there_and_waits_for_what_is_not() {
        let ring = Ring::new(1);
        let context = Context::from_waker(std::task::Waker::noop());
        assert_eq!(ring.poll_pop(&context), Poll::Pending);
        ring.push('a').unwrap();
        ring.ring();
        assert_eq!(ring.poll_pop(&context), Poll::Ready('a'));
        assert_eq!(ring.poll_pop(&context), Poll::Pending);
    }

    #[test]
    fn a_full_ring_gives_the_message_back() {
        let ring = Ring::new(1);
        assert_eq!(ring.push('a'), Ok(()));
        assert_eq!(ring.push('b'), Err('b'));
    }
}
