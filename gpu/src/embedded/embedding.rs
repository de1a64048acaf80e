//! Texts that become vectors, and documents that are ranked by theirs.
//!
//! The vector of a text is the mean of what the last layer knows at each of its tokens, scaled to the
//! length 1. A model that was trained to continue texts embeds them no better than that; it is cheap,
//! it is the same every time, and texts that are alike come out alike. Without a head that was
//! trained to rank, how well a document answers a query is the cosine of the angle between their
//! vectors, from -1 to 1.
//!
//! The states are added one after the other, in doubles: in which pieces they came does not show.
//! Short texts are computed several in a step, each by itself.

use super::Model;
use super::kv::Cache;
use super::llama::{Run, Wanted};
use super::reading::Reading;
use super::sequence::Next;
use crate::{Event, Fault, Finish, Usage, vector};
use compact_str::{CompactString, format_compact};
use std::collections::VecDeque;

/// Bytes that are cut into tokens in one step, or one text if that is longer: about a millisecond, so
/// that those who are generating hardly notice.
const TOKENIZED_BYTES: usize = 4096;

pub(super) struct Embedding {
    /// Not cut into tokens yet.
    texts: VecDeque<String>,
    /// Cut, and not begun.
    waiting: VecDeque<Vec<u32>>,
    /// Those that are computed in this step, in order. Between steps there is at most one, which is
    /// not whole yet.
    begun: VecDeque<Reading>,
    /// The memory of one that is whole, for the next to begin.
    spare: Option<Cache>,
    /// Of the states at the tokens of the first that was begun.
    sum: Vec<f64>,
    results: Results,
    usage: Usage,
    /// Tokens that a text may have.
    context_tokens: u32,
    /// Layers of a cache.
    layers: usize,
}

/// What vectors are wanted for.
enum Results {
    /// They are told.
    Vectors,
    /// The first is the query's; of the others it is told how much they are like it.
    Scores { query: Option<Vec<f32>> },
}

impl Embedding {
    /// Tells the vector of each text.
    pub(super) fn vectors(
        model: &Model,
        cache: Cache,
        texts: Vec<String>,
        context_tokens: u32,
    ) -> Self {
        Self {
            texts: texts.into(),
            waiting: VecDeque::new(),
            begun: VecDeque::new(),
            spare: Some(cache),
            sum: vec![0.0; model.llama.sizes.width],
            results: Results::Vectors,
            usage: Usage {
                prompt_tokens: Some(0),
                cached_tokens: Some(0),
                completion_tokens: 0,
            },
            context_tokens,
            layers: model.llama.sizes.layers,
        }
    }

    /// Tells how much each text but the first is like the first.
    pub(super) fn scores(
        model: &Model,
        cache: Cache,
        texts: Vec<String>,
        context_tokens: u32,
    ) -> Self {
        Self {
            results: Results::Scores { query: None },
            ..Self::vectors(model, cache, texts, context_tokens)
        }
    }

    /// The memory that it was given.
    pub(super) fn into_cache(self) -> Option<Cache> {
        let begun = self.begun.into_iter().map(|reading| reading.cache);
        self.spare.into_iter().chain(begun).next()
    }

    /// How many tokens are in its caches.
    pub(super) fn cached(&self) -> usize {
        self.begun.iter().map(|reading| reading.cached).sum()
    }

    /// How many tokens are still to compute, as far as they are known.
    pub(super) fn pending(&self) -> usize {
        if !self.texts.is_empty() {
            // Nothing is computed before it is known that every text fits.
            return 0;
        }
        let begun = self.begun.iter().map(Reading::pending);
        begun.chain(self.waiting.iter().map(Vec::len)).sum()
    }

