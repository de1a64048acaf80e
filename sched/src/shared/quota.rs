//! How many tasks may wait for one pool, over all its shards.
//!
//! The bound is the pool's, not a shard's: whichever shard a client happened to reach, it can use
//! all the room there is and no more. Both classes are counted in one word, so that "is there
//! room" and "take it" are one step.
//!
//! The bound in expected tokens is a second word and hence a second step. A newcomer refused for
//! its tokens has held room for one task for a moment, in which another may have been refused that
//! would have fitted. It errs towards refusing, never towards exceeding a bound.

use super::atomic::{AtomicU32, AtomicU64};
use crate::urgency::Class;
use core::convert::Infallible;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crossbeam_utils::CachePadded;

/// Why there is no room for a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// As many tasks wait as may wait.
    Tasks,
    /// Others may still come; the task's identity has its [share](crate::Share).
    Share,
    /// The tasks that wait expect as many tokens as may be expected.
    Tokens,
}

pub(super) struct Quota {
    /// Written by whoever moves the bound, read at each admission; one that is moved meanwhile may be
    /// decided by either, so `Relaxed`.
    tasks_queued_max: AtomicU32,
    /// The same for tokens; [`u64::MAX`] is no bound.
    tokens_queued_max: AtomicU64,
    /// [`Waiting`], packed. Written at admission by the task's shard, at dispatch by whichever
    /// shard takes it. It only counts: no other memory is read on its word, so `AcqRel` is more
    /// than enough and costs nothing on the machines we know.
    waiting: CachePadded<AtomicU64>,
    /// The sum of the expected tokens of those who wait; kept whether bounded or not, in the same
    /// way. It can't overflow: 2³² tasks of 2³² tokens just fit.
    tokens: CachePadded<AtomicU64>,
}

#[derive(Clone, Copy)]
struct Waiting {
    interactive: u32,
    batch: u32,
}

impl Waiting {
    const fn pack(self) -> u64 {
        (self.interactive as u64) << 32 | self.batch as u64
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "each half of the word is 32 bits wide"
    )]
    const fn unpack(word: u64) -> Self {
        Self {
            interactive: (word >> 32) as u32,
            batch: word as u32,
        }
    }

    const fn of(&mut self, class: Class) -> &mut u32 {
        match class {
            Class::Interactive => &mut self.interactive,
            Class::Batch => &mut self.batch,
        }
    }

    const fn places_left(self, max: u32) -> u32 {
        max.saturating_sub(self.interactive + self.batch)
    }

    /// With one more of this class.
    fn and(mut self, class: Class) -> Self {
        *self.of(class) += 1;
        self
    }

    fn release(mut self, class: Class) -> Option<Self> {
        *self.of(class) = self.of(class).checked_sub(1)?;
        Some(self)
    }
}

impl Quota {
    pub(super) fn new(tasks_queued_max: u32, tokens_queued_max: Option<u64>) -> Self {
        Self {
            tasks_queued_max: AtomicU32::new(tasks_queued_max),
            tokens_queued_max: AtomicU64::new(tokens_queued_max.unwrap_or(u64::MAX)),
            waiting: CachePadded::new(AtomicU64::new(0)),
            tokens: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// Takes room for one task, if its identity `may` have a place while so many are left.
    pub(super) fn try_admit(
        &self,
        class: Class,
        expected_tokens: u32,
        may: impl Fn(u32) -> bool,
    ) -> Result<(), Full> {
        let tasks_queued_max = self.tasks_queued_max();
        self.update(|waiting| match waiting.places_left(tasks_queued_max) {
            left if !may(left) => Err(Full::Share),
            0 => Err(Full::Tasks),
            _ => Ok(waiting.and(class)),
        })?;
        if self.try_admit_tokens(expected_tokens.into()) {
            return Ok(());
        }
        self.release_task(class);
        Err(Full::Tokens)
    }

    /// Takes room for a task that has had some before, whether there is any or not.
    pub(super) fn readmit(&self, class: Class, expected_tokens: u32) {
        self.tokens.fetch_add(expected_tokens.into(), AcqRel);
        let Ok(()) = self.update(|waiting| Ok::<_, Infallible>(waiting.and(class)));
    }

    /// Gives the room of one task back.
    pub(super) fn release(&self, class: Class, expected_tokens: u32) {
        self.tokens.fetch_sub(expected_tokens.into(), AcqRel);
        self.release_task(class);
    }

    pub(super) fn tasks_queued_max(&self) -> u32 {
        self.tasks_queued_max.load(Relaxed)
    }

    pub(super) fn set_tasks_queued_max(&self, max: u32) {
        self.tasks_queued_max.store(max, Relaxed);
    }

    pub(super) fn set_tokens_queued_max(&self, max: Option<u64>) {
        self.tokens_queued_max
            .store(max.unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn queued(&self, class: Class) -> u32 {
        *Waiting::unpack(self.waiting.load(Acquire)).of(class)
    }

    pub(super) fn tokens_queued(&self) -> u64 {
        self.tokens.load(Acquire)
    }

    /// A task that expects more than the whole bound comes in when nobody else waits. Otherwise it
    /// would be told to come back later, for ever.
    fn try_admit_tokens(&self, expected: u64) -> bool {
        let max = self.tokens_queued_max.load(Relaxed);
        let admit = |queued: u64| {
            let sum = queued.saturating_add(expected);
            (sum <= max || queued == 0).then_some(sum)
        };
        self.tokens.fetch_update(AcqRel, Relaxed, admit).is_ok()
    }

    fn release_task(&self, class: Class) {
        let released = self.update(|waiting| waiting.release(class).ok_or(()));
        debug_assert!(released.is_ok(), "who leaves the queue was admitted to it");
    }

    /// Changes the counts in one step, unless `change` says why not.
    fn update<E>(&self, change: impl Fn(Waiting) -> Result<Waiting, E>) -> Result<(), E> {
        let mut refused = None;
        let change = |word| match change(Waiting::unpack(word)) {
            Ok(changed) => Some(changed.pack()),
            Err(why) => {
                refused = Some(why);
                None
            }
        };
        let _ = self.waiting.fetch_update(AcqRel, Relaxed, change);
        refused.map_or(Ok(()), Err)
    }
}
