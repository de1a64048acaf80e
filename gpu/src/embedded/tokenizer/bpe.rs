//! Byte-pair encoding over bytes, as GPT-2 has it.
//!
//! A pattern cuts text into words; the bytes of a word merge in the order in which pairs were
//! learned. In the file, bytes are written as printable characters. Sources: Sennrich, Haddow,
//! Birch, "Neural machine translation of rare words with subword units" (2016); Radford et al.,
//! "Language models are unsupervised multitask learners" (2019). Every byte is a token of its own,
//! so every text can be encoded.

use super::merge::merge;
use crate::embedded::{LoadError, gguf};
use fancy_regex::Regex;
use std::collections::HashMap;

/// The patterns by the names in `tokenizer.ggml.pre` (llama.cpp, `src/llama-vocab.cpp`).
const PATTERNS: [(&[&str], &str); 3] = [
    (
        &["gpt-2", "default"],
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    ),
    (
        &["llama-bpe", "llama-v3", "llama3", "smaug-bpe"],
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    (
        &["qwen2", "smollm"],
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
];

pub(super) struct Bpe {
    pattern: Regex,
    /// The token of each byte.
    bytes: Vec<u32>,
    /// What two tokens merge to, and how early that was learned.
    merges: HashMap<(u32, u32), (u32, u32)>,
}

impl Bpe {
    pub(super) fn load(file: &gguf::File<'_>, tokens: &[&str]) -> Result<Self, LoadError> {
        let ids: HashMap<&str, u32> = tokens.iter().copied().zip(0..).collect();
        let byte = |byte| {
            ids.get(printable(byte).encode_utf8(&mut [0; 4]) as &str)
                .copied()
        };
        let bytes = (0..=u8::MAX).map(byte).collect::<Option<Vec<u32>>>();
        let merges = file.texts("tokenizer.ggml.merges")?;
        let merge = |(rank, merge): (u32, &&str)| {
            // The second part may begin with a space in no file: a space is written as `Ġ`.
            let (left, right) = merge.split_once(' ')?;
            let merged = ids.get([left, right].concat().as_str())?;
            Some(((*ids.get(left)?, *ids.get(right)?), (rank, *merged)))
        };
        let merges = (0..)
            .zip(&merges)
            .map(merge)
            .collect::<Option<HashMap<_, _>>>();
        Ok(Self {
            pattern: pattern(file)?,
            bytes: bytes.ok_or(LoadError::BadVocabulary("it lacks some single bytes"))?,
            merges: merges.ok_or(LoadError::BadVocabulary("a merge names no tokens of it"))?,
        })
    }

    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        let mut end = 0;
        for word in self.pattern.find_iter(text) {
            // The pattern gives up on a text that would take it too long: the rest is one word.
            let Ok(word) = word else { break };
            tokens.extend(self.encode_word(word.as_str()));
            end = word.end();
        }
        tokens.extend(self.encode_word(&text[end..]));
        tokens
    }

    fn encode_word(&self, word: &str) -> Vec<u32> {
        let bytes = word.bytes().map(|byte| self.bytes[usize::from(byte)]);
        merge(bytes.collect(), |left, right| {
            self.merges.get(&(*left, *right)).copied()
        })
    }
}

fn pattern(file: &gguf::File<'_>) -> Result<Regex, LoadError> {
    let name = match file.value("tokenizer.ggml.pre") {
        None => "default",
        Some(_) => file.text("tokenizer.ggml.pre")?,
    };
    let pattern = PATTERNS.iter().find(|(names, _)| names.contains(&name));
    let (_, pattern) = pattern.ok_or_else(|| LoadError::Tokenizer(format!("gpt2/{name}")))?;
    Ok(Regex::new(pattern).expect("the patterns of this file are tested"))
}

/// What a token's name in the file stands for. A name with other characters than those of bytes
/// is an added token, and stands for itself.
pub(super) fn bytes(token: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = token.chars().map(byte_of).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// The character that a byte is written as: itself if it can be seen, else the next after 255 in
/// order of the bytes.
fn printable(byte: u8) -> char {
    if is_visible(byte) {
        return char::from(byte);
    }
    let hidden_before = (0..byte).filter(|byte| !is_visible(*byte)).count();
    u32::try_from(256 + hidden_before)
        .ok()
        .and_then(char::from_u32)
        .expect("there are 68 of them, all below the surrogates")
}

const fn is_visible(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

fn byte_of(character: char) -> Option<u8> {
    match u8::try_from(character) {
        Ok(byte) if is_visible(byte) => Some(byte),
        _ => (0..=u8::MAX).find(|byte| !is_visible(*byte) && printable(*byte) == character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_character_and_is_found_by_it() {
        for byte in 0..=u8::MAX {
            assert_eq!(bytes(&printable(byte).to_string()), [byte]);
        }
        assert_eq!(printable(b' '), 'Ġ');
        assert_eq!(printable(b'\n'), 'Ċ');
    }

    #[test]
    fn the_patterns_cut_as_their_models_were_trained() {
        let cut = |index: usize, text: &str| -> Vec<String> {
            let pattern = Regex::new(PATTERNS[index].1).unwrap();
            pattern
                .find_iter(text)
                .map(|word| word.unwrap().as_str().to_owned())
                .collect()
        };
        assert_eq!(
            cut(0, "It's 2024,  ok?\n"),
            ["It", "'s", " 2024", ",", " ", " ok", "?", "\n"]
        );
        assert_eq!(cut(1, "IT'S 2024"), ["IT", "'S", " ", "202", "4"]);
        assert_eq!(cut(2, "a 24\n\nb"), ["a", " ", "2", "4", "\n\n", "b"]);
    }
}
