//! Byte-pair encoding over bytes, in the dialect of GPT-2, learned from the tales themselves.
//!
//! Text is first cut into pieces (a word with the space before it, a run of digits, a run of
//! marks), then the bytes of a piece are merged pair by pair in the order in which the pairs
//! were learned. Bytes are written as printable characters, so that a vocabulary is a list of
//! strings. Sources: Sennrich, Haddow, Birch, "Neural machine translation of rare words with
//! subword units" (2016); Radford et al., "Language models are unsupervised multitask
//! learners" (2019), whose cutting rule is
//! `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
//!
//! Every byte is a token of its own, so there is no text that cannot be encoded.

use std::collections::{BTreeMap, HashMap};

/// Opens every text the model sees.
pub(crate) const BOS: u32 = 0;
/// Closes every text the model tells.
pub(crate) const EOS: u32 = 1;
/// Tokens that stand for no text: [`BOS`] and [`EOS`], first in the vocabulary.
pub(crate) const CONTROL: [&str; 2] = ["<|bos|>", "<|eos|>"];

/// A learned vocabulary: control tokens, the 256 bytes, then one token for each merge.
pub(crate) struct Bpe {
    /// Printable spelling of each token, by id.
    pub(crate) tokens: Vec<String>,
    /// The pairs of tokens that merge, in the order learned.
    pub(crate) merges: Vec<(u32, u32)>,
    merged: HashMap<(u32, u32), u32>,
    bytes: Vec<Vec<u8>>,
}

impl Bpe {
    /// The vocabulary that these merges, in this order, build.
    pub(crate) fn new(merges: Vec<(u32, u32)>) -> Self {
        let mut bpe = Self {
            tokens: CONTROL.map(String::from).to_vec(),
            merges: Vec::new(),
            merged: HashMap::new(),
            bytes: vec![Vec::new(); CONTROL.len()],
        };
        for byte in 0..=u8::MAX {
            bpe.tokens.push(printable(byte).to_string());
            bpe.bytes.push(vec![byte]);
        }
        for pair in merges {
            bpe.merge(pair);
        }
        bpe
    }

    /// Learns merges from `text` until the vocabulary has `size` tokens: always the pair that
    /// occurs most often, the older tokens winning a tie.
    pub(crate) fn learn(text: &str, size: usize) -> Self {
        let mut bpe = Self::new(Vec::new());
        let mut words = BTreeMap::<&str, u64>::new();
        for piece in pieces(text) {
            *words.entry(piece).or_default() += 1;
        }
        let mut words: Vec<_> = words
            .into_iter()
            .map(|(word, n)| (spell(word), n))
            .collect();
        while bpe.tokens.len() < size
            && let Some(pair) = commonest_pair(&words)
        {
            let id = bpe.merge(pair);
            for (word, _) in &mut words {
                replace(word, pair, id);
            }
        }
        bpe
    }

    fn merge(&mut self, pair: (u32, u32)) -> u32 {
        let id = u32::try_from(self.tokens.len()).expect("a vocabulary is far below 2^32");
        let (left, right) = (pair.0 as usize, pair.1 as usize);
        self.tokens
            .push(format!("{}{}", self.tokens[left], self.tokens[right]));
        self.bytes
            .push([&self.bytes[left][..], &self.bytes[right]].concat());
        self.merges.push(pair);
        self.merged.insert(pair, id);
        id
    }

    /// The tokens of `text`; control tokens are never read from text.
    pub(crate) fn encode(&self, text: &str) -> Vec<u32> {
        pieces(text)
            .flat_map(|piece| self.encode_piece(piece))
            .collect()
    }

    fn encode_piece(&self, piece: &str) -> Vec<u32> {
        let mut word = spell(piece);
        // Ids grow in the order learned, so the smallest merged id is the oldest merge.
        while let Some((id, pair)) = word
            .windows(2)
            .filter_map(|pair| {
                self.merged
                    .get(&(pair[0], pair[1]))
                    .map(|&id| (id, (pair[0], pair[1])))
            })
            .min()
        {
            replace(&mut word, pair, id);
        }
        word
    }

