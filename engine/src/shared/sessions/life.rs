//! One session, from its first turn until it is over.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use orchestratord_gpu::SessionKey;
use orchestratord_sched::budget::Allowance;

/// What its turns have in common. A session that is made anew under the same id has another life.
#[derive(Debug)]
pub struct Life {
    /// The session, as engines and the disk know it.
    pub key: SessionKey,
    /// What it may spend: settled when it began.
    pub allowance: Allowance,
    /// Set by whoever takes the session out of the map, before the store is told to forget it; read by
    /// the store before it writes of the session. The store's queue lies between the two, so it needs no
    /// order of its own: what the store does after it has forgotten the session does not bring it back.
    is_over: AtomicBool,
}

impl Life {
    /// It begins, or goes on after a restart.
    pub const fn new(key: SessionKey, allowance: Allowance) -> Self {
        Self {
            key,
            allowance,
            is_over: AtomicBool::new(false),
        }
    }

    /// The session was deleted, or nobody has spoken for too long.
    pub fn end(&self) {
        self.is_over.store(true, Relaxed);
    }

    /// Whether that has happened.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }
}
