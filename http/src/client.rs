//! One connection seen from the client: upstream engines, the load generator.
//!
//! ```text
//!   Idle ──── request ────► Head ──── final head ────► Body
//!     ▲                     │  ▲                        │
//!     │                     └──┘ interim head           │
//!     └──────────────────── complete ───────────────────┘
//! ```
//!
//! **After each [`receive`](Connection::receive), [`poll`](Connection::poll) until it says
//! [`NeedMore`](Event::NeedMore); when the socket ends, say so with
//! [`receive_end`](Connection::receive_end) and poll once more.** One request at a time: responses
//! to requests sent ahead could be matched to the wrong one by whoever can slip a response in.

use crate::buffer::Buffer;
use crate::error::{Fault, Refusal};
use crate::framing::{BodyLength, BodyReader, Piece, declared_length, is_persistent};
use crate::grammar::is_target;
pub use crate::head::Response;
use crate::head::{HeadReader, Method, StatusLine};
use crate::limits::Limits;
use crate::message::{push_content_length, push_fields};

/// The head of a request to write.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What to do.
    pub method: Method,
    /// To what: a path with its query, percent-encoded.
    pub target: &'a str,
    /// The host and, unless it is the scheme's own, the port.
    pub host: &'a str,
    /// The other fields. `Connection`, `Content-Length` and `Transfer-Encoding` are not among them:
    /// the connection writes those.
    pub fields: &'a [(&'a str, &'a str)],
}

/// One connection: write with [`request`](Self::request), hand in bytes with
/// [`receive`](Self::receive), ask what they mean with [`poll`](Self::poll).
#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    buffer: Buffer,
    state: State,
    /// The server has sent its last byte.
    ended: bool,
}

#[derive(Debug)]
enum State {
    Idle,
    Head(Awaited),
    Body {
        reader: BodyReader,
        persistent: bool,
    },
    /// Done, and the connection cannot be used again.
    Closed,
    Failed(Fault),
}

/// A response whose head is not here yet.
#[derive(Debug)]
struct Awaited {
    reader: HeadReader<StatusLine>,
    /// It answers a `HEAD`, and has no body whatever its fields say.
    to_head: bool,
    /// Interim responses passed over so far.
    interim: usize,
}

/// More than any server sends before it answers; without a bound a server could keep a client
/// waiting with an endless answer that never begins.
const INTERIM_MAX: usize = 8;

/// What the received bytes mean.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Nothing more until the next [`receive`](Connection::receive).
    NeedMore,
    /// A response has begun; its body follows as events, then [`Complete`](Event::Complete).
    Response(Response),
    /// The next bytes of the body, any chunked coding taken off. Never empty.
    Body(&'a [u8]),
    /// The response is here whole.
    Complete,
}

