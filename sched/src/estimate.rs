//! How long will it take? One estimator answers every such question of a pool: when a task will
//! start, whether it will end in time, when to come back.
//!
//! Four things are watched, each as a decayed mean and variance ([`moments`]): the time from slot to
//! first token, the time from token to token, how long a slot is held, and how long texts get
//! ([`length`]). For each of some equally likely lengths of the text, the time left is a sum; means
//! and variances add up, and the sum is read as a log-normal ([`log_normal`]), which is never
//! negative and has the long right tail that generation times have. The odds are the average.
//!
//! ```text
//!   waiting for a slot      prefill              decode
//!   ───────────────────► ◄─────────────► ◄────────────────────►
//!   k·s / c                first token      tokens left · pace
//! ```
//!
//! Waiting: with `c` slots, each held for `s` on average, slots fall free `c / s` times a second,
//! and the task starts when its turn, the `k`-th, comes. The mean of `s` is itself known from a few
//! tasks only; over many turns that matters more than how the turns differ. Decode: how fast tokens come is a trait
//! of the task (its batch, its context) rather than of each token, so the deviations of `n` tokens
//! add up to `n` times one, not to its square root.

mod length;
mod log_normal;
mod moments;

pub use self::length::Text;
use self::length::{LENGTHS, Lengths};
use self::moments::Moments;
use core::time::Duration;

/// What stands before a task that waits for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// How many waiting tasks go before it.
    pub tasks_ahead: u32,
    /// How many slots the pool's replicas offer.
    pub slots_total: u32,
    /// How many of them are free.
    pub slots_free: u32,
}

impl Load {
    /// How many slots must fall free before the task has one.
    fn turns(self) -> u32 {
        self.tasks_ahead
            .saturating_add(1)
            .saturating_sub(self.slots_free)
    }
}

/// How far a task has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits for a slot.
    Queued(Load),
    /// It has a slot, and no token yet.
    Prefill,
    /// Its tokens come.
    Decode,
}

/// What a pool's past says about its future.
#[derive(Clone, Debug)]
pub struct Estimate {
    first_token: Moments,
    token: Moments,
    service: Moments,
    lengths: Lengths,
}

/// Before anything was seen: what a mid-sized model on one GPU does for a short prompt. The first
/// observations soon outweigh it.
const FIRST_TOKEN_PRIOR: Duration = Duration::from_millis(200);
const TOKEN_PRIOR: Duration = Duration::from_millis(20);
const SERVICE_PRIOR: Duration = Duration::from_secs(5);

impl Default for Estimate {
    fn default() -> Self {
        Self::new()
    }
}

impl Estimate {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            first_token: unseen(FIRST_TOKEN_PRIOR),
            token: unseen(TOKEN_PRIOR),
            service: unseen(SERVICE_PRIOR),
            lengths: Lengths::new(),
        }
    }

    /// A task got its first token this long after its slot.
    pub fn observe_first_token(&mut self, after: Duration) {
        self.first_token.observe(after.as_secs_f64());
    }

    /// A task got `tokens` more in the `span` after its first one.
    pub fn observe_decode(&mut self, span: Duration, tokens: u32) {
        if tokens > 0 {
            self.token.observe(span.as_secs_f64() / f64::from(tokens));
        }
    }

    /// A text of which `expected` tokens were expected has ended by itself with this many.
    pub fn observe_length(&mut self, expected: u32, tokens_out: u32) {
        self.lengths.observe(expected, tokens_out);
    }

    /// A slot was held this long, however its task ended.
    pub fn observe_service(&mut self, held: Duration) {
        self.service.observe(held.as_secs_f64());
    }

    /// How long until a task behind this load has a slot, on average. Zero if one is free now;
    /// [`Duration::MAX`] if the pool has none at all.
    #[must_use]
    pub fn predicted_start(&self, load: Load) -> Duration {
        if load.turns() == 0 {
            return Duration::ZERO;
        }
        let wait = self.wait(load);
        Duration::try_from_secs_f64(wait.mean).unwrap_or(Duration::MAX)
    }

    /// How likely the last token of a text comes within `time_left`, from 0 to 1.
    #[must_use]
    pub fn on_time_probability(&self, progress: Progress, text: Text, time_left: Duration) -> f64 {
        let until_decode = match progress {
            Progress::Decode => Span::default(),
            Progress::Prefill => self.first_token(),
            Progress::Queued(load) => self.first_token() + self.wait(load),
        };
        let odds = |tokens| {
            let left = until_decode + self.decode(tokens);
            log_normal::probability_below(time_left.as_secs_f64(), left)
        };
        let sum: f64 = self.lengths.left(text).map(odds).sum();
        sum / f64::from(LENGTHS)
    }

    fn wait(&self, load: Load) -> Span {
        let (turns, slots) = (f64::from(load.turns()), f64::from(load.slots_total));
        if turns == 0.0 {
            return Span::default();
        }
        Span {
            mean: turns * self.service.mean() / slots,
            variance: turns * (self.service.variance() + turns * self.service.variance_of_mean())
                / (slots * slots),
        }
    }

    fn first_token(&self) -> Span {
        Span {
            mean: self.first_token.mean(),
            variance: self.first_token.variance(),
        }
    }

    fn decode(&self, tokens: f64) -> Span {
        Span {
            mean: tokens * self.token.mean(),
            variance: tokens * tokens * self.token.variance(),
        }
    }
}

