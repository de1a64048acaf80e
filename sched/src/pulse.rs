//! Whether a thread that must not stand still does.
//!
//! Each such thread counts its turns. A watchman comes by again and again and reads the count, as one looks at the
//! hands of a clock: if they have not moved from look to look for long enough, the clock has stopped.
//!
//! The watchman has no other clock than its own rounds: time between two looks counts up to
//! [`Patience::interval`] and no further. So when the whole process was stopped, or the machine slept, the
//! watchman does not wake up to accuse all others of what has befallen itself too.

use crate::time::Instant;
use core::time::Duration;

/// How long a thread may stand still, and how often it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For so long it may.
    pub stall: Duration,
}

impl Patience {
    /// How often it is to be looked at, and how often it is to turn at least when it has nothing to do: a
    /// few times as often as it takes to be sure.
    #[must_use]
    pub fn interval(self) -> Duration {
        (self.stall / 4).max(Duration::from_millis(1))
    }
}

/// What a look has found to be new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It stands still, and has for so long.
    Stalled(Duration),
    /// It turns again, after so long.
    Turns(Duration),
}

/// What is known of one thread.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    turns: u64,
    looked: Instant,
    /// For how long it has been seen to stand still.
    still: Duration,
    is_stalled: bool,
}

impl Pulse {
    /// A thread that has turned so often by now.
    #[must_use]
    pub const fn new(now: Instant, turns: u64) -> Self {
        Self {
            turns,
            looked: now,
            still: Duration::ZERO,
            is_stalled: false,
        }
    }

    /// Looks: it has turned so often by now.
    pub fn look(&mut self, now: Instant, turns: u64, patience: Patience) -> Option<News> {
        let since = now.since(self.looked).min(patience.interval());
        let still = self.still + since;
        self.looked = now;
        if turns != self.turns {
            self.turns = turns;
            self.still = Duration::ZERO;
            return core::mem::take(&mut self.is_stalled).then_some(News::Turns(still));
        }
        self.still = still;
        let is_new = !self.is_stalled && still >= patience.stall;
        self.is_stalled |= is_new;
        is_new.then_some(News::Stalled(still))
    }

    /// For how long it stands still, if that is too long already.
    #[must_use]
    pub fn stalled_for(&self) -> Option<Duration> {
        self.is_stalled.then_some(self.still)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        stall: Duration::from_millis(400),
    };

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    /// Looks at a thread at these times, at which it has turned so often.
    fn looks(seen: &[(u64, u64)]) -> Vec<Option<News>> {
        let mut pulse = Pulse::new(at(0), 0);
        let look = |(ms, turns): &(u64, u64)| pulse.look(at(*ms), *turns, PATIENCE);
        seen.iter().map(look).collect()
    }

    #[test]
    fn a_thread_that_turns_is_never_accused() {
        let seen: Vec<_> = (1..1000).map(|look| (look * 100, look)).collect();
        assert!(looks(&seen).iter().all(Option::is_none));
    }

    #[test]
    fn a_stall_is_told_once_and_so_is_its_end() {
        let ms = Duration::from_millis;
        let seen = [
            (100, 0),
            (200, 0),
            (300, 0),
            (400, 0),
            (500, 0),
            (600, 1),
            (700, 1),
        ];
        let (stalled, turns) = (News::Stalled(ms(400)), News::Turns(ms(600)));
        let told = [None, None, None, Some(stalled), None, Some(turns), None];
        assert_eq!(looks(&seen), told);
    }

    #[test]
    fn a_short_stand_does_not_add_up_with_the_next() {
        let seen = [
            (100, 0),
            (200, 0),
            (300, 1),
            (400, 1),
            (500, 1),
            (600, 1),
            (700, 2),
        ];
        assert!(looks(&seen).iter().all(Option::is_none));
    }

    #[test]
    fn who_was_stopped_with_all_others_accuses_nobody() {
        assert_eq!(
            looks(&[(100, 1), (3_600_000, 1), (3_600_100, 2)]),
            [None; 3]
        );
    }

    #[test]
    fn how_long_it_stands_still_is_known_while_it_does() {
        let mut pulse = Pulse::new(at(0), 0);
        for look in 1..=8 {
            pulse.look(at(look * 100), 0, PATIENCE);
        }
        assert_eq!(pulse.stalled_for(), Some(Duration::from_millis(800)));
        pulse.look(at(900), 1, PATIENCE);
        assert_eq!(pulse.stalled_for(), None);
    }
}
