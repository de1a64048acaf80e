//! The chance that a positive, long-tailed duration stays below a bound.
//!
//! The log-normal with the given mean and variance: `s² = ln(1 + variance/mean²)`,
//! `m = ln(mean) - s²/2`, and the chance is `Φ((ln t - m) / s)`.

use super::Span;

/// From 0 to 1; a span of no length is below any bound.
pub(super) fn probability_below(bound: f64, span: Span) -> f64 {
    if span.mean <= 0.0 {
        return 1.0;
    }
    if bound <= 0.0 || !span.mean.is_finite() {
        return 0.0;
    }
    let shape_squared = (span.variance / (span.mean * span.mean)).ln_1p();
    let location = span.mean.ln() - shape_squared / 2.0;
    let distance = bound.ln() - location;
    if shape_squared == 0.0 {
        return if distance < 0.0 { 0.0 } else { 1.0 };
    }
    normal_below(distance / shape_squared.sqrt())
}

/// 1 - Φ.
pub(super) fn normal_above(z: f64) -> f64 {
    normal_below(-z)
}

/// Where a share of `above`, from just over 0 to 1, lies above: by formula 26.2.23 of the same, off by less than 4.5e-4.
pub(super) fn normal_deviate(above: f64) -> f64 {
    let tail = above.min(1.0 - above).max(f64::MIN_POSITIVE);
    let t = (-2.0 * tail.ln()).sqrt();
    let numerator = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let denominator = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    let distance = t - numerator / denominator;
    if above < 0.5 { distance } else { -distance }
}

/// Φ, by formula 26.2.17 of Abramowitz & Stegun, "Handbook of Mathematical Functions" (1964):
/// off by less than 7.5e-8.
fn normal_below(z: f64) -> f64 {
    const POLYNOMIAL: [f64; 5] = [
        1.330_274_429,
        -1.821_255_978,
        1.781_477_937,
        -0.356_563_782,
        0.319_381_530,
    ];
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let sum = POLYNOMIAL
        .iter()
        .fold(0.0, |sum, factor| (sum + factor) * t);
    let density = (-z * z / 2.0).exp() / (2.0 * core::f64::consts::PI).sqrt();
    let above = density * sum;
    let below = if z < 0.0 { above } else { 1.0 - above };
    below.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_is_that_of_the_tables() {
        for (z, below) in [
            (-1.96, 0.024_998),
            (-1.0, 0.158_655),
            (0.0, 0.5),
            (1.644_85, 0.95),
        ] {
            assert!((normal_below(z) - below).abs() < 1e-6, "{z}");
        }
    }

    #[test]
    fn a_deviate_is_where_its_share_lies_above() {
        for above in [1e-5, 0.025, 0.3, 0.5, 0.8, 0.999] {
            let found = normal_above(normal_deviate(above));
            assert!((found - above).abs() < 1e-3, "{above}: {found}");
        }
    }

    #[test]
    fn half_stay_below_the_median() {
        // mean 1, variance e - 1: s = 1, so the median is exp(-1/2).
        let span = Span {
            mean: 1.0,
            variance: core::f64::consts::E - 1.0,
        };
        let median = (-0.5_f64).exp();
        assert!((probability_below(median, span) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn without_deviation_it_is_yes_or_no() {
        let span = Span {
            mean: 2.0,
            variance: 0.0,
        };
        assert_eq!(probability_below(1.99, span), 0.0);
        assert_eq!(probability_below(2.01, span), 1.0);
    }
}
