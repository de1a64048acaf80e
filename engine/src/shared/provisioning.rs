//! How far the engines are that the daemon starts itself for a pool.
//!
//! Each engine's supervisor says what it is doing; whoever is asked what a pool waits for reads it. A
//! step is replaced as a whole, so that reading never waits, not even on a shard.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};

/// What must still happen before an engine can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its model is being fetched.
    Download {
        /// The model, as people call it.
        what: String,
        /// Bytes that have come.
        done_bytes: u64,
        /// All of them, if that was told.
        total_bytes: Option<u64>,
    },
    /// Its process is to be started.
    Start,
    /// Its process runs and has not answered yet: it loads its model.
    AwaitReady {
        /// When it was started, by the daemon's clock.
        since: Duration,
    },
    /// It has answered, and is to be given its place.
    Bind,
    /// It ended or did not come up, and is tried again.
    Wait {
        /// When, by the daemon's clock.
        until: Duration,
        /// What went wrong, one sentence.
        because: String,
    },
    /// It is not tried again.
    GiveUp {
        /// What went wrong last, one sentence.
        because: String,
    },
}

impl Step {
    /// Its name, for machines.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Download { .. } => "download",
            Self::Start => "start",
            Self::AwaitReady { .. } => "await_ready",
            Self::Bind => "bind",
            Self::Wait { .. } => "wait",
            Self::GiveUp { .. } => "give_up",
        }
    }
}

/// One engine before it is bound.
#[derive(Debug)]
pub struct Preparing {
    /// The id of the replica that it will be.
    pub replica_id: String,
    step: ArcSwap<Step>,
}

impl Preparing {
    /// What must happen next. An engine that has come so far is to be bound, or is.
    pub fn step(&self) -> Arc<Step> {
        self.step.load_full()
    }

    /// From now on this must happen next.
    pub fn proceed(&self, step: Step) {
        self.step.store(Arc::new(step));
    }
}

/// What is known of a pool's engines before they are bound.
#[derive(Debug)]
pub struct Provisioning {
    engines: Box<[Preparing]>,
    /// Engines that are started again and again until they work. Written by their supervisors, read
    /// at admission; nothing else depends on it.
    trying: AtomicUsize,
    last_error: ArcSwapOption<String>,
}

impl Provisioning {
    /// These engines are going to be started.
    pub fn new(replica_ids: impl IntoIterator<Item = String>) -> Self {
        let preparing = |replica_id| Preparing {
            replica_id,
            step: ArcSwap::from_pointee(Step::Start),
        };
        let engines: Box<[_]> = replica_ids.into_iter().map(preparing).collect();
        Self {
            trying: AtomicUsize::new(engines.len()),
            engines,
            last_error: ArcSwapOption::empty(),
        }
    }

    /// Its engines, in the order in which the settings count them.
    pub fn engines(&self) -> &[Preparing] {
        &self.engines
    }

    /// Whether the replica of this id is one of its engines.
    pub fn owns(&self, replica_id: &str) -> bool {
        let mut engines = self.engines.iter();
        engines.any(|engine| engine.replica_id == replica_id)
    }

    /// Whether an engine may come up without anybody's doing.
    pub fn is_under_way(&self) -> bool {
        self.trying.load(Relaxed) > 0
    }

    /// An engine has ended, or did not come up.
    pub fn failed(&self, reason: &str) {
        self.last_error.store(Some(Arc::new(reason.to_owned())));
    }

    /// One engine is not started again. Whether that was the last.
    pub fn gave_up(&self) -> bool {
        self.trying.fetch_sub(1, Relaxed) == 1
    }

    /// What last went wrong.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.load().as_deref().cloned()
    }
}
