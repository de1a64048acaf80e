//! One request to an engine and its answer, on a connection of [`orchestratord_http::client`].
//!
//! ```text
//!             begin            200                    event stream
//!   Connection ───► Head ───────────────► Stream ──┬─► Rest    the text is complete, its body not yet
//!       ▲             │                   Whole ───┤    │
//!       │             └─ anything else ─► Refusal ─┤    │
//!       └────────── into_connection ────── Over ◄──┴────┘  the answer is complete, or makes no sense
//! ```
//!
//! **Hand in what the socket says with [`receive`](Exchange::receive) until the exchange
//! [is over](Exchange::is_over); when the engine closes its side, say so once with
//! [`receive_end`](Exchange::receive_end), after which it is.** Whoever loses interest drops the exchange
//! and closes the socket: engines take that for a cancel.
//!
//! What any engine says comes out as the same events: [`Event::Started`] once, tokens, then
//! [`Event::End`] or [`Event::Fault`], and nothing after. The end is told as soon as the engine has nothing more
//! to tell of the text: nobody waits for the end of its body. From then on the exchange
//! [is finished](Exchange::is_finished), and what is still to come is passed over; only when that has come, too,
//! is the connection free for the next request.

pub use crate::dialect::workloads;
use crate::dialect::{Answer, Said, question};
use crate::telling::{Progress, Telling};
use crate::{EngineKind, Event, Fault, Generation, Input, Workload, refusal};
use compact_str::CompactString;
use orchestratord_http::client::{self, Connection};
use orchestratord_http::{Limits, Method, sse};

/// What an engine's answer may be like. A text has no length that could be known before: how long
/// it may take is for its reader to say.
pub const LIMITS: Limits = Limits {
    body_max: u64::MAX,
    ..Limits::DEFAULT
};

/// Bytes of one event of a stream. An event is a token with what an engine tells about it; at the end
/// of a stream some repeat the whole text (Text Generation Inference).
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that may follow the end of a text: `[DONE]`, the end of the body. A connection on which more
/// follows is worth less than a new one.
const REST_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a document: the vectors of four hundred texts, with 4096 numbers each.
const DOCUMENT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of an error: a message is read from it, and some engines repeat the request in it.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// Which engine is asked, and how it is reached.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// What it speaks.
    pub kind: EngineKind,
    /// The `Host` field: the host and, unless it is the scheme's own, the port.
    pub host: &'a str,
    /// The path of the engine's URL, percent-encoded, without a slash at its end; often empty.
    pub base_path: &'a str,
    /// What the engine calls its model.
    pub model: &'a str,
    /// What it is told as a bearer token.
    pub key: Option<&'a str>,
}

/// A request that was written and an answer that is being read.
#[derive(Debug)]
pub struct Exchange {
    connection: Connection,
    workload: Workload,
    /// How many results an answer that is no text has.
    inputs: usize,
    answer: Answer,
    state: State,
    telling: Telling,
}

#[derive(Debug)]
enum State {
    Head,
    Stream(sse::Decoder),
    Whole(Vec<u8>),
    /// An answer with this status, which is no text.
    Refusal(u16, Vec<u8>),
    /// The last event was told. So many bytes may still come until the answer is complete.
    Rest(usize),
    Over,
}

impl Exchange {
    /// Writes the request for a generation to `out`.
    ///
    /// # Errors
    /// The engine does no work of this kind. Nothing was written.
    ///
    /// # Panics
    /// When the connection is not reusable, or when the host, the path, the key or the generation's
    /// `traceparent` cannot stand in the head of a request: each is checked where it comes from.
    pub fn begin(
        mut connection: Connection,
        target: &Target<'_>,
        generation: &Generation,
        out: &mut Vec<u8>,
    ) -> Result<Self, Fault> {
        let question = question(target, generation)?;
        let authorization = target.key.map(|key| format!("Bearer {key}"));
        let fields = [
            Some(("Content-Type", "application/json")),
            authorization.as_deref().map(|key| ("Authorization", key)),
            generation
                .traceparent
                .as_deref()
                .map(|trace| ("traceparent", trace)),
        ];
        let fields: Vec<(&str, &str)> = fields.into_iter().flatten().collect();
        let head = client::Request {
            method: Method::Post,
            target: &format!("{}{}", target.base_path, question.path),
            host: target.host,
            fields: &fields,
        };
        connection.request(&head, &question.body, out);
        Ok(Self {
            connection,
            workload: generation.input.workload(),
            inputs: match &generation.input {
                Input::Prompt(_) | Input::Chat(_) => 1,
                Input::Embed(texts) => texts.len(),
                Input::Rerank { documents, .. } => documents.len(),
            },
            answer: question.answer,
            state: State::Head,
            telling: Telling::new(generation),
        })
    }

    /// Takes bytes from the socket. `emit` is called for each event, in order.
    pub fn receive(&mut self, bytes: &[u8], emit: &mut dyn FnMut(Event)) {
        self.connection.receive(bytes);
        self.read(MALFORMED, emit);
    }

    /// Takes that the engine has closed its side; the exchange is over then.
    pub fn receive_end(&mut self, emit: &mut dyn FnMut(Event)) {
        self.connection.receive_end();
        self.read(CUT_SHORT, emit);
    }

