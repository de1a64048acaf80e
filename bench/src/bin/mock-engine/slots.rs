//! Room for so many sequences at a time; who finds none waits.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub(crate) struct Slots {
    count: u32,
    taken: Mutex<Taken>,
    freed: Condvar,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Taken {
    /// Slots in use.
    pub(crate) running: u32,
    /// Sequences that wait for one.
    pub(crate) waiting: u32,
}

/// A slot in use, until it is dropped.
pub(crate) struct Slot<'s>(&'s Slots);

impl Slots {
    pub(crate) fn new(count: u32) -> Self {
        Self {
            count,
            taken: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Waits for a slot.
    pub(crate) fn take(&self) -> Slot<'_> {
        let mut taken = self.lock();
        taken.waiting += 1;
        let is_full = |taken: &mut Taken| taken.running >= self.count;
        let waited = self.freed.wait_while(taken, is_full);
        let mut taken = waited.unwrap_or_else(PoisonError::into_inner);
        taken.waiting -= 1;
        taken.running += 1;
        Slot(self)
    }

    /// Who has a slot now, and who wants one.
    pub(crate) fn taken(&self) -> Taken {
        *self.lock()
    }

    /// The share of slots in use.
    pub(crate) fn usage(&self) -> f64 {
        f64::from(self.taken().running) / f64::from(self.count)
    }

    /// Numbers can't be left half-written.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.freed.notify_one();
    }
}
