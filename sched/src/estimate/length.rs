//! How long texts get, against what was expected of them.
//!
//! A text ends when the model is done with it, which nobody knows beforehand: what a caller expects
//! is often no more than its bound. So the logarithm of `tokens generated / tokens expected` is
//! watched, and a length is read as a log-normal around what the past makes of the expectation,
//! cut off at the bound. Of a text under way only the lengths that it has not passed are left.
//!
//! An expectation that is itself a guess goes too far on both sides: texts expected to be very long
//! get long, but not that long (F. Galton, "Regression towards mediocrity in hereditary stature",
//! 1886). So how the ratio changes with the expectation is learned too, as the slope of a line.

use super::log_normal::{normal_above, normal_deviate};
use super::moments::Moments;

/// What is known of a task's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// How many tokens its caller expects.
    pub tokens_expected: u32,
    /// How many it may have at most.
    pub tokens_max: u32,
    /// How many it has already.
    pub tokens_out: u32,
}

/// By how many equally likely lengths the distribution is represented.
pub(super) const LENGTHS: u32 = 16;

/// Before anything was seen, an expectation is trusted to a factor of `e`, either way.
const LOG_RATIO_PRIOR: f64 = 0.0;
const LOG_RATIO_DEVIATION_PRIOR: f64 = 1.0;
/// And what is expected is a few paragraphs, give or take the same.
const LOG_EXPECTED_PRIOR: f64 = 5.5;
const LOG_EXPECTED_DEVIATION_PRIOR: f64 = 1.0;

/// From "expectations tell nothing" to "the ratio is the same for all of them".
const SLOPES: core::ops::RangeInclusive<f64> = -1.0..=0.0;
/// Expectations that vary by less than this, squared, show no slope.
const LOG_EXPECTED_VARIANCE_MIN: f64 = 0.01;

/// Further out, tails are rounding errors.
const TAIL_MIN: f64 = 1e-6;

#[derive(Clone, Debug)]
pub(super) struct Lengths {
    log_expected: Moments,
    log_ratio: Moments,
    covariance: f64,
}

impl Lengths {
    pub(super) fn new() -> Self {
        Self {
            log_expected: Moments::new(LOG_EXPECTED_PRIOR, LOG_EXPECTED_DEVIATION_PRIOR),
            log_ratio: Moments::new(LOG_RATIO_PRIOR, LOG_RATIO_DEVIATION_PRIOR),
            covariance: 0.0,
        }
    }

    pub(super) fn observe(&mut self, expected: u32, tokens_out: u32) {
        let log_expected = log(expected);
        let log_ratio = log(tokens_out) - log_expected;
        let weight = self.log_ratio.weight();
        let product =
            (log_expected - self.log_expected.mean()) * (log_ratio - self.log_ratio.mean());
        self.covariance = (1.0 - weight) * (self.covariance + weight * product);
        self.log_expected.observe(log_expected);
        self.log_ratio.observe(log_ratio);
    }

    /// Mean and deviation of the logarithm of lengths for which so much is expected.
    fn around(&self, expected: u32) -> (f64, f64) {
        let slope = self.slope();
        let log_expected = log(expected);
        let from_mean = log_expected - self.log_expected.mean();
        let location = log_expected + self.log_ratio.mean() + slope * from_mean;
        let explained = slope * (2.0 * self.covariance - slope * self.log_expected.variance());
        let variance = self.log_ratio.variance() - explained;
        (location, variance.max(0.0).sqrt())
    }

    fn slope(&self) -> f64 {
        let variance = self.log_expected.variance();
        if variance < LOG_EXPECTED_VARIANCE_MIN {
            return 0.0;
        }
        (self.covariance / variance).clamp(*SLOPES.start(), *SLOPES.end())
    }

    /// How many tokens are left: [`LENGTHS`] cases, each equally likely.
    pub(super) fn left(&self, text: Text) -> impl Iterator<Item = f64> {
        let (location, shape) = self.around(text.tokens_expected);
        let longer = longer(f64::from(text.tokens_out), location, shape);
        let left_max = f64::from(text.tokens_max.saturating_sub(text.tokens_out));
        // Who has not ended has at least one token to come, if it may.
        let left_min = left_max.min(1.0);
        (0..LENGTHS).map(move |case| {
            let rank = (f64::from(case) + 0.5) / f64::from(LENGTHS);
            let length = (location + shape * normal_deviate(longer * rank)).exp();
            (length - f64::from(text.tokens_out)).clamp(left_min, left_max)
        })
    }
}

fn log(tokens: u32) -> f64 {
    f64::from(tokens.max(1)).ln()
}

/// The share of texts that get longer than this.
fn longer(tokens: f64, location: f64, shape: f64) -> f64 {
    if tokens == 0.0 || shape == 0.0 {
        return 1.0;
    }
    normal_above((tokens.ln() - location) / shape).max(TAIL_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tokens_out: u32) -> Text {
        Text {
            tokens_expected: 100,
            tokens_max: 1000,
            tokens_out,
        }
    }

    fn mean_left(lengths: &Lengths, text: Text) -> f64 {
        lengths.left(text).sum::<f64>() / f64::from(LENGTHS)
    }

    #[test]
    fn who_always_takes_half_is_expected_to() {
        let mut lengths = Lengths::new();
        for _ in 0..2000 {
            lengths.observe(200, 100);
        }
        let left = mean_left(&lengths, text(0));
        assert!((left - 50.0).abs() < 1.0, "{left}");
        let left = mean_left(&lengths, text(30));
        assert!((left - 20.0).abs() < 1.0, "{left}");
    }

    #[test]
    fn an_expectation_that_tells_nothing_is_not_believed() {
        let mut lengths = Lengths::new();
        for expected in [20, 500, 100, 2000].into_iter().cycle().take(2000) {
            lengths.observe(expected, 100);
        }
        for tokens_expected in [20, 100, 1000] {
            let text = Text {
                tokens_expected,
                ..text(0)
            };
            let left = mean_left(&lengths, text);
            assert!((left - 100.0).abs() < 5.0, "{tokens_expected}: {left}");
        }
    }

    #[test]
    fn a_text_beyond_its_expectation_goes_on_for_a_while() {
        let left = mean_left(&Lengths::new(), text(300));
        assert!((50.0..700.0).contains(&left), "{left}");
        assert!(Lengths::new().left(text(1000)).all(|left| left == 0.0));
    }

    #[test]
    fn the_bound_is_never_passed() {
        for tokens_out in [0, 1, 500, 999] {
            let left_max = f64::from(1000 - tokens_out);
            assert!(
                Lengths::new()
                    .left(text(tokens_out))
                    .all(|left| left <= left_max)
            );
        }
    }
}
