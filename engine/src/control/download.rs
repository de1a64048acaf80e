//! A model's file brought for a supervisor, which meanwhile hears whether its engine is still wanted.
//!
//! The download has a thread of its own, because a read of the network may be silent for long and nobody
//! who wants the daemon to stop waits for that. Whoever drops the [`Download`] has the thread end at its
//! next byte; what has come by then is gone on with another time.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use crossbeam::channel::{Receiver, bounded};

use crate::{
    models::{
        Found,
        download::{Progress, Watch},
        error::FetchError,
        progress::Logged,
        reference::Source,
    },
    shared::Shared,
};

/// A file that is on its way.
pub struct Download {
    /// Told once, when it is here or can't be had.
    pub ended: Receiver<Result<Found, FetchError>>,
    /// Whether somebody waits for it. Written by who waits, read by the thread; nothing else depends on
    /// it: `Relaxed`.
    is_wanted: Arc<AtomicBool>,
}

impl Download {
    /// Starts the thread, which tells how far the file has come.
    ///
    /// # Errors
    ///
    /// When the machine gives no more threads.
    pub fn start(
        shared: &Shared,
        source: Source,
        tell: impl Fn(Progress) + Send + 'static,
    ) -> io::Result<Self> {
        let (end, ended) = bounded(1);
        let is_wanted = Arc::new(AtomicBool::new(true));
        let (models, wanted) = (shared.limits().models(), Arc::clone(&is_wanted));
        let carry_out = move || {
            let found = models.obtain(
                &source,
                &Waiting {
                    is_wanted: &wanted,
                    logged: Logged::of(&source.place),
                    tell,
                },
            );
            // Who has asked may be gone.
            let _ = end.send(found);
        };
        thread::Builder::new()
            .name("download".to_owned())
            .spawn(carry_out)?;
        Ok(Self { ended, is_wanted })
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.is_wanted.store(false, Relaxed);
    }
}

struct Waiting<'s, T> {
    is_wanted: &'s AtomicBool,
    logged: Logged<'s>,
    tell: T,
}

impl<T: Fn(Progress)> Watch for Waiting<'_, T> {
    fn tell(&self, progress: Progress) {
        self.logged.tell(progress);
        (self.tell)(progress);
    }

    fn is_waiting(&self) -> bool {
        self.is_wanted.load(Relaxed)
    }
}
