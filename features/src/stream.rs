//! A reader of a task's events: opens the stream, takes what arrives, keeps all of it.

use std::net::SocketAddr;
use std::time::Instant;

use crate::chunked::Chunked;
use crate::claim::PATIENCE;
use crate::client::{Answer, Request};
use crate::connection::Connection;
use crate::http2::{Body, Http2};
use crate::sequence;
use crate::sse::{Event, Parser};

/// An event stream and everything read from it so far.
#[derive(Debug)]
pub(crate) struct Stream {
    source: Source,
    parser: Parser,
    /// The events, in the order of their arrival.
    pub(crate) events: Vec<Event>,
    /// The same, as the bytes of the body.
    pub(crate) bytes: Vec<u8>,
}

/// Where the body comes from.
#[derive(Debug)]
enum Source {
    Http1(Connection, Chunked),
    Http2(Body),
}

impl Stream {
    fn of(source: Source) -> Self {
        Self {
            source,
            parser: Parser::default(),
            events: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// As [`Stream::open`], as one of the streams of an HTTP/2 connection.
    pub(crate) fn open_on(
        connection: &Http2,
        request: &Request,
    ) -> Result<(Answer, Option<Self>), String> {
        let (head, mut body) = connection.open_body(request)?;
        if head.status == 200 {
            return Ok((head, Some(Self::of(Source::Http2(body)))));
        }
        let mut content = Vec::new();
        while !body.is_over() {
            content.extend(body.take()?);
        }
        Ok((
            Answer {
                body: content,
                ..head
            },
            None,
        ))
    }

    /// Asks for the stream. The answer comes beside it; there is a stream only if its status is 200.
    pub(crate) fn open(
        addr: SocketAddr,
        request: &Request,
    ) -> Result<(Answer, Option<Self>), String> {
        let mut connection = Connection::open(addr)?;
        connection.write_request(request)?;
        let head = connection.read_head()?;
        if head.status == 200 {
            let source = Source::Http1(connection, Chunked::default());
            return Ok((head, Some(Self::of(source))));
        }
        let body = connection.read_body(&head)?;
        Ok((Answer { body, ..head }, None))
    }

    /// Whether the body has come to its end.
    pub(crate) fn is_over(&self) -> bool {
        match &self.source {
            Source::Http1(_, chunked) => chunked.is_done(),
            Source::Http2(body) => body.is_over(),
        }
    }

    /// Reads on until this many tokens have arrived.
    pub(crate) fn read_tokens(&mut self, count: usize) -> Result<(), String> {
        self.read_until(|stream| sequence::tokens(&stream.events).count() >= count)
    }

    /// Reads on until a comment has come that mentions this.
    pub(crate) fn read_comment(&mut self, part: &str) -> Result<(), String> {
        self.read_until(|stream| {
            let text = String::from_utf8_lossy(&stream.bytes);
            let mut comments = text.lines().filter(|line| line.starts_with(':'));
            comments.any(|comment| comment.contains(part))
        })
    }

    /// Reads on until the body ends.
    pub(crate) fn read_to_end(&mut self) -> Result<(), String> {
        self.read_until(Self::is_over)
    }

    /// Takes nothing until the daemon resets the stream, which only HTTP/2 can.
    pub(crate) fn await_reset(&mut self) -> Result<(), String> {
        match &mut self.source {
            Source::Http1(..) => Err("a connection of HTTP/1.1 has no resets".to_owned()),
            Source::Http2(body) => body.await_reset(),
        }
    }

    /// Takes what has already arrived, without waiting.
    pub(crate) fn read_arrived(&mut self) -> Result<(), String> {
        let bytes = match &mut self.source {
            Source::Http1(connection, _) => connection.take_arrived()?,
            Source::Http2(body) => body.take_arrived()?,
        };
        self.take_in(&bytes)
    }

    /// Patience is for the whole wait: a stream that never stops must not hold up the scenario.
    fn read_until(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        let hopeless = Instant::now() + PATIENCE;
        while !done(self) {
            let step = match self.is_over() || Instant::now() > hopeless {
                true => Err("what was awaited has not come".to_owned()),
                false => self.read_on(),
            };
            step.map_err(|error| {
                format!("{error}; read so far: {}", sequence::outline(&self.events))
            })?;
        }
        Ok(())
    }

    fn read_on(&mut self) -> Result<(), String> {
        let bytes = match &mut self.source {
            Source::Http1(connection, _) => match connection.take()? {
                bytes if bytes.is_empty() => {
                    return Err("the connection closed inside the body".to_owned());
                }
                bytes => bytes,
            },
            Source::Http2(body) => body.take()?,
        };
        self.take_in(&bytes)
    }

    fn take_in(&mut self, bytes: &[u8]) -> Result<(), String> {
        let known = self.bytes.len();
        match &mut self.source {
            Source::Http1(_, chunked) => {
                chunked.decode(bytes, &mut self.bytes)?;
            }
            Source::Http2(_) => self.bytes.extend_from_slice(bytes),
        }
        self.events.extend(self.parser.push(&self.bytes[known..])?);
        if self.is_over() && !self.parser.is_between_events() {
            return Err("the body ends inside an event".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const TOKEN: &str = "id: 1\nevent: token\ndata: {\"t\":\"a\",\"i\":0}\n\n";
    const END: &str = "id: 2\nevent: end\ndata: {}\n\n";

    fn request() -> Request {
        let (method, path) = ("GET".to_owned(), "/".to_owned());
        Request {
            method,
            path,
            headers: Vec::new(),
            body: None,
        }
    }

    /// The stream of a server that sends `answer` and closes.
    fn opened(answer: String) -> (Answer, Option<Stream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || listener.accept().unwrap().0.write_all(answer.as_bytes()));
        Stream::open(addr, &request()).unwrap()
    }

    fn chunk(text: &str) -> String {
        format!("{:x}\r\n{text}\r\n", text.len())
    }

    #[test]
    fn a_reader_keeps_the_events_and_their_bytes() {
        let (_, stream) = opened(format!("{HEAD}{}{}0\r\n\r\n", chunk(TOKEN), chunk(END)));
        let mut stream = stream.unwrap();
        stream.read_tokens(1).unwrap();
        stream.read_to_end().unwrap();
        assert_eq!(stream.bytes, format!("{TOKEN}{END}").into_bytes());
        assert_eq!(stream.events.last().unwrap().kind, "end");
        assert!(stream.read_tokens(2).is_err(), "a second token never came");
    }

    #[test]
    fn a_stream_that_stops_inside_its_body_or_an_event_is_an_error() {
        for body in [chunk(TOKEN), format!("{}0\r\n\r\n", chunk(&END[..12]))] {
            let (_, stream) = opened(format!("{HEAD}{body}"));
            assert!(stream.unwrap().read_to_end().is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_refusal_is_an_answer_with_its_body() {
        let refusal = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}";
        let (answer, stream) = opened(refusal.to_owned());
        assert_eq!((answer.status, answer.text().as_str()), (404, "{}"));
        assert!(stream.is_none());
    }
}
