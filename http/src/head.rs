//! Heads: a first line, then fields. Bytes become a [`Request`] or a [`Response`], or a refusal at
//! the first line that is wrong.
//!
//! Lines are read one by one as they come, so a wrong one is refused before the rest has arrived
//! and no byte is looked at twice.

use crate::buffer::Buffer;
use crate::error::Refusal;
use crate::fields::{Fields, FieldsReader};
use crate::framing::{BodyLength, declared_length};
use crate::grammar::{is_host, is_token};
use crate::limits::Limits;
use crate::target::Target;

/// The methods this server has a use for. Another well-formed one is answered with 501.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are RFC 9110's own")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Patch,
    Options,
}

impl Method {
    /// Every method, for tables and tests.
    pub const ALL: [Self; 7] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Delete,
        Self::Patch,
        Self::Options,
    ];

    /// The name on the wire. Methods are case-sensitive (RFC 9110 §9.1).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
            Self::Options => "OPTIONS",
        }
    }

    pub(crate) fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let is_named = |method: &Self| method.as_str().as_bytes() == text;
        match Self::ALL.into_iter().find(is_named) {
            Some(method) => Ok(method),
            None if is_token(text) => Err(UNKNOWN_METHOD),
            None => Err(BAD_METHOD),
        }
    }
}

/// The version of a message. The first two share the syntax that is read here, where another one is
/// answered with 505; heads of the third come from elsewhere, as [`Parts`](crate::server::Parts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Version {
    Http10,
    Http11,
    Http2,
}

impl Version {
    /// `HTTP-version` (RFC 9112 §2.3).
    fn parse(text: &[u8]) -> Result<Self, Refusal> {
        match text {
            b"HTTP/1.1" => Ok(Self::Http11),
            b"HTTP/1.0" => Ok(Self::Http10),
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(UNKNOWN_VERSION),
            _ => Err(BAD_VERSION),
        }
    }
}

/// The head of a request as a server received it, with nothing left to doubt: its target decodes,
/// its host is one, its body has one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// To what.
    pub target: Target,
    /// The version the client speaks.
    pub version: Version,
    /// The header fields.
    pub fields: Fields,
    /// How the body's length was declared. A `POST` that declares none has an empty body (RFC 9112
    /// §6.3); whether to answer it with 411 is the caller's choice.
    pub body: BodyLength,
}

impl Request {
    pub(crate) fn new(line: RequestLine, fields: Fields) -> Result<Self, Refusal> {
        check_host(line.version, &fields)?;
        check_expectation(&fields)?;
        Ok(Self {
            method: line.method,
            target: line.target,
            version: line.version,
            body: declared_length(line.version, &fields)?,
            fields,
        })
    }

    /// Who the client thinks it is talking to: the host in the target if there is one, else the
    /// `Host` field (RFC 9112 §3.2.2). `None` only from HTTP/1.0.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.target.authority().or_else(|| self.fields.get("host"))
    }

    /// Whether the client holds its body back until it is told to go on. HTTP/1.0 has no interim
    /// responses, so an expectation from there is ignored (RFC 9110 §10.1.1).
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        let has_body = !matches!(self.body, BodyLength::None | BodyLength::Exact(0));
        has_body && self.version != Version::Http10 && self.fields.get("expect").is_some()
    }
}

/// RFC 9112 §3.2: exactly one `Host` since HTTP/1.1, at most one from before, always well-formed.
pub(crate) fn check_host(version: Version, fields: &Fields) -> Result<(), Refusal> {
    let mut hosts = fields.get_all("host");
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::Http10 => Ok(()),
        (None, _) => Err(NO_HOST),
        (Some(_), Some(_)) => Err(TWO_HOSTS),
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        (Some(_), None) => Err(BAD_HOST),
    }
}

pub(crate) fn check_expectation(fields: &Fields) -> Result<(), Refusal> {
    let is_known = |expectation: &str| expectation.eq_ignore_ascii_case("100-continue");
    if fields.get_all("expect").all(is_known) {
        Ok(())
    } else {
        Err(UNKNOWN_EXPECTATION)
    }
}

/// The head of a response as a client received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The version the server speaks.
    pub version: Version,
    /// 100 to 599.
    pub status: u16,
    /// The header fields.
    pub fields: Fields,
}

/// The first line of a message: the only part of a head that the two roles read differently.
pub(crate) trait StartLine: Sized {
    const TOO_LONG: Refusal;

    fn parse(line: &[u8]) -> Result<Self, Refusal>;
}

/// `method SP request-target SP HTTP-version` (RFC 9112 §3).
#[derive(Debug)]
pub(crate) struct RequestLine {
    method: Method,
    target: Target,
    version: Version,
}

impl StartLine for RequestLine {
    const TOO_LONG: Refusal = LINE_TOO_LONG;

