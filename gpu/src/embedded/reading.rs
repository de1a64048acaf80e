//! Tokens on their way into a cache, a piece a step.

use super::kv::Cache;
use super::llama::{Run, Wanted};

pub(super) struct Reading {
    pub(super) cache: Cache,
    /// All but those in the cache are still to compute.
    pub(super) tokens: Vec<u32>,
    pub(super) cached: usize,
}

impl Reading {
    /// How many tokens are still to compute.
    pub(super) const fn pending(&self) -> usize {
        self.tokens.len() - self.cached
    }

    /// The next tokens to compute, so many of them.
    pub(super) fn run(&mut self, count: usize, wanted: Wanted) -> Run<'_> {
        let from = self.cached;
        self.cached += count;
        Run {
            tokens: &self.tokens[from..self.cached],
            cache: &mut self.cache,
            wanted,
        }
    }
}
