//! How much memory bodies may take while they are being read, over all connections.
//!
//! A client may take its time over a body, and that body may be long: every connection could hold
//! `--body-max-bytes` for as long as `--body-timeout-ms`. So what is longer than usual is charged to a budget that
//! all share, and whoever finds it used up is told to come back. Bodies of usual length are never refused for
//! those of others; how many of them there are is bounded by connections and their streams.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// What of a body is not charged: several pages of a prompt.
const FREE_BYTES: u64 = 16 * 1024;

/// The budget.
#[derive(Debug)]
pub struct Bodies {
    /// Written by whoever reads a body or lets go of one. Relaxed: it orders nothing, it is only counted.
    charged_bytes: Arc<AtomicU64>,
    max_bytes: u64,
}

/// What one body takes of it, for as long as it is kept.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<AtomicU64>,
    budget_max_bytes: u64,
    charged_bytes: u64,
}

impl Bodies {
    /// Room for so many bytes.
    pub fn new(max_bytes: u64) -> Self {
        Self {
            charged_bytes: Arc::default(),
            max_bytes,
        }
    }

    /// For one more body, of which nothing has come yet.
    pub fn open(&self) -> Charge {
        Charge {
            budget: Arc::clone(&self.charged_bytes),
            budget_max_bytes: self.max_bytes,
            charged_bytes: 0,
        }
    }
}

impl Charge {
    /// The body is to be so long. Whether there is room for it.
    #[must_use]
    pub fn grow_to(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(FREE_BYTES + self.charged_bytes);
        let next = |charged| Some(charged + more).filter(|next| *next <= self.budget_max_bytes);
        let is_room = more == 0 || self.budget.fetch_update(Relaxed, Relaxed, next).is_ok();
        if is_room {
            self.charged_bytes += more;
        }
        is_room
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.fetch_sub(self.charged_bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_usual_length_are_never_refused() {
        let bodies = Bodies::new(0);
        assert!(bodies.open().grow_to(FREE_BYTES));
        assert!(!bodies.open().grow_to(FREE_BYTES + 1));
    }

    #[test]
    fn what_a_body_took_is_free_when_it_is_gone() {
        let bodies = Bodies::new(1000);
        let mut first = bodies.open();
        assert!(first.grow_to(FREE_BYTES + 600));
        assert!(first.grow_to(FREE_BYTES + 900));
        let mut second = bodies.open();
        assert!(!second.grow_to(FREE_BYTES + 101));
        assert!(second.grow_to(FREE_BYTES + 100));
        drop(first);
        assert!(second.grow_to(FREE_BYTES + 1000));
        assert!(!second.grow_to(FREE_BYTES + 1001));
    }
}
