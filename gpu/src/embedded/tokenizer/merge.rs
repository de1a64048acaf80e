//! Merging neighbours, the best pair first, until no pair merges.
//!
//! The same for both dialects; they differ in what is best. A queue holds every pair that could
//! merge, so a text of `n` parts costs `n log n`, whatever is in it: a megabyte of one letter is
//! not a way to keep the engine busy. A pair that has changed since it was queued is passed over.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Merges `parts`. `pair` says how good it would be to merge two neighbours (smaller is better;
/// among equals the leftmost goes first) and what they would become.
pub(super) fn merge<P: Clone, R: Ord>(
    parts: Vec<P>,
    pair: impl Fn(&P, &P) -> Option<(R, P)>,
) -> Vec<P> {
    let mut chain = Chain::new(parts);
    let mut queue = BinaryHeap::new();
    for left in 1..chain.links.len() {
        queue.extend(chain.offer(left - 1, &pair));
    }
    while let Some(Reverse(offer)) = queue.pop() {
        if !chain.is_current(&offer) {
            continue;
        }
        if let Some((_, merged)) = chain.pair(offer.left, offer.right, &pair) {
            chain.join(offer.left, offer.right, merged);
            let before = chain.links[offer.left].before;
            queue.extend(before.and_then(|before| chain.offer(before, &pair)));
            queue.extend(chain.offer(offer.left, &pair));
        }
    }
    chain
        .links
        .into_iter()
        .filter_map(|link| link.part)
        .collect()
}

/// A pair that could merge, as it was when it was queued.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Offer<R> {
    rank: R,
    left: usize,
    right: usize,
    /// How often each side had changed by then.
    changes: (u32, u32),
}

struct Link<P> {
    /// Gone once it was merged into the one before.
    part: Option<P>,
    changes: u32,
    before: Option<usize>,
    after: Option<usize>,
}

struct Chain<P> {
    links: Vec<Link<P>>,
}

impl<P: Clone> Chain<P> {
    fn new(parts: Vec<P>) -> Self {
        let count = parts.len();
        let link = |(index, part): (usize, P)| Link {
            part: Some(part),
            changes: 0,
            before: index.checked_sub(1),
            after: Some(index + 1).filter(|after| *after < count),
        };
        Self {
            links: parts.into_iter().enumerate().map(link).collect(),
        }
    }

    fn pair<R>(
        &self,
        left: usize,
        right: usize,
        pair: impl Fn(&P, &P) -> Option<(R, P)>,
    ) -> Option<(R, P)> {
        pair(
            self.links[left].part.as_ref()?,
            self.links[right].part.as_ref()?,
        )
    }

    fn offer<R>(
        &self,
        left: usize,
        pair: impl Fn(&P, &P) -> Option<(R, P)>,
    ) -> Option<Reverse<Offer<R>>> {
        let right = self.links[left].after?;
        let (rank, _) = self.pair(left, right, pair)?;
        let changes = (self.links[left].changes, self.links[right].changes);
        Some(Reverse(Offer {
            rank,
            left,
            right,
            changes,
        }))
    }

    fn is_current<R>(&self, offer: &Offer<R>) -> bool {
        let (left, right) = (&self.links[offer.left], &self.links[offer.right]);
        left.part.is_some()
            && right.part.is_some()
            && (left.changes, right.changes) == offer.changes
            && left.after == Some(offer.right)
    }

    fn join(&mut self, left: usize, right: usize, merged: P) {
        let after = self.links[right].after;
        self.links[right].part = None;
        self.links[left].part = Some(merged);
        self.links[left].changes += 1;
        self.links[left].after = after;
        if let Some(after) = after {
            self.links[after].before = Some(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any two neighbours merge, the shortest pair first.
    fn join_all(text: &str) -> Vec<String> {
        let parts = text.chars().map(String::from).collect();
        merge(parts, |left: &String, right: &String| {
            Some((left.len() + right.len(), format!("{left}{right}")))
        })
    }

    #[test]
    fn everything_that_merges_becomes_one() {
        assert_eq!(join_all("abcdefg"), ["abcdefg"]);
        assert_eq!(join_all("a"), ["a"]);
        assert!(join_all("").is_empty());
    }

    #[test]
    fn the_best_pair_goes_first_and_the_leftmost_of_equals() {
        let merge_pairs = |text: &str| {
            merge(
                text.chars().map(String::from).collect(),
                |left: &String, right: &String| match (left.as_str(), right.as_str()) {
                    ("b", "c") => Some((0, "bc".to_owned())),
                    ("a", "b") => Some((1, "ab".to_owned())),
                    ("a", "a") => Some((2, "aa".to_owned())),
                    _ => None,
                },
            )
        };
        assert_eq!(merge_pairs("abc"), ["a", "bc"]);
        assert_eq!(merge_pairs("aaa"), ["aa", "a"]);
        assert_eq!(merge_pairs("aabab"), ["a", "ab", "ab"]);
    }

    #[test]
    fn a_long_run_of_one_letter_takes_no_time() {
        assert_eq!(join_all(&"x".repeat(20_000)).len(), 1);
    }
}
