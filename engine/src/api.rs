//! JSON in and out, no behaviour: what callers send, parsed at the edge, and what they get back.

pub mod error;
pub mod event;
pub mod meta;
pub mod pool;
pub mod task;

use std::time::Duration;

use serde::Serialize;

/// The body of a response.
///
/// # Panics
///
/// Never: the types of this module have string keys and no failing serializers.
pub fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own types have string keys and serialize infallibly")
}

/// Whole milliseconds, rounded up: a wait that is told is never shorter than the real one.
pub fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