/// A deviation as large as the mean: an honest "no idea".
const fn unseen(prior: Duration) -> Moments {
    Moments::new(prior.as_secs_f64(), prior.as_secs_f64())
}

/// A duration that is not known exactly: its mean in seconds, and its variance.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    mean: f64,
    variance: f64,
}

/// One after the other, independently.
impl core::ops::Add for Span {
    type Output = Self;

    fn add(self, then: Self) -> Self {
        Self {
            mean: self.mean + then.mean,
            variance: self.variance + then.variance,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen often: 2 s in a slot, first token after 100 ms, then one each 10 ms.
    fn steady() -> Estimate {
        let mut estimate = Estimate::new();
        for _ in 0..1000 {
            estimate.observe_first_token(Duration::from_millis(100));
            estimate.observe_decode(Duration::from_secs(1), 100);
            estimate.observe_length(100, 100);
            estimate.observe_service(Duration::from_secs(2));
        }
        estimate
    }

    /// All of it is still to come.
    fn text(tokens: u32) -> Text {
        Text {
            tokens_expected: tokens,
            tokens_max: tokens,
            tokens_out: 0,
        }
    }

    fn load(tasks_ahead: u32, slots_free: u32) -> Load {
        Load {
            tasks_ahead,
            slots_total: 4,
            slots_free,
        }
    }

    fn near(found: Duration, expected: Duration) -> bool {
        found.abs_diff(expected) < expected / 100
    }

    #[test]
    fn who_finds_a_slot_starts_at_once() {
        assert_eq!(steady().predicted_start(load(0, 1)), Duration::ZERO);
        assert_eq!(steady().predicted_start(load(2, 4)), Duration::ZERO);
    }

    #[test]
    fn who_waits_starts_when_its_turn_comes() {
        let next = steady().predicted_start(load(0, 0));
        assert!(near(next, Duration::from_millis(500)), "{next:?}");
        let ninth = steady().predicted_start(load(8, 0));
        assert!(near(ninth, Duration::from_millis(4500)), "{ninth:?}");
    }

    #[test]
    fn a_pool_without_slots_never_starts_anything() {
        let none = Load {
            tasks_ahead: 0,
            slots_total: 0,
            slots_free: 0,
        };
        assert_eq!(steady().predicted_start(none), Duration::MAX);
        let odds =
            steady().on_time_probability(Progress::Queued(none), text(1), Duration::from_secs(60));
        assert_eq!(odds, 0.0);
    }

    #[test]
    fn a_steady_engine_is_trusted_to_the_point() {
        let odds = |time_left_ms| {
            let time_left = Duration::from_millis(time_left_ms);
            steady().on_time_probability(Progress::Prefill, text(100), time_left)
        };
        assert!(odds(1000) < 0.01, "100 tokens take 1.1 s: {}", odds(1000));
        assert!(odds(1200) > 0.99, "100 tokens take 1.1 s: {}", odds(1200));
    }

    #[test]
    fn the_odds_grow_with_time_and_shrink_with_work() {
        let estimate = Estimate::new();
        let odds = |tokens, secs| {
            estimate.on_time_probability(Progress::Decode, text(tokens), Duration::from_secs(secs))
        };
        for tokens in [1, 10, 100, 1000] {
            for secs in [1, 2, 4, 8, 16] {
                assert!((0.0..=1.0).contains(&odds(tokens, secs)));
                assert!(odds(tokens, secs) <= odds(tokens, 2 * secs));
                assert!(odds(tokens, secs) >= odds(2 * tokens, secs));
            }
        }
    }

    #[test]
    fn no_time_is_never_enough_and_no_work_always_done() {
        let estimate = Estimate::new();
        let odds =
            |tokens, time| estimate.on_time_probability(Progress::Decode, text(tokens), time);
        assert_eq!(odds(1, Duration::ZERO), 0.0);
        assert_eq!(odds(0, Duration::ZERO), 1.0);
    }
}
