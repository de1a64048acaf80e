//! Whose fault it is.
//!
//! What a peer did wrong is a value: a [`Refusal`] on the server's side, a [`Fault`] on the
//! client's. What our own caller does wrong (two responses to one request, a line break in a field
//! value) is a bug and panics, and each such door has a `# Panics` section.

use std::fmt;

/// A request that this server will not read further. The connection always closes after it: once
/// two sides disagree on where a message ends, every later byte may be somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status to answer with.
    pub status: u16,
    /// One plain sentence for the client, without anything the client sent.
    pub reason: &'static str,
}

impl Refusal {
    /// 413, for those who count a body's bytes themselves.
    pub const BODY_TOO_LONG: Self = Self::new(413, "The body is longer than allowed.");

    /// 408, for those who own the clock.
    pub const TOO_SLOW: Self = Self::new(408, "The request took too long to arrive.");

    pub(crate) const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }

    /// 400: the bytes do not follow the grammar.
    pub(crate) const fn malformed(reason: &'static str) -> Self {
        Self::new(400, reason)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.reason)
    }
}

impl std::error::Error for Refusal {}

/// A response that this client cannot trust. The connection is of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// One plain sentence for the log.
    pub reason: &'static str,
}

/// Both roles read heads and bodies with the same code; a status means nothing to a client.
impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self {
            reason: refusal.reason,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl std::error::Error for Fault {}
