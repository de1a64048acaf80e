//! The choice of the next token.
//!
//! Temperature first, then `top_k`, then `top_p`, then one draw: the order in which the servers
//! that people know apply them (vLLM; the nucleus is that of Holtzman et al., "The Curious Case of
//! Neural Text Degeneration", 2020). Sums are taken in a fixed order in `f64`, ties go to the lower
//! token, and each choice takes exactly one number of the generator: the same seed and scores give
//! the same tokens.

use crate::Sampling;

/// What chooses tokens here, by a name that changes whenever the same seed and scores would bring
/// other tokens.
pub const SAMPLER_PROFILE_VERSION: &str = "embedded-1";

/// Chooses the tokens of one sequence.
#[derive(Debug)]
pub(super) struct Sampler {
    sampling: Sampling,
    state: u64,
}

impl Sampler {
    pub(super) const fn new(sampling: Sampling) -> Self {
        Self {
            state: sampling.seed,
            sampling,
        }
    }

    /// The next token, by what the model thinks of each. `None` if it thinks nothing: there is no
    /// score, or none is a number.
    pub(super) fn choose(&mut self, scores: &[f32]) -> Option<u32> {
        let chance = self.draw();
        if self.sampling.temperature <= 0.0 {
            return best(scores);
        }
        let mut candidates = self.weigh(scores)?;
        self.keep_top_k(&mut candidates);
        self.keep_top_p(&mut candidates);
        let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
        let mut left = chance * total;
        for candidate in &candidates {
            left -= candidate.weight;
            if left < 0.0 {
                return Some(candidate.token);
            }
        }
        // Rounding may leave a crumb.
        candidates.last().map(|candidate| candidate.token)
    }

    /// All tokens, the likeliest first, each with a weight that is its probability times a constant.
    fn weigh(&self, scores: &[f32]) -> Option<Vec<Candidate>> {
        let top = f64::from(scores[usize::try_from(best(scores)?).ok()?]);
        let temperature = f64::from(self.sampling.temperature);
        let weigh = |(token, score): (u32, &f32)| Candidate {
            token,
            // Relative to the best, so that nothing overflows; a score that is no number weighs
            // nothing.
            weight: ((f64::from(*score) - top) / temperature).exp().max(0.0),
        };
        let mut candidates: Vec<_> = (0..).zip(scores).map(weigh).collect();
        candidates.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        Some(candidates)
    }

    fn keep_top_k(&self, candidates: &mut Vec<Candidate>) {
        let top_k = usize::try_from(self.sampling.top_k).unwrap_or(usize::MAX);
        if top_k > 0 {
            candidates.truncate(top_k);
        }
    }

    /// The fewest that together have the probability; one at least.
    fn keep_top_p(&self, candidates: &mut Vec<Candidate>) {
        let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
        let mut left = total * f64::from(self.sampling.top_p);
        let enough = candidates.iter().position(|candidate| {
            left -= candidate.weight;
            left <= 0.0
        });
        if let Some(last) = enough {
            candidates.truncate(last + 1);
        }
    }

    /// A number from 0 to below 1 (SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom
    /// number generators", OOPSLA 2014).
    fn draw(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
        let numerator = (mixed >> 11) as f64;
        numerator / (1_u64 << 53) as f64
    }
}

struct Candidate {
    token: u32,
    weight: f64,
}

/// The token with the highest score, the lower one if two share it.
fn best(scores: &[f32]) -> Option<u32> {
    let numbers = (0..)
        .zip(scores.iter().copied())
        .filter(|(_, score)| !score.is_nan());
    let best = numbers.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map(|(token, _)| token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(temperature: f32, top_p: f32, top_k: u32) -> Sampling {
        Sampling {
            temperature,
            top_p,
            top_k,
            seed: 42,
        }
    }

    /// How often each of the tokens is chosen in a thousand draws.
    fn counts(sampling: Sampling, scores: &[f32]) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling);
        let mut counts = vec![0; scores.len()];
        for _ in 0..1000 {
            counts[sampler.choose(scores).unwrap() as usize] += 1;
        }
        counts
    }

    /// The probabilities are 1/2, 1/4, 1/8, 1/8.
    fn halves() -> Vec<f32> {
        [0.5_f32, 0.25, 0.125, 0.125].map(f32::ln).to_vec()
    }

    #[test]
    fn at_temperature_0_the_likeliest_is_taken_and_the_lower_of_two() {
        assert_eq!(
            counts(sampling(0.0, 1.0, 0), &[1.0, 3.0, 3.0, 2.0]),
            [0, 1000, 0, 0]
        );
    }

    #[test]
    fn at_temperature_1_tokens_come_as_often_as_they_are_likely() {
        let counts = counts(sampling(1.0, 1.0, 0), &halves());
        for (count, expected) in counts.iter().zip([500_u32, 250, 125, 125]) {
            assert!(count.abs_diff(expected) < 50, "{counts:?}");
        }
    }

    #[test]
    fn top_k_leaves_the_k_likeliest() {
        let counts = counts(sampling(1.0, 1.0, 2), &halves());
        assert_eq!(counts[2..], [0, 0]);
        assert!(counts[1] > 250);
    }

    #[test]
    fn top_p_leaves_the_fewest_that_are_enough() {
        assert_eq!(counts(sampling(1.0, 0.4, 0), &halves())[0], 1000);
        assert_eq!(counts(sampling(1.0, 0.7, 0), &halves())[2..], [0, 0]);
    }

    #[test]
    fn what_is_no_number_is_never_chosen() {
        let scores = [f32::NAN, 1.0, f32::NEG_INFINITY, f32::NAN];
        assert_eq!(counts(sampling(1.0, 1.0, 0), &scores), [0, 1000, 0, 0]);
        assert_eq!(counts(sampling(0.0, 1.0, 0), &scores), [0, 1000, 0, 0]);
        assert_eq!(
            Sampler::new(sampling(1.0, 1.0, 0)).choose(&[f32::NAN]),
            None
        );
        assert_eq!(Sampler::new(sampling(1.0, 1.0, 0)).choose(&[]), None);
    }
}
