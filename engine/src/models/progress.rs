//! How a download is shown to whoever waits at a terminal or reads the log.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    download::{Progress, Watch},
    reference::Place,
};
use crate::logs;

/// How often the log tells how far it is.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Nobody looks.
pub struct Unseen;

impl Watch for Unseen {
    fn tell(&self, _: Progress) {}
}

/// A bar on the terminal; where there is none it draws nothing.
pub struct Bar(ProgressBar);

impl Bar {
    /// For this model.
    pub fn of(place: &Place) -> Self {
        let bar = ProgressBar::no_length().with_message(place.to_string());
        let style = "{msg} {bytes}/{total_bytes} {wide_bar} {bytes_per_sec} {eta}";
        Self(match ProgressStyle::with_template(style) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }

    fn is_seen(&self) -> bool {
        !self.0.is_hidden()
    }
}

impl Watch for Bar {
    fn tell(&self, progress: Progress) {
        if let Some(bytes_total) = progress.bytes_total {
            self.0.set_length(bytes_total);
        }
        self.0.set_position(progress.bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Lines in the log, now and then.
pub struct Logged<'p> {
    place: &'p Place,
    logged: Cell<Option<Instant>>,
}

impl<'p> Logged<'p> {
    /// For this model.
    pub fn of(place: &'p Place) -> Self {
        Self {
            place,
            logged: Cell::new(None),
        }
    }
}

impl Watch for Logged<'_> {
    fn tell(&self, progress: Progress) {
        let is_due = |logged: Instant| logged.elapsed() >= LOG_INTERVAL;
        if self.logged.get().is_none_or(is_due) {
            self.logged.set(Some(Instant::now()));
            logs::model_downloading(self.place, progress);
        }
    }
}

/// What a daemon shows that can't start before the model is here: a bar on a terminal, lines in the log
/// elsewhere.
pub struct Shown<'p> {
    bar: Bar,
    log: Logged<'p>,
}

impl<'p> Shown<'p> {
    /// For this model.
    pub fn of(place: &'p Place) -> Self {
        Self {
            bar: Bar::of(place),
            log: Logged::of(place),
        }
    }
}

impl Watch for Shown<'_> {
    fn tell(&self, progress: Progress) {
        if self.bar.is_seen() {
            self.bar.tell(progress);
        } else {
            self.log.tell(progress);
        }
    }
}
