//! The next few tasks of one shard for one pool, laid out to be taken by any shard.
//!
//! Each place is a hint (how urgent, and whose) and a task (a boxed entry, or none). Taking is one atomic
//! swap with "none", laying is one atomic swap with "some": whoever gets the box has the task, and
//! nobody else can. There is no index to race on, so there is no ABA, and no box is freed while
//! another thread looks into it, because nobody looks into it: one has to take it first.
//!
//! Only the owner lays tasks and writes hints. A hint can thus be out of date, in one direction
//! that matters: it names a task that a thief has taken. Believing it costs one vain attempt.
//! (A thief that cleared the hint might clear that of the *next* task laid there, and hide it.)

use super::accounts::AccountIndex;
use super::atomic::{AtomicBool, AtomicOptionBox, AtomicU64};
use crate::fairness::Rank;
use crate::queue::{Entry, Ticket};
use crate::time::Instant;
use crate::urgency::{Class, Urgency};
use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};

/// How many tasks of a shard and pool stand within reach of thieves.
///
/// Four places of a hint and a pointer are 64 bytes, one cache line. More would let thieves take
/// more before the victim must refill, at the price of a longer search for every slot.
pub const RUNWAY_LEN: usize = 4;

pub(super) struct Runway<T> {
    places: [Place<T>; RUNWAY_LEN],
    /// Set once, by the dispatcher that owns this runway; read to find a second owner out.
    owned: AtomicBool,
}

struct Place<T> {
    /// [`Hint`] of what the owner laid here, packed, or nobody. Written by the owner after the swap
    /// that it describes (`Release`), read by thieves (`Acquire`).
    hint: AtomicU64,
    /// Swapped by the owner and by thieves; the swap orders all that was written to the box (`AcqRel`).
    task: AtomicOptionBox<Entry<T>>,
}

impl<T> Runway<T> {
    pub(super) fn new() -> Self {
        Self {
            places: core::array::from_fn(|_| Place {
                hint: AtomicU64::new(NOBODY),
                task: AtomicOptionBox::none(),
            }),
            owned: AtomicBool::new(false),
        }
    }

    /// Makes the caller the owner; `false` if there is one.
    pub(super) fn claim(&self) -> bool {
        !self.owned.swap(true, AcqRel)
    }

    /// The owner lays a task on a place and gets back what stood there, if anything still did.
    pub(super) fn lay(&self, place: usize, entry: Box<Entry<T>>) -> Option<Box<Entry<T>>> {
        let hint = Hint::of(entry.ticket).pack();
        let stood = self.places[place].task.swap(Some(entry), AcqRel);
        self.places[place].hint.store(hint, Release);
        stood
    }

    /// The owner takes back what it laid, unless a thief has it.
    pub(super) fn recall(&self, place: usize) -> Option<Box<Entry<T>>> {
        let stood = self.places[place].task.take(AcqRel);
        self.places[place].hint.store(NOBODY, Release);
        stood
    }

    /// A thief takes what stands there, if anything still does.
    pub(super) fn steal(&self, place: usize) -> Option<Box<Entry<T>>> {
        self.places[place].task.take(AcqRel)
    }

    /// The rank and the place of the task that goes first, among the places not yet tried.
    pub(super) fn first(
        &self,
        tried: Tried,
        rank: impl Fn(AccountIndex, Urgency) -> Rank,
    ) -> Option<(Rank, usize)> {
        (0..RUNWAY_LEN)
            .filter(|place| !tried.contains(*place))
            .filter_map(|place| {
                let Hint { urgency, account } = self.hint(place)?;
                Some((rank(account, urgency), place))
            })
            .min()
    }

    fn hint(&self, place: usize) -> Option<Hint> {
        Hint::unpack(self.places[place].hint.load(Acquire))
    }
}

/// What thieves are told of a place, in one word, so that its parts can't be of two tasks:
///
/// ```text
///   63      62 ................................. 6   5 ...... 0
///   batch   due, in nanoseconds since the start      account
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hint {
    urgency: Urgency,
    account: AccountIndex,
}

/// The word that means "nobody".
const NOBODY: u64 = u64::MAX;

/// The latest due time that a hint tells, four and a half years after the start: one less than fits,
/// so that no hint is "nobody". All that are due later look alike to thieves.
const HINT_DUE_MAX: u64 = (1 << (63 - AccountIndex::BITS)) - 2;

impl Hint {
    const fn of(ticket: Ticket) -> Self {
        Self {
            urgency: ticket.urgency,
            account: ticket.account,
        }
    }

    fn pack(self) -> u64 {
        let due = self.urgency.due().as_nanos().min(HINT_DUE_MAX);
        let batch = u64::from(self.urgency.class() == Class::Batch);
        batch << 63 | due << AccountIndex::BITS | self.account.at() as u64
    }

    fn unpack(word: u64) -> Option<Self> {
        if word == NOBODY {
            return None;
        }
        let due = Instant::from_nanos(word << 1 >> 1 >> AccountIndex::BITS);
        let class = Class::ALL[usize::from(word >> 63 != 0)];
        Some(Self {
            urgency: Urgency::new(class, Instant::ZERO, Some(due)),
            account: AccountIndex::from_bits(word),
        })
    }
}

/// The places of one runway that a search has already tried.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tried(u8);

impl Tried {
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn insert(&mut self, place: usize) {
        self.0 |= 1 << place;
    }

    pub(super) const fn insert_all(&mut self) {
        self.0 = (1 << RUNWAY_LEN) - 1;
    }

    const fn contains(self, place: usize) -> bool {
        self.0 & 1 << place != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_what_it_was_and_never_nobody() {
        for class in Class::ALL {
            for due in [0, 1, HINT_DUE_MAX - 1, HINT_DUE_MAX] {
                for account in [0, 1, 63].map(AccountIndex::from_bits) {
                    let due = Some(Instant::from_nanos(due));
                    let urgency = Urgency::new(class, Instant::ZERO, due);
                    let hint = Hint { urgency, account };
                    assert_ne!(hint.pack(), NOBODY);
                    assert_eq!(Hint::unpack(hint.pack()), Some(hint));
                }
            }
        }
        assert_eq!(Hint::unpack(NOBODY), None);
    }

    #[test]
    fn the_end_of_time_is_due_last() {
        let end = Some(Instant::from_nanos(u64::MAX));
        let hint = Hint {
            urgency: Urgency::new(Class::Batch, Instant::ZERO, end),
            account: AccountIndex::from_bits(63),
        };
        let told = Hint::unpack(hint.pack()).expect("somebody");
        assert_eq!(told.urgency.due().as_nanos(), HINT_DUE_MAX);
    }
}
