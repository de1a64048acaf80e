//! The hands of the clock, for tests that hold them: then it stands still until it is moved.

use std::{cell::Cell, time::Duration};

/// Where the hands stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hands {
    /// Since the zero of every clock.
    pub elapsed: Duration,
    /// The calendar, in milliseconds since 1970.
    pub unix_ms: u64,
}

thread_local! {
    static HELD: Cell<Option<Hands>> = const { Cell::new(None) };
}

/// Every clock of this thread shows this from now on.
pub fn hold(hands: Hands) {
    HELD.set(Some(hands));
}

/// Where they are held, if they are.
pub fn held() -> Option<Hands> {
    HELD.get()
}
