//! Whether a task may wait, and when to come back if it may not.

use crate::estimate::{Estimate, Load};
use crate::fairness::Flow;
use crate::queue::Ticket;
use crate::shared::Full;
use crate::urgency::Urgency;
use core::time::Duration;

/// What a full queue does with a newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The newcomer is refused.
    Reject,
    /// The oldest task of the newcomer's class or lower
    /// [makes room](crate::Dispatcher::drop_oldest); the newcomer is refused when there is none.
    DropLru,
}

impl Policy {
    /// The word of the contract: `reject` or `drop-lru`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::DropLru => "drop-lru",
        }
    }
}

/// How much of a queue one identity may have, in each class.
///
/// Fair turns are no help to who is not let in: one that floods would fill the queue, and all others be
/// refused. Not an equal part for each, for nobody knows how many will come; and not a number, for one
/// that is alone had better have much and one of many little. Where nobody may have more than there is left,
/// both is so: one that floods has half, two have a third each, and a newcomer always finds room (Choudhury &
/// Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", Transactions on Networking 1998,
/// with alpha = 1). Classes are told apart, so that somebody's batch does not keep out what they send
/// before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All of it.
    All,
    /// As many places as are left for others.
    LeavesRoom,
}

impl Share {
    /// Whether an identity that has so many tasks waiting in a class may have one more, if so many
    /// places are left. Who has none may always, as far as this goes.
    #[must_use]
    pub const fn allows(self, waiting: u32, places_left: u32) -> bool {
        match self {
            Self::All => true,
            Self::LeavesRoom => waiting == 0 || waiting < places_left,
        }
    }
}

/// What a task says of itself when it asks to be admitted.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// Whose it is: identities [share](crate::fairness) the pool.
    pub flow: Flow,
    /// How much of the queue that identity may have.
    pub share: Share,
    /// Class and due time.
    pub urgency: Urgency,
    /// How many tokens it will probably generate; counts against the queue's token bound, and is
    /// charged to its identity until it has ended. 0 when nobody knows.
    pub expected_tokens: u32,
}

/// A task has been admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Finds the task again, to cancel it.
    pub ticket: Ticket,
    /// How many waiting tasks go before it; see [`ahead_of`](crate::Pool::ahead_of).
    pub position: u32,
}

/// A task has not been admitted, and goes back to whoever brought it.
#[derive(Debug)]
pub struct Refused<T> {
    /// What there is no room for.
    pub full: Full,
    /// The task as it came.
    pub task: T,
}

/// The shortest time after which anybody is asked to come back: a round trip or so. Below it,
/// coming back costs more than waiting.
pub const RETRY_AFTER_MIN: Duration = Duration::from_millis(50);

/// The longest. Beyond a minute the estimate says more about the past than about the queue.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// When a refused task should come back: when half of those who wait will have started.
///
/// Not when the first place is free: all who were refused meanwhile would come for that one place,
/// and nearly all be refused again.
#[must_use]
pub fn retry_after(estimate: &Estimate, load: Load) -> Duration {
    let half = Load {
        tasks_ahead: load.tasks_ahead / 2,
        ..load
    };
    estimate
        .predicted_start(half)
        .clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(tasks_ahead: u32) -> Duration {
        let mut estimate = Estimate::new();
        for _ in 0..1000 {
            estimate.observe_service(Duration::from_secs(2));
        }
        let load = Load {
            tasks_ahead,
            slots_total: 4,
            slots_free: 0,
        };
        retry_after(&estimate, load)
    }

    #[test]
    fn a_longer_queue_asks_for_a_longer_wait() {
        assert!(after(16) > after(8));
    }

    #[test]
    fn the_wait_has_a_floor_and_a_ceiling() {
        assert!(after(0) >= RETRY_AFTER_MIN);
        assert_eq!(after(u32::MAX), RETRY_AFTER_MAX);
    }
}
