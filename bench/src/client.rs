//! One blocking connection to a daemon: our framing over a plain socket.

use crate::Failure;
use crate::transcript::Transcript;
use orchestratord_http::client::{self, Event, Request};
use orchestratord_http::{Limits, Method, sse};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longer than any daemon under any load here keeps silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Larger than any event.
const EVENT_BYTES_MAX: usize = 64 * 1024;

/// A connection that is used for one request after the other.
pub struct Client {
    stream: TcpStream,
    http: client::Connection,
    host: String,
    /// The key that is shown.
    key: Option<String>,
    buffer: Vec<u8>,
}

/// How a submission was answered.
#[derive(Debug)]
pub enum Answer {
    /// Admitted: where its events are.
    Admitted(String),
    /// Not now.
    ComeBack(Duration),
}

/// What was seen of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Followed {
    /// When its first token was read.
    pub first_token: Instant,
    /// How many tokens it had.
    pub tokens: u64,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens there.
    pub fn connect(addr: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(addr).map_err(|error| Failure::new("connecting", error))?;
        let prepared = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(SILENCE_MAX)));
        prepared.map_err(|error| Failure::new("preparing a socket", error))?;
        Ok(Self {
            stream,
            http: client::Connection::new(Limits {
                body_max: u64::MAX,
                ..Limits::default()
            }),
            host: addr.to_string(),
            key: None,
            buffer: vec![0; 64 * 1024],
        })
    }

    /// The same, showing this key.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Submits a task.
    ///
    /// # Errors
    /// Any answer but 202 and 429.
    pub fn submit(&mut self, task: &[u8]) -> Result<Answer, Failure> {
        let (status, answer) = self.post("/v2/tasks", task)?;
        match (
            status,
            answer["streams"]["sse"].as_str(),
            answer["retry_after_ms"].as_u64(),
        ) {
            (202, Some(events), _) => Ok(Answer::Admitted(events.to_owned())),
            (429, _, Some(ms)) => Ok(Answer::ComeBack(Duration::from_millis(ms))),
            _ => Err(Failure(format!("a task was answered {status}: {answer}"))),
        }
    }

    /// Sends JSON; the status, and the JSON that came back.
    ///
    /// # Errors
    /// If the answer is not JSON, or there is none.
    pub fn post(&mut self, target: &str, body: &[u8]) -> Result<(u16, Value), Failure> {
        self.ask(Method::Post, target, body)
    }

    /// Asks for JSON; the status, and what came.
    ///
    /// # Errors
    /// If the answer is not JSON, or there is none.
    pub fn get(&mut self, target: &str) -> Result<(u16, Value), Failure> {
        self.ask(Method::Get, target, b"")
    }

    /// Asks for text; the status, and what came.
    ///
    /// # Errors
    /// If the connection breaks, or what came is no text.
    pub fn text(&mut self, target: &str) -> Result<(u16, String), Failure> {
        let mut answer = Vec::new();
        let status = self.exchange(Method::Get, target, b"", |bytes| {
            answer.extend_from_slice(bytes);
            Ok(())
        })?;
        let text = String::from_utf8(answer);
        Ok((
            status,
            text.map_err(|error| Failure::new("reading an answer", error))?,
        ))
    }

    /// Asks for something to be gone; the status.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn delete(&mut self, target: &str) -> Result<u16, Failure> {
        Ok(self.ask(Method::Delete, target, b"")?.0)
    }

    fn ask(&mut self, method: Method, target: &str, body: &[u8]) -> Result<(u16, Value), Failure> {
        let mut answer = Vec::new();
        let status = self.exchange(method, target, body, |bytes| {
            answer.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok((status, json(&answer)?))
    }

    /// Reads a task's events to the last one, and says which that was, and its data.
    ///
    /// # Errors
    /// If the stream is cut before.
    pub fn last_event(&mut self, events: &str) -> Result<(String, Value), Failure> {
        let mut last = (String::new(), Value::Null);
        let status = self.read_events(events, |_, event, data| {
            let data = serde_json::from_slice(data);
            last = (
                String::from_utf8_lossy(event).into_owned(),
                data.map_err(|error| error.to_string())?,
            );
            Ok(())
        })?;
        match (status, last.0.as_str()) {
            (200, "end" | "error") => Ok(last),
            _ => Err(Failure(format!(
                "{events} was answered {status}, and its last event was `{}`",
                last.0
            ))),
        }
    }

    /// Reads a task's events to the last one.
    ///
    /// # Errors
    /// Whatever breaks the contract.
    pub fn follow(&mut self, events: &str) -> Result<Followed, Failure> {
        let mut transcript = Transcript::default();
        let mut first_token = None;
        let status = self.read_events(events, |id, event, data| {
            if transcript.take(id, event, data)? {
                first_token = Some(Instant::now());
            }
            Ok(())
        })?;
        match (status, transcript.finish(), first_token) {
            (200, Ok(tokens), Some(first_token)) => Ok(Followed {
                first_token,
                tokens,
            }),
            (200, Err(fault), _) => Err(Failure(fault)),
            _ => Err(Failure(format!(
                "{events} was answered {status}, and no token came"
            ))),
        }
    }

    /// Reads a stream to its last event; each is given to `take` by its id, name and data. The status.
    ///
    /// # Errors
    /// If the connection breaks, or `take` finds fault with an event.
    pub fn read_events(
        &mut self,
        target: &str,
        mut take: impl FnMut(&[u8], &[u8], &[u8]) -> Result<(), String>,
    ) -> Result<u16, Failure> {
        let mut decoder = sse::Decoder::new(EVENT_BYTES_MAX);
        self.exchange(Method::Get, target, b"", |mut bytes| {
            let too_long = |error: sse::TooLong| error.to_string();
            while let Some(event) = decoder.decode(&mut bytes).map_err(too_long)? {
                take(event.id, event.event, event.data)?;
            }
            Ok(())
        })
    }

    /// One request and its whole response, whose body goes to `take` as it comes.
    fn exchange(
        &mut self,
        method: Method,
        target: &str,
        body: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<u16, Failure> {
        let mut out = Vec::new();
        let content = (!body.is_empty()).then_some(("Content-Type", "application/json"));
        let key = self.key.as_deref().map(|key| ("X-API-Key", key));
        let fields: Vec<_> = content.into_iter().chain(key).collect();
        let request = Request {
            method,
            target,
            host: &self.host,
            fields: &fields,
        };
        self.http.request(&request, body, &mut out);
        self.stream
            .write_all(&out)
            .map_err(|error| Failure::new("sending a request", error))?;
        let mut status = 0;
        loop {
            let event = self
                .http
                .poll()
                .map_err(|fault| Failure::new("reading a response", fault))?;
            match event {
                Event::Response(response) => status = response.status,
                Event::Body(bytes) => take(bytes).map_err(Failure)?,
                Event::Complete => return Ok(status),
                Event::NeedMore => self.receive()?,
            }
        }
    }

    fn receive(&mut self) -> Result<(), Failure> {
        let read = self.stream.read(&mut self.buffer);
        match read.map_err(|error| Failure::new("reading a response", error))? {
            0 => self.http.receive_end(),
            count => self.http.receive(&self.buffer[..count]),
        }
        Ok(())
    }
}

/// What a body says; nothing, if there is none.
fn json(body: &[u8]) -> Result<Value, Failure> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|error| Failure::new("reading an answer", error))
}
