//! One shard's waiting tasks for one pool, apart from the few on its runway.
//!
//! Each identity has a line of its own, sorted by urgency, so that its most urgent task is the first
//! entry, and any task is found by its [`Ticket`] in O(log n): a cancel costs no scan. Whose line goes
//! next is found by looking at each, because tags move under us; there are at most
//! [`ACCOUNTS_MAX`](crate::shared::ACCOUNTS_MAX) in a class. A second map, by age, finds the task that
//! a full queue drops for a newcomer.

use crate::fairness::{self, Rank, Tag};
use crate::shared::{AccountIndex, Present};
use crate::urgency::{Class, Urgency};
use std::collections::BTreeMap;

/// Names one admitted task at its shard, and sorts the tasks of one identity there: by urgency, then
/// by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    pub(crate) urgency: Urgency,
    /// Counts the admissions to the pool; breaks ties and tells age.
    pub(crate) sequence: u64,
    /// Whose it is.
    pub(crate) account: AccountIndex,
}

impl Ticket {
    /// How urgent the task is.
    #[must_use]
    pub const fn urgency(self) -> Urgency {
        self.urgency
    }

    pub(crate) const fn class(self) -> Class {
        self.urgency.class()
    }

    const fn age(self) -> (Class, u64) {
        (self.class(), self.sequence)
    }

    const fn line(self) -> (Class, AccountIndex) {
        (self.class(), self.account)
    }
}

/// A waiting task with what its admission promised.
pub(crate) struct Entry<T> {
    pub(crate) ticket: Ticket,
    pub(crate) expected_tokens: u32,
    pub(crate) task: T,
}

impl<T> Entry<T> {
    /// What it will be charged when it starts.
    pub(crate) fn charge(&self) -> u64 {
        fairness::charge(self.expected_tokens.into())
    }
}

/// The waiting tasks of one identity and class.
type Line<T> = BTreeMap<Ticket, Box<Entry<T>>>;

/// The tasks of one shard that stand behind its runway.
pub(crate) struct Queue<T> {
    /// None is empty.
    lines: BTreeMap<(Class, AccountIndex), Line<T>>,
    /// Holds exactly the tickets of `lines`.
    by_age: BTreeMap<(Class, u64), Ticket>,
    /// Holds exactly the accounts of `lines`.
    present: Present,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            lines: BTreeMap::new(),
            by_age: BTreeMap::new(),
            present: Present::default(),
        }
    }

    pub(crate) fn push(&mut self, entry: Box<Entry<T>>) {
        let ticket = entry.ticket;
        self.by_age.insert(ticket.age(), ticket);
        self.present[ticket.class() as usize].insert(ticket.account);
        let line = self.lines.entry(ticket.line()).or_default();
        let twin = line.insert(ticket, entry);
        debug_assert!(twin.is_none(), "a sequence number is given once");
    }

    /// The task that goes first if accounts of its class stand at these tags.
    pub(crate) fn first(&self, tag: impl Fn(Class, AccountIndex) -> Tag) -> Option<(Rank, Ticket)> {
        let ((class, _), _) = self.lines.first_key_value()?;
        let of_class = self.lines.iter().take_while(|((of, _), _)| of == class);
        of_class
            .filter_map(|((class, account), line)| {
                let (ticket, _) = line.first_key_value()?;
                Some((Rank::new(tag(*class, *account), ticket.urgency), *ticket))
            })
            .min()
    }

    /// Whether this task, if it were here, would be the first of its line.
    pub(crate) fn leads(&self, ticket: Ticket) -> bool {
        let line = self.lines.get(&ticket.line());
        let head = line.and_then(BTreeMap::first_key_value);
        head.is_none_or(|(head, _)| ticket < *head)
    }

    /// Takes any task out.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<Box<Entry<T>>> {
        let line = self.lines.get_mut(&ticket.line())?;
        let entry = line.remove(&ticket)?;
        if line.is_empty() {
            self.lines.remove(&ticket.line());
            self.present[ticket.class() as usize].remove(ticket.account);
        }
        self.by_age.remove(&ticket.age());
        Some(entry)
    }

    /// Of the tasks of this class that were chosen, the one that has waited longest.
    pub(crate) fn oldest(&self, class: Class, chosen: impl Fn(Ticket) -> bool) -> Option<Ticket> {
        let of_class = (class, 0)..=(class, u64::MAX);
        let mut by_age = self.by_age.range(of_class).map(|(_, ticket)| *ticket);
        by_age.find(|ticket| chosen(*ticket))
    }

    /// Whose tasks are here.
    pub(crate) const fn present(&self) -> Present {
        self.present
    }
}
