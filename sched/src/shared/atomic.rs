//! The atomics of this folder: the machine's own, or a model checker's.
//!
//! With `--cfg loom` they are loom's, which tries every order of steps and every value that the memory
//! model lets a load return (`tests/loom.rs`). Loom takes a sequentially consistent access for one that
//! merely acquires and releases, and would see the handshake of [`super`] fail, which relies on more.
//! Its fences are what they should be, so here one stands on each side of such an access. That is a
//! little stronger than the access: the model shows that the handshake holds if both of its words are
//! sequentially consistent, and fails if neither is.

#[cfg(not(loom))]
pub(super) use atomicbox::AtomicOptionBox;
#[cfg(not(loom))]
pub(super) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

#[cfg(loom)]
pub(super) use self::model::{AtomicOptionBox, AtomicU64};
#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicBool, AtomicU32};

#[cfg(loom)]
mod model {
    use core::sync::atomic::Ordering::{self, SeqCst};
    use loom::sync::Mutex;
    use loom::sync::atomic::fence;

    #[derive(Debug, Default)]
    pub(crate) struct AtomicU64(loom::sync::atomic::AtomicU64);

    impl AtomicU64 {
        pub(crate) fn new(value: u64) -> Self {
            Self(loom::sync::atomic::AtomicU64::new(value))
        }

        pub(crate) fn load(&self, order: Ordering) -> u64 {
            fenced(order, || self.0.load(order))
        }

        pub(crate) fn store(&self, value: u64, order: Ordering) {
            fenced(order, || self.0.store(value, order));
        }

        pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
            fenced(order, || self.0.fetch_add(value, order))
        }

        pub(crate) fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
            fenced(order, || self.0.fetch_sub(value, order))
        }

        pub(crate) fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
            fenced(order, || self.0.fetch_max(value, order))
        }

        pub(crate) fn compare_exchange(
            &self,
            current: u64,
            new: u64,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u64, u64> {
            fenced(success, || {
                self.0.compare_exchange(current, new, success, failure)
            })
        }

        pub(crate) fn fetch_update(
            &self,
            success: Ordering,
            failure: Ordering,
            change: impl FnMut(u64) -> Option<u64>,
        ) -> Result<u64, u64> {
            fenced(success, || self.0.fetch_update(success, failure, change))
        }
    }

    fn fenced<T>(order: Ordering, access: impl FnOnce() -> T) -> T {
        if order != SeqCst {
            return access();
        }
        fence(SeqCst);
        let seen = access();
        fence(SeqCst);
        seen
    }

    /// A swap is one step, and orders what was written to the box: so does a lock held for one.
    pub(crate) struct AtomicOptionBox<T>(Mutex<Option<Box<T>>>);

    impl<T> AtomicOptionBox<T> {
        pub(crate) fn none() -> Self {
            Self(Mutex::new(None))
        }

        pub(crate) fn swap(&self, other: Option<Box<T>>, _: Ordering) -> Option<Box<T>> {
            core::mem::replace(&mut *self.0.lock().expect("no step of it panics"), other)
        }

        pub(crate) fn take(&self, order: Ordering) -> Option<Box<T>> {
            self.swap(None, order)
        }
    }
}
