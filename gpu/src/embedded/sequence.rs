//! What runs on a slot: tokens are computed for it, a share a step, and something comes of them.

use super::Model;
use super::embedding::Embedding;
use super::llama::Run;
use super::writing::Writing;
use crate::{Event, SequenceKey, SessionKey};

pub(super) struct Sequence {
    pub(super) key: SequenceKey,
    pub(super) work: Work,
}

/// What its tokens are computed for.
pub(super) enum Work {
    /// They are a prompt and its text so far.
    Write(Box<Writing>),
    /// They are the texts to embed.
    Embed(Box<Embedding>),
}

/// What becomes of a sequence after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It goes on.
    GoOn,
    /// It has had its share for now: others take in their prompts first.
    GoBehind,
    /// It has ended.
    End,
}

impl Sequence {
    /// The conversation whose cache it has.
    pub(super) const fn session(&self) -> Option<SessionKey> {
        match &self.work {
            Work::Write(writing) => writing.session,
            // Texts to embed are no turns: what the last turn has left stays where it is.
            Work::Embed(_) => None,
        }
    }

    /// How many tokens are in its cache.
    pub(super) fn cached(&self) -> usize {
        match &self.work {
            Work::Write(writing) => writing.reading.cached,
            Work::Embed(embedding) => embedding.cached(),
        }
    }

    /// How many tokens are still to compute.
    pub(super) fn pending(&self) -> usize {
        match &self.work {
            Work::Write(writing) => writing.reading.pending(),
            Work::Embed(embedding) => embedding.pending(),
        }
    }

    /// The next tokens to compute, `share` of them and at most as many as are pending.
    pub(super) fn runs(&mut self, share: usize) -> Vec<Run<'_>> {
        match &mut self.work {
            Work::Write(_) | Work::Embed(_) if share == 0 => Vec::new(),
            Work::Write(writing) => vec![writing.run(share)],
            Work::Embed(embedding) => embedding.runs(share),
        }
    }

    /// Takes what was computed, one for each of its runs.
    pub(super) fn advance(
        &mut self,
        model: &Model,
        computed: Vec<Option<Vec<f32>>>,
        emit: &mut dyn FnMut(Event),
    ) -> Next {
        match &mut self.work {
            Work::Write(writing) => {
                let scores = computed.into_iter().flatten().next();
                let goes_on = writing.advance(model, scores, emit);
                if goes_on { Next::GoOn } else { Next::End }
            }
            Work::Embed(embedding) => {
                let states: Vec<Vec<f32>> = computed.into_iter().flatten().collect();
                embedding.advance(model, &states, emit)
            }
        }
    }
}
