//! Header fields: the lines between the first line and the empty one, and the trailers of a chunked
//! body, which look the same.

use crate::buffer::Buffer;
use crate::error::Refusal;
use crate::grammar::{is_field_value, is_token};
use crate::limits::Limits;

/// Header fields in the order they came. Names compare without regard to case.
///
/// Values are text: bytes beyond ASCII must be UTF-8, or the message is refused. RFC 9110 §5.5
/// calls such bytes opaque and advises against them; nothing this project reads needs Latin-1.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// All names and values, one after the other: two allocations serve any number of fields.
    text: String,
    ends: Vec<Ends>,
}

/// Where a field's name and value end in the text. Each begins where the one before it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    name: usize,
    value: usize,
}

impl Fields {
    /// The first value of `name`, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// Every value of `name`, in order.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.iter()
            .filter(move |(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Every name with its value, in order, names as they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|ends| ends.value));
        starts.zip(&self.ends).map(|(start, ends)| {
            (
                &self.text[start..ends.name],
                &self.text[ends.name..ends.value],
            )
        })
    }

    /// Whether a comma-separated field such as `Connection` names `token`.
    pub(crate) fn lists(&self, name: &str, token: &str) -> bool {
        self.get_all(name)
            .flat_map(|value| value.split(','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
    }

    pub(crate) fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        let name = self.text.len();
        self.text.push_str(value);
        let value = self.text.len();
        self.ends.push(Ends { name, value });
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Reads field lines up to the empty line that ends them.
#[derive(Debug, Default)]
pub(crate) struct FieldsReader {
    fields: Fields,
    /// Bytes of the head so far, against `head_max`.
    head_len: usize,
}

impl FieldsReader {
    /// A reader for the fields that follow a first line of `line_len` bytes.
    pub(crate) fn after_line(line_len: usize) -> Self {
        Self {
            fields: Fields {
                // A browser's head fits, and takes two allocations rather than a dozen.
                text: String::with_capacity(512),
                ends: Vec::with_capacity(16),
            },
            head_len: line_len + 2,
        }
    }

    /// The fields, once all of them are here.
    pub(crate) fn read(
        &mut self,
        buffer: &mut Buffer,
        limits: &Limits,
    ) -> Result<Option<Fields>, Refusal> {
        loop {
            let line_max = limits.head_max.saturating_sub(self.head_len + 2);
            let Some(line) = buffer.take_line(line_max, HEAD_TOO_LONG)? else {
                return Ok(None);
            };
            if line.is_empty() {
                return Ok(Some(std::mem::take(&mut self.fields)));
            }
            self.count(line.len() + 2, limits)?;
            let (name, value) = parse_field(line)?;
            self.fields.push(name, value);
        }
    }

    /// One more field that no line was read for, under the same limits as if it had been one.
    pub(crate) fn add(
        &mut self,
        name: &[u8],
        value: &[u8],
        limits: &Limits,
    ) -> Result<(), Refusal> {
        // `name: value`, and the line's end. The empty line that ends the head counts too.
        let line_len = name.len() + 2 + value.len() + 2;
        if self.head_len + line_len + 2 > limits.head_max {
            return Err(HEAD_TOO_LONG);
        }
        self.count(line_len, limits)?;
        let (name, value) = check_field(name, value)?;
        self.fields.push(name, value);
        Ok(())
    }

    /// The fields so far.
    pub(crate) fn finish(self) -> Fields {
        self.fields
    }

    fn count(&mut self, line_len: usize, limits: &Limits) -> Result<(), Refusal> {
        if self.fields.ends.len() == limits.fields_max {
            return Err(TOO_MANY_FIELDS);
        }
        self.head_len += line_len;
        Ok(())
    }
}

/// `field-line = field-name ":" OWS field-value OWS` (RFC 9112 §5).
fn parse_field(line: &[u8]) -> Result<(&str, &str), Refusal> {
    // RFC 9112 §5.2: a server refuses folded lines unless it unfolds them, and unfolding is where
    // two readers find two values.
    if matches!(line[0], b' ' | b'\t') {
        return Err(FOLDED_LINE);
    }
    let colon = memchr::memchr(b':', line).ok_or(NO_COLON)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    // RFC 9112 §5.1: a reader that trims the name sees a field that a reader that doesn't, doesn't.
    if matches!(name, [.., b' ' | b'\t']) {
        return Err(SPACE_BEFORE_COLON);
    }
    check_field(name, value)
}

fn check_field<'a>(name: &'a [u8], value: &'a [u8]) -> Result<(&'a str, &'a str), Refusal> {
    if !is_token(name) {
        return Err(BAD_NAME);
    }
    if !is_field_value(value) {
        return Err(CONTROL_IN_VALUE);
    }
    let name = std::str::from_utf8(name).expect("a token is ASCII");
    let value = std::str::from_utf8(value.trim_ascii()).map_err(|_| VALUE_NOT_TEXT)?;
    Ok((name, value))
}

const HEAD_TOO_LONG: Refusal =
    Refusal::new(431, "The header fields are longer than allowed in total.");
const TOO_MANY_FIELDS: Refusal = Refusal::new(431, "There are more header fields than allowed.");
const FOLDED_LINE: Refusal =
    Refusal::malformed("A field line begins with whitespace; folded fields are obsolete.");
const NO_COLON: Refusal = Refusal::malformed("A field line has no colon.");
const SPACE_BEFORE_COLON: Refusal =
    Refusal::malformed("Whitespace stands between a field name and its colon.");
const BAD_NAME: Refusal =
    Refusal::malformed("A field name is empty or holds a character that names can't hold.");
const CONTROL_IN_VALUE: Refusal = Refusal::malformed("A field value holds a control character.");
const VALUE_NOT_TEXT: Refusal = Refusal::malformed("A field value is not UTF-8.");

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Fields {
        let mut buffer = Buffer::default();
        buffer.push(lines.as_bytes());
        let read = FieldsReader::default().read(&mut buffer, &Limits::default());
        read.unwrap().unwrap()
    }

    #[test]
    fn names_compare_without_regard_to_case_and_values_lose_their_padding() {
        let fields = read("Host: a\r\nX-Tag:\t one \r\nx-tag:two\r\nEmpty:\r\n\r\n");
        assert_eq!(fields.get("hOST"), Some("a"));
        assert_eq!(fields.get_all("X-TAG").collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(fields.get("empty"), Some(""));
        assert_eq!(fields.get("absent"), None);
        assert_eq!(fields.iter().nth(2), Some(("x-tag", "two")));
    }

    #[test]
    fn a_list_is_read_across_commas_and_lines() {
        let fields = read("Connection: keep-alive ,Upgrade\r\nConnection: close\r\n\r\n");
        assert!(fields.lists("connection", "upgrade"));
        assert!(fields.lists("connection", "CLOSE"));
        assert!(!fields.lists("connection", "alive"));
    }
}