    /// Whether the last event was told. If it [is not over](Self::is_over), waiting a moment for the
    /// rest saves the connection; nobody but the connection needs it.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        matches!(self.state, State::Rest(_) | State::Over)
    }

    /// Whether nothing more is read: the answer is complete, or makes no sense.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The connection for the next request, if the answer was read to its end and the engine keeps
    /// it open.
    #[must_use]
    pub fn into_connection(self) -> Option<Connection> {
        (self.is_over() && self.connection.is_reusable()).then_some(self.connection)
    }

    /// Reads what is here. `fault` is what it means if that can be no answer.
    fn read(&mut self, fault: &'static str, emit: &mut dyn FnMut(Event)) {
        while !self.is_over() {
            let read = match self.connection.poll() {
                Ok(client::Event::NeedMore) => return,
                Ok(client::Event::Response(response)) => {
                    State::begin(&response, self.answer).map(|state| {
                        self.state = state;
                        Progress::NeedMore
                    })
                }
                Ok(client::Event::Body(bytes)) => {
                    let Self {
                        state,
                        answer,
                        telling,
                        workload,
                        ..
                    } = self;
                    state.take(bytes, *answer, *workload, telling, emit)
                }
                Ok(client::Event::Complete) => self.complete(emit),
                Err(_) => self.break_off(fault, emit),
            };
            match read {
                Ok(Progress::NeedMore) => {}
                Ok(Progress::Finished) => self.state = State::Rest(REST_BYTES_MAX),
                Ok(Progress::Over) => self.state = State::Over,
                Err(fault) => {
                    self.state = State::Over;
                    emit(Event::Fault(fault));
                }
            }
        }
    }

    /// The body is here whole.
    fn complete(&mut self, emit: &mut dyn FnMut(Event)) -> Result<Progress, Fault> {
        match (&self.state, self.answer) {
            (State::Rest(_), _) => {}
            (State::Refusal(status, body), _) => {
                return Err(refusal::of_answer(*status, body, self.workload));
            }
            (State::Whole(body), Answer::Whole(read)) => {
                let results = read(body, self.inputs).map_err(|_| broken(UNREADABLE))?;
                self.telling.tell_results(results, emit);
            }
            (_, Answer::Stream { tells_finish, .. })
                if tells_finish && !self.telling.has_ended() =>
            {
                return Err(broken(
                    "the engine ended its answer before the text had ended",
                ));
            }
            _ => self.telling.end(emit),
        }
        Ok(Progress::Over)
    }

    /// The answer breaks off. A text that has ended is none the worse for that.
    fn break_off(
        &mut self,
        fault: &'static str,
        emit: &mut dyn FnMut(Event),
    ) -> Result<Progress, Fault> {
        match self.state {
            State::Rest(_) => {}
            _ if self.telling.has_ended() => self.telling.end(emit),
            _ => return Err(broken(fault)),
        }
        Ok(Progress::Over)
    }
}

impl State {
    fn begin(response: &client::Response, answer: Answer) -> Result<Self, Fault> {
        let is_stream = match response.fields.get("content-type") {
            Some(said) => media_type(said).eq_ignore_ascii_case("text/event-stream"),
            // Then it is what it looks like.
            None => matches!(answer, Answer::Stream { .. }),
        };
        match (response.status, answer) {
            (200, Answer::Stream { .. }) if is_stream => {
                Ok(Self::Stream(sse::Decoder::new(EVENT_BYTES_MAX)))
            }
            (200, Answer::Whole(_)) if is_stream => Err(broken(
                "the engine answered with a stream that nobody asked for",
            )),
            (200, Answer::Whole(_)) => Ok(Self::Whole(Vec::new())),
            (status, _) => Ok(Self::Refusal(status, Vec::new())),
        }
    }

    /// Takes a part of the body.
    fn take(
        &mut self,
        bytes: &[u8],
        answer: Answer,
        workload: Workload,
        telling: &mut Telling,
        emit: &mut dyn FnMut(Event),
    ) -> Result<Progress, Fault> {
        match (self, answer) {
            (Self::Stream(decoder), Answer::Stream { read, .. }) => {
                let mut bytes = bytes;
                while let Some(event) = decoder.decode(&mut bytes).map_err(|_| broken(TOO_LONG))? {
                    let progress = match read(event.data).map_err(|_| broken(UNREADABLE))? {
                        Said::Piece(piece) => telling.tell(piece, emit)?,
                        Said::Done => {
                            telling.end(emit);
                            Progress::Finished
                        }
                        Said::Error => return Err(telling.give_up(event.data, workload)),
                    };
                    if !matches!(progress, Progress::NeedMore) {
                        return Ok(progress);
                    }
                }
            }
            (Self::Whole(body), _) if body.len() + bytes.len() > DOCUMENT_BYTES_MAX => {
                return Err(broken(TOO_LONG));
            }
            // What it is about is known without it.
            (Self::Refusal(status, body), _) if body.len() + bytes.len() > ERROR_BYTES_MAX => {
                return Err(refusal::of_answer(*status, b"", workload));
            }
            (Self::Whole(body) | Self::Refusal(_, body), _) => body.extend_from_slice(bytes),
            (Self::Rest(left), _) => match left.checked_sub(bytes.len()) {
                Some(still) => *left = still,
                None => return Ok(Progress::Over),
            },
            (Self::Head | Self::Stream(_) | Self::Over, _) => {
                unreachable!("a body follows its head, and a stream is read as one")
            }
        }
        Ok(Progress::NeedMore)
    }
}

/// A media type without its parameters (RFC 9110 §8.3.1).
fn media_type(content_type: &str) -> &str {
    content_type
        .split_once(';')
        .map_or(content_type, |(media_type, _)| media_type)
        .trim()
}

const MALFORMED: &str = "the engine's answer is malformed";
const CUT_SHORT: &str = "the engine closed before its answer had ended";
const UNREADABLE: &str = "the engine's answer can't be read";
const TOO_LONG: &str = "the engine's answer is longer than allowed";

pub(crate) const fn broken(reason: &'static str) -> Fault {
    Fault::Broken(CompactString::const_new(reason))
}
