//! How urgent each shard's next task is: one word a shard.
//!
//! A dispatcher reads all of them for each slot that it fills, and most of the time that is all it
//! reads of its neighbours. So each word has a cache line to itself, apart from the runway, whose
//! line changes hands with every theft.

use crate::urgency::Urgency;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release},
};
use crossbeam_utils::CachePadded;

pub(super) struct Heads {
    /// By shard: the most urgent task that it laid on its runway, or nobody. Written by that
    /// shard alone after it changed the runway (`Release`), read by all (`Acquire`). A thief does
    /// not write it, so it may name a task that is gone: a hint, which costs who believes it one
    /// vain attempt.
    words: Box<[CachePadded<AtomicU64>]>,
}

impl Heads {
    pub(super) fn new(shards: usize) -> Self {
        let nobody = || CachePadded::new(AtomicU64::new(Urgency::to_word(None)));
        Self {
            words: core::iter::repeat_with(nobody).take(shards).collect(),
        }
    }

    pub(super) fn publish(&self, shard: usize, urgency: Option<Urgency>) {
        self.words[shard].store(Urgency::to_word(urgency), Release);
    }

    pub(super) fn read(&self, shard: usize) -> Option<Urgency> {
        Urgency::from_word(self.words[shard].load(Acquire))
    }
}
