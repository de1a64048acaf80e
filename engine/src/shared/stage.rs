//! How far the daemon is on its way down, and what still keeps it up.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};

/// The daemon's own life, in order; there is no way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Accepting connections and work.
    Serving,
    /// No new connections or tasks; what is there goes on.
    Draining,
    /// The grace is over: running tasks end with an error event, readers are told.
    Ending,
    /// Nothing is left to do.
    Gone,
}

/// The stage, and counts of what must end before the next.
#[derive(Debug, Default)]
pub struct Stages {
    /// Written by the control thread, read by every shard.
    stage: AtomicU8,
    /// Tasks that have not ended, written by their home shards.
    pub live_tasks: Counted,
    /// Responses that are being streamed, written by the shards that stream them.
    pub open_streams: Counted,
}

/// How many of something there are now.
#[derive(Debug, Default)]
pub struct Counted(AtomicUsize);

impl Counted {
    /// One more.
    pub fn enter(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    /// One less.
    pub fn leave(&self) {
        self.0.fetch_sub(1, SeqCst);
    }

    /// Whether there are none.
    pub fn is_zero(&self) -> bool {
        self.0.load(SeqCst) == 0
    }
}

impl Stages {
    /// The stage now.
    pub fn now(&self) -> Stage {
        match self.stage.load(SeqCst) {
            0 => Stage::Serving,
            1 => Stage::Draining,
            2 => Stage::Ending,
            _ => Stage::Gone,
        }
    }

    /// Whether nothing lives that a stop would cut off.
    pub fn is_idle(&self) -> bool {
        self.live_tasks.is_zero() && self.open_streams.is_zero()
    }

    /// Steps to a later stage.
    pub fn step(&self, to: Stage) {
        self.stage.fetch_max(to as u8, SeqCst);
    }
}
