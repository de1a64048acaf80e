//! Seeded chance: the only source of variety in tales, weights and samples.
//!
//! The generator is SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
//! generators", 2014). It is small, has no bad seeds, and one seed gives one model.

/// A stream of random draws that one seed repeats exactly.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// A stream of its own for each seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 fresh bits.
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f32 {
        // An f32 holds 24 bits exactly.
        (self.bits() >> 40) as f32 / 16_777_216.0
    }

    /// Uniform in `0..sides`; the bias of the remainder is far below what a tale could show.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the remainder is below `sides`"
        )]
        let face = (self.bits() % sides.max(1) as u64) as usize;
        face
    }

    /// Standard normal, by the method of Box and Muller (1958).
    pub(crate) fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.unit()).cos()
    }
}
