//! A bounded lock-free queue from many threads to one, with one wake a batch ([`Bell`]).

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

#[cfg(not(loom))]
use atomic_waker::AtomicWaker;
#[cfg(not(loom))]
use crossbeam::queue::ArrayQueue;

use super::bell::Bell;
#[cfg(loom)]
use super::model::{ArrayQueue, AtomicWaker};

/// Many senders, one receiver.
pub struct Ring<M> {
    messages: ArrayQueue<M>,
    /// Rung by senders after a push, answered by the receiver before it looks.
    bell: Bell,
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
            bell: Bell::new(),
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
        if self.bell.ring() {
            self.receiver.wake();
        }
    }

    /// Waits until there is a message; take them with [`Ring::pop`].
    pub async fn wait(&self) {
        poll_fn(|context| self.poll_wait(context)).await;
    }

    fn poll_wait(&self, context: &Context<'_>) -> Poll<()> {
        self.receiver.register(context.waker());
        self.bell.answer();
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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn every_message_of_every_sender_arrives() {
        const SENDERS: usize = 4;
        // An interpreter is a thousand times slower, and looks a thousand times closer.
        const EACH: usize = if cfg!(miri) { 50 } else { 10_000 };
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
