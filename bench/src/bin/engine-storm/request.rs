//! What is asked, drawn from a seed.

use orchestratord_sched::prng::Prng;
use serde_json::{Value, json};
use std::ops::RangeInclusive;

/// Requests that differ; they come again, so that an engine may meet one with its cache warm.
const KINDS: u64 = 128;
/// Tokens of a text.
const TOKENS: RangeInclusive<u64> = 16..=239;
/// Words of a prompt.
const WORDS_COUNT: RangeInclusive<u64> = 1..=24;
/// What engines take for a seed.
const SEEDS: RangeInclusive<u64> = 0..=(1 << 31) - 1;
/// What prompts are made of.
const WORDS: [&str; 16] = [
    "a", "the", "big", "little", "fox", "girl", "boat", "red", "ran", "and", "sang", "to", "old",
    "river", "once", "happy",
];

/// One of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    seed: u64,
    kind: u64,
}

impl Request {
    /// That of the storm's task of this number.
    pub(crate) fn draw(seed: u64, task: u64) -> Self {
        let kind = task % KINDS;
        Self { seed, kind }
    }

    /// As the daemon is asked.
    pub(crate) fn task(self) -> Value {
        let (prompt, tokens, seed) = self.parts();
        json!({
            "model_ref": "tales", "prompt": prompt, "max_tokens": tokens, "seed": seed, "temperature": 0,
        })
    }

    /// As llama.cpp is asked directly; with nothing left of what it was asked before.
    pub(crate) fn question(self) -> Value {
        let (prompt, tokens, seed) = self.parts();
        json!({
            "prompt": prompt, "n_predict": tokens, "seed": seed, "temperature": 0, "cache_prompt": false,
        })
    }

    fn parts(self) -> (String, u64, u64) {
        let mut prng = Prng::new(self.seed ^ (self.kind << 32), "requests");
        let words: Vec<&str> = (0..prng.within(WORDS_COUNT))
            .map(|_| WORDS[usize::try_from(prng.within(0..=15)).unwrap_or_default()])
            .collect();
        (words.join(" "), prng.within(TOKENS), prng.within(SEEDS))
    }
}
