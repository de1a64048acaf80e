//! Every limit of a message, with its reason and the status it leads to.

/// How much of a message this side accepts. Sizes are in bytes.
///
/// Whatever a peer can make grow is counted here or in a constant beside the code that counts it
/// (empty lines before a request, chunk extensions), so a connection's memory has a bound that can
/// be written down: one head, plus what the caller receives before it polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The first line of a message, without its CRLF. Beyond it: 414. Default 8 KiB, a little
    /// more than the 8000 bytes that RFC 9112 §3 recommends as the least.
    pub request_line_max: usize,
    /// First line and fields together, each with its CRLF; also all trailers of one body. Beyond
    /// it: 431. Default 32 KiB: room for cookies and tokens besides the longest line, small enough
    /// to hold for ten thousand connections at once (320 MB).
    pub head_max: usize,
    /// Number of fields in a head, or of trailers after a body. Beyond it: 431. Default 100:
    /// several times what a browser behind proxies sends.
    pub fields_max: usize,
    /// A whole body, after any chunked coding is taken off. Beyond it: 413. Default 1 MiB: a prompt
    /// of a quarter million tokens. A client that reads endless streams sets `u64::MAX`.
    pub body_max: u64,
}

impl Limits {
    /// The defaults that stand beside each field.
    pub const DEFAULT: Self = Self {
        request_line_max: 8 * 1024,
        head_max: 32 * 1024,
        fields_max: 100,
        body_max: 1024 * 1024,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
