//! One connection seen from the server.
//!
//! A connection is a conversation with strict turns: a request, then its response, then perhaps the
//! next request. What the client sends ahead of its turn waits in the buffer.
//!
//! ```text
//!   ┌────► Head ──── request ────► Exchange ──── response ended, and it was the last ────► Closed
//!   │                                 │
//!   └── response ended, body read ────┘
//! ```
//!
//! **After each [`receive`](Connection::receive), [`poll`](Connection::poll) until it says
//! [`NeedMore`](Event::NeedMore); after each response, ask [`must_close`](Connection::must_close),
//! then poll again, for the next request may be here already.** A refusal ends the reading for
//! good: answer it with [`refuse`](Connection::refuse) and close.
//!
//! A response may go out before the body was read (a missing key, a body too long). Then the
//! connection closes after it, always: draining the rest would be a service to those who ignore
//! answers. To let such an answer arrive, the owner of the socket shuts down its sending side and
//! reads on for a moment before closing (RFC 9112 §9.6).
//!
//! Nothing here grows by itself, but what is received ahead of its turn is kept: an owner that
//! reads during a response, to notice that the client left, stops when
//! [`has_buffered`](Connection::has_buffered). A connection is plain data and may move to another
//! thread at any time, its buffered bytes with it.

mod exchange;
mod parts;

use crate::buffer::Buffer;
use crate::error::Refusal;
use crate::framing::{Piece, is_persistent};
pub use crate::head::Request;
use crate::head::{HeadReader, RequestLine};
use crate::limits::Limits;
use crate::message::push_status_line;
use exchange::{Delimiter, Exchange};
pub use parts::Parts;

/// One connection: look with [`phase`](Self::phase), [`must_close`](Self::must_close) and
/// [`has_buffered`](Self::has_buffered), hand in bytes with [`receive`](Self::receive), ask what
/// they mean with [`poll`](Self::poll), answer with the others.
#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    buffer: Buffer,
    state: State,
    /// What was wrong with the request, once something was: nothing is read any more.
    refused: Option<Refusal>,
    /// The response now owed, or the next one, is the last.
    closing: bool,
}

#[derive(Debug)]
enum State {
    /// Between requests or within the head of one.
    Head(HeadReader<RequestLine>),
    /// A request was handed out and its response has not ended.
    Exchange(Exchange),
    /// The last response has ended.
    Closed,
}

/// What the received bytes mean.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Nothing more until the next [`receive`](Connection::receive) or the end of a response.
    NeedMore,
    /// A request has begun; its body follows as events, then [`Complete`](Event::Complete).
    Request {
        /// Its head.
        request: Request,
        /// The client waits for [`send_continue`](Connection::send_continue) before it sends the
        /// body.
        expects_continue: bool,
    },
    /// The next bytes of the body, any chunked coding taken off. Never empty.
    Body(&'a [u8]),
    /// The request is here whole.
    Complete,
}

/// Whose turn it is, so that the owner of the clock knows which timeout runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between requests. Closing without a word is fine.
    Idle,
    /// A head has begun. When it does not end in time: 408.
    Head,
    /// A body is to come. When it does not come in time: 408.
    Body,
    /// The response is the server's to write.
    Responding,
    /// The last response has been written.
    Closed,
}

/// The head of a response to write.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// 200 to 599.
    pub status: u16,
    /// The fields, `Date` included. `Connection`, `Content-Length` and `Transfer-Encoding` are not
    /// among them: the connection writes those.
    pub fields: &'a [(&'a str, &'a str)],
}

