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
use crate::dialect::{Answer, Counts, Piece, Results, Said, question};
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

/// Bytes of a text, for each token that it may have. Single tokens of some vocabularies have a hundred (a
/// line of spaces); no text has that on average.
const TEXT_BYTES_PER_TOKEN_MAX: usize = 1024;

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

/// Whether there is more to read.
enum Progress {
    NeedMore,
    /// The last event was told.
    Finished,
    /// It was, and the connection is given up.
    Over,
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
    pieces: u32,
    /// A piece beyond `max_tokens`, until it is known what it is.
    surplus: CompactString,
    /// Bytes of text so far.
    bytes: usize,
    finish: Option<Finish>,
    counts: Counts,
}

impl Telling {
    fn new(generation: &Generation) -> Self {
        Self {
            text: Text::new(generation.stop.clone()),
            max_tokens: generation.max_tokens,
            started: false,
            pieces: 0,
            surplus: CompactString::default(),
            bytes: 0,
            finish: None,
            counts: Counts::default(),
        }
    }

    /// Whether the engine has said that the text has.
    const fn has_ended(&self) -> bool {
        self.finish.is_some()
    }

    fn tell(&mut self, piece: Piece, emit: &mut dyn FnMut(Event)) -> Result<Progress, Fault> {
        if self.has_ended() && !piece.text.is_empty() {
            return Err(broken("the engine went on after the end of its text"));
        }
        if piece.text.len() > TOKEN_BYTES_MAX {
            return Err(broken("the engine sent a token longer than any"));
        }
        self.counts.learn(piece.counts);
        self.start(emit);
        let progress = match piece.text.is_empty() {
            true => Progress::NeedMore,
            false => self.tell_text(piece.text, piece.finish, emit)?,
        };
        if !matches!(progress, Progress::NeedMore) {
            return Ok(progress);
        }
        self.finish = self.finish.or(piece.finish);
        // Where an engine counts at all, it does so with the end or right after it.
        let is_complete = self.has_ended() && piece.counts.completion.is_some();
        if is_complete {
            self.end(emit);
            return Ok(Progress::Finished);
        }
        Ok(Progress::NeedMore)
    }

    fn tell_text(
        &mut self,
        text: CompactString,
        finish: Option<Finish>,
        emit: &mut dyn FnMut(Event),
    ) -> Result<Progress, Fault> {
        self.bytes += text.len();
        let bytes_max = (self.max_tokens as usize).saturating_mul(TEXT_BYTES_PER_TOKEN_MAX);
        if self.bytes > bytes_max {
            return Err(broken("the engine's text is longer than its tokens can be"));
        }
        if self.pieces >= self.max_tokens {
            return Ok(self.go_beyond(text, emit));
        }
        self.pieces += 1;
        let (text, stopped) = self.text.push(text.as_bytes());
        tell_text(text, emit);
        if !stopped {
            return Ok(Progress::NeedMore);
        }
        self.finish = Some(Finish::Stop);
        Ok(match finish {
            // Its counts may come yet.
            Some(_) => Progress::NeedMore,
            None => self.cut(Finish::Stop, emit),
        })
    }

    /// Takes a piece beyond the tokens that were asked for.
    ///
    /// A piece has at least one token, so more pieces than tokens come from an engine that was told a bound
    /// and ignores it: it is cut there. With one exception: an engine may tell the end of its last
    /// token apart, as Hugging Face's `TextIteratorStreamer` does, which holds back what follows the last
    /// space. So the first such piece waits, and is told if the text ends with it. Pieces of several
    /// tokens (speculative decoding) let an engine go on for longer, and cut no honest one.
    fn go_beyond(&mut self, text: CompactString, emit: &mut dyn FnMut(Event)) -> Progress {
        match self.surplus.is_empty() {
            true => {
                self.surplus = text;
                Progress::NeedMore
            }
            false => {
                self.surplus.clear();
                self.cut(Finish::Length, emit)
            }
        }
    }

    /// Ends a text with which the engine would go on. Nobody reads that: the engine is left, and its
    /// connection with it. What it has counted was not all told.
    fn cut(&mut self, finish: Finish, emit: &mut dyn FnMut(Event)) -> Progress {
        self.finish = Some(finish);
        self.counts.completion = None;
        self.end(emit);
        Progress::Over
    }

    /// The fault of an error in the middle. Once there is a text, whatever ends it early is the
    /// engine's.
    fn give_up(&self, data: &[u8], workload: Workload) -> Fault {
        match (self.pieces, refusal::of_event(data, workload)) {
            (0, fault) | (_, fault @ Fault::Broken(_)) => fault,
            _ => broken("the engine gave up in the middle of the text"),
        }
    }

    fn tell_results(&mut self, results: Results, emit: &mut dyn FnMut(Event)) {
        self.finish = Some(Finish::Stop);
        self.counts = Counts {
            completion: u32::try_from(results.texts.len()).ok(),
            ..results.counts
        };
        self.start(emit);
        for text in results.texts {
            emit(Event::Token { text });
        }
        self.end(emit);
    }

    fn start(&mut self, emit: &mut dyn FnMut(Event)) {
        if !core::mem::replace(&mut self.started, true) {
            emit(Event::Started {
                prompt_tokens: self.counts.prompt,
                cached_tokens: self.counts.cached,
            });
        }
    }

    fn end(&mut self, emit: &mut dyn FnMut(Event)) {
        self.start(emit);
        let (text, stopped) = self.text.push(self.surplus.as_bytes());
        tell_text(text, emit);
        tell_text(self.text.finish(), emit);
        let usage = Usage {
            prompt_tokens: self.counts.prompt,
            cached_tokens: self.counts.cached,
            completion_tokens: self.counts.completion.unwrap_or(self.pieces),
        };
        // An engine that does not say why it ended has two reasons to.
        let finish = match self.finish {
            _ if stopped => Finish::Stop,
            Some(finish) => finish,
            None if usage.completion_tokens < self.max_tokens => Finish::Stop,
            None => Finish::Length,
        };
        emit(Event::End { finish, usage });
    }
}

fn tell_text(text: CompactString, emit: &mut dyn FnMut(Event)) {
    if !text.is_empty() {
        emit(Event::Token { text });
    }
}
