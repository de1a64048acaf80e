//! One request to an engine and its answer, on a connection of [`orchestratord_http::client`].
//!
//! ```text
//!             begin            2xx                     event stream
//!   Connection ───► Head ───────────────► Stream ──┐   or one document
//!       ▲             └─ other status ─┐  Whole ───┤
//!       │                              └► Refusal ─┤
//!       └────────── into_connection ────── Over ◄──┘  the answer is complete, or makes no sense
//! ```
//!
//! **Hand in what the socket says with [`receive`](Exchange::receive) until the exchange
//! [is over](Exchange::is_over); when the engine closes its side, say so once with
//! [`receive_end`](Exchange::receive_end), after which it is.** Whoever loses interest drops the exchange
//! and closes the socket: engines take that for a cancel.
//!
//! What any engine says comes out as the same events: [`Event::Started`] once, tokens, then
//! [`Event::End`] or [`Event::Fault`], and nothing after. The end is told when the answer has ended, not when
//! the engine says that the text has: only then is the connection free for the next request.

pub use crate::dialect::workloads;
use crate::dialect::{Answer, Piece, Results, Said, question};
use crate::event::{Finish, Usage};
use crate::text::Text;
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

/// Bytes of a token's text: far more than any vocabulary has, far less than a reader would mind.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

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
    /// An answer with this status, which is no success.
    Refusal(u16, Vec<u8>),
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

    /// Whether the last event was told.
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
                    self.state = State::begin(response.status, self.answer);
                    continue;
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
                Ok(client::Event::Complete) => self.complete(emit).map(|()| Progress::Over),
                Err(_) if self.telling.is_finished() => {
                    self.telling.end(emit);
                    Ok(Progress::Over)
                }
                Err(_) => Err(broken(fault)),
            };
            match read {
                Ok(Progress::NeedMore) => {}
                Ok(Progress::Over) => self.state = State::Over,
                Err(fault) => {
                    self.state = State::Over;
                    emit(Event::Fault(fault));
                }
            }
        }
    }

    /// The body is here whole.
    fn complete(&mut self, emit: &mut dyn FnMut(Event)) -> Result<(), Fault> {
        match (&self.state, self.answer) {
            (State::Refusal(status, body), _) => {
                Err(refusal::of_answer(*status, body, self.workload))
            }
            (State::Whole(body), Answer::Whole(read)) => {
                let results = read(body, self.inputs).map_err(|_| broken(UNREADABLE))?;
                self.telling.tell_results(results, emit);
                Ok(())
            }
            (_, Answer::Stream { tells_finish, .. })
                if tells_finish && !self.telling.is_finished() =>
            {
                Err(broken(
                    "the engine ended its answer before the text had ended",
                ))
            }
            _ => {
                self.telling.end(emit);
                Ok(())
            }
        }
    }
}

/// Whether there is more to read.
enum Progress {
    NeedMore,
    Over,
}

impl State {
    const fn begin(status: u16, answer: Answer) -> Self {
        match (status, answer) {
            (200, Answer::Stream { .. }) => Self::Stream(sse::Decoder::new(EVENT_BYTES_MAX)),
            (200, Answer::Whole(_)) => Self::Whole(Vec::new()),
            (status, _) => Self::Refusal(status, Vec::new()),
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
                        Said::Done => telling.done(),
                        Said::Error => return Err(telling.give_up(event.data, workload)),
                    };
                    if let Progress::Over = progress {
                        return Ok(Progress::Over);
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
            (Self::Head | Self::Stream(_) | Self::Over, _) => {
                unreachable!("a body follows its head, and a stream is read as one")
            }
        }
        Ok(Progress::NeedMore)
    }
}

const MALFORMED: &str = "the engine's answer is malformed";
const CUT_SHORT: &str = "the engine closed before its answer had ended";
const UNREADABLE: &str = "the engine's answer can't be read";
const TOO_LONG: &str = "the engine's answer is longer than allowed";

