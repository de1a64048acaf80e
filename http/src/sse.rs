//! The event stream format, both ways, after the WHATWG HTML standard §9.2 "Server-sent events".
//!
//! An event is a few lines and an empty one; a line that begins with a colon is a comment. The
//! format has no lengths, so whoever reads it looks for line ends (LF, CR or CRLF) and for the
//! first colon of each line, and at nothing else.

use crate::grammar::{decimal, push_decimal};
use memchr::{memchr, memchr2};

/// Writes one event. Data of several lines becomes several `data:` lines, whose ends a reader sees
/// as LF whatever they were.
///
/// # Panics
///
/// In debug builds, when the event's name is empty or holds a line end: it would write lines of its
/// own.
pub fn encode(out: &mut Vec<u8>, id: u64, event: &str, data: &[u8]) {
    debug_assert!(!event.is_empty());
    debug_assert!(split_line(event.as_bytes()).is_none());
    out.extend_from_slice(b"id: ");
    push_decimal(out, id);
    out.extend_from_slice(b"\nevent: ");
    out.extend_from_slice(event.as_bytes());
    out.push(b'\n');
    push_lines(out, b"data: ", data);
    out.push(b'\n');
}

/// Writes a comment, which readers pass over: a sign of life while there is nothing to say.
pub fn comment(out: &mut Vec<u8>, text: &str) {
    push_lines(out, b": ", text.as_bytes());
    out.push(b'\n');
}

fn push_lines(out: &mut Vec<u8>, prefix: &[u8], mut text: &[u8]) {
    loop {
        let (line, rest) = split_line(text).map_or((text, None), |(line, rest)| (line, Some(rest)));
        out.extend_from_slice(prefix);
        out.extend_from_slice(line);
        out.push(b'\n');
        match rest {
            Some(rest) => text = rest,
            None => return,
        }
    }
}

/// Splits off the first line, its end in neither part. `None` when no line ends here.
fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let line_len = memchr2(b'\r', b'\n', text)?;
    let (line, rest) = text.split_at(line_len);
    Some((line, rest.strip_prefix(b"\r\n").unwrap_or(&rest[1..])))
}

/// One event as a reader sees it.
///
/// All three are UTF-8 if the stream is; the standard replaces what is not, which a caller who
/// wants text does with [`String::from_utf8_lossy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The last id the stream gave, by this event or one before: what `Last-Event-ID` would say.
    pub id: &'a [u8],
    /// The event's name; `message` if it has none.
    pub event: &'a [u8],
    /// Its `data:` lines, joined by LF.
    pub data: &'a [u8],
}

/// A line or an event's data is longer than the decoder was told to hold. The stream cannot be read
/// further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an event is longer than allowed")
    }
}

impl std::error::Error for TooLong {}

/// Reads events from a stream that comes in pieces of any size.
///
/// **Call [`decode`](Self::decode) with the same bytes until it finds no event in them; then it has
/// taken them all.** What is unfinished when the stream ends is no event and is dropped with the
/// decoder.
#[derive(Debug)]
pub struct Decoder {
    event_max: usize,
    /// The beginning of a line whose end is not here yet.
    line: Vec<u8>,
    id: Vec<u8>,
    event: Vec<u8>,
    /// Each `data:` line with a LF after it.
    data: Vec<u8>,
    retry_ms: Option<u64>,
    /// The last byte was a CR: a LF right after it ends the same line.
    after_cr: bool,
    /// The first line was seen, and with it the place where a byte order mark may stand.
    begun: bool,
    /// `event` and `data` were handed out and no longer count.
    handed_out: bool,
}

impl Decoder {
    /// A decoder at the start of a stream. It holds lines, and the data of an event, of up to
    /// `event_max` bytes.
    #[must_use]
    pub const fn new(event_max: usize) -> Self {
        Self {
            event_max,
            line: Vec::new(),
            id: Vec::new(),
            event: Vec::new(),
            data: Vec::new(),
            retry_ms: None,
            after_cr: false,
            begun: false,
            handed_out: false,
        }
    }

