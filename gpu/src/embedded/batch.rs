//! Continuous batching: every step computes all running sequences together.
//!
//! A sequence first takes in its prompt (prefill), a piece a step, so that a long prompt doesn't
//! hold up those who are generating (decode): each of them gets a token every step. Sequences come
//! and go between steps (Yu et al., "Orca", OSDI 2022; prompts in pieces after Agrawal et al.,
//! "Sarathi", 2023). Texts to embed are taken in like prompts; short ones share a step.
//!
//! Nothing that is computed for a sequence depends on who else runs ([`linear`](super::linear)):
//! its text is its seed's, whether it is alone or not.

use super::Model;
use super::embedding::Embedding;
use super::kv::Cache;
use super::llama::{Run, Wanted};
use super::reading::Reading;
use super::sampler::Sampler;
use super::sequence::{Next, Sequence, Work};
use super::warm::{Kept, Warm};
use super::writing::Writing;
use crate::text::Text;
use crate::{
    Event, Fault, Generation, Input, LocalEngine, Message, SequenceKey, SessionKey, Step, Usage,
    Workload,
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
    /// The first to come is the first whose prompt is taken in; whoever has many texts to embed goes
    /// behind the others whenever some are whole.
    running: Vec<Sequence>,
    /// Of sequences that have ended.
    caches: Vec<Cache>,
    /// What is kept of sessions between their turns.
    warm: Warm,
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
    fn keep(&mut self, sequence: Sequence) {
        match (sequence.session(), sequence.work) {
            (Some(session), Work::Write(writing)) => self.keep_turn(session, writing.reading),
            (_, work) => self.give_up(work),
        }
    }

    fn keep_turn(&mut self, session: SessionKey, mut turn: Reading) {
        turn.tokens.truncate(turn.cached);
        let kept = Kept {
            session,
            tokens: turn.tokens,
            cache: turn.cache,
        };
        let let_go = self.warm.keep(kept, self.options.slots as usize);
        let_go.into_iter().for_each(|cache| self.shelve(cache));
    }

    /// Only its memory is kept.
    fn give_up(&mut self, work: Work) {
        let cache = match work {
            Work::Write(writing) => Some(writing.reading.cache),
            Work::Embed(embedding) => embedding.into_cache(),
        };
        cache.into_iter().for_each(|cache| self.shelve(cache));
    }

    /// A text to write behind a prompt.
    fn write(&mut self, prompt: Vec<u32>, generation: Generation) -> Result<Work, Fault> {
        let context_tokens = self.options.context_tokens;
        let prompt_tokens = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
        if prompt_tokens >= context_tokens {
            return Err(Fault::ContextExceeded {
                prompt_tokens,
                context_tokens,
            });
        }
        let (cache, cached) = self.find(&generation, &prompt);
        let tokens_max = prompt.len().saturating_add(generation.max_tokens as usize);
        let writing = Writing {
            session: generation.session,
            found: cached,
            is_announced: false,
            usage: Usage {
                prompt_tokens: Some(prompt_tokens),
                cached_tokens: Some(u32::try_from(cached).unwrap_or(u32::MAX)),
                completion_tokens: 0,
            },
            tokens_max: tokens_max.min(context_tokens as usize),
            sampler: Sampler::new(generation.sampling),
            text: Text::new(generation.stop),
            reading: Reading {
                cache,
                tokens: prompt,
                cached,
            },
        };
        Ok(Work::Write(Box::new(writing)))
    }

    /// The prompt that a conversation is.
    fn converse(&self, messages: &[Message]) -> Result<Vec<u32>, Fault> {
        let template = self.model.chat_template.as_ref();
        let template = template.ok_or(Fault::Unsupported(Workload::Chat))?;
        let tokenizer = &self.model.tokenizer;
        let prompt = template.render(messages, tokenizer)?;
        tokenizer.encode_marked_within(&prompt, self.options.context_tokens)
    }

    /// Computes what is next of every sequence; what each wanted of each of its runs.
    fn forward(&mut self) -> candle_core::Result<Vec<Vec<Option<Vec<f32>>>>> {
        let shares = self.shares();
        let mut runs = Vec::new();
        let mut counts = Vec::with_capacity(shares.len());
        for (sequence, share) in self.running.iter_mut().zip(shares) {
            let before = runs.len();
            runs.extend(sequence.runs(share));
            counts.push(runs.len() - before);
        }
        let mut computed = match runs.is_empty() {
            true => Vec::new().into_iter(),
            false => self.model.llama.forward(&mut runs)?.into_iter(),
        };
        let of = |count| computed.by_ref().take(count).collect();
        Ok(counts.into_iter().map(of).collect())
    }

    /// How many tokens of each sequence are computed in this step: the one that it generated last,
    /// or a part of its prompt or text as long as there is room for those.
    fn shares(&self) -> Vec<usize> {
        let mut prefill_left = PREFILL_TOKENS;
        let share = |sequence: &Sequence| match sequence.pending() {
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
            wanted: Wanted::Scores,
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
        let context_tokens = self.options.context_tokens;
        let work = match generation.input {
            Input::Prompt(ref prompt) => {
                let tokenizer = &self.model.tokenizer;
                let prompt = tokenizer.encode_within(prompt, context_tokens)?;
                self.write(prompt, generation)?
            }
            Input::Chat(ref messages) => {
                let prompt = self.converse(messages)?;
                self.write(prompt, generation)?
            }
            Input::Embed(texts) => {
                let cache = self.cache();
                let embedding = Embedding::vectors(&self.model, cache, texts, context_tokens);
                Work::Embed(Box::new(embedding))
            }
            Input::Rerank { query, documents } => {
                let cache = self.cache();
                let texts = core::iter::once(query).chain(documents).collect();
                let embedding = Embedding::scores(&self.model, cache, texts, context_tokens);
                Work::Embed(Box::new(embedding))
            }
        };
        self.running.push(Sequence { key, work });
        Ok(())
    }

    fn cancel(&mut self, key: SequenceKey) {
        if let Some(index) = self.running.iter().position(|sequence| sequence.key == key) {
            let sequence = self.running.remove(index);
            sequence
                .session()
                .into_iter()
                .for_each(|session| self.warm.lost(session));
            self.give_up(sequence.work);
        }
    }

    fn step(&mut self, _: Duration, emit: &mut dyn FnMut(SequenceKey, Event)) -> Step {
        if self.running.is_empty() {
            return Step::Idle;
        }
        let computed = match self.forward() {
            Ok(computed) => computed,
            Err(error) => {
                self.break_down(&format!("the model can't be computed: {error}"), emit);
                return Step::Idle;
            }
        };
        let mut behind = Vec::new();
        for (mut sequence, computed) in core::mem::take(&mut self.running).into_iter().zip(computed)
        {
            let key = sequence.key;
            match sequence.advance(&self.model, computed, &mut |event| emit(key, event)) {
                Next::GoOn => self.running.push(sequence),
                Next::GoBehind => behind.push(sequence),
                Next::End => self.keep(sequence),
            }
        }
        self.running.append(&mut behind);
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
        let cached: usize = self.running.iter().map(Sequence::cached).sum();
        Some(cached as f64 / (f64::from(slots) * f64::from(context_tokens)))
    }
}