    /// The text of `tokens`; a character that is cut in the middle becomes U+FFFD.
    pub(crate) fn decode(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens
            .iter()
            .flat_map(|&id| self.bytes[id as usize].clone())
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// One token per byte.
fn spell(piece: &str) -> Vec<u32> {
    let first = u32::try_from(CONTROL.len()).expect("two");
    piece.bytes().map(|byte| first + u32::from(byte)).collect()
}

fn commonest_pair(words: &[(Vec<u32>, u64)]) -> Option<(u32, u32)> {
    let mut counts = HashMap::<(u32, u32), u64>::new();
    for (word, n) in words {
        for pair in word.windows(2) {
            *counts.entry((pair[0], pair[1])).or_default() += n;
        }
    }
    let best = |&(pair, n): &((u32, u32), u64)| (n, std::cmp::Reverse(pair));
    counts.into_iter().max_by_key(best).map(|(pair, _)| pair)
}

fn replace(word: &mut Vec<u32>, pair: (u32, u32), id: u32) {
    let mut at = 0;
    while at + 1 < word.len() {
        if (word[at], word[at + 1]) == pair {
            word[at] = id;
            word.remove(at + 1);
        }
        at += 1;
    }
}

/// GPT-2's printable stand-in for a byte: itself where it is visible in Latin-1, otherwise the
/// next free character from U+0100 on.
fn printable(byte: u8) -> char {
    let visible = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if visible(byte) {
        return char::from(byte);
    }
    let hidden_before = (0..byte).filter(|&b| !visible(b)).count();
    let code = 0x100 + u32::try_from(hidden_before).expect("at most 256");
    char::from_u32(code).expect("U+0100 to U+0143 are characters")
}

/// Cuts `text` by the rule quoted in the module's head.
fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let length = piece_length(text)?;
        let (piece, rest) = text.split_at(length);
        text = rest;
        Some(piece)
    })
}

fn piece_length(text: &str) -> Option<usize> {
    const SHORTENED: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
    let first = text.chars().next()?;
    if let Some(suffix) = SHORTENED.iter().find(|suffix| text.starts_with(**suffix)) {
        return Some(suffix.len());
    }
    let space = usize::from(first == ' ');
    match text[space..].chars().next() {
        Some(next) if !next.is_whitespace() => Some(space + run(&text[space..], kind(next))),
        _ => Some(blank_length(text)),
    }
}

/// A run of blanks leaves its last one to the word behind it, unless it is the only one.
fn blank_length(text: &str) -> usize {
    let length = run(text, Kind::Blank);
    let last = text[..length].chars().next_back().map_or(0, char::len_utf8);
    if length == text.len() || length == last {
        length
    } else {
        length - last
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Letter,
    Digit,
    Blank,
    Mark,
}

fn kind(c: char) -> Kind {
    match c {
        c if c.is_alphabetic() => Kind::Letter,
        c if c.is_numeric() => Kind::Digit,
        c if c.is_whitespace() => Kind::Blank,
        _ => Kind::Mark,
    }
}

fn run(text: &str, wanted: Kind) -> usize {
    text.find(|c| kind(c) != wanted).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(pieces(text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn words_keep_the_space_before_them() {
        check(
            "One day, it rained.",
            &["One", " day", ",", " it", " rained", "."],
        );
        check(
            "don't \"go\"  in 12\n",
            &["don", "'t", " \"", "go", "\"", " ", " in", " 12", "\n"],
        );
        check("a\n\nb", &["a", "\n", "\n", "b"]);
    }

    #[test]
    fn every_text_survives_the_round_trip() {
        let bpe = Bpe::learn("the cat sat on the mat and the cat ate", 300);
        for text in ["the cat", "The CAT!", "naïve ☃ café\r\n\t", "", "   "] {
            assert_eq!(bpe.decode(&bpe.encode(text)), text);
        }
    }

    #[test]
    fn frequent_words_become_single_tokens() {
        let bpe = Bpe::learn(&" the cat".repeat(20), 270);
        assert_eq!(bpe.encode(" the cat the").len(), 3);
    }
}