impl Connection {
    /// A connection on which nothing was said yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: Buffer::default(),
            state: State::Head(HeadReader::new()),
            refused: None,
            closing: false,
        }
    }

    /// Whose turn it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match &self.state {
            _ if self.refused.is_some() => Phase::Responding,
            State::Head(reader) if reader.has_begun() || self.has_buffered() => Phase::Head,
            State::Head(_) => Phase::Idle,
            State::Exchange(exchange) if exchange.awaits_body() => Phase::Body,
            State::Exchange(_) => Phase::Responding,
            State::Closed => Phase::Closed,
        }
    }

    /// Whether the last response has been written: send what is left and close.
    #[must_use]
    pub fn must_close(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether bytes were received that no event has covered yet, such as the next request.
    #[must_use]
    pub fn has_buffered(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Hands in bytes as they came from the socket. Those that can mean nothing any more are
    /// dropped.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.may_read() {
            self.buffer.push(bytes);
        }
    }

    /// What the received bytes mean, one event at a time.
    ///
    /// # Errors
    ///
    /// The refusal of a request that is malformed, ambiguous, too long or not implemented; the same
    /// again at every later call.
    pub fn poll(&mut self) -> Result<Event<'_>, Refusal> {
        if let Some(refusal) = self.refused {
            return Err(refusal);
        }
        let polled = match &mut self.state {
            State::Head(reader) => match reader.read(&mut self.buffer, &self.limits) {
                Ok(None) => Ok(Event::NeedMore),
                Ok(Some((line, fields))) => {
                    Request::new(line, fields).map(|request| self.begin_exchange(request))
                }
                Err(refusal) => Err(refusal),
            },
            State::Exchange(exchange) => match exchange.poll_body(&mut self.buffer, &self.limits) {
                Ok(Some(Piece::Data(count))) => return Ok(Event::Body(self.buffer.take(count))),
                Ok(Some(Piece::End)) => Ok(Event::Complete),
                Ok(Some(Piece::NeedMore) | None) => Ok(Event::NeedMore),
                Err(refusal) => Err(refusal),
            },
            State::Closed => Ok(Event::NeedMore),
        };
        if let Err(refusal) = &polled {
            self.refused = Some(*refusal);
        }
        polled
    }

    /// Writes `100 Continue` if the client waits for it and nothing was answered yet; at most once
    /// a request.
    pub fn send_continue(&mut self, out: &mut Vec<u8>) {
        if let State::Exchange(exchange) = &mut self.state
            && exchange.take_continue()
        {
            push_status_line(out, 100);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Writes a whole response. To a `HEAD` it writes the same head and no body; a 204 or 304 has
    /// neither body nor length.
    ///
    /// # Panics
    ///
    /// When no request awaits a response, the status is interim, or a field is no field.
    pub fn respond(&mut self, head: &Response<'_>, body: &[u8], out: &mut Vec<u8>) {
        let delimiter = match head.status {
            204 | 304 => Delimiter::Nothing,
            _ => Delimiter::Length(body.len()),
        };
        self.begin_response(head, delimiter, out);
        self.exchange().push_data(body, out);
        self.finish();
    }

    /// Writes the head of a response whose body follows piece by piece: chunked, or to an HTTP/1.0
    /// client up to the close.
    ///
    /// # Panics
    ///
    /// As [`respond`](Self::respond), and for a status that can have no body.
    pub fn begin_stream(&mut self, head: &Response<'_>, out: &mut Vec<u8>) {
        assert!(
            !matches!(head.status, 204 | 304),
            "a {} has no body",
            head.status
        );
        self.begin_response(head, self.exchange().stream_delimiter(), out);
    }

    /// Writes the next piece of the body, as one chunk. Nothing for empty data.
    ///
    /// # Panics
    ///
    /// When no stream has begun.
    pub fn stream(&mut self, data: &[u8], out: &mut Vec<u8>) {
        self.exchange().push_data(data, out);
    }

    /// Ends the body.
    ///
    /// # Panics
    ///
    /// When no stream has begun.
    pub fn end_stream(&mut self, out: &mut Vec<u8>) {
        self.exchange().push_end(out);
        self.finish();
    }

    /// Writes a whole response and makes it the last. Also the answer to a request that could not
    /// be read, or that did not come in time.
    ///
    /// # Panics
    ///
    /// When a response has begun already, or the connection is closed.
    pub fn refuse(&mut self, head: &Response<'_>, body: &[u8], out: &mut Vec<u8>) {
        self.close_after_response();
        if let State::Head(_) = self.state {
            self.state = State::Exchange(Exchange::UNREADABLE);
        }
        self.respond(head, body, out);
    }

    /// Makes the response now owed, or the next one, the last: a server that shuts down says so.
    pub fn close_after_response(&mut self) {
        self.closing = true;
    }

    /// Whether another byte may still matter.
    fn may_read(&self) -> bool {
        let is_heard = match &self.state {
            State::Head(_) => false,
            State::Exchange(exchange) => exchange.is_heard(),
            State::Closed => true,
        };
        self.refused.is_none() && !(self.closing && is_heard)
    }

    fn begin_exchange(&mut self, request: Request) -> Event<'static> {
        self.closing |= !is_persistent(request.version, &request.fields);
        let (exchange, refused) = match Exchange::new(&request, &self.limits) {
            Ok(exchange) => (exchange, None),
            // Told at the next poll: who asks is known by then, and can be told under their own id.
            Err(refusal) => (Exchange::without_body(&request), Some(refusal)),
        };
        self.closing |= refused.is_some();
        self.refused = refused;
        self.state = State::Exchange(exchange);
        Event::Request {
            expects_continue: refused.is_none() && request.expects_continue(),
            request,
        }
    }

    fn exchange(&self) -> &Exchange {
        match &self.state {
            State::Exchange(exchange) => exchange,
            state => panic!("there is no request to respond to in {state:?}"),
        }
    }

    fn begin_response(&mut self, head: &Response<'_>, delimiter: Delimiter, out: &mut Vec<u8>) {
        assert!(
            (200..600).contains(&head.status),
            "{} is no final status",
            head.status
        );
        let State::Exchange(exchange) = &mut self.state else {
            panic!("there is no request to respond to in {:?}", self.state);
        };
        self.closing |= exchange.awaits_body() || delimiter == Delimiter::Close;
        exchange.begin_response(head, delimiter, self.closing, out);
    }

    /// The response has ended: on to the next request, or to the close.
    fn finish(&mut self) {
        self.buffer.release();
        self.refused = None;
        self.state = match self.closing {
            true => State::Closed,
            false => State::Head(HeadReader::new()),
        };
    }
}
