//! Room for so many sequences at a time; who finds none waits.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub(crate) struct Slots {
    count: u32,
    busy: Mutex<u32>,
    freed: Condvar,
}

/// A slot in use, until it is dropped.
pub(crate) struct Slot<'s>(&'s Slots);

impl Slots {
    pub(crate) const fn new(count: u32) -> Self {
        Self {
            count,
            busy: Mutex::new(0),
            freed: Condvar::new(),
        }
    }

    /// Waits for a slot.
    pub(crate) fn take(&self) -> Slot<'_> {
        let is_full = |busy: &mut u32| *busy >= self.count;
        let waited = self.freed.wait_while(self.busy(), is_full);
        *waited.unwrap_or_else(PoisonError::into_inner) += 1;
        Slot(self)
    }

    /// The share of slots in use.
    pub(crate) fn usage(&self) -> f64 {
        f64::from(*self.busy()) / f64::from(self.count)
    }

    /// A number can't be left half-written.
    fn busy(&self) -> MutexGuard<'_, u32> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.busy() -= 1;
        self.0.freed.notify_one();
    }
}
