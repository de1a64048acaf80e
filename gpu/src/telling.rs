//! From an engine's pieces to events: what was told of a text, and what is known about its end.
//!
//! Here stands what a text may be like, whichever engine it comes from: how long a token, how many of them, how
//! much in all; that it ends once, and that nothing follows.

use crate::dialect::{Counts, Piece, Results};
use crate::event::{Finish, Usage};
use crate::exchange::broken;
use crate::text::Text;
use crate::{Event, Fault, Generation, Workload, refusal};
use compact_str::CompactString;

/// Bytes of a token's text: far more than any vocabulary has, far less than a reader would mind.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a text, for each token that it may have. Single tokens of some vocabularies have a hundred (a
/// line of spaces); no text has that on average.
const TEXT_BYTES_PER_TOKEN_MAX: usize = 1024;

/// Whether there is more to read.
pub(crate) enum Progress {
    NeedMore,
    /// The last event was told.
    Finished,
    /// It was, and the connection is given up.
    Over,
}

/// One text on its way to whoever asked.
#[derive(Debug)]
pub(crate) struct Telling {
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
    pub(crate) fn new(generation: &Generation) -> Self {
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
    pub(crate) const fn has_ended(&self) -> bool {
        self.finish.is_some()
    }

    pub(crate) fn tell(
        &mut self,
        piece: Piece,
        emit: &mut dyn FnMut(Event),
    ) -> Result<Progress, Fault> {
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
        emit_text(text, emit);
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
    pub(crate) fn give_up(&self, data: &[u8], workload: Workload) -> Fault {
        match (self.pieces, refusal::of_event(data, workload)) {
            (0, fault) | (_, fault @ Fault::Broken(_)) => fault,
            _ => broken("the engine gave up in the middle of the text"),
        }
    }

    pub(crate) fn tell_results(&mut self, results: Results, emit: &mut dyn FnMut(Event)) {
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

    pub(crate) fn end(&mut self, emit: &mut dyn FnMut(Event)) {
        self.start(emit);
        let (text, stopped) = self.text.push(self.surplus.as_bytes());
        emit_text(text, emit);
        emit_text(self.text.finish(), emit);
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

fn emit_text(text: CompactString, emit: &mut dyn FnMut(Event)) {
    if !text.is_empty() {
        emit(Event::Token { text });
    }
}
