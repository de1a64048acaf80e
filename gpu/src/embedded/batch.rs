//! Continuous batching: every step computes all running sequences together.
//!
//! A sequence first takes in its prompt (prefill), a piece a step, so that a long prompt doesn't
//! hold up those who are generating (decode): each of them gets a token every step. Sequences come
//! and go between steps (Yu et al., "Orca", OSDI 2022; prompts in pieces after Agrawal et al.,
//! "Sarathi", 2023).
//!
//! Nothing that is computed for a sequence depends on who else runs ([`linear`](super::linear)):
//! its text is its seed's, whether it is alone or not.

use super::Model;
use super::kv::Cache;
use super::llama::Run;
use super::sampler::Sampler;
use super::text::Text;
use super::warm::{Kept, Warm};
use crate::{
    Event, Fault, Finish, Generation, Input, LocalEngine, SequenceKey, SessionKey, Step, Usage,
};
use compact_str::format_compact;
use core::time::Duration;
use std::sync::Arc;

/// How many tokens of prompts are taken in a step, over all sequences: enough to keep the processor
/// busy, few enough that those who decode hardly notice.
const PREFILL_TOKENS: usize = 64;

/// How an engine is built.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// How many sequences run at a time; more are refused.
    pub slots: u32,
    /// Tokens that prompt and text may have together, at most as many as the model was made for.
    pub context_tokens: u32,
}

/// A model and the sequences that it runs.
pub struct Engine {
    model: Arc<Model>,
    options: EngineOptions,
    /// In order of admission: the first to come is the first whose prompt is taken in.
    running: Vec<Sequence>,
    /// Of sequences that have ended.
    caches: Vec<Cache>,
    /// What is kept of sessions between their turns.
    warm: Warm,
}

struct Sequence {
    key: SequenceKey,
    session: Option<SessionKey>,
    cache: Cache,
    /// Prompt first, then what was generated; all but those in the cache are still to compute.
    tokens: Vec<u32>,
    cached: usize,
    /// Tokens that were in the cache from the start.
    found: u32,
    is_announced: bool,
    usage: Usage,
    tokens_max: usize,
    sampler: Sampler,
    text: Text,
}

impl Engine {
    /// An engine with nothing to do.
    #[must_use]
    pub fn new(model: Arc<Model>, options: EngineOptions) -> Self {
        Self {
            options: EngineOptions {
                context_tokens: options.context_tokens.min(model.context_tokens()),
                ..options
            },
            model,
            running: Vec::new(),
            caches: Vec::new(),
            warm: Warm::default(),
        }
    }

    fn cache(&mut self) -> Cache {
        let new = || Cache::new(self.model.llama.sizes.layers);
        self.caches.pop().unwrap_or_else(new)
    }

    fn shelve(&mut self, mut cache: Cache) {
        cache.clear();
        self.caches.push(cache);
    }

    /// The cache to begin with, and how many of the prompt's tokens it holds: what the session's last
    /// turn left, as far as the prompt goes the same way. The last token is always computed: what
    /// comes next is told by it.
    fn find(&mut self, generation: &Generation, prompt: &[u32]) -> (Cache, usize) {
        let session = generation.session.filter(|_| generation.reuse);
        let Some(kept) = session.and_then(|session| self.warm.take(session)) else {
            return (self.cache(), 0);
        };
        let pairs = kept.tokens.iter().zip(&prompt[..prompt.len() - 1]);
        let same = pairs.take_while(|(kept, wanted)| kept == wanted).count();
        let mut cache = kept.cache;
        cache.truncate(kept.tokens.len(), same);
        (cache, same)
    }

    /// A sequence has ended well: its session may go on where it stopped.
    fn keep(&mut self, mut sequence: Sequence) {
        let Some(session) = sequence.session else {
            return self.shelve(sequence.cache);
        };
        sequence.tokens.truncate(sequence.cached);
        let kept = Kept {
            session,
            tokens: sequence.tokens,
            cache: sequence.cache,
        };
        let let_go = self.warm.keep(kept, self.options.slots as usize);
        let_go.into_iter().for_each(|cache| self.shelve(cache));
    }

    /// The prompt's tokens, if they leave room for one more.
    fn tokenize(&self, prompt: &str) -> Result<Vec<u32>, Fault> {
        let context_tokens = self.options.context_tokens;
        let too_long = |tokens: usize| Fault::ContextExceeded {
            prompt_tokens: u32::try_from(tokens).unwrap_or(u32::MAX),
            context_tokens,
        };
        let tokenizer = &self.model.tokenizer;
        let at_least = tokenizer.tokens_at_least(prompt.len());
        if at_least >= context_tokens as usize {
            return Err(too_long(at_least));
        }
        let mut tokens = tokenizer.encode(prompt);
        if tokens.is_empty() {
            // A model continues something: where there is no text, that is any token.
            tokens.push(tokenizer.any());
        }
        if tokens.len() >= context_tokens as usize {
            return Err(too_long(tokens.len()));
        }
        Ok(tokens)
    }

    /// Computes what is next of every sequence.
    fn forward(&mut self) -> candle_core::Result<Vec<Option<Vec<f32>>>> {
        let shares = self.shares();
        let running = self.running.iter_mut().zip(&shares);
        let mut runs: Vec<Run<'_>> = running
            .filter(|(_, share)| **share > 0)
            .map(|(sequence, share)| sequence.run(*share))
            .collect();
        let mut scores = self.model.llama.forward(&mut runs)?.into_iter();
        let score = |share| {
            if share > 0 {
                scores.next().flatten()
            } else {
                None
            }
        };
        Ok(shares.into_iter().map(score).collect())
    }

