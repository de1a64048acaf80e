//! Whether each shard turns: what shards count, and what the watchdog has seen of it.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::thread::{Pid, gettid};

use crate::metrics::Counter;

/// One shard's turns. Its numbers order nothing: `Relaxed`.
#[derive(Debug, Default)]
pub struct Turning {
    /// Its thread, as the kernel calls it; told once by the shard.
    thread: OnceLock<Pid>,
    /// Written by the shard, read by the watchdog.
    turns: AtomicU64,
    /// For how long it stands still, if that is too long already, in milliseconds, else 0. Written by the watchdog,
    /// read by whoever is asked.
    stalled_ms: AtomicU64,
    /// How often it stood still for too long.
    pub stalls: Counter,
}

impl Turning {
    /// The calling thread is this shard's.
    pub fn begin(&self) {
        // A shard has one thread, which begins once.
        let _ = self.thread.set(gettid());
    }

    /// Its thread, once it has begun.
    pub fn thread(&self) -> Option<Pid> {
        self.thread.get().copied()
    }

    /// One turn more.
    pub fn turn(&self) {
        self.turns.fetch_add(1, Relaxed);
    }

    /// So many.
    pub fn turns(&self) -> u64 {
        self.turns.load(Relaxed)
    }

    /// For how long it stands still, if that is too long already.
    pub fn stalled_for(&self) -> Option<Duration> {
        match self.stalled_ms.load(Relaxed) {
            0 => None,
            ms => Some(Duration::from_millis(ms)),
        }
    }

    /// Notes for how long it stands still, if that is too long already.
    pub fn note(&self, stalled: Option<Duration>) {
        let ms = stalled.map_or(0, crate::api::whole_ms);
        self.stalled_ms.store(ms, Relaxed);
    }
}
