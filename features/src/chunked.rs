//! The chunked transfer coding, read only (RFC 9112 section 7.1).
//!
//! ```text
//! Size ──► Data ──► DataEnd ──► Size …       a size of zero ends the data:
//!   └────► Trailer ──► Done                  trailer lines follow until an empty one
//! ```
//!
//! Strict, because it stands for the strictest client that may call: line ends are CRLF, sizes are
//! hexadecimal digits and nothing else. Extensions are allowed by the RFC, never sent by us, and refused.

/// Decodes one body, however its bytes are split between calls.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    state: State,
    /// The line being read, without its CRLF.
    line: Vec<u8>,
}

#[derive(Debug, Default, PartialEq)]
enum State {
    #[default]
    Size,
    Data {
        left: usize,
    },
    DataEnd,
    Trailer,
    Done,
}

impl Chunked {
    /// Whether the last chunk and its trailer have been read.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes from the front of `input` into `body`; returns how many bytes belonged to this body.
    pub(crate) fn decode(&mut self, input: &[u8], body: &mut Vec<u8>) -> Result<usize, String> {
        let mut used = 0;
        while used < input.len() && !self.is_done() {
            used += match self.state {
                State::Data { left } => self.take_data(left, &input[used..], body),
                _ => self.take_line(&input[used..])?,
            };
        }
        Ok(used)
    }

    fn take_data(&mut self, left: usize, input: &[u8], body: &mut Vec<u8>) -> usize {
        let taken = left.min(input.len());
        body.extend_from_slice(&input[..taken]);
        self.state = match left - taken {
            0 => State::DataEnd,
            left => State::Data { left },
        };
        taken
    }

    fn take_line(&mut self, input: &[u8]) -> Result<usize, String> {
        let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
            self.line.extend_from_slice(input);
            return Ok(input.len());
        };
        self.line.extend_from_slice(&input[..end]);
        if self.line.pop() != Some(b'\r') {
            return Err("a line of the chunked coding ends without CR".to_owned());
        }
        let line = std::mem::take(&mut self.line);
        self.state = self.after_line(&line)?;
        Ok(end + 1)
    }

    fn after_line(&self, line: &[u8]) -> Result<State, String> {
        match self.state {
            State::Size => Ok(match size(line)? {
                0 => State::Trailer,
                left => State::Data { left },
            }),
            State::DataEnd if line.is_empty() => Ok(State::Size),
            State::DataEnd => Err("a chunk is longer than its size".to_owned()),
            State::Trailer if line.is_empty() => Ok(State::Done),
            State::Trailer => Ok(State::Trailer),
            State::Data { .. } | State::Done => unreachable!("neither state reads lines"),
        }
    }
}

/// Digits by hand: the parsers of the standard library would also take a sign.
fn size(line: &[u8]) -> Result<usize, String> {
    let digits = str::from_utf8(line)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    digits
        .and_then(|digits| usize::from_str_radix(digits, 16).ok())
        .ok_or_else(|| {
            format!(
                "`{}` is not the size of a chunk",
                String::from_utf8_lossy(line)
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODED: &[u8] = b"4\r\nOnce\r\nB\r\n upon a\r\nti\r\n0\r\nTrailer: x\r\n\r\nHTTP/1.1";

    #[test]
    fn a_body_decodes_alike_however_it_is_split_and_stops_at_its_end() {
        for step in 1..CODED.len() {
            let (mut chunked, mut body, mut used) = (Chunked::default(), Vec::new(), 0);
            for piece in CODED.chunks(step) {
                used += chunked.decode(piece, &mut body).unwrap();
            }
            assert_eq!(body, b"Once upon a\r\nti", "split every {step} bytes");
            assert_eq!(&CODED[used..], b"HTTP/1.1", "split every {step} bytes");
            assert!(chunked.is_done());
        }
    }

    #[test]
    fn what_is_not_the_coding_is_refused() {
        for wrong in [
            "\r\n",
            "+4\r\n",
            "4;x=y\r\n",
            "4\nOnce",
            "4\r\nOnce!\r\n",
            "fffffffffffffffff\r\n",
        ] {
            let refused = Chunked::default().decode(wrong.as_bytes(), &mut Vec::new());
            assert!(refused.is_err(), "{wrong:?} is refused");
        }
    }
}
