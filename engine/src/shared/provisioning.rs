//! How far the engines are that the daemon starts itself for a pool.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// What is known of a pool's engines before they are bound.
#[derive(Debug)]
pub struct Provisioning {
    /// What is being started, for people.
    step: String,
    /// Engines that are started again and again until they work. Written by their supervisors, read
    /// at admission; nothing else depends on it.
    trying: AtomicUsize,
    last_error: Mutex<Option<String>>,
}

impl Provisioning {
    /// So many engines are going to be started.
    pub fn new(engines: usize, step: String) -> Self {
        Self {
            step,
            trying: AtomicUsize::new(engines),
            last_error: Mutex::new(None),
        }
    }

    /// Whether an engine may come up without anybody's doing.
    pub fn is_under_way(&self) -> bool {
        self.trying.load(Relaxed) > 0
    }

    /// What is being done, a sentence a step.
    pub fn steps(&self) -> Vec<String> {
        vec![self.step.clone()]
    }

    /// An engine has ended, or did not come up.
    pub fn failed(&self, reason: &str) {
        *self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }

    /// One engine is not started again. Whether that was the last.
    pub fn gave_up(&self) -> bool {
        self.trying.fetch_sub(1, Relaxed) == 1
    }

    /// What last went wrong.
    pub fn last_error(&self) -> Option<String> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