    /// How long the server asks clients to wait before they reconnect, if it did.
    #[must_use]
    pub const fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// The next event in `bytes`, which then begin after it; `None` once all of them are taken.
    ///
    /// # Errors
    ///
    /// [`TooLong`] when a line or an event's data is longer than the decoder holds.
    pub fn decode(&mut self, bytes: &mut &[u8]) -> Result<Option<Event<'_>>, TooLong> {
        self.forget_handed_out();
        if self.after_cr && !bytes.is_empty() {
            *bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            self.after_cr = false;
        }
        while let Some((line, rest)) = split_line(bytes) {
            self.after_cr = rest.is_empty() && bytes.ends_with(b"\r");
            *bytes = rest;
            self.end_line(line)?;
            if self.handed_out {
                return Ok(Some(self.handed_out()));
            }
        }
        self.hold(bytes)?;
        *bytes = &[];
        Ok(None)
    }

    fn forget_handed_out(&mut self) {
        if std::mem::take(&mut self.handed_out) {
            self.event.clear();
            self.data.clear();
        }
    }

    fn handed_out(&self) -> Event<'_> {
        Event {
            id: &self.id,
            event: if self.event.is_empty() {
                b"message"
            } else {
                &self.event
            },
            data: &self.data,
        }
    }

    /// Keeps the beginning of a line.
    fn hold(&mut self, part: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + part.len() > self.event_max {
            return Err(TooLong);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    /// Interprets the line that ends in `part`.
    fn end_line(&mut self, part: &[u8]) -> Result<(), TooLong> {
        self.hold(part)?;
        let mut line = std::mem::take(&mut self.line);
        self.interpret(&line)?;
        line.clear();
        self.line = line;
        Ok(())
    }

    /// WHATWG HTML §9.2.6, "Interpreting an event stream".
    fn interpret(&mut self, line: &[u8]) -> Result<(), TooLong> {
        let line = match std::mem::replace(&mut self.begun, true) {
            true => line,
            false => line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line),
        };
        if line.is_empty() {
            self.dispatch();
            return Ok(());
        }
        let (name, value) = match memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        self.field(name, value.strip_prefix(b" ").unwrap_or(value))
    }

    /// One field; a comment is a field without a name, and passed over as any unknown one.
    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), TooLong> {
        match name {
            b"data" if self.data.len() + value.len() > self.event_max => return Err(TooLong),
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => replace(&mut self.event, value),
            b"id" if memchr(0, value).is_none() => replace(&mut self.id, value),
            b"retry" => self.retry_ms = decimal(value).or(self.retry_ms),
            _ => {}
        }
        Ok(())
    }

    /// At an empty line: an event without a `data:` line is none.
    fn dispatch(&mut self) {
        if self.data.pop().is_some() {
            self.handed_out = true;
        } else {
            self.event.clear();
        }
    }
}

fn replace(text: &mut Vec<u8>, value: &[u8]) {
    text.clear();
    text.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events as `id|event|data`, read from pieces of the given size.
    fn read(stream: &[u8], piece_len: usize) -> Vec<String> {
        let mut decoder = Decoder::new(1000);
        let mut events = Vec::new();
        for mut piece in stream.chunks(piece_len) {
            while let Some(Event { id, event, data }) = decoder.decode(&mut piece).unwrap() {
                events.push(
                    [id, event, data]
                        .map(|part| String::from_utf8_lossy(part).into_owned())
                        .join("|"),
                );
            }
        }
        events
    }

    /// The stream gives the events however it is cut.
    fn check(stream: &str, expected: &[&str]) {
        for piece_len in 1..=stream.len() {
            assert_eq!(
                read(stream.as_bytes(), piece_len),
                expected,
                "in pieces of {piece_len}"
            );
        }
    }

    #[test]
    fn an_event_is_one_write_and_one_read() {
        let mut out = Vec::new();
        encode(&mut out, 7, "token", br#"{"t":"hi","i":0}"#);
        assert_eq!(
            out,
            b"id: 7\nevent: token\ndata: {\"t\":\"hi\",\"i\":0}\n\n"
        );
        comment(&mut out, "still here");
        encode(&mut out, 8, "end", b"");
        check(
            std::str::from_utf8(&out).unwrap(),
            &[r#"7|token|{"t":"hi","i":0}"#, "8|end|"],
        );
    }

    #[test]
    fn data_of_several_lines_cannot_break_out_of_its_event() {
        let mut out = Vec::new();
        encode(&mut out, 0, "log", b"one\r\ntwo\revent: forged\n\nlast");
        check(
            std::str::from_utf8(&out).unwrap(),
            &["0|log|one\ntwo\nevent: forged\n\nlast"],
        );
    }

    #[test]
    fn the_streams_of_the_standard_read_as_it_says() {
        check(
            "data: YHOO\ndata: +2\ndata: 10\n\n",
            &["|message|YHOO\n+2\n10"],
        );
        check(
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            &[
                "1|message|first event",
                "|message|second event",
                "|message| third event",
            ],
        );
        check("data\n\ndata\ndata\n\ndata:", &["|message|", "|message|\n"]);
        check(
            "data:test\n\ndata: test\n\n",
            &["|message|test", "|message|test"],
        );
    }

    #[test]
    fn lines_end_in_cr_lf_or_both_in_any_mixture() {
        check(
            "data: a\r\rdata: b\r\n\r\ndata: c\n\rdata: d\r\n\n",
            &["|message|a", "|message|b", "|message|c", "|message|d"],
        );
    }

    #[test]
    fn a_byte_order_mark_may_stand_at_the_start_alone() {
        check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &["|message|a"]);
    }

    #[test]
    fn odd_fields_are_passed_over() {
        check(
            "id: 1\nid: 2\u{0}\nDATA: x\nevent: e\n\ndata: y\nevent: f\n\n",
            &["1|f|y"],
        );
        let mut decoder = Decoder::new(100);
        assert_eq!(
            decoder.decode(&mut &b"retry: 1500\nretry: soon\n"[..]),
            Ok(None)
        );
        assert_eq!(decoder.retry_ms(), Some(1500));
    }

    #[test]
    fn what_does_not_end_is_given_up_in_time() {
        assert_eq!(Decoder::new(8).decode(&mut &b"data: abc"[..]), Err(TooLong));
        assert_eq!(
            Decoder::new(8).decode(&mut &b"data: abc\n\n"[..]),
            Err(TooLong)
        );
        assert_eq!(
            Decoder::new(8).decode(&mut &b"data:aa\ndata:bb\ndata:cc\ndata:dd\n"[..]),
            Err(TooLong)
        );
    }
}
