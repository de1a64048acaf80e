//! One shard's waiting tasks for one pool, apart from the few on its runway.
//!
//! A sorted map is the whole trick: the most urgent task is its first entry, and any task is found
//! by its [`Ticket`] in O(log n), so that a cancel costs no scan. A second map, by age, finds the
//! task that a full queue drops for a newcomer.

use crate::urgency::{Class, Urgency};
use std::collections::BTreeMap;

/// Names one admitted task at its shard, and sorts the tasks there: by urgency, then by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    pub(crate) urgency: Urgency,
    /// Counts the admissions to the pool; breaks ties and tells age.
    pub(crate) sequence: u64,
}

impl Ticket {
    /// How urgent the task is.
    #[must_use]
    pub const fn urgency(self) -> Urgency {
        self.urgency
    }

    const fn age(self) -> (Class, u64) {
        (self.urgency.class(), self.sequence)
    }
}

/// A waiting task with what its admission promised.
pub(crate) struct Entry<T> {
    pub(crate) ticket: Ticket,
    pub(crate) expected_tokens: u32,
    pub(crate) task: T,
}

/// The tasks of one shard that stand behind its runway.
pub(crate) struct Queue<T> {
    by_urgency: BTreeMap<Ticket, Box<Entry<T>>>,
    /// Holds exactly the tickets of `by_urgency`.
    by_age: BTreeMap<(Class, u64), Ticket>,
}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self {
            by_urgency: BTreeMap::new(),
            by_age: BTreeMap::new(),
        }
    }

    pub(crate) fn push(&mut self, entry: Box<Entry<T>>) {
        let ticket = entry.ticket;
        self.by_age.insert(ticket.age(), ticket);
        let twin = self.by_urgency.insert(ticket, entry);
        debug_assert!(twin.is_none(), "a sequence number is given once");
    }

    /// Takes the most urgent task out.
    pub(crate) fn pop(&mut self) -> Option<Box<Entry<T>>> {
        let (ticket, entry) = self.by_urgency.pop_first()?;
        self.by_age.remove(&ticket.age());
        Some(entry)
    }

    /// Takes any task out.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<Box<Entry<T>>> {
        let entry = self.by_urgency.remove(&ticket)?;
        self.by_age.remove(&ticket.age());
        Some(entry)
    }

    /// The task of this class that has waited longest.
    pub(crate) fn oldest(&self, class: Class) -> Option<Ticket> {
        let of_class = (class, 0)..=(class, u64::MAX);
        self.by_age
            .range(of_class)
            .next()
            .map(|(_, ticket)| *ticket)
    }
}