impl Connection {
    /// A connection on which nothing was said yet. The limits are those of the responses.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: Buffer::default(),
            state: State::Idle,
            ended: false,
        }
    }

    /// Whether another request may be sent: none is unanswered, and the server neither closed nor
    /// said that it would.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        matches!(self.state, State::Idle) && !self.ended && self.buffer.is_empty()
    }

    /// Writes a whole request. Its body has a `Content-Length` wherever the method leads one to
    /// expect it (RFC 9110 §8.6).
    ///
    /// # Panics
    ///
    /// When the connection [is not reusable](Self::is_reusable), the target cannot stand in a
    /// request line, or a field is no field.
    pub fn request(&mut self, head: &Request<'_>, body: &[u8], out: &mut Vec<u8>) {
        assert!(
            self.is_reusable(),
            "one request at a time, on an open connection"
        );
        assert!(
            is_target(head.target.as_bytes()),
            "{:?} is no target",
            head.target
        );
        for part in [head.method.as_str(), " ", head.target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        push_fields(out, &[("Host", head.host)]);
        push_fields(out, head.fields);
        if !body.is_empty() || matches!(head.method, Method::Post | Method::Put | Method::Patch) {
            push_content_length(out, body.len());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        self.state = State::Head(Awaited::new(head.method == Method::Head));
    }

    /// Hands in bytes as they came from the socket.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.buffer.push(bytes);
    }

    /// Says that the server has closed its sending side.
    pub fn receive_end(&mut self) {
        self.ended = true;
    }

    /// What the received bytes mean, one event at a time.
    ///
    /// # Errors
    ///
    /// The fault of a response that is malformed, ambiguous, too long, cut short or not asked for;
    /// the same again at every later call.
    pub fn poll(&mut self) -> Result<Event<'_>, Fault> {
        let polled = match &mut self.state {
            State::Idle if !self.buffer.is_empty() => Err(UNSOLICITED),
            State::Idle | State::Closed => Ok(Event::NeedMore),
            State::Head(awaited) => match awaited.read(&mut self.buffer, &self.limits) {
                Ok(Some((response, body))) => {
                    self.state = State::Body {
                        persistent: is_persistent(response.version, &response.fields),
                        reader: body,
                    };
                    Ok(Event::Response(response))
                }
                Ok(None) if self.ended => Err(ENDED_EARLY),
                Ok(None) => Ok(Event::NeedMore),
                Err(refusal) => Err(refusal),
            },
            State::Body { reader, persistent } => match reader.poll(&mut self.buffer, &self.limits)
            {
                Ok(Piece::Data(count)) => return Ok(Event::Body(self.buffer.take(count))),
                Ok(Piece::NeedMore) if !self.ended => Ok(Event::NeedMore),
                Ok(Piece::NeedMore) if !reader.ends_at_close() => Err(ENDED_EARLY),
                Ok(Piece::NeedMore | Piece::End) => {
                    self.state = if *persistent {
                        State::Idle
                    } else {
                        State::Closed
                    };
                    Ok(Event::Complete)
                }
                Err(refusal) => Err(refusal),
            },
            State::Failed(fault) => return Err(*fault),
        };
        polled.map_err(|refusal| {
            let fault = Fault::from(refusal);
            self.state = State::Failed(fault);
            fault
        })
    }
}

impl Awaited {
    const fn new(to_head: bool) -> Self {
        Self {
            reader: HeadReader::new(),
            to_head,
            interim: 0,
        }
    }

    /// The head of the final response and a reader for its body, once the head is here.
    fn read(
        &mut self,
        buffer: &mut Buffer,
        limits: &Limits,
    ) -> Result<Option<(Response, BodyReader)>, Refusal> {
        while let Some((line, fields)) = self.reader.read(buffer, limits)? {
            let response = Response {
                version: line.version,
                status: line.status,
                fields,
            };
            match response.status {
                101 => return Err(SWITCHED),
                100..200 if self.interim == INTERIM_MAX => return Err(TOO_MANY_INTERIM),
                100..200 => self.interim += 1,
                _ => {
                    let body = self.body_reader(&response, limits)?;
                    return Ok(Some((response, body)));
                }
            }
        }
        Ok(None)
    }

    /// RFC 9112 §6.3.
    fn body_reader(&self, response: &Response, limits: &Limits) -> Result<BodyReader, Refusal> {
        let declared = declared_length(response.version, &response.fields)?;
        if self.to_head || matches!(response.status, 204 | 304) {
            return Ok(BodyReader::EMPTY);
        }
        match declared {
            BodyLength::None => Ok(BodyReader::until_close(limits)),
            BodyLength::Exact(length) => BodyReader::exact(length, limits),
            BodyLength::Chunked => Ok(BodyReader::chunked(limits)),
        }
    }
}

const SWITCHED: Refusal =
    Refusal::malformed("The server switched protocols without being asked to.");
const TOO_MANY_INTERIM: Refusal =
    Refusal::malformed("The server sends interim responses without end.");
const ENDED_EARLY: Refusal = Refusal::malformed("The server closed before its response had ended.");
const UNSOLICITED: Refusal = Refusal::malformed("The server sends what no request asked for.");
