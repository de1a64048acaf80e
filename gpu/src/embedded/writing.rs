//! A text that is written token by token: a prompt continued, or a conversation answered.

use super::Model;
use super::llama::{Run, Wanted};
use super::reading::Reading;
use super::sampler::Sampler;
use crate::text::Text;
use crate::{Event, Fault, Finish, SessionKey, Usage};

pub(super) struct Writing {
    /// The prompt first, then what was generated.
    pub(super) reading: Reading,
    pub(super) session: Option<SessionKey>,
    /// Tokens that were in the cache from the start.
    pub(super) found: usize,
    pub(super) is_announced: bool,
    pub(super) usage: Usage,
    /// Tokens that prompt and text may have together.
    pub(super) tokens_max: usize,
    pub(super) sampler: Sampler,
    pub(super) text: Text,
}

impl Writing {
    /// The next tokens to compute, so many of them.
    pub(super) fn run(&mut self, count: usize) -> Run<'_> {
        let wanted = match count == self.reading.pending() {
            true => Wanted::Scores,
            false => Wanted::Nothing,
        };
        self.reading.run(count, wanted)
    }

    /// Takes the next token, if there are scores for it. `false` when the text is complete.
    pub(super) fn advance(
        &mut self,
        model: &Model,
        scores: Option<Vec<f32>>,
        emit: &mut dyn FnMut(Event),
    ) -> bool {
        if self.reading.cached > self.found && !self.is_announced {
            self.is_announced = true;
            emit(Event::Started {
                prompt_tokens: self.usage.prompt_tokens,
                cached_tokens: self.usage.cached_tokens,
            });
        }
        let Some(scores) = scores else {
            return true;
        };
        let Some(token) = self.sampler.choose(&scores) else {
            let reason = "the model computed nothing that is a number".into();
            emit(Event::Fault(Fault::Broken(reason)));
            return false;
        };
        if model.tokenizer.ends_text(token) {
            return self.end(Finish::Stop, emit);
        }
        self.usage.completion_tokens += 1;
        self.reading.tokens.push(token);
        let (text, stopped) = self.text.push(model.tokenizer.text(token));
        send(text, emit);
        if stopped {
            return self.end(Finish::Stop, emit);
        }
        if self.reading.tokens.len() >= self.tokens_max {
            return self.end(Finish::Length, emit);
        }
        true
    }

    fn end(&mut self, finish: Finish, emit: &mut dyn FnMut(Event)) -> bool {
        send(self.text.finish(), emit);
        let usage = self.usage;
        emit(Event::End { finish, usage });
        false
    }
}

fn send(text: compact_str::CompactString, emit: &mut dyn FnMut(Event)) {
    if !text.is_empty() {
        emit(Event::Token { text });
    }
}
