//! What is counted about keys.

use super::Counter;

/// Why a request got no further than its key.
#[derive(Clone, Copy, Debug)]
pub enum KeyRefusal {
    /// It shows none.
    Missing,
    /// Nobody has the one that it shows.
    Unknown,
    /// Too many such came from there before.
    TooMany,
}

impl KeyRefusal {
    pub(super) const ALL: [Self; 3] = [Self::Missing, Self::Unknown, Self::TooMany];

    /// The label's value.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing_key",
            Self::Unknown => "invalid_key",
            Self::TooMany => "rate_limited",
        }
    }
}

/// What one shard counts.
#[derive(Debug, Default)]
pub struct KeyCounters([Counter; KeyRefusal::ALL.len()]);

impl KeyCounters {
    /// A request was turned away.
    pub fn refused(&self, refusal: KeyRefusal) {
        self.of(refusal).increment();
    }

    pub(super) fn of(&self, refusal: KeyRefusal) -> &Counter {
        &self.0[refusal as usize]
    }
}
