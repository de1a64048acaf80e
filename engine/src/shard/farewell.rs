//! Who on a shard wants to know that the daemon begins to stop.
//!
//! A connection of HTTP/1.1 says with its next response that it is the last. One of HTTP/2 has a word
//! for it that comes unasked (GOAWAY), so somebody has to wake it.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    task::Waker,
};

use super::Shard;

/// The shard's listeners; as many as it has connections of HTTP/2.
#[derive(Default)]
pub struct Farewells {
    numbers: Cell<u64>,
    waiting: RefCell<HashMap<u64, Waker>>,
}

impl Farewells {
    /// Wakes all of them.
    pub fn tell(&self) {
        let waiting = self.waiting.take();
        waiting.into_values().for_each(Waker::wake);
    }
}

/// One of them, until it is dropped.
pub struct Listener {
    shard: Rc<Shard>,
    number: u64,
}

impl Listener {
    /// One more.
    pub fn new(shard: &Rc<Shard>) -> Self {
        let numbers = &shard.farewells.numbers;
        let number = numbers.replace(numbers.get() + 1);
        Self {
            shard: Rc::clone(shard),
            number,
        }
    }

    /// Wakes this one when the daemon begins to stop.
    pub fn listen(&self, waker: &Waker) {
        let mut waiting = self.shard.farewells.waiting.borrow_mut();
        let waiting = waiting.entry(self.number).or_insert_with(|| waker.clone());
        waiting.clone_from(waker);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut waiting = self.shard.farewells.waiting.borrow_mut();
        waiting.remove(&self.number);
    }
}
