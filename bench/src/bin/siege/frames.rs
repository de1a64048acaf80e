//! Frames of HTTP/2 by hand, for what no ordinary client would send (RFC 9113 §4 and §6).

use orchestratord_bench::http2::{PREFACE, push_frame};

/// The kinds that are sent or counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Headers = 1,
    ResetStream = 3,
    Settings = 4,
    Ping = 6,
    GoAway = 7,
    Continuation = 9,
}

/// Of HEADERS: the request has no body. Of SETTINGS and PING: it is an acknowledgement.
pub(crate) const END_STREAM: u8 = 1;
/// Of HEADERS and CONTINUATION: no more of the head follows.
pub(crate) const END_HEADERS: u8 = 4;
/// A stream that nobody wants any more.
pub(crate) const CANCEL: [u8; 4] = [0, 0, 0, 8];
/// Bytes before a frame's payload.
const HEAD_BYTES: usize = 9;
/// The window that streams have in the beginning.
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];

/// The preface, with a window of so many bytes for each stream.
pub(crate) fn preface(window_bytes: u32) -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    let window = [&INITIAL_WINDOW_SIZE[..], &window_bytes.to_be_bytes()].concat();
    push(&mut out, Kind::Settings, 0, 0, &window);
    out
}

/// Adds a frame.
pub(crate) fn push(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
    push_frame(out, kind as u8, flags, stream, payload);
}

/// The head of a GET, without dynamic entries (RFC 7541 §6.2.2). The path is short.
pub(crate) fn get(path: &str) -> Vec<u8> {
    // `:method: GET`, `:scheme: http`, and the names of `:authority` and `:path`, of the static table.
    const GET: u8 = 0x82;
    const HTTP: u8 = 0x86;
    const AUTHORITY: u8 = 0x01;
    const PATH: u8 = 0x04;
    let mut out = vec![GET, HTTP];
    for (name, value) in [(AUTHORITY, "localhost"), (PATH, path)] {
        let length = u8::try_from(value.len())
            .ok()
            .filter(|length| *length < 127);
        out.extend_from_slice(&[name, length.expect("a path fits one byte of length")]);
        out.extend_from_slice(value.as_bytes());
    }
    out
}

/// Counts what the daemon sends, by its kind.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    head: Vec<u8>,
    /// Bytes of the payload that are still to come.
    payload: usize,
    counts: [usize; 16],
}

impl Heard {
    pub(crate) fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.payload.min(bytes.len());
            self.payload -= skipped;
            bytes = &bytes[skipped..];
            let (head, rest) = bytes.split_at((HEAD_BYTES - self.head.len()).min(bytes.len()));
            self.head.extend_from_slice(head);
            bytes = rest;
            if let [long, middle, short, kind, ..] = self.head[..]
                && self.head.len() == HEAD_BYTES
            {
                self.payload = u32::from_be_bytes([0, long, middle, short]) as usize;
                self.counts[usize::from(kind) % 16] += 1;
                self.head.clear();
            }
        }
    }

    /// How many frames of a kind came.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.counts[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_wherever_they_are_cut() {
        let mut text = Vec::new();
        push(&mut text, Kind::Settings, 0, 0, &[0; 6]);
        push(&mut text, Kind::Headers, END_HEADERS, 1, &get("/livez"));
        push(&mut text, Kind::ResetStream, 0, 1, &CANCEL);
        push(&mut text, Kind::ResetStream, 0, 3, &CANCEL);
        for cut in 0..text.len() {
            let mut heard = Heard::default();
            heard.take(&text[..cut]);
            heard.take(&text[cut..]);
            assert_eq!(heard.count(Kind::ResetStream), 2);
            assert_eq!(heard.count(Kind::Headers), 1);
        }
    }
}
