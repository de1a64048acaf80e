//! From tokens' bytes to text that is never taken back.
//!
//! A token may end within a character, or within what may become a stop text. Such an end is held
//! back until it is known what it is: a reader sees whole characters only, and nothing of a stop
//! text.

use compact_str::CompactString;

/// The text of one sequence on its way out.
#[derive(Debug)]
pub(crate) struct Text {
    stops: Vec<String>,
    /// Not sent yet.
    held: Vec<u8>,
}

impl Text {
    pub(crate) const fn new(stops: Vec<String>) -> Self {
        Self {
            stops,
            held: Vec::new(),
        }
    }

    /// Takes the bytes of a token. What can be sent now, and whether a stop text has begun right
    /// after it.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> (CompactString, bool) {
        self.held.extend_from_slice(bytes);
        if let Some(stop) = self.first_stop() {
            self.held.truncate(stop);
            return (self.finish(), true);
        }
        let open = self.open_stop().unwrap_or(self.held.len());
        (self.send(open), false)
    }

    /// What is left when the text is complete; half a character becomes U+FFFD.
    pub(crate) fn finish(&mut self) -> CompactString {
        let rest = core::mem::take(&mut self.held);
        CompactString::from_utf8_lossy(&rest)
    }

    /// Sends the whole characters within the first `length` bytes. Bytes that no character begins
    /// with go as U+FFFD: nothing that comes could make them one.
    fn send(&mut self, length: usize) -> CompactString {
        let mut text = CompactString::default();
        let mut sent = 0;
        for chunk in self.held[..length].utf8_chunks() {
            text.push_str(chunk.valid());
            sent += chunk.valid().len();
            let invalid = chunk.invalid();
            let may_go_on = sent + invalid.len() == length && is_incomplete(invalid);
            if invalid.is_empty() || may_go_on {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            sent += invalid.len();
        }
        self.held.drain(..sent);
        text
    }

    /// Where the first stop text begins.
    fn first_stop(&self) -> Option<usize> {
        let begins = |stop: &String| {
            self.held
                .windows(stop.len())
                .position(|window| window == stop.as_bytes())
        };
        self.stops.iter().filter_map(begins).min()
    }

    /// Where a stop text may have begun at the end of what is held.
    fn open_stop(&self) -> Option<usize> {
        let may_begin = |at: &usize| {
            let tail = &self.held[*at..];
            self.stops
                .iter()
                .any(|stop| stop.as_bytes().starts_with(tail))
        };
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = self.held.len().saturating_sub(longest);
        (from..self.held.len()).find(may_begin)
    }
}

/// Whether the bytes are the beginning of a character that more bytes could complete.
fn is_incomplete(bytes: &[u8]) -> bool {
    matches!(core::str::from_utf8(bytes), Err(error) if error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(stops: &[&str]) -> Text {
        Text::new(stops.iter().map(|stop| (*stop).to_owned()).collect())
    }

    /// Everything that is sent of the pieces, and whether a stop text ended it.
    fn send_all(stops: &[&str], pieces: &[&[u8]]) -> (String, bool) {
        let mut text = text(stops);
        let mut sent = String::new();
        for piece in pieces {
            let (more, stopped) = text.push(piece);
            sent.push_str(&more);
            if stopped {
                return (sent, true);
            }
        }
        sent.push_str(&text.finish());
        (sent, false)
    }

    #[test]
    fn half_a_character_waits_for_the_other_half() {
        let mut text = text(&[]);
        let horse = "🐎".as_bytes();
        assert_eq!(text.push(&horse[..2]), ("".into(), false));
        assert_eq!(text.push(&horse[2..]), ("🐎".into(), false));
    }

    #[test]
    fn what_can_be_no_character_is_replaced_at_once() {
        let mut text = text(&[]);
        assert_eq!(text.push(b"a\xffb"), ("a\u{fffd}b".into(), false));
        assert_eq!(text.push(b"\xf0\x9f"), ("".into(), false));
        assert_eq!(text.finish(), "\u{fffd}");
    }

    #[test]
    fn a_stop_text_across_tokens_is_never_seen() {
        assert_eq!(
            send_all(&["\n\n"], &[b"one\n", b"two\n", b"\nthree"]),
            ("one\ntwo".into(), true)
        );
        assert_eq!(
            send_all(&["END"], &[b"E", b"N", b"x"]),
            ("ENx".into(), false)
        );
        assert_eq!(send_all(&["END"], &[b"E", b"N"]), ("EN".into(), false));
    }

    #[test]
    fn the_stop_text_that_begins_first_counts() {
        assert_eq!(send_all(&["cd", "bcde"], &[b"abcdef"]), ("a".into(), true));
    }

    proptest! {
        #[test]
        fn no_cut_of_the_bytes_changes_the_text(text in ".{0,20}", cuts in prop::collection::vec(0..80_usize, 0..6)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(send_all(&["\u{0}never"], &pieces), (text.clone(), false));
        }
    }
}
