//! Mean and variance of a series, the recent past weighing more.
//!
//! With weight `a` for the newest and `d = x - mean`: `mean += a·d` and
//! `variance = (1 - a)·(variance + a·d²)` (T. Finch, "Incremental calculation of weighted mean and
//! variance", 2009, eq. 143, after West, CACM 22(9), 1979). Early on the weight is that of a plain
//! average, so that the prior counts as one observation and no more.

/// What the newest observation weighs at least: the last fifty or so decide, about a minute of a
/// busy pool.
const WEIGHT_MIN: f64 = 0.02;

#[derive(Clone, Debug)]
pub(super) struct Moments {
    mean: f64,
    variance: f64,
    /// What the next observation will weigh.
    weight: f64,
}

impl Moments {
    /// Nothing seen.
    pub(super) const fn new(mean: f64, deviation: f64) -> Self {
        Self {
            mean,
            variance: deviation * deviation,
            weight: 0.5,
        }
    }

    pub(super) fn observe(&mut self, value: f64) {
        let deviation = value - self.mean;
        self.mean += self.weight * deviation;
        self.variance = (1.0 - self.weight) * (self.variance + self.weight * deviation * deviation);
        // 1/2, 1/3, 1/4, …
        self.weight = (self.weight / (1.0 + self.weight)).max(WEIGHT_MIN);
    }

    pub(super) const fn mean(&self) -> f64 {
        self.mean
    }

    pub(super) const fn variance(&self) -> f64 {
        self.variance
    }

    /// What the next observation will weigh.
    pub(super) const fn weight(&self) -> f64 {
        self.weight
    }

    /// How far the mean itself may be off: the variance of a mean of decayed weights, which add up
    /// to `weight / (2 - weight)` when squared.
    pub(super) fn variance_of_mean(&self) -> f64 {
        self.variance * self.weight / (2.0 - self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(observations: &[f64]) -> Moments {
        let mut moments = Moments::new(1.0, 1.0);
        for seconds in observations {
            moments.observe(*seconds);
        }
        moments
    }

    #[test]
    fn a_short_series_is_averaged_with_the_prior() {
        // 1 (prior), 4, 4: the mean is 3.
        assert!((after(&[4.0, 4.0]).mean() - 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_constant_is_learned_exactly() {
        let moments = after(&[7.0; 1000]);
        assert!((moments.mean() - 7.0).abs() < 1e-6);
        assert!(moments.variance() < 1e-6);
    }

    #[test]
    fn the_deviation_of_an_alternating_series_is_found() {
        let series: Vec<f64> = (0..2000)
            .map(|i| if i % 2 == 0 { 1.0 } else { 3.0 })
            .collect();
        let moments = after(&series);
        assert!((moments.mean() - 2.0).abs() < 0.05, "{moments:?}");
        assert!((moments.variance() - 1.0).abs() < 0.05, "{moments:?}");
    }

    #[test]
    fn a_change_of_pace_is_followed() {
        let mut series = vec![1.0; 1000];
        series.extend([2.0; 200]);
        assert!((after(&series).mean() - 2.0).abs() < 0.05);
    }
}
