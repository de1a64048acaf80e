//! How long a body is: one function that decides it, one reader that holds to it.
//!
//! Everything that is called request smuggling begins with two programs that find two lengths in
//! one message. RFC 9112 §6.3 says which to believe; this side believes none of them and refuses
//! every message whose length is stated twice, strangely, or in two ways, even when the statements
//! agree: whoever sends one has nothing honest to gain.

use crate::buffer::Buffer;
use crate::chunked::ChunkedReader;
use crate::error::Refusal;
use crate::fields::Fields;
use crate::grammar::decimal;
use crate::head::Version;
use crate::limits::Limits;

/// How a message declares the length of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// Not at all: no body in a request, all bytes up to the close in a response.
    None,
    /// By `Content-Length`, in bytes.
    Exact(u64),
    /// By `Transfer-Encoding: chunked`; in HTTP/2 by nothing but its end.
    Chunked,
}

/// Decides the length of a body, for both roles.
pub(crate) fn declared_length(version: Version, fields: &Fields) -> Result<BodyLength, Refusal> {
    let mut lengths = fields.get_all("content-length");
    let mut codings = fields.get_all("transfer-encoding");
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(BodyLength::None),
        (Some(_), Some(_)) => Err(LENGTH_AND_CODING),
        (Some(_), None) if lengths.next().is_some() => Err(TWO_LENGTHS),
        (Some(length), None) => decimal(length.as_bytes())
            .map(BodyLength::Exact)
            .ok_or(BAD_LENGTH),
        // RFC 9112 §6.1: HTTP/1.0 did not know the field, so a hop in between may have passed it on
        // blindly.
        (None, Some(_)) if version == Version::Http10 => Err(CODING_IN_HTTP_10),
        (None, Some(_)) if codings.next().is_some() => Err(TWO_CODINGS),
        (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") => Ok(BodyLength::Chunked),
        (None, Some(_)) => Err(UNKNOWN_CODING),
    }
}

/// Whether the connection may carry another message after this one (RFC 9112 §9.3).
pub(crate) fn is_persistent(version: Version, fields: &Fields) -> bool {
    !fields.lists("connection", "close")
        && (version == Version::Http11 || fields.lists("connection", "keep-alive"))
}

/// Reads one body as its bytes come.
#[derive(Debug)]
pub(crate) enum BodyReader {
    /// This many bytes are still to come.
    Exact {
        left: u64,
    },
    Chunked(ChunkedReader),
    /// All bytes up to the close, of which this many are still allowed.
    UntilClose {
        allowed: u64,
    },
}

/// What a reader finds at the front of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    NeedMore,
    /// This many bytes of the body, at least one, for the caller to take.
    Data(usize),
    End,
}

impl BodyReader {
    pub(crate) const EMPTY: Self = Self::Exact { left: 0 };

    /// A reader of exactly `length` bytes.
    pub(crate) const fn exact(length: u64, limits: &Limits) -> Result<Self, Refusal> {
        if length > limits.body_max {
            return Err(BODY_TOO_LONG);
        }
        Ok(Self::Exact { left: length })
    }

    pub(crate) const fn chunked(limits: &Limits) -> Self {
        Self::Chunked(ChunkedReader::new(limits.body_max))
    }

    pub(crate) const fn until_close(limits: &Limits) -> Self {
        Self::UntilClose {
            allowed: limits.body_max,
        }
    }

    /// Whether nothing more can belong to the body.
    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self, Self::Exact { left: 0 })
    }

    /// Whether only the close can end the body.
    pub(crate) const fn ends_at_close(&self) -> bool {
        matches!(self, Self::UntilClose { .. })
    }

    pub(crate) fn poll(&mut self, buffer: &mut Buffer, limits: &Limits) -> Result<Piece, Refusal> {
        match self {
            Self::Exact { left: 0 } => Ok(Piece::End),
            Self::Exact { left } => Ok(take_from(left, buffer)),
            Self::Chunked(reader) => reader.poll(buffer, limits),
            Self::UntilClose { allowed: 0 } if !buffer.is_empty() => Err(BODY_TOO_LONG),
            Self::UntilClose { allowed } => Ok(take_from(allowed, buffer)),
        }
    }
}

/// As much of the `left` bytes as is here, which `left` then no longer counts.
pub(crate) fn take_from(left: &mut u64, buffer: &Buffer) -> Piece {
    match buffer.available(*left) {
        0 => Piece::NeedMore,
        count => {
            *left -= count as u64;
            Piece::Data(count)
        }
    }
}

pub(crate) const BODY_TOO_LONG: Refusal = Refusal::BODY_TOO_LONG;
const LENGTH_AND_CODING: Refusal =
    Refusal::malformed("Content-Length and Transfer-Encoding exclude each other.");
const TWO_LENGTHS: Refusal = Refusal::malformed("There is more than one Content-Length field.");
const BAD_LENGTH: Refusal = Refusal::malformed("Content-Length is not a number in decimal digits.");
const CODING_IN_HTTP_10: Refusal = Refusal::malformed("HTTP/1.0 has no Transfer-Encoding.");
const TWO_CODINGS: Refusal = Refusal::malformed("There is more than one Transfer-Encoding field.");
const UNKNOWN_CODING: Refusal =
    Refusal::new(501, "The only Transfer-Encoding implemented is chunked.");
