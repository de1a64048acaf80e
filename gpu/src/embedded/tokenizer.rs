//! Text to tokens and back, as the model's file says.
//!
//! Two dialects are found in files of the llama architecture. `gpt2`: bytes, merged pair by pair
//! in the order in which the pairs were learned, within words that a pattern cuts out ([`bpe`]).
//! `llama`: characters, merged by the score of what they make, with single bytes for what has no
//! token ([`spm`], SentencePiece). Both merge with [`merge`].
//!
//! Text is only ever text: the name of a control token in a prompt is tokenized letter by letter,
//! so that a caller can't end a text, or begin another, from within. Only what a chat template wrote
//! has such names in it ([`Marked`]).

mod bpe;
mod merge;
mod names;
mod spm;

use super::{LoadError, gguf};
use crate::Fault;
use bpe::Bpe;
use names::{Kind, Names, Part};
use spm::Spm;

enum Dialect {
    Bpe(Bpe),
    Spm(Spm),
}

/// The vocabulary of a model.
pub(super) struct Tokenizer {
    dialect: Dialect,
    /// What each token stands for.
    texts: Vec<Vec<u8>>,
    names: Names,
    /// The token that opens every text, if one does.
    bos: Option<u32>,
    bos_name: String,
    ends: Vec<u32>,
    eos_name: String,
    /// Bytes of the longest token.
    longest: usize,
}

/// A text in which tokens are named.
pub(super) struct Marked {
    pub(super) text: String,
    /// The character that breaks the names that are only text.
    pub(super) broken_by: char,
}

impl Tokenizer {
    pub(super) fn load(file: &gguf::File<'_>) -> Result<Self, LoadError> {
        let tokens = file.texts("tokenizer.ggml.tokens")?;
        let kinds = kinds(file, tokens.len());
        let dialect = match file.text("tokenizer.ggml.model")? {
            "gpt2" => Dialect::Bpe(Bpe::load(file, &tokens)?),
            "llama" => Dialect::Spm(Spm::load(file, &tokens)?),
            other => return Err(LoadError::Tokenizer(other.to_owned())),
        };
        let text = |(token, kind): (&&str, &Kind)| match (&dialect, kind) {
            (_, Kind::Control) => Vec::new(),
            (Dialect::Bpe(_), _) => bpe::bytes(token),
            (Dialect::Spm(_), _) => spm::bytes(token),
        };
        let texts: Vec<_> = tokens.iter().zip(&kinds).map(text).collect();
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
        let name = |token: Option<&u32>| {
            let index = token.and_then(|token| usize::try_from(*token).ok());
            let name = index.and_then(|index| tokens.get(index));
            name.map_or_else(String::new, |name| (*name).to_owned())
        };
        Ok(Self {
            names: Names::of(&tokens, &kinds),
            bos_name: name(bos.as_ref()),
            bos: bos.filter(|_| adds_bos),
            eos_name: name(ends.first()),
            ends,
            longest: texts.iter().map(Vec::len).max().unwrap_or(0).max(1),
            dialect,
            texts,
        })
    }

    /// How many tokens there are.
    pub(super) const fn len(&self) -> usize {
        self.texts.len()
    }

    /// The tokens of a text, if they are at most so many. There is at least one: where there is no
    /// text, that is any token.
    ///
    /// # Errors
    /// When there are more.
    pub(super) fn encode_within(&self, text: &str, tokens_max: u32) -> Result<Vec<u32>, Fault> {
        self.encode_parts(&[Part::Text(text.into())], tokens_max)
    }

    /// The same, of a text in which tokens are named.
    pub(super) fn encode_marked_within(
        &self,
        marked: &Marked,
        tokens_max: u32,
    ) -> Result<Vec<u32>, Fault> {
        let mend = |part| match part {
            Part::Text(text) => Part::Text(text.replace(marked.broken_by, "").into()),
            Part::Token(token) => Part::Token(token),
        };
        let parts = self.names.cut(&marked.text).into_iter().map(mend);
        self.encode_parts(&parts.collect::<Vec<_>>(), tokens_max)
    }

    fn encode_parts(&self, parts: &[Part<'_>], tokens_max: u32) -> Result<Vec<u32>, Fault> {
        let check = |tokens: usize| match u32::try_from(tokens) {
            Ok(tokens) if tokens <= tokens_max => Ok(()),
            tokens => Err(Fault::ContextExceeded {
                prompt_tokens: tokens.unwrap_or(u32::MAX),
                context_tokens: tokens_max,
            }),
        };
        // No token is longer than the longest: what is far too long is not even cut.
        let at_least = parts.iter().map(|part| match part {
            Part::Text(text) => text.len() / self.longest,
            Part::Token(_) => 1,
        });
        check(at_least.sum())?;
        let is_opened = matches!(parts, [Part::Token(first), ..] if Some(*first) == self.bos);
        let mut tokens: Vec<u32> = self.bos.filter(|_| !is_opened).into_iter().collect();
        for part in parts {
            match (part, &self.dialect) {
                (Part::Token(token), _) => tokens.push(*token),
                (Part::Text(text), Dialect::Bpe(bpe)) => tokens.extend(bpe.encode(text)),
                (Part::Text(text), Dialect::Spm(spm)) => tokens.extend(spm.encode(text)),
            }
        }
        if tokens.is_empty() {
            tokens.push(self.any());
        }
        check(tokens.len())?;
        Ok(tokens)
    }

    /// The text with no name of a control token in it: each is broken by a character that the text
    /// does not have.
    pub(super) fn break_names(&self, text: &str, by: char) -> String {
        self.names.broken(text, by)
    }

    /// What the token that opens texts is called; nothing if there is none.
    pub(super) fn bos_name(&self) -> &str {
        &self.bos_name
    }

    /// What the token that ends texts is called; nothing if there is none.
    pub(super) fn eos_name(&self) -> &str {
        &self.eos_name
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
}

fn kinds(file: &gguf::File<'_>, tokens: usize) -> Vec<Kind> {
    let numbers = file
        .numbers("tokenizer.ggml.token_type")
        .unwrap_or_default();
    let mut kinds: Vec<Kind> = numbers.into_iter().map(Kind::of).collect();
    kinds.resize(tokens, Kind::Plain);
    kinds
}
