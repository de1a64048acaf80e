//! Whose turn is it? How identities share a pool.
//!
//! Urgency alone would let whoever sends most have most: ten thousand tasks that came first go
//! first. So the order within a class is by identity first, and by urgency among the tasks of one
//! identity. Picture a bar that keeps a tab for each guest: the next drink goes to the guest whose
//! tab is shortest, and who has just come in starts with a tab as long as the shortest there.
//!
//! Each identity has, for each class, two numbers in tokens, which all shards share:
//!
//! - its *balance*: what its tasks used, and while one runs, what was expected of it;
//! - its *tag*: the balance, as far as the rules below let it follow.
//!
//! The waiting task whose identity has the smallest tag starts next; the greatest tag that any task
//! started with is the *virtual time* of the class. An identity that waits for nothing and brings a
//! task is raised to the virtual time: it earns no credit by being away.
//!
//! ```text
//!              balance                             tag
//!   comes      at least the virtual time           the balance
//!   starts     + expected                          the balance, and at least one more than before
//!   ends       + used - expected                   the balance, and if it goes back, at least one
//!                                                  more than the virtual time
//! ```
//!
//! This is start-time fair queueing (Goyal, Vin & Cheng, "Start-time Fair Queueing", SIGCOMM 1996)
//! for several servers (Jin, Chase & Kaur, "Interposed Proportional Sharing for a Storage Service
//! Utility", SIGMETRICS 2004). It is what deficit round robin (Shreedhar & Varghese, "Efficient Fair
//! Queueing using Deficit Round Robin", SIGCOMM 1995) becomes as its quantum goes to one token: a
//! round of which nobody's turn is longer than it must be, so that a newcomer waits for no round.
//!
//! Why two numbers? Nobody knows what a task will use, and callers expect too much more often than
//! too little. If the tag were the balance, an identity whose tasks end early would fall behind the
//! virtual time, and go before every newcomer until it had caught up. Of those behind the virtual time
//! newcomers go first, and then who is behind. Hence:
//!
//! - Whoever waits for nothing and brings a task is passed by at most one task of each other
//!   identity, however many those have queued: then their tags are greater than its own.
//! - Two identities that both wait all the while get the same number of tokens, but for a few tasks
//!   a slot.
//! - An identity alone is served in order of urgency, as if there were no tags: it has one.

use crate::urgency::{Class, Urgency};

/// Whose a task is: a number that the caller of this crate gives to each identity.
///
/// Those with the same number share like one. So a hash will do: that two of some thousand
/// identities have the same is unlikely, and all they lose is half of their share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow(pub u32);

/// How far an identity has been served, in tokens. Smaller goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag(pub(crate) u64);

impl Tag {
    /// Where it will stand when so many tokens more have been charged.
    pub(crate) const fn after(self, tokens: u64) -> Self {
        Self(self.0.saturating_add(tokens))
    }
}

/// Sorts waiting tasks by who starts first: class, then tag, then urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    class: Class,
    tag: Tag,
    urgency: Urgency,
}

impl Rank {
    pub(crate) const fn new(tag: Tag, urgency: Urgency) -> Self {
        Self {
            class: urgency.class(),
            tag,
            urgency,
        }
    }

    /// Whether a task of this class and tag might go first, or as soon.
    pub(crate) fn yields_to(self, class: Class, tag: Tag) -> bool {
        (class, tag) <= (self.class, self.tag)
    }
}

/// What so many tokens, expected or used, are charged: never nothing, so that nobody can have a slot
/// again and again for it.
pub(crate) fn charge(tokens: u64) -> u64 {
    tokens.max(1)
}
