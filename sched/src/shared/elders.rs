//! Who has waited longest at each shard: where a full queue makes room.
//!
//! Read only when a full queue wants to drop a task; written by each shard about itself, so that a
//! newcomer need not ask around among shards just when the pool is overloaded.

use super::atomic::AtomicU64;
use crate::urgency::Class;
use core::sync::atomic::Ordering::{Acquire, Release};
use crossbeam_utils::CachePadded;

/// Later than any admission.
const NOBODY: u64 = u64::MAX;

pub(super) struct Elders {
    /// By shard and class: the number of the oldest admission that waits there, or nobody. Written
    /// by that shard alone (`Release`), read by all (`Acquire`). A thief does not write it, so until
    /// the victim refills it may name a task that is gone: a hint.
    words: Box<[CachePadded<[AtomicU64; Class::ALL.len()]>]>,
}

impl Elders {
    pub(super) fn new(shards: usize) -> Self {
        let nobody = || CachePadded::new(Class::ALL.map(|_| AtomicU64::new(NOBODY)));
        Self {
            words: core::iter::repeat_with(nobody).take(shards).collect(),
        }
    }

    pub(super) fn publish(&self, shard: usize, class: Class, oldest: Option<u64>) {
        self.words[shard][class as usize].store(oldest.unwrap_or(NOBODY), Release);
    }

    /// The oldest admission at this shard of this class or a lower one.
    pub(super) fn read(&self, shard: usize, class: Class) -> Option<u64> {
        self.words[shard][class as usize..]
            .iter()
            .map(|word| word.load(Acquire))
            .filter(|oldest| *oldest != NOBODY)
            .min()
    }
}
