//! Text to tokens and back, as the model's file says.
//!
//! Two dialects are found in files of the llama architecture. `gpt2`: bytes, merged pair by pair
//! in the order in which the pairs were learned, within words that a pattern cuts out ([`bpe`]).
//! `llama`: characters, merged by the score of what they make, with single bytes for what has no
//! token ([`spm`], SentencePiece). Both merge with [`merge`].
//!
//! Text is only ever text: the name of a control token in a prompt is tokenized letter by letter,
//! so that a caller can't end a text, or begin another, from within.

mod bpe;
mod merge;
mod spm;

use super::{LoadError, gguf};
use bpe::Bpe;
use spm::Spm;

/// What a token is, as far as it matters here (`llama_token_type` of llama.cpp).
const KIND_CONTROL: u32 = 3;

enum Dialect {
    Bpe(Bpe),
    Spm(Spm),
}

/// The vocabulary of a model.
pub(super) struct Tokenizer {
    dialect: Dialect,
    /// What each token stands for.
    texts: Vec<Vec<u8>>,
    bos: Option<u32>,
    ends: Vec<u32>,
}

impl Tokenizer {
    pub(super) fn load(file: &gguf::File<'_>) -> Result<Self, LoadError> {
        let tokens = file.texts("tokenizer.ggml.tokens")?;
        let controls = controls(file, tokens.len());
        let dialect = match file.text("tokenizer.ggml.model")? {
            "gpt2" => Dialect::Bpe(Bpe::load(file, &tokens)?),
            "llama" => Dialect::Spm(Spm::load(file, &tokens)?),
            other => return Err(LoadError::Tokenizer(other.to_owned())),
        };
        let text = |(token, controls): (&&str, &bool)| match (&dialect, controls) {
            (_, true) => Vec::new(),
            (Dialect::Bpe(_), false) => bpe::bytes(token),
            (Dialect::Spm(_), false) => spm::bytes(token),
        };
        let texts: Vec<_> = tokens.iter().zip(&controls).map(text).collect();
        let token = |key: &str| match file.value(key) {
            None => Ok(None),
            Some(_) => file.u32(key).map(Some),
        };
        let bos = token("tokenizer.ggml.bos_token_id")?;
        let adds_bos = matches!(dialect, Dialect::Spm(_));
        let adds_bos = file.bool_or("tokenizer.ggml.add_bos_token", adds_bos)?;
        let ends = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"].map(token);
        let ends: Vec<u32> = ends
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect();
        let known = |token: &u32| usize::try_from(*token).is_ok_and(|token| token < texts.len());
        if !bos.iter().chain(&ends).all(known) {
            return Err(LoadError::BadVocabulary("a special token is not in it"));
        }
        Ok(Self {
            bos: bos.filter(|_| adds_bos),
            dialect,
            texts,
            ends,
        })
    }

    /// How many tokens there are.
    pub(super) const fn len(&self) -> usize {
        self.texts.len()
    }

    /// The tokens of a prompt.
    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
        let tokens = match &self.dialect {
            Dialect::Bpe(bpe) => bpe.encode(text),
            Dialect::Spm(spm) => spm.encode(text),
        };
        self.bos.into_iter().chain(tokens).collect()
    }

    /// What the token adds to the text; nothing for control tokens.
    pub(super) fn text(&self, token: u32) -> &[u8] {
        let index = usize::try_from(token).unwrap_or(usize::MAX);
        self.texts.get(index).map_or(&[], Vec::as_slice)
    }

    /// Whether the token ends the text.
    pub(super) fn ends_text(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The token that is computed when an engine is tried out.
    pub(super) fn any(&self) -> u32 {
        self.bos.unwrap_or(0)
    }

    /// A prompt of so many bytes has at least so many tokens: no token is longer than the longest.
    pub(super) fn tokens_at_least(&self, bytes: usize) -> usize {
        let longest = self.texts.iter().map(Vec::len).max().unwrap_or(0).max(1);
        bytes / longest
    }
}

fn controls(file: &gguf::File<'_>, tokens: usize) -> Vec<bool> {
    let kinds = file
        .numbers("tokenizer.ggml.token_type")
        .unwrap_or_default();
    let is_control = |kind: f64| (kind - f64::from(KIND_CONTROL)).abs() < 0.5;
    let mut controls: Vec<bool> = kinds.into_iter().map(is_control).collect();
    controls.resize(tokens, false);
    controls
}
