//! Moments as numbers: nanoseconds since the daemon's start.
//!
//! The standard library's `Instant` can't be built from a number, so a simulator can't hold it,
//! and it can't be printed, so a failing seed would show nothing. This one is a plain count.
//! Spans are [`core::time::Duration`].
//!
//! Arithmetic saturates: a moment 584 years from now and one later still are the same moment to
//! every decision made here, and no caller's number can overflow.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A moment: nanoseconds since the daemon's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The daemon's start.
    pub const ZERO: Self = Self(0);

    /// The moment this many nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The span from `earlier` to this moment; zero if `earlier` is in truth later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}s",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_time_is_a_wall_and_not_an_overflow() {
        let late = Instant::from_nanos(u64::MAX - 1);
        assert_eq!((late + Duration::from_secs(1)).as_nanos(), u64::MAX);
        assert_eq!((late + Duration::MAX).as_nanos(), u64::MAX);
    }

    #[test]
    fn a_span_never_runs_backwards() {
        let (early, late) = (Instant::from_nanos(5), Instant::from_nanos(12));
        assert_eq!(late.since(early), Duration::from_nanos(7));
        assert_eq!(early.since(late), Duration::ZERO);
    }

    #[test]
    fn a_moment_prints_as_seconds() {
        let moment = Instant::from_nanos(1_000_000_042);
        assert_eq!(moment.to_string(), "1.000000042s");
    }
}