    /// How many tokens of each sequence are computed in this step: the one that it generated last,
    /// or a part of its prompt as long as there is room for prompts.
    fn shares(&self) -> Vec<usize> {
        let mut prefill_left = PREFILL_TOKENS;
        let share = |sequence: &Sequence| match sequence.tokens.len() - sequence.cached {
            1 => 1,
            pending => {
                let share = pending.min(prefill_left);
                prefill_left -= share;
                share
            }
        };
        self.running.iter().map(share).collect()
    }

    /// Everybody is told; nobody runs any more.
    fn break_down(&mut self, reason: &str, emit: &mut dyn FnMut(SequenceKey, Event)) {
        for sequence in self.running.drain(..) {
            emit(sequence.key, Event::Fault(Fault::Broken(reason.into())));
        }
    }
}

impl LocalEngine for Engine {
    fn slots(&self) -> u32 {
        self.options.slots
    }

    fn probe(&mut self) -> Result<(), Fault> {
        let mut cache = self.cache();
        let mut run = [Run {
            tokens: &[self.model.tokenizer.any()],
            cache: &mut cache,
            is_scored: true,
        }];
        let scores = self.model.llama.forward(&mut run);
        self.shelve(cache);
        match scores {
            Ok(scores)
                if scores
                    .iter()
                    .flatten()
                    .flatten()
                    .any(|score| score.is_finite()) =>
            {
                Ok(())
            }
            Ok(_) => Err(Fault::Broken(
                "the model computes nothing that is a number".into(),
            )),
            Err(error) => Err(Fault::Broken(format_compact!(
                "the model can't be computed: {error}"
            ))),
        }
    }

    fn admit(
        &mut self,
        _: Duration,
        key: SequenceKey,
        generation: Generation,
    ) -> Result<(), Fault> {
        if self.running.len() >= self.options.slots as usize {
            return Err(Fault::Broken(
                "more sequences were started than there are slots".into(),
            ));
        }
        let Input::Prompt(prompt) = &generation.input else {
            return Err(Fault::Unsupported(generation.input.workload()));
        };
        let tokens = self.tokenize(prompt)?;
        let (cache, cached) = self.find(&generation, &tokens);
        let room = self.options.context_tokens as usize;
        let sequence = Sequence {
            key,
            session: generation.session,
            cache,
            cached,
            found: u32::try_from(cached).unwrap_or(u32::MAX),
            is_announced: false,
            usage: Usage {
                prompt_tokens: u32::try_from(tokens.len()).unwrap_or(u32::MAX),
                completion_tokens: 0,
            },
            tokens_max: tokens
                .len()
                .saturating_add(generation.max_tokens as usize)
                .min(room),
            sampler: Sampler::new(generation.sampling),
            text: Text::new(generation.stop),
            tokens,
        };
        self.running.push(sequence);
        Ok(())
    }

    fn cancel(&mut self, key: SequenceKey) {
        if let Some(index) = self.running.iter().position(|sequence| sequence.key == key) {
            let sequence = self.running.remove(index);
            sequence
                .session
                .into_iter()
                .for_each(|session| self.warm.lost(session));
            self.shelve(sequence.cache);
        }
    }

    fn step(&mut self, _: Duration, emit: &mut dyn FnMut(SequenceKey, Event)) -> Step {
        if self.running.is_empty() {
            return Step::Idle;
        }
        let scores = match self.forward() {
            Ok(scores) => scores,
            Err(error) => {
                self.break_down(&format!("the model can't be computed: {error}"), emit);
                return Step::Idle;
            }
        };
        for (mut sequence, scores) in core::mem::take(&mut self.running).into_iter().zip(scores) {
            let key = sequence.key;
            let goes_on = sequence.advance(&self.model, scores, &mut |event| emit(key, event));
            match goes_on {
                true => self.running.push(sequence),
                false => self.keep(sequence),
            }
        }
        if self.running.is_empty() {
            Step::Idle
        } else {
            Step::Again
        }
    }

    fn forget(&mut self, session: SessionKey) {
        if let Some(kept) = self.warm.take(session) {
            self.warm.lost(session);
            self.shelve(kept.cache);
        }
    }

    fn kept(&mut self, tell: &mut dyn FnMut(SessionKey, u64)) {
        self.warm.news(tell);
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "contexts and slots are thousands"
    )]
    fn kv_cache_usage(&self) -> Option<f64> {
        let EngineOptions {
            slots,
            context_tokens,
        } = self.options;
        let cached: usize = self.running.iter().map(|sequence| sequence.cached).sum();
        Some(cached as f64 / (f64::from(slots) * f64::from(context_tokens)))
    }
}

impl Sequence {
    /// The next tokens to compute, so many of them.
    fn run(&mut self, count: usize) -> Run<'_> {
        let from = self.cached;
        self.cached += count;
        Run {
            tokens: &self.tokens[from..self.cached],
            cache: &mut self.cache,
            is_scored: self.cached == self.tokens.len(),
        }
    }

    /// Takes the next token, if there are scores for it. `false` when the text is complete.
    fn advance(
        &mut self,
        model: &Model,
        scores: Option<Vec<f32>>,
        emit: &mut dyn FnMut(Event),
    ) -> bool {
        if self.cached > self.found as usize && !self.is_announced {
            self.is_announced = true;
            let prompt_tokens = self.usage.prompt_tokens;
            emit(Event::Started {
                prompt_tokens,
                cached_tokens: self.found,
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
        self.tokens.push(token);
        let (text, stopped) = self.text.push(model.tokenizer.text(token));
        send(text, emit);
        if stopped {
            return self.end(Finish::Stop, emit);
        }
        if self.tokens.len() >= self.tokens_max {
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
