//! The chunked coding, both ways (RFC 9112 §7.1).
//!
//! ```text
//!        ┌────────── CRLF ◄── Data ◄─┐
//!        ▼                           │ size > 0
//!       Size ────────────────────────┤
//!                                    │ size = 0
//!       end ◄── empty line ── Trailers
//! ```
//!
//! Each line of the coding ends in CRLF and nothing else. Extensions are passed over and trailers
//! are checked and dropped: no one here has a use for either, and both are counted, since they let
//! a peer send much while its body stays small.

use crate::buffer::Buffer;
use crate::error::Refusal;
use crate::fields::FieldsReader;
use crate::framing::{BODY_TOO_LONG, Piece, take_from};
use crate::grammar::{hexadecimal, is_field_value, push_hexadecimal};
use crate::limits::Limits;

/// Sixteen digits and an extension of a few words, such as a signature's.
const SIZE_LINE_MAX: usize = 256;

/// All extensions of one body together. Without it, chunks of one byte with 200 bytes of extension
/// each make a server read 200 times what its body limit says (CVE-2023-39326).
const EXTENSIONS_MAX: usize = 16 * 1024;

/// Reads a chunked body as its bytes come.
#[derive(Debug)]
pub(crate) struct ChunkedReader {
    state: State,
    /// Bytes of body that are still allowed.
    allowed: u64,
    /// Bytes of extensions that are still allowed.
    extensions_allowed: usize,
}

#[derive(Debug)]
enum State {
    /// At a chunk's size line.
    Size,
    /// This many bytes of a chunk are still to come.
    Data {
        left: u64,
    },
    /// At the CRLF after a chunk's data.
    DataEnd,
    Trailers(FieldsReader),
    End,
}

impl ChunkedReader {
    pub(crate) const fn new(body_max: u64) -> Self {
        Self {
            state: State::Size,
            allowed: body_max,
            extensions_allowed: EXTENSIONS_MAX,
        }
    }

    pub(crate) fn poll(&mut self, buffer: &mut Buffer, limits: &Limits) -> Result<Piece, Refusal> {
        loop {
            self.state = match &mut self.state {
                State::Size => match buffer.take_line(SIZE_LINE_MAX, SIZE_LINE_TOO_LONG)? {
                    None => return Ok(Piece::NeedMore),
                    Some(line) => {
                        let size = self.admit(parse_size_line(line)?)?;
                        State::after_size(size)
                    }
                },
                State::Data { left: 0 } => State::DataEnd,
                State::Data { left } => return Ok(take_from(left, buffer)),
                State::DataEnd => match buffer.take_line(0, DATA_UNENDED)? {
                    None => return Ok(Piece::NeedMore),
                    Some(_) => State::Size,
                },
                State::Trailers(reader) => match reader.read(buffer, limits)? {
                    None => return Ok(Piece::NeedMore),
                    Some(_dropped) => State::End,
                },
                State::End => return Ok(Piece::End),
            };
        }
    }

    /// Counts a chunk against the limits before any of its data has come.
    fn admit(&mut self, line: SizeLine) -> Result<u64, Refusal> {
        self.allowed = self.allowed.checked_sub(line.size).ok_or(BODY_TOO_LONG)?;
        self.extensions_allowed = self
            .extensions_allowed
            .checked_sub(line.extension_len)
            .ok_or(TOO_MANY_EXTENSIONS)?;
        Ok(line.size)
    }
}

impl State {
    fn after_size(size: u64) -> Self {
        match size {
            0 => Self::Trailers(FieldsReader::default()),
            size => Self::Data { left: size },
        }
    }
}

struct SizeLine {
    size: u64,
    extension_len: usize,
}

/// `chunk-size [ chunk-ext ]` (RFC 9112 §7.1). The whitespace that old grammars allowed before the
/// semicolon is refused: it is where readers of the size differ.
fn parse_size_line(line: &[u8]) -> Result<SizeLine, Refusal> {
    let digits_len = memchr::memchr(b';', line).unwrap_or(line.len());
    let (digits, extension) = line.split_at(digits_len);
    if !is_field_value(extension) {
        return Err(CONTROL_IN_EXTENSION);
    }
    Ok(SizeLine {
        size: hexadecimal(digits).ok_or(BAD_SIZE)?,
        extension_len: extension.len(),
    })
}

/// Writes `data` as one chunk. Nothing for empty data, as an empty chunk ends the body.
pub(crate) fn push_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    push_hexadecimal(out, data.len());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Ends the body, without trailers.
pub(crate) fn push_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

const SIZE_LINE_TOO_LONG: Refusal =
    Refusal::malformed("A chunk's size line is longer than allowed.");
const BAD_SIZE: Refusal =
    Refusal::malformed("A chunk's size is not one to sixteen hexadecimal digits.");
const CONTROL_IN_EXTENSION: Refusal =
    Refusal::malformed("A chunk extension holds a control character.");
const TOO_MANY_EXTENSIONS: Refusal =
    Refusal::malformed("The chunk extensions of this body are longer than allowed in total.");
const DATA_UNENDED: Refusal = Refusal::malformed("A chunk's data is not followed by CRLF.");

#[cfg(test)]
mod tests {
    use super::*;

    /// The body in `bytes`, which must be a whole chunked body and nothing else.
    fn decode(bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut buffer = Buffer::default();
        buffer.push(bytes);
        let mut reader = ChunkedReader::new(1000);
        let mut body = Vec::new();
        loop {
            match reader.poll(&mut buffer, &Limits::default())? {
                Piece::Data(count) => body.extend_from_slice(buffer.take(count)),
                Piece::End => return Ok(body),
                Piece::NeedMore => panic!("the body does not end"),
            }
        }
    }

    #[test]
    fn extensions_and_trailers_are_passed_over() {
        let body =
            b"5;name=value\r\nhello\r\n006;x=\"y\"\r\n world\r\n0;z\r\nExpires: never\r\n\r\n";
        assert_eq!(decode(body), Ok(b"hello world".to_vec()));
    }

    #[test]
    fn a_chunk_beyond_the_limit_is_refused_by_its_size_alone() {
        assert_eq!(decode(b"3e9\r\n"), Err(BODY_TOO_LONG));
        assert_eq!(decode(b"1\r\nx\r\n3e8\r\n"), Err(BODY_TOO_LONG));
        assert_eq!(decode(b"ffffffffffffffff\r\n"), Err(BODY_TOO_LONG));
    }

    #[test]
    fn trailers_obey_the_limits_of_a_head() {
        let trailers = "Trailer: x\r\n".repeat(101);
        let refusal = decode(format!("0\r\n{trailers}\r\n").as_bytes()).unwrap_err();
        assert_eq!(refusal.status, 431);
    }
}
