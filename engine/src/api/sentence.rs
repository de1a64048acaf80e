//! A sentence for a caller, which may quote what others have said.
//!
//! Our own are short and plain. But some name a field as it was sent, or tell what an engine said, and whoever
//! prints them must not be printed on: what can't be seen is written as its escape, and what is too long
//! loses its middle, for a name is told first and what was expected in its place last.

use orchestratord_gpu::is_visible;

/// Characters of a sentence: room for a name and the list of all that may stand in its place.
pub const SENTENCE_CHARS_MAX: usize = 1024;
/// Of one that is too long, so many from its beginning.
const BEGINNING_CHARS: usize = 256;
const GAP: &str = " … ";

/// The same, fit to be shown.
pub fn shown(said: String) -> String {
    // The rule, and what needs no second look.
    if said.len() <= SENTENCE_CHARS_MAX && said.chars().all(is_visible) {
        return said;
    }
    let mut sentence = Vec::new();
    for c in said.chars() {
        match is_visible(c) {
            true => sentence.push(c),
            false => sentence.extend(c.escape_unicode()),
        }
    }
    if sentence.len() <= SENTENCE_CHARS_MAX {
        return sentence.into_iter().collect();
    }
    let end = sentence.len() - (SENTENCE_CHARS_MAX - BEGINNING_CHARS - GAP.chars().count());
    let beginning = sentence[..BEGINNING_CHARS].iter();
    beginning
        .copied()
        .chain(GAP.chars())
        .chain(sentence[end..].iter().copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_sentence_is_left_as_it_is() {
        for said in [
            "",
            "there is no such task",
            "`größe`: unknown field",
            &"x".repeat(SENTENCE_CHARS_MAX),
        ] {
            assert_eq!(shown(said.to_owned()), said);
        }
    }

    #[test]
    fn what_acts_on_a_terminal_is_told_and_does_not_act() {
        let said = "`\u{1b}[2J\r\n\u{202e}`: unknown field";
        assert_eq!(
            shown(said.to_owned()),
            "`\\u{1b}[2J\\u{d}\\u{a}\\u{202e}`: unknown field"
        );
    }

    #[test]
    fn of_a_long_sentence_the_middle_goes() {
        let said = format!("`{}`: expected `a` or `b`", "é".repeat(900_000));
        let sentence = shown(said);
        assert_eq!(sentence.chars().count(), SENTENCE_CHARS_MAX);
        assert!(
            sentence.starts_with("`éé") && sentence.ends_with("é`: expected `a` or `b`"),
            "{sentence}"
        );
        let controls = shown("\n".repeat(1000));
        assert_eq!(controls.chars().count(), SENTENCE_CHARS_MAX);
    }
}
