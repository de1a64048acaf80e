//! The names of tokens that are no text: those by which a chat template says where who speaks.

use std::borrow::Cow;

/// What a token is, as far as it matters here (`llama_token_type` of llama.cpp).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text.
    Plain,
    /// Says something about the text, such as that it ends.
    Control,
    /// Text that is a token of its own wherever it stands.
    Added,
}

impl Kind {
    pub(super) fn of(number: f64) -> Self {
        let is = |kind: f64| (number - kind).abs() < 0.5;
        if is(3.0) {
            Self::Control
        } else if is(4.0) {
            Self::Added
        } else {
            Self::Plain
        }
    }
}

/// One of them.
struct Name {
    text: String,
    token: u32,
    is_control: bool,
}

/// All of a vocabulary.
pub(super) struct Names {
    /// The longest first: where two begin, the longer is meant.
    names: Vec<Name>,
    /// Which bytes one begins with: few, so that most of a text is passed over quickly.
    begins: [bool; 256],
}

/// A part of what a template wrote.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'t> {
    Text(Cow<'t, str>),
    Token(u32),
}

impl Names {
    pub(super) fn of(tokens: &[&str], kinds: &[Kind]) -> Self {
        let name = |((token, text), kind): ((u32, &&str), &Kind)| Name {
            text: (*text).to_owned(),
            token,
            is_control: *kind == Kind::Control,
        };
        let names = (0..).zip(tokens).zip(kinds).filter(|((_, text), kind)| {
            // A name of one character can't be broken, and would be found everywhere.
            **kind != Kind::Plain && text.chars().nth(1).is_some()
        });
        let mut names: Vec<Name> = names.map(name).collect();
        names.sort_by_key(|name| core::cmp::Reverse(name.text.len()));
        let mut begins = [false; 256];
        let firsts = names.iter().filter_map(|name| name.text.bytes().next());
        firsts.for_each(|first| begins[usize::from(first)] = true);
        Self { names, begins }
    }

    /// The names that the text begins with, the longest first.
    fn at<'n>(&'n self, text: &'n str) -> impl Iterator<Item = &'n Name> {
        let first = text.bytes().next();
        let may_begin = first.is_some_and(|first| self.begins[usize::from(first)]);
        let names = if may_begin {
            self.names.as_slice()
        } else {
            &[]
        };
        names.iter().filter(|name| text.starts_with(&name.text))
    }

    /// The text and the tokens that are named in it.
    pub(super) fn cut<'t>(&self, text: &'t str) -> Vec<Part<'t>> {
        let mut parts = Vec::new();
        let (mut begin, mut at) = (0, 0);
        while let Some(character) = text[at..].chars().next() {
            let Some(name) = self.at(&text[at..]).next() else {
                at += character.len_utf8();
                continue;
            };
            if begin < at {
                parts.push(Part::Text(text[begin..at].into()));
            }
            parts.push(Part::Token(name.token));
            at += name.text.len();
            begin = at;
        }
        if begin < at {
            parts.push(Part::Text(text[begin..at].into()));
        }
        parts
    }

    /// The text with no name of a control token in it: each has the character behind its first.
    pub(super) fn broken(&self, text: &str, by: char) -> String {
        let mut broken = String::with_capacity(text.len());
        for (at, character) in text.char_indices() {
            broken.push(character);
            if self.at(&text[at..]).any(|name| name.is_control) {
                broken.push(by);
            }
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let tokens = ["<|a|>", "<|a|><|b|>", "<think>", "x", "plain"];
        let kinds = [4.0 - 1.0, 3.0, 4.0, 3.0, 1.0].map(Kind::of);
        Names::of(&tokens, &kinds)
    }

    #[test]
    fn a_text_is_cut_at_the_names_in_it_and_the_longest_is_meant() {
        assert_eq!(
            names().cut("žx<|a|>plain<|a|><|b|><think><|a"),
            [
                Part::Text("žx".into()),
                Part::Token(0),
                Part::Text("plain".into()),
                Part::Token(1),
                Part::Token(2),
                Part::Text("<|a".into()),
            ]
        );
        assert_eq!(names().cut(""), []);
    }

    #[test]
    fn a_broken_text_has_no_control_token_in_it() {
        let text = "<|a|><|b|> and <think>, ž";
        let broken = names().broken(text, '\u{fdd0}');
        let parts = names().cut(&broken);
        let tokens = parts.iter().filter(|part| matches!(part, Part::Token(_)));
        assert_eq!(tokens.collect::<Vec<_>>(), [&Part::Token(2)]);
        assert_eq!(broken.replace('\u{fdd0}', ""), text);
    }
}
