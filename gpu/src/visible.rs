//! Characters that may be shown anywhere: in a terminal, in a label, in a sentence of ours.

/// Whether a character shows itself and leaves alone how others are shown. Controls move cursors and end lines;
/// marks of direction turn a name around ("Trojan Source", Boucher and Anderson, 2021); others can't be seen
/// at all, so that two names look like one.
#[must_use]
pub fn is_visible(c: char) -> bool {
    !c.is_control() && !is_line_end(c) && !is_format(c)
}

/// Categories Zl and Zp.
const fn is_line_end(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Category Cf, but for signs that stand before numbers of some scripts and are seen.
const fn is_format(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_visible_and_what_acts_on_it_is_not() {
        assert!(
            "Llama-3.1 «žluťoučký» हिन्दी 模型 🐎 \\\"'"
                .chars()
                .all(is_visible)
        );
        for c in
            "\0\n\r\t\u{7}\u{1b}\u{7f}\u{85}\u{9b}\u{200b}\u{202e}\u{2028}\u{2066}\u{feff}\u{e0041}"
                .chars()
        {
            assert!(!is_visible(c), "{c:?}");
        }
    }
}
