//! What was told, sorted by how likely it was said to be.
//!
//! The expected calibration error: how far in each bin what was told lies from what happened, each
//! bin weighing what it holds (Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities
//! Using Bayesian Binning", AAAI 2015).

/// How many bins there are between 0 and 1.
pub const BINS: usize = 10;

/// Predictions of about the same odds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bin {
    odds: f64,
    happened: u32,
    count: u32,
}

impl Bin {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The odds that were told, on average.
    #[must_use]
    pub fn told(&self) -> f64 {
        self.odds / f64::from(self.count.max(1))
    }

    /// How often it was so.
    #[must_use]
    pub fn happened(&self) -> f64 {
        f64::from(self.happened) / f64::from(self.count.max(1))
    }

    fn error(&self) -> f64 {
        f64::from(self.count) * (self.told() - self.happened()).abs()
    }
}

/// All predictions.
#[derive(Clone, Debug, Default)]
pub struct Bins([Bin; BINS]);

impl Bins {
    /// One prediction, and whether it came true.
    pub fn count(&mut self, odds: f64, happened: bool) {
        // The first bin that ends beyond the odds; certainty belongs to the last.
        let ends = |bin: &usize| odds < (*bin + 1) as f64 / BINS as f64;
        let bin = (0..BINS).find(ends).unwrap_or(BINS - 1);
        let bin = &mut self.0[bin];
        bin.odds += odds;
        bin.happened += u32::from(happened);
        bin.count += 1;
    }

    /// From the unlikely to the likely.
    pub fn iter(&self) -> impl Iterator<Item = &Bin> {
        self.0.iter()
    }

    /// How many predictions there are.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.iter().map(Bin::len).sum()
    }

    /// The expected calibration error, from 0 to 1.
    #[must_use]
    pub fn error(&self) -> f64 {
        let errors: f64 = self.0.iter().map(Bin::error).sum();
        errors / f64::from(self.total().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_right_as_often_as_it_says_errs_by_nothing() {
        let mut bins = Bins::default();
        for case in 0..100 {
            bins.count(0.25, case % 4 == 0);
            bins.count(1.0, true);
        }
        assert!(bins.error() < 1e-12, "{bins:?}");
    }

    #[test]
    fn overconfidence_counts_by_how_much_and_how_often() {
        let mut bins = Bins::default();
        for case in 0..100 {
            bins.count(0.9, case % 2 == 0);
            bins.count(0.0, false);
        }
        assert!((bins.error() - 0.2).abs() < 1e-12, "{bins:?}");
    }
}