    /// The next tokens to compute, so many of them: those of one text after the other.
    pub(super) fn runs(&mut self, share: usize) -> Vec<Run<'_>> {
        self.begin(share);
        let mut left = share;
        // Each is begun for a part of the share, so none of these runs is empty.
        self.begun
            .iter_mut()
            .map(|text| {
                let count = text.pending().min(left);
                left -= count;
                text.run(count, Wanted::States)
            })
            .collect()
    }

    /// Begins as many texts as so many tokens are of.
    fn begin(&mut self, share: usize) {
        let mut left = share.saturating_sub(self.begun.iter().map(Reading::pending).sum());
        while left > 0
            && let Some(tokens) = self.waiting.pop_front()
        {
            left = left.saturating_sub(tokens.len());
            self.begun.push_back(Reading {
                // The first has the slot's memory; that of the others is given back with them.
                cache: self.spare.take().unwrap_or_else(|| Cache::new(self.layers)),
                tokens,
                cached: 0,
            });
        }
    }

    /// Takes the states at the tokens of each run, and tells what has become of whole texts.
    pub(super) fn advance(
        &mut self,
        model: &Model,
        states: &[Vec<f32>],
        emit: &mut dyn FnMut(Event),
    ) -> Next {
        match self.try_advance(model, states, emit) {
            Ok(next) => next,
            Err(fault) => {
                emit(Event::Fault(fault));
                Next::End
            }
        }
    }

    fn try_advance(
        &mut self,
        model: &Model,
        states: &[Vec<f32>],
        emit: &mut dyn FnMut(Event),
    ) -> Result<Next, Fault> {
        if !self.texts.is_empty() {
            self.tokenize(model)?;
            if self.texts.is_empty() {
                emit(Event::Started {
                    prompt_tokens: self.usage.prompt_tokens,
                    cached_tokens: self.usage.cached_tokens,
                });
            }
            return Ok(Next::GoOn);
        }
        let mut next = Next::GoOn;
        for states in states {
            self.add(states);
            if self.begun.front().is_some_and(|text| text.pending() == 0) {
                self.complete(emit)?;
                next = Next::GoBehind;
            }
        }
        if self.begun.is_empty() && self.waiting.is_empty() {
            let (finish, usage) = (Finish::Stop, self.usage);
            emit(Event::End { finish, usage });
            return Ok(Next::End);
        }
        Ok(next)
    }

    /// Takes in the states at the next tokens of a text.
    fn add(&mut self, states: &[f32]) {
        for state in states.chunks_exact(self.sum.len()) {
            let pairs = self.sum.iter_mut().zip(state);
            pairs.for_each(|(sum, number)| *sum += f64::from(*number));
        }
    }

    /// Cuts some texts into tokens.
    fn tokenize(&mut self, model: &Model) -> Result<(), Fault> {
        let mut bytes_left = TOKENIZED_BYTES;
        while let Some(text) = self.texts.pop_front() {
            let tokens = model.tokenizer.encode_within(&text, self.context_tokens)?;
            let count = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
            let counted = &mut self.usage.prompt_tokens;
            *counted = counted.map(|tokens| tokens.saturating_add(count));
            self.waiting.push_back(tokens);
            bytes_left = bytes_left.saturating_sub(text.len());
            if bytes_left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The first that was begun is whole: tells what is wanted of its vector.
    fn complete(&mut self, emit: &mut dyn FnMut(Event)) -> Result<(), Fault> {
        let whole = self.begun.pop_front();
        self.spare = self.spare.take().or_else(|| {
            let mut cache = whole?.cache;
            cache.clear();
            Some(cache)
        });
        // A mean has its sum's direction, and only that is kept.
        let sum = self.sum.iter_mut().map(core::mem::take);
        #[expect(clippy::cast_possible_truncation, reason = "rounding is meant")]
        let sum = sum.map(|number| number as f32).collect();
        let vector = vector::normalized(sum).ok_or_else(|| {
            Fault::Broken("the model computed nothing that is a direction".into())
        })?;
        let text: CompactString = match &mut self.results {
            Results::Vectors => vector::json(&vector),
            Results::Scores { query: Some(query) } => {
                format_compact!("{}", vector::cosine(query, &vector))
            }
            Results::Scores { query } => {
                *query = Some(vector);
                return Ok(());
            }
        };
        self.usage.completion_tokens += 1;
        emit(Event::Token { text });
        Ok(())
    }
}
