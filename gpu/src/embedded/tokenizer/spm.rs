//! The dialect of SentencePiece in files of the first llama models.
//!
//! Characters merge to whatever token has the highest score; what has no token in the end is
//! spelled in bytes. A space is written `▁`, and one is put before the text. Source: Kudo,
//! Richardson, "SentencePiece" (2018), and `llm_tokenizer_spm` of llama.cpp.

use super::merge::merge;
use crate::embedded::{LoadError, gguf};
use core::cmp::Reverse;
use core::ops::Range;
use std::collections::HashMap;

const SPACE: &str = "\u{2581}";

pub(super) struct Spm {
    /// Each token, and its rank by score: lower merges earlier.
    tokens: HashMap<String, (u32, Rank)>,
    /// The token of each byte; none in vocabularies without them.
    bytes: Vec<Option<u32>>,
    adds_space: bool,
}

/// Higher scores first. Scores are plain numbers, in an order that has a place for all of them.
type Rank = Reverse<i64>;

impl Spm {
    pub(super) fn load(file: &gguf::File<'_>, tokens: &[&str]) -> Result<Self, LoadError> {
        let scores = file.numbers("tokenizer.ggml.scores").unwrap_or_default();
        if scores.len() != tokens.len() {
            return Err(LoadError::BadVocabulary(
                "it has not one score for each token",
            ));
        }
        let ranked = (0..).zip(tokens).zip(scores);
        let token =
            |((id, token), score): ((u32, &&str), f64)| ((*token).to_owned(), (id, rank(score)));
        let tokens: HashMap<_, _> = ranked.map(token).collect();
        let byte = |byte: u8| tokens.get(&format!("<0x{byte:02X}>")).map(|(id, _)| *id);
        Ok(Self {
            bytes: (0..=u8::MAX).map(byte).collect(),
            adds_space: file.bool_or("tokenizer.ggml.add_space_prefix", true)?,
            tokens,
        })
    }

    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
        if text.is_empty() {
            return Vec::new();
        }
        let prefix = if self.adds_space { SPACE } else { "" };
        let text = [prefix, &text.replace(' ', SPACE)].concat();
        let characters = text
            .char_indices()
            .map(|(at, char)| at..at + char.len_utf8());
        let parts = merge(characters.collect(), |left: &Range<usize>, right| {
            let merged = left.start..right.end;
            let (_, rank) = self.tokens.get(&text[merged.clone()])?;
            Some((*rank, merged))
        });
        parts
            .into_iter()
            .flat_map(|part| self.tokens_of(&text[part]))
            .collect()
    }

    fn tokens_of(&self, part: &str) -> Vec<u32> {
        match self.tokens.get(part) {
            Some((token, _)) => vec![*token],
            None => part
                .bytes()
                .filter_map(|byte| self.bytes[usize::from(byte)])
                .collect(),
        }
    }
}

/// Doubles sort as their bits do, once those of negative ones are turned over (IEEE 754 §5.10).
fn rank(score: f64) -> Rank {
    let bits = score.to_bits().cast_signed();
    Reverse(bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed())
}

/// What a token's name in the file stands for.
pub(super) fn bytes(token: &str) -> Vec<u8> {
    let hex = token
        .strip_prefix("<0x")
        .and_then(|token| token.strip_suffix('>'));
    match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
        Some(byte) => vec![byte],
        None => token.replace(SPACE, " ").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_scores_merge_first() {
        let mut scores = [-3.5, 0.0, -1.0, 2.0, f64::NEG_INFINITY];
        scores.sort_by_key(|score| rank(*score));
        assert_eq!(scores, [2.0, 0.0, -1.0, -3.5, f64::NEG_INFINITY]);
    }

    #[test]
    fn names_stand_for_text_and_bytes() {
        assert_eq!(bytes("▁the"), b" the");
        assert_eq!(bytes("<0x0A>"), b"\n");
        assert_eq!(bytes("<unk>"), b"<unk>");
    }
}
