//! How a step insists: a claim holds, fails with its own words, or is given time to come true.
//!
//! Nothing here measures speed. [`PATIENCE`] only decides when waiting has become hopeless.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

/// How long a step waits for something that must happen. Far above what a loaded machine needs,
/// so that a slow run is slow and only a broken one fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The pause between two looks: short beside a person's patience, long beside a request.
const PAUSE: Duration = Duration::from_millis(10);

/// A result whose error, if there is one, fails the scenario.
pub(crate) trait Claim<T> {
    /// The value, or a failed scenario that says why in the error's own words.
    fn holds(self) -> T;
}

impl<T, E: Display> Claim<T> for Result<T, E> {
    #[track_caller]
    fn holds(self) -> T {
        self.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Looks again until `look` succeeds; the last error is the answer when patience ends.
pub(crate) fn eventually<T>(look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    within(PATIENCE, look)
}

/// As [`eventually`], with another patience.
pub(crate) fn within<T>(
    patience: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let hopeless = Instant::now() + patience;
    loop {
        match look() {
            Err(error) if Instant::now() > hopeless => {
                return Err(format!("after {} s: {error}", patience.as_secs()));
            }
            Err(_) => thread::sleep(PAUSE),
            found => return found,
        }
    }
}
