//! The libraries' parts that the pieces are made of, as models.

use std::collections::VecDeque;

use loom::sync::Mutex;
pub use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Waker;

/// The checker's own, called like the library's.
#[derive(Default)]
pub struct AtomicWaker(loom::future::AtomicWaker);

impl AtomicWaker {
    /// One that wakes nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on it wakes this one.
    pub fn register(&self, waker: &Waker) {
        self.0.register_by_ref(waker);
    }

    /// Wakes who was registered last, once.
    pub fn wake(&self) {
        self.0.wake();
    }
}

/// A bounded queue that promises less than crossbeam's: a message that was taken is whole, but when it is
/// seen to be there is ordered by nothing in here. What is built on it holds by its own words alone.
pub struct ArrayQueue<M> {
    messages: Mutex<VecDeque<M>>,
    capacity: usize,
    /// How many there are: written within the lock, read outside of it, and perhaps long after.
    len: AtomicUsize,
}

impl<M> ArrayQueue<M> {
    /// A queue with room for `capacity` messages.
    pub fn new(capacity: usize) -> Self {
        Self {
            messages: Mutex::new(VecDeque::new()),
            capacity,
            len: AtomicUsize::new(0),
        }
    }

    /// Puts a message in.
    ///
    /// # Errors
    ///
    /// The message, when the queue is full.
    pub fn push(&self, message: M) -> Result<(), M> {
        let mut messages = self.messages.lock().expect("no step of it panics");
        if messages.len() == self.capacity {
            return Err(message);
        }
        messages.push_back(message);
        self.len.fetch_add(1, Relaxed);
        Ok(())
    }

    /// The oldest message.
    pub fn pop(&self) -> Option<M> {
        if self.is_empty() {
            return None;
        }
        let mut messages = self.messages.lock().expect("no step of it panics");
        let message = messages.pop_front()?;
        self.len.fetch_sub(1, Relaxed);
        Some(message)
    }

    /// Whether there is none, as far as this thread can tell.
    pub fn is_empty(&self) -> bool {
        self.len.load(Relaxed) == 0
    }
}
