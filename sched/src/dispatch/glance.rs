//! How far identities have been served, as one search sees it, or one change of the runway.
//!
//! Tags move meanwhile. Each is read once, so that all tasks of one identity have the same tag in its
//! eyes and their urgency decides between them, wherever they wait.

use crate::fairness::{Rank, Tag};
use crate::shared::{ACCOUNTS_MAX, AccountIndex, Pool, Present};
use crate::urgency::{Class, Urgency};
use core::cell::Cell;

pub(super) struct Glance {
    /// Which of `tags` were read.
    seen: Cell<Present>,
    tags: [[Cell<Tag>; ACCOUNTS_MAX]; Class::ALL.len()],
}

impl Glance {
    pub(super) fn new() -> Self {
        Self {
            seen: Cell::default(),
            tags: Class::ALL.map(|_| [const { Cell::new(Tag(0)) }; ACCOUNTS_MAX]),
        }
    }

    /// Something else begins.
    pub(super) fn forget(&self) {
        self.seen.take();
    }

    pub(super) fn tag<T>(&self, pool: &Pool<T>, account: AccountIndex, class: Class) -> Tag {
        let tag = &self.tags[class as usize][account.at()];
        let mut seen = self.seen.get();
        if !seen[class as usize].contains(account) {
            seen[class as usize].insert(account);
            self.seen.set(seen);
            tag.set(pool.tag(account, class));
        }
        tag.get()
    }

    pub(super) fn rank<T>(&self, pool: &Pool<T>, account: AccountIndex, urgency: Urgency) -> Rank {
        Rank::new(self.tag(pool, account, urgency.class()), urgency)
    }
}
