//! How many connections there may be, over all shards.
//!
//! Each is an open file, and the kernel gives a process so many (`RLIMIT_NOFILE`). A daemon that had given
//! the last of them to a client could not call an engine, write to its disk or take a connection to the shard
//! of its task; so those who are connected would suffer for those who come. Below that limit stands a bound of
//! our own. One more connection is told so, in words, and closed. That takes a file too, for a moment, and
//! has a bound as well; beyond that, connections wait in the kernel's queue, which costs us nothing.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Connections that are being told that there is no place for them.
pub const REFUSED_MAX: u64 = 32;

/// The connections there are.
#[derive(Debug)]
pub struct Connections {
    served: Bound,
    refused: Bound,
}

/// What a connection that was accepted has got.
pub enum Entry {
    /// A place.
    Served(Place),
    /// As long as it takes to be told that there is none.
    Refused(Place),
}

/// Held by a connection for as long as it is open.
#[derive(Debug)]
pub struct Place(Arc<AtomicU64>);

#[derive(Debug)]
struct Bound {
    /// Written by whoever enters or leaves. Relaxed: it orders nothing, it is only counted.
    taken: Arc<AtomicU64>,
    max: u64,
}

impl Connections {
    /// Room for so many.
    pub fn new(max: u64) -> Self {
        Self {
            served: Bound::new(max),
            refused: Bound::new(REFUSED_MAX),
        }
    }

    /// A place for one more, or to be refused; `None` if there is neither now.
    pub fn enter(&self) -> Option<Entry> {
        let served = self.served.enter().map(Entry::Served);
        served.or_else(|| self.refused.enter().map(Entry::Refused))
    }

    /// How many are served now.
    pub fn served(&self) -> u64 {
        self.served.taken.load(Relaxed)
    }
}

impl Bound {
    fn new(max: u64) -> Self {
        Self {
            taken: Arc::default(),
            max,
        }
    }

    fn enter(&self) -> Option<Place> {
        let next = |taken| (taken < self.max).then_some(taken + 1);
        let entered = self.taken.fetch_update(Relaxed, Relaxed, next);
        entered.ok().map(|_| Place(Arc::clone(&self.taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_too_many_is_refused_and_more_than_that_wait() {
        let connections = Connections::new(2);
        let enter = || connections.enter();
        let places: Vec<_> = (0..2 + REFUSED_MAX).filter_map(|_| enter()).collect();
        let is_served = |entry: &&Entry| matches!(entry, Entry::Served(_));
        assert_eq!(places.iter().filter(is_served).count(), 2);
        assert_eq!(places.len() as u64, 2 + REFUSED_MAX);
        assert!(enter().is_none());
        assert_eq!(connections.served(), 2);
    }

    #[test]
    fn whoever_leaves_makes_room() {
        let connections = Connections::new(1);
        let first = connections.enter();
        assert!(matches!(connections.enter(), Some(Entry::Refused(_))));
        drop(first);
        assert!(matches!(connections.enter(), Some(Entry::Served(_))));
    }
}
