//! The next few tasks of one shard for one pool, laid out to be taken by any shard.
//!
//! Each place is a hint (how urgent) and a task (a boxed entry, or none). Taking is one atomic
//! swap with "none", laying is one atomic swap with "some": whoever gets the box has the task, and
//! nobody else can. There is no index to race on, so there is no ABA, and no box is freed while
//! another thread looks into it, because nobody looks into it: one has to take it first.
//!
//! Only the owner lays tasks and writes hints. A hint can thus be out of date, in one direction
//! that matters: it names a task that a thief has taken. Believing it costs one vain attempt.
//! (A thief that cleared the hint might clear that of the *next* task laid there, and hide it.)

use crate::queue::Entry;
use crate::urgency::Urgency;
use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{AcqRel, Acquire, Release},
};
use crossbeam_utils::atomic::AtomicCell;

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
    /// The urgency of what the owner laid here, or nobody. Written by the owner after the swap
    /// that it describes (`Release`), read by thieves (`Acquire`).
    hint: AtomicU64,
    /// Swapped by the owner and by thieves; the swap orders all that was written to the box.
    task: AtomicCell<Option<Box<Entry<T>>>>,
}

impl<T> Runway<T> {
    pub(super) fn new() -> Self {
        const {
            assert!(
                AtomicCell::<Option<Box<Entry<T>>>>::is_lock_free(),
                "a pointer must swap in one instruction, or a thief could block the owner"
            );
        }
        Self {
            places: core::array::from_fn(|_| Place {
                hint: AtomicU64::new(Urgency::to_word(None)),
                task: AtomicCell::new(None),
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
        let hint = Urgency::to_word(Some(entry.ticket.urgency));
        let stood = self.places[place].task.swap(Some(entry));
        self.places[place].hint.store(hint, Release);
        stood
    }

    /// The owner takes back what it laid, unless a thief has it.
    pub(super) fn recall(&self, place: usize) -> Option<Box<Entry<T>>> {
        let stood = self.places[place].task.take();
        self.places[place]
            .hint
            .store(Urgency::to_word(None), Release);
        stood
    }

    /// A thief takes what stands there, if anything still does.
    pub(super) fn steal(&self, place: usize) -> Option<Box<Entry<T>>> {
        self.places[place].task.take()
    }

    /// The most urgent hint, and its place, among the places not yet tried.
    pub(super) fn most_urgent(&self, tried: Tried) -> Option<(Urgency, usize)> {
        (0..RUNWAY_LEN)
            .filter(|place| !tried.contains(*place))
            .filter_map(|place| Some((self.hint(place)?, place)))
            .min()
    }

    fn hint(&self, place: usize) -> Option<Urgency> {
        Urgency::from_word(self.places[place].hint.load(Acquire))
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
