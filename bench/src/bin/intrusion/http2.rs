//! Frames of HTTP/2 (RFC 9113 §4, §6) by hand, because a library would refuse to write what is written here.
//!
//! Fields go out as literals without indexing (RFC 7541 §6.2.2), which may hold any bytes. Of what comes back
//! only the status of an answer is decoded.

use std::net::{IpAddr, SocketAddr};

use orchestratord_bench::Failure;
use orchestratord_bench::http2::{PREFACE, push_frame};

use crate::wire::Wire;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

/// A name and a value, as they are sent.
pub(crate) type Field<'f> = (&'f [u8], &'f [u8]);

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    push_frame(&mut frame, kind, flags, stream, payload);
    frame
}

/// A block of fields.
pub(crate) fn block(fields: &[Field<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            push_length(&mut block, text.len());
            block.extend(*text);
        }
    }
    block
}

/// A length in a prefix of seven bits (RFC 7541 §5.1).
fn push_length(out: &mut Vec<u8>, length: usize) {
    const PREFIX_MAX: usize = 127;
    if length < PREFIX_MAX {
        return out.push(length.to_le_bytes()[0]);
    }
    out.push(127);
    let mut left = length - PREFIX_MAX;
    while left > 127 {
        out.push(left.to_le_bytes()[0] | 128);
        left >>= 7;
    }
    out.push(left.to_le_bytes()[0]);
}

/// What became of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered(u16),
    Reset,
    /// The connection ended first.
    Ended,
}

/// A connection that has begun.
pub(crate) struct Http2(Wire);

impl Http2 {
    pub(crate) fn open(addr: SocketAddr) -> Result<Self, Failure> {
        Self::begin(Wire::open(addr)?)
    }

    /// From this address.
    pub(crate) fn open_from(source: IpAddr, addr: SocketAddr) -> Result<Self, Failure> {
        Self::begin(Wire::open_from(source, addr)?)
    }

    fn begin(mut wire: Wire) -> Result<Self, Failure> {
        wire.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
        Ok(Self(wire))
    }

    /// Sends these frames. False, if the other side has hung up.
    pub(crate) fn send(&mut self, frames: &[u8]) -> bool {
        self.0.send(frames)
    }

    /// Reads until it is known what became of these streams.
    pub(crate) fn fates<const N: usize>(
        &mut self,
        streams: [u32; N],
    ) -> Result<[Fate; N], Failure> {
        let mut fates = [None; N];
        while fates.contains(&None) {
            let Some((kind, stream, payload)) = self.receive()? else {
                break;
            };
            let fate = match kind {
                HEADERS => Fate::Answered(status(&payload)?),
                RST_STREAM => Fate::Reset,
                GOAWAY => break,
                _ => continue,
            };
            if let Some(place) = streams.iter().position(|&known| known == stream) {
                fates[place].get_or_insert(fate);
            }
        }
        Ok(fates.map(|fate| fate.unwrap_or(Fate::Ended)))
    }

    fn receive(&mut self) -> Result<Option<(u8, u32, Vec<u8>)>, Failure> {
        let Some(head) = self.0.bytes(9)? else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.0.bytes(length as usize)?;
        Ok(payload.map(|payload| (head[3], stream, payload)))
    }
}

/// The status that a block of fields begins with: by its place in the table, or as three digits.
fn status(block: &[u8]) -> Result<u16, Failure> {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let status = match block {
        [place @ 0x88..=0x8e, ..] => Some(INDEXED[usize::from(place - 0x88)]),
        [_, 3, a, b, c, ..] => digits([*a, *b, *c]),
        [_, length, coded @ ..] if length & 128 != 0 => {
            let coded = coded.get(..usize::from(length & 127));
            coded.and_then(decode_digits).and_then(digits)
        }
        _ => None,
    };
    status.ok_or_else(|| Failure(format!("an answer has no status in {block:02x?}")))
}

fn digits(digits: [u8; 3]) -> Option<u16> {
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// Three digits in the code of RFC 7541, Appendix B: five bits for 0 to 2, six for the others.
fn decode_digits(coded: &[u8]) -> Option<[u8; 3]> {
    let bits: Vec<u8> = coded
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let (mut at, mut digits) = (0, [0; 3]);
    for digit in &mut digits {
        let number = |len: usize| {
            bits.get(at..at + len)
                .map(|bits| bits.iter().fold(0, |number, bit| number << 1 | bit))
        };
        let (code, len) = match number(5)? {
            code @ 0..=2 => (code, 5),
            _ => (number(6)? - 0x19 + 3, 6),
        };
        *digit = b'0' + code;
        at += len;
    }
    Some(digits)
}
