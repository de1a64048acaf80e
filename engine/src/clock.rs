//! The only reader of clocks and entropy.
//!
//! Everything below this floor takes time and seeds as arguments; this file is where they come
//! from. One [`Clock`] is made at start-up and copied to every thread, so that all instants in
//! the process count from the same zero.

#[cfg(test)]
pub mod hands;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orchestratord_sched::Instant;
use uuid::Uuid;

/// How maps whose keys callers choose are hashed: as nobody can foresee, so that nobody can make them slow.
#[cfg(not(test))]
pub type Hashing = std::hash::RandomState;

/// The same every time, so that a simulated world is decided by its seed.
#[cfg(test)]
pub type Hashing = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

/// Nanoseconds since the daemon's start, and the calendar beside them.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    zero: std::time::Instant,
}

impl Clock {
    /// A clock whose zero is now.
    pub fn start() -> Self {
        Self {
            zero: std::time::Instant::now(),
        }
    }

    /// Time since the zero, monotonic.
    pub fn elapsed(self) -> Duration {
        #[cfg(test)]
        if let Some(held) = hands::held() {
            return held.elapsed;
        }
        self.zero.elapsed()
    }

    /// [`Clock::elapsed`] in the scheduler's own word.
    pub fn now(self) -> Instant {
        Instant::from_nanos(u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Milliseconds since 1970, for what people and other machines read.
pub fn unix_ms() -> u64 {
    #[cfg(test)]
    if let Some(held) = hands::held() {
        return held.unix_ms;
    }
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// The calendar as the `Date` field writes it (RFC 9110 §5.6.7).
pub fn http_date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}

/// A new random id (RFC 9562 version 4).
pub fn new_id() -> Uuid {
    Uuid::new_v4()
}

/// A seed for a request that brought none.
pub fn new_seed() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}

/// The id of a new span of a trace. It is never zero, which would be none: two of its bits say which
/// variant of a UUID they were drawn as.
pub fn new_span() -> u64 {
    Uuid::new_v4().as_u64_pair().1
}