    fn parse(line: &[u8]) -> Result<Self, Refusal> {
        let mut words = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(BAD_REQUEST_LINE);
        };
        // The version goes first: the grammar of the rest is this version's.
        let version = Version::parse(version)?;
        let method = Method::parse(method)?;
        let target = Target::parse(method, target)?;
        Ok(Self {
            method,
            target,
            version,
        })
    }
}

/// `HTTP-version SP status-code SP [ reason-phrase ]` (RFC 9112 §4). The phrase is for people and
/// dropped; servers that leave out the space before an empty one are understood.
#[derive(Debug)]
pub(crate) struct StatusLine {
    pub(crate) version: Version,
    pub(crate) status: u16,
}

impl StartLine for StatusLine {
    const TOO_LONG: Refusal = Refusal::malformed("The status line is longer than allowed.");

    fn parse(line: &[u8]) -> Result<Self, Refusal> {
        let mut words = line.splitn(3, |&byte| byte == b' ');
        let version = Version::parse(words.next().unwrap_or_default())?;
        let status = match words.next() {
            Some(&[a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9']) => [a, b, c]
                .iter()
                .fold(0, |status, digit| status * 10 + u16::from(digit - b'0')),
            _ => return Err(BAD_STATUS),
        };
        Ok(Self { version, status })
    }
}

/// Reads one head as its bytes come.
#[derive(Debug)]
pub(crate) struct HeadReader<Line> {
    /// The first line and the reader of what follows it, once that line is here.
    begun: Option<(Line, FieldsReader)>,
    /// Empty lines passed over so far.
    empty_lines: usize,
}

/// RFC 9112 §2.2 asks servers to pass over at least one empty line before a request, for old
/// clients that end a body with a line break too many. A few is kind, no bound would be a way to
/// keep a connection busy for ever.
const EMPTY_LINES_MAX: usize = 4;

impl<Line: StartLine> HeadReader<Line> {
    pub(crate) const fn new() -> Self {
        Self {
            begun: None,
            empty_lines: 0,
        }
    }

    /// Whether the first line is here already.
    pub(crate) const fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// The first line and the fields, once all of them are here.
    pub(crate) fn read(
        &mut self,
        buffer: &mut Buffer,
        limits: &Limits,
    ) -> Result<Option<(Line, Fields)>, Refusal> {
        if self.begun.is_none() {
            self.begun = self.read_start_line(buffer, limits)?;
        }
        let Some((_, reader)) = &mut self.begun else {
            return Ok(None);
        };
        let Some(fields) = reader.read(buffer, limits)? else {
            return Ok(None);
        };
        Ok(self.begun.take().map(|(line, _)| (line, fields)))
    }

    fn read_start_line(
        &mut self,
        buffer: &mut Buffer,
        limits: &Limits,
    ) -> Result<Option<(Line, FieldsReader)>, Refusal> {
        while let Some(line) = buffer.take_line(limits.request_line_max, Line::TOO_LONG)? {
            if !line.is_empty() {
                return Ok(Some((
                    Line::parse(line)?,
                    FieldsReader::after_line(line.len()),
                )));
            }
            self.empty_lines += 1;
            if self.empty_lines > EMPTY_LINES_MAX {
                return Err(TOO_MANY_EMPTY_LINES);
            }
        }
        Ok(None)
    }
}

pub(crate) const LINE_TOO_LONG: Refusal = Refusal::new(
    414,
    "The request line is longer than allowed; move data into the body.",
);
const BAD_REQUEST_LINE: Refusal = Refusal::malformed(
    "The request line is not a method, a target and a version with one space between them.",
);
const BAD_METHOD: Refusal =
    Refusal::malformed("The method holds a character that methods can't hold.");
const UNKNOWN_METHOD: Refusal = Refusal::new(501, "This method is not implemented.");
const BAD_VERSION: Refusal = Refusal::malformed("The message does not name its HTTP version.");
const UNKNOWN_VERSION: Refusal = Refusal::new(
    505,
    "A connection that begins like this one speaks HTTP/1.0 or HTTP/1.1.",
);
const BAD_STATUS: Refusal = Refusal::malformed("The status is not a number from 100 to 599.");
const TOO_MANY_EMPTY_LINES: Refusal =
    Refusal::malformed("Too many empty lines stand before the message.");
const NO_HOST: Refusal =
    Refusal::malformed("HTTP/1.1 requires a Host field, HTTP/2 that or :authority.");
pub(crate) const TWO_HOSTS: Refusal = Refusal::malformed("There is more than one Host field.");
const BAD_HOST: Refusal = Refusal::malformed("The Host field is not a host with an optional port.");
const UNKNOWN_EXPECTATION: Refusal =
    Refusal::new(417, "The only expectation that can be met is 100-continue.");
