//! Whose tasks each shard has: on its runway, and behind it.
//!
//! A dispatcher reads this of all shards for each slot that it fills, and most of the time that is
//! all it reads of its neighbours. So each shard has a cache line to itself, apart from the runway,
//! whose line changes hands with every theft.
//!
//! The sets name accounts and not ranks: an identity's tag moves whenever any shard starts a task of
//! it, so a rank would be out of date as soon as it was written, while an account is looked up when
//! it is needed.
//!
//! What is behind matters although no thief can reach it. A shard lays out those whose turn it was
//! then; as their tags move, it may be the turn of one behind. Who finds that out asks the shard to
//! lay out anew. One has to ask: `asked` keeps the others from asking too.

use super::accounts::AccountSet;
use super::atomic::{AtomicBool, AtomicU64};
use crate::urgency::Class;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crossbeam_utils::CachePadded;

/// By class: the accounts that have tasks somewhere.
pub(crate) type Present = [AccountSet; Class::ALL.len()];

pub(super) struct Heads {
    heads: Box<[CachePadded<Head>]>,
}

/// Written by its shard alone after it changed its runway (`Release`), read by all (`Acquire`). A
/// thief does not write it, so it may name what is gone: a hint, which costs who believes it one vain
/// attempt.
#[derive(Default)]
struct Head {
    laid: [AtomicU64; Class::ALL.len()],
    behind: [AtomicU64; Class::ALL.len()],
    /// Some shard sends a message that asks for a refill. Set by thieves, cleared by the refill.
    asked: AtomicBool,
}

impl Heads {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            heads: core::iter::repeat_with(CachePadded::default)
                .take(shards)
                .collect(),
        }
    }

    pub(super) fn publish(&self, shard: usize, laid: Present, behind: Present) {
        let head = &self.heads[shard];
        write(&head.laid, laid);
        write(&head.behind, behind);
    }

    /// Whether anything is laid out.
    pub(super) fn is_empty(&self, shard: usize) -> bool {
        let laid = &self.heads[shard].laid;
        laid.iter().all(|word| word.load(Acquire) == 0)
    }

    /// Whose tasks of this class stand behind the runway, with none of the same on it.
    pub(super) fn hidden(&self, shard: usize, class: Class) -> AccountSet {
        let head = &self.heads[shard];
        let read = |words: &[AtomicU64]| AccountSet(words[class as usize].load(Acquire));
        read(&head.behind).without(read(&head.laid))
    }

    /// Whether the caller is the one to ask this shard for a refill.
    pub(super) fn ask(&self, shard: usize) -> bool {
        let asked = &self.heads[shard].asked;
        !asked.load(Acquire) && !asked.swap(true, AcqRel)
    }

    /// The owner is about to lay out anew: whoever finds fault after that may ask again.
    pub(super) fn answer(&self, shard: usize) {
        self.heads[shard].asked.store(false, Release);
    }
}

/// Words that stay the same are not written, so that their line stays in the readers' caches.
fn write(words: &[AtomicU64], sets: Present) {
    for (word, set) in words.iter().zip(sets) {
        if word.load(Relaxed) != set.0 {
            word.store(set.0, Release);
        }
    }
}
