//! What is asked, drawn from a seed.

use serde_json::{Value, json};

/// Requests that differ; they come again, so that an engine may meet one with its cache warm.
const KINDS: u64 = 128;
/// Tokens of a text at most, and at least.
const TOKENS: (u64, u64) = (16, 240);
/// Words of a prompt at most.
const WORDS_MAX: u64 = 24;
/// What prompts are made of.
const WORDS: [&str; 16] = [
    "a", "the", "big", "little", "fox", "girl", "boat", "red", "ran", "and", "sang", "to", "old",
    "river", "once", "happy",
];

/// Numbers that follow from a seed: splitmix64, by Steele, Lea and Flood, "Fast splittable pseudorandom
/// number generators" (2014).
#[derive(Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

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
        let mut draw = Draw::new(self.seed ^ (self.kind << 32));
        let words = 1 + draw.below(WORDS_MAX);
        let words: Vec<&str> = (0..words)
            .filter_map(|_| WORDS.get(usize::try_from(draw.below(16)).ok()?).copied())
            .collect();
        let (least, most) = TOKENS;
        let tokens = least + draw.below(most - least);
        (words.join(" "), tokens, draw.below(1 << 31))
    }
}
