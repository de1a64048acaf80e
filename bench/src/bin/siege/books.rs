//! What was held against the daemon, kept by whoever looks.

use std::sync::Mutex;

/// The breaches so far.
#[derive(Debug, Default)]
pub(crate) struct Books(Mutex<Vec<String>>);

impl Books {
    /// One more.
    pub(crate) fn breach(&self, what: String) {
        self.0
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
            .push(what);
    }

    /// One more, unless this is so.
    pub(crate) fn expect(&self, is_so: bool, breach: impl FnOnce() -> String) {
        if !is_so {
            self.breach(breach());
        }
    }

    /// All of them.
    pub(crate) fn into_breaches(self) -> Vec<String> {
        self.0
            .into_inner()
            .unwrap_or_else(|broken| broken.into_inner())
    }
}
