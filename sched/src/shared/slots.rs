//! The slots that one replica offers, and the lease of whoever holds one.
//!
//! One word holds both counts, offered and taken, so that "is one free" and "take it" are a single
//! step. A replica that is not ready offers none; one that is bound later offers some later. Thus
//! readiness is no second flag that could disagree with the count.
//!
//! A slot can't be lost: only a [`Lease`] gives it back, and it does so when dropped, even by a
//! panic that unwinds. The price is that a lease dropped in passing frees a slot without anybody
//! looking for work to fill it, so the way to end one is
//! [`Dispatcher::dispatch_with`](crate::Dispatcher::dispatch_with).

use super::atomic::AtomicU64;
use core::fmt;
use core::sync::atomic::Ordering::SeqCst;
use crossbeam_utils::CachePadded;
use std::sync::Arc;

/// Which of a pool's replicas, counted from 0 in the order of
/// [`PoolOptions::replica_slots`](super::PoolOptions::replica_slots).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaIndex(pub usize);

/// One replica's slots.
pub(super) struct Slots {
    /// [`Count`], packed. Written by whoever takes or gives back a slot, and by the control thread
    /// that changes the offer. Sequentially consistent throughout: it is one half of the handshake
    /// in [`super`], whose other half is the pool's count of publications.
    word: CachePadded<AtomicU64>,
}

#[derive(Clone, Copy)]
struct Count {
    offered: u32,
    taken: u32,
}

impl Count {
    const fn free(self) -> u32 {
        self.offered.saturating_sub(self.taken)
    }

    const fn pack(self) -> u64 {
        (self.offered as u64) << 32 | self.taken as u64
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "each half of the word is 32 bits wide"
    )]
    const fn unpack(word: u64) -> Self {
        Self {
            offered: (word >> 32) as u32,
            taken: word as u32,
        }
    }
}

impl Slots {
    pub(super) fn new(offered: u32) -> Self {
        let word = Count { offered, taken: 0 }.pack();
        Self {
            word: CachePadded::new(AtomicU64::new(word)),
        }
    }

    pub(super) fn offered(&self) -> u32 {
        self.count().offered
    }

    pub(super) fn taken(&self) -> u32 {
        self.count().taken
    }

    pub(super) fn free(&self) -> u32 {
        self.count().free()
    }

    /// Changes the offer. Slots that are taken stay so, even beyond the new offer.
    pub(super) fn offer(&self, offered: u32) {
        self.update(|count| Some(Count { offered, ..count }));
    }

    /// Takes a slot of this replica, `replica`, if one is free.
    pub(super) fn try_take(self: &Arc<Self>, replica: ReplicaIndex) -> Option<Lease> {
        let took = self.update(|count| {
            (count.free() > 0).then(|| Count {
                taken: count.taken + 1,
                ..count
            })
        });
        took.then(|| Lease {
            slots: Arc::clone(self),
            replica,
        })
    }

    fn give_back(&self) {
        let gave = self.update(|count| {
            let taken = count.taken.checked_sub(1)?;
            Some(Count { taken, ..count })
        });
        debug_assert!(gave, "each lease took one slot and gives back one");
    }

    fn count(&self) -> Count {
        Count::unpack(self.word.load(SeqCst))
    }

    /// Changes the count in one step; `false`, and nothing changed, if `change` declines.
    fn update(&self, change: impl Fn(Count) -> Option<Count>) -> bool {
        let change = |word| change(Count::unpack(word)).map(Count::pack);
        self.word.fetch_update(SeqCst, SeqCst, change).is_ok()
    }
}

/// The right to run one task on one replica; dropping it gives the slot back.
#[must_use = "a dropped lease frees its slot, but nobody looks for work to fill it"]
pub struct Lease {
    slots: Arc<Slots>,
    replica: ReplicaIndex,
}

impl Lease {
    /// The replica that the task runs on.
    #[must_use]
    pub const fn replica(&self) -> ReplicaIndex {
        self.replica
    }

    /// Whether the replica has more slots taken than it still offers, so that this one should not
    /// be filled again.
    pub(crate) fn is_surplus(&self) -> bool {
        let count = self.slots.count();
        count.taken > count.offered
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.slots.give_back();
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.replica).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLICA: ReplicaIndex = ReplicaIndex(0);

    #[test]
    fn no_more_slots_are_taken_than_offered() {
        let slots = Arc::new(Slots::new(2));
        let held = [slots.try_take(REPLICA), slots.try_take(REPLICA)];
        assert!(held.iter().all(Option::is_some));
        assert!(slots.try_take(REPLICA).is_none());
        drop(held);
        assert_eq!((slots.free(), slots.taken()), (2, 0));
    }

    #[test]
    fn a_replica_that_becomes_unready_keeps_its_tasks_and_takes_no_more() {
        let slots = Arc::new(Slots::new(2));
        let lease = slots.try_take(REPLICA).unwrap();
        slots.offer(0);
        assert!(slots.try_take(REPLICA).is_none());
        assert_eq!((slots.free(), slots.taken()), (0, 1));
        assert!(lease.is_surplus());
        drop(lease);
        slots.offer(2);
        assert_eq!(slots.free(), 2);
    }

    #[test]
    fn a_panic_gives_its_slot_back() {
        let slots = Arc::new(Slots::new(1));
        let lease = slots.try_take(REPLICA).unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _running = lease;
            std::panic::resume_unwind(Box::new("the task's code broke"));
        }));
        assert!(outcome.is_err());
        assert_eq!(slots.free(), 1);
    }
}
