//! A small seeded generator, for the simulator.
//!
//! SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
//! Each concern of a simulation draws from a stream of its own, so that a change in one (say, more
//! cancels) leaves what the others draw as it was.

use core::ops::RangeInclusive;

/// The golden ratio in 64 bits, odd: how far apart two states are.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of numbers that its seed decides.
#[derive(Clone, Debug)]
pub struct Prng {
    state: u64,
}

impl Prng {
    /// The stream of this seed and concern.
    #[must_use]
    pub fn new(seed: u64, concern: &str) -> Self {
        let fold = |state: u64, byte: u8| mix(state ^ u64::from(byte)).wrapping_add(STRIDE);
        Self {
            state: concern.bytes().fold(seed, fold),
        }
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STRIDE);
        mix(self.state)
    }

    /// A number of the range, each equally likely (but for a bias below 2⁻³² of small ranges).
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let span = (range.end() - range.start()).saturating_add(1);
        range.start() + self.next_u64() % span
    }

    /// A number from 0 to below 1.
    pub const fn fraction(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
        let numerator = (self.next_u64() >> 11) as f64;
        #[expect(clippy::cast_precision_loss, reason = "a power of two fits exactly")]
        let denominator = (1_u64 << 53) as f64;
        numerator / denominator
    }

    /// `true` this often.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }
}

const fn mix(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_its_seed_and_its_concern() {
        let first = |seed, concern| Prng::new(seed, concern).next_u64();
        assert_eq!(first(1, "arrivals"), first(1, "arrivals"));
        assert_ne!(first(1, "arrivals"), first(2, "arrivals"));
        assert_ne!(first(1, "arrivals"), first(1, "cancels"));
    }

    #[test]
    fn numbers_stay_in_their_range_and_fill_it() {
        let mut prng = Prng::new(7, "range");
        let mut seen = [0_u32; 6];
        for _ in 0..6000 {
            let number = prng.within(5..=10);
            seen[usize::try_from(number).unwrap() - 5] += 1;
        }
        assert!(
            seen.iter().all(|count| count.abs_diff(1000) < 150),
            "{seen:?}"
        );
    }
}