const fn broken(reason: &'static str) -> Fault {
    Fault::Broken(CompactString::const_new(reason))
}

/// From pieces to events: what was told already, and what is known about the end.
#[derive(Debug)]
struct Telling {
    /// Holds back what may become a stop text: some engines send those, too.
    text: Text,
    max_tokens: u32,
    started: bool,
    /// Pieces with a text.
    tokens: u32,
    finish: Option<Finish>,
    usage: Option<Usage>,
    /// The engine said that nothing more would come.
    done: bool,
}

impl Telling {
    fn new(generation: &Generation) -> Self {
        Self {
            text: Text::new(generation.stop.clone()),
            max_tokens: generation.max_tokens,
            started: false,
            tokens: 0,
            finish: None,
            usage: None,
            done: false,
        }
    }

    const fn is_finished(&self) -> bool {
        self.done || self.finish.is_some()
    }

    fn tell(&mut self, piece: Piece, emit: &mut dyn FnMut(Event)) -> Result<Progress, Fault> {
        self.usage = piece.usage.or(self.usage);
        if self.is_finished() && !piece.text.is_empty() {
            return Err(broken("the engine went on after the end of its text"));
        }
        if piece.text.len() > TOKEN_BYTES_MAX {
            return Err(broken("the engine sent a token longer than any"));
        }
        self.start(emit);
        let mut stopped = false;
        if !piece.text.is_empty() {
            self.tokens = self.tokens.saturating_add(1);
            let (text, stop) = self.text.push(piece.text.as_bytes());
            tell_text(text, emit);
            stopped = stop;
        }
        self.finish = self.finish.or(piece.finish);
        if !stopped {
            return Ok(Progress::NeedMore);
        }
        let engine_stops_too = self.is_finished();
        self.finish = Some(Finish::Stop);
        if engine_stops_too {
            return Ok(Progress::NeedMore);
        }
        // The engine would go on with a text that nobody reads: it is left, and its connection
        // with it.
        self.end(emit);
        Ok(Progress::Over)
    }

    const fn done(&mut self) -> Progress {
        self.done = true;
        Progress::NeedMore
    }

    /// The fault of an error in the middle. Once there is a text, whatever ends it early is the
    /// engine's.
    fn give_up(&self, data: &[u8], workload: Workload) -> Fault {
        match (self.tokens, refusal::of_event(data, workload)) {
            (0, fault) | (_, fault @ Fault::Broken(_)) => fault,
            _ => broken("the engine gave up in the middle of the text"),
        }
    }

    fn tell_results(&mut self, results: Results, emit: &mut dyn FnMut(Event)) {
        self.finish = Some(Finish::Stop);
        self.usage = Some(Usage {
            prompt_tokens: results.prompt_tokens,
            completion_tokens: u32::try_from(results.texts.len()).unwrap_or(u32::MAX),
        });
        self.start(emit);
        for text in results.texts {
            emit(Event::Token { text });
        }
        self.end(emit);
    }

    fn start(&mut self, emit: &mut dyn FnMut(Event)) {
        if !core::mem::replace(&mut self.started, true) {
            emit(Event::Started {
                prompt_tokens: self.usage.map_or(0, |usage| usage.prompt_tokens),
                cached_tokens: 0,
            });
        }
    }

    fn end(&mut self, emit: &mut dyn FnMut(Event)) {
        self.start(emit);
        tell_text(self.text.finish(), emit);
        let usage = self.usage.unwrap_or(Usage {
            prompt_tokens: 0,
            completion_tokens: self.tokens,
        });
        // An engine that does not say why it ended has two reasons to.
        let finish = self
            .finish
            .unwrap_or(match usage.completion_tokens < self.max_tokens {
                true => Finish::Stop,
                false => Finish::Length,
            });
        emit(Event::End { finish, usage });
    }
}

fn tell_text(text: CompactString, emit: &mut dyn FnMut(Event)) {
    if !text.is_empty() {
        emit(Event::Token { text });
    }
}
