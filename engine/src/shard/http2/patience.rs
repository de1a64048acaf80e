//! How often a client may reset streams before they were answered.
//!
//! Such a reset costs the client a few bytes and the daemon a request, and it makes room for the next
//! stream at once, so that the bound on streams at a time bounds nothing (CVE-2023-44487). A person who
//! changes their mind does it too, so it is counted and not forbidden, and an answer that was heard
//! makes up for one that was not. Leaving an event stream is no such reset: its answer has begun.
//!
//! `h2` counts by itself the streams that are reset before they were looked at, and ends the connection
//! at twenty of them. What is counted here comes one by one.

use std::cell::Cell;

use super::STREAMS_MAX;

/// Resets that are forgiven: all streams that may be open, twice over.
const RESETS_MAX: u32 = 2 * STREAMS_MAX;

/// What is left of it.
pub(super) struct Patience(Cell<u32>);

impl Default for Patience {
    fn default() -> Self {
        Self(Cell::new(RESETS_MAX))
    }
}

impl Patience {
    /// A stream is over. `answered` says whether its answer had begun.
    pub(super) fn note(&self, answered: bool) {
        let left = self.0.get();
        self.0.set(if answered {
            (left + 1).min(RESETS_MAX)
        } else {
            left.saturating_sub(1)
        });
    }

    /// Whether the client has used it up.
    pub(super) fn is_at_its_end(&self) -> bool {
        self.0.get() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_alone_use_it_up() {
        let patience = Patience::default();
        for _ in 1..RESETS_MAX {
            patience.note(false);
            assert!(!patience.is_at_its_end());
        }
        patience.note(false);
        assert!(patience.is_at_its_end());
    }

    #[test]
    fn a_client_that_hears_every_other_answer_is_never_cut_off() {
        let patience = Patience::default();
        for _ in 0..10 * RESETS_MAX {
            patience.note(true);
            patience.note(false);
            assert!(!patience.is_at_its_end());
        }
    }
}
