//! What an engine's file says about how it is spoken to: one [`Question`] for a generation, and how
//! the answer to it is read.
//!
//! A text comes as an event stream, which is read [`Piece`] by piece; vectors and relevances come as
//! one document, read whole. Everything else about an answer (heads, order, bounds, faults) is the
//! same for every engine, and the business of [`exchange`](crate::exchange).

use crate::event::Finish;
use crate::exchange::Target;
use crate::generation::Generation;
use crate::{EngineKind, Fault, Workload, llamacpp, openai, sglang, tgi, triton, vllm};
use compact_str::{CompactString, format_compact};
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A request to an engine: always a `POST` of JSON.
pub(crate) struct Question {
    /// Below the engine's base path.
    pub(crate) path: Cow<'static, str>,
    pub(crate) body: Vec<u8>,
    pub(crate) answer: Answer,
}

/// How a good answer is read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// An event stream: a text, piece by piece.
    Stream {
        read: ReadPiece,
        /// Whether the engine says why a text ends. If it does not, the end of the body is the end
        /// of the text.
        tells_finish: bool,
    },
    /// One JSON document: a result for each input.
    Whole(ReadResults),
}

/// Reads the data of one event.
pub(crate) type ReadPiece = fn(&[u8]) -> Result<Said, Unreadable>;

/// Reads a document that has as many results as this.
pub(crate) type ReadResults = fn(&[u8], usize) -> Result<Results, Unreadable>;

/// What one event of a stream says.
#[derive(Debug)]
pub(crate) enum Said {
    Piece(Piece),
    /// There is nothing more to come.
    Done,
    /// The engine gave up; the data says why.
    Error,
}

/// A piece of a text, and what is told along with it.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    /// May be empty.
    pub(crate) text: CompactString,
    pub(crate) finish: Option<Finish>,
    /// As far as the text has come; an engine that counts only once does so at the end.
    pub(crate) counts: Counts,
}

/// Tokens, as an engine counts them. What it does not tell is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) prompt: Option<u32>,
    /// Those of the prompt that were in the KV cache.
    pub(crate) cached: Option<u32>,
    pub(crate) completion: Option<u32>,
}

impl Counts {
    /// Takes over what is told now; what is not stands as it was told before.
    pub(crate) fn learn(&mut self, told: Self) {
        *self = Self {
            prompt: told.prompt.or(self.prompt),
            cached: told.cached.or(self.cached),
            completion: told.completion.or(self.completion),
        };
    }
}

/// The results of a document, in the order of the inputs.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) texts: Vec<CompactString>,
    pub(crate) counts: Counts,
}

/// The engine said something that its protocol has no such words for.
#[derive(Debug)]
pub(crate) struct Unreadable;

impl From<serde_json::Error> for Unreadable {
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

/// The kinds of work that engines of this kind are asked for over HTTP. One of them may have been started
/// without some of it; it says so when it is asked.
#[must_use]
pub const fn workloads(kind: EngineKind) -> &'static [Workload] {
    match kind {
        EngineKind::LlamaCpp
        | EngineKind::Vllm
        | EngineKind::Sglang
        | EngineKind::OpenAi
        | EngineKind::Mock => &Workload::ALL,
        EngineKind::Tgi => &[Workload::Completion, Workload::Chat],
        EngineKind::Triton => &[Workload::Completion],
        EngineKind::Embedded => &[],
    }
}

/// What to send for a generation.
///
/// # Errors
/// The engine does no work of this kind.
pub(crate) fn question(target: &Target<'_>, generation: &Generation) -> Result<Question, Fault> {
    match target.kind {
        EngineKind::LlamaCpp => Ok(llamacpp::question(target, generation)),
        EngineKind::Vllm => Ok(vllm::question(target, generation)),
        EngineKind::Sglang => Ok(sglang::question(target, generation)),
        EngineKind::Tgi => tgi::question(target, generation),
        EngineKind::Triton => triton::question(target, generation),
        EngineKind::OpenAi | EngineKind::Mock => Ok(openai::question(target, generation)),
        // It has no address: it is a struct of this process.
        EngineKind::Embedded => Err(Fault::Unsupported(generation.input.workload())),
    }
}

/// The JSON of a request.
pub(crate) fn json(body: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("structs of texts and numbers have a JSON form")
}

/// The seed itself where the engine takes it, else one folded into as many bits as it takes.
pub(crate) const fn fold_seed(seed: u64, seed_max: u64) -> u64 {
    if seed <= seed_max {
        seed
    } else {
        (seed ^ (seed >> 32)) & seed_max
    }
}

/// The finish that an engine's word means; `None` where it means that the text was given up.
pub(crate) fn finish(word: &str) -> Option<Finish> {
    match word {
        "length" => Some(Finish::Length),
        "abort" | "error" => None,
        _ => Some(Finish::Stop),
    }
}

impl Results {
    /// Puts results that name their input by its number in order.
    ///
    /// # Errors
    /// There is not exactly one for each input.
    pub(crate) fn in_order(
        results: Vec<(usize, CompactString)>,
        expected: usize,
        counts: Counts,
    ) -> Result<Self, Unreadable> {
        let mut results = results;
        results.sort_by_key(|(index, _)| *index);
        let is_whole = results.iter().map(|(index, _)| *index).eq(0..expected);
        let texts = results.into_iter().map(|(_, text)| text).collect();
        match is_whole {
            true => Ok(Self { texts, counts }),
            false => Err(Unreadable),
        }
    }
}

/// A number as JSON. Engines compute in 32 bits at most: more digits than those need are noise.
///
/// # Errors
/// JSON has no word for it.
pub(crate) fn number(number: f32) -> Result<CompactString, Unreadable> {
    match number.is_finite() {
        true => Ok(format_compact!("{number}")),
        false => Err(Unreadable),
    }
}

/// The first of a list, read without room for the others: a request for one text is answered with
/// lists of one.
#[derive(Debug)]
pub(crate) struct First<T>(pub(crate) Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(core::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = First<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<First<T>, A::Error> {
                let first = list.next_element()?;
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }

        deserializer.deserialize_seq(List(core::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Input, Sampling};

    #[test]
    fn a_seed_that_fits_is_told_as_it_is_and_another_keeps_both_its_halves() {
        let max = 0x7fff_ffff;
        assert_eq!(fold_seed(7, max), 7);
        assert_eq!(fold_seed(max, max), max);
        assert!(fold_seed(u64::MAX, max) <= max);
        assert_ne!(fold_seed(1 << 40, max), fold_seed(1 << 41, max));
    }

    #[test]
    fn an_engine_is_asked_for_the_work_that_is_told_of_it_and_for_no_other() {
        let texts = || vec!["a text".to_owned()];
        let inputs = [
            Input::Prompt("a text".to_owned()),
            Input::Chat(Vec::new()),
            Input::Embed(texts()),
            Input::Rerank {
                query: "a query".to_owned(),
                documents: texts(),
            },
        ];
        for kind in EngineKind::ALL {
            for input in &inputs {
                let target = Target {
                    kind,
                    host: "localhost",
                    base_path: "",
                    model: "a model",
                    key: None,
                };
                let generation = Generation {
                    input: input.clone(),
                    max_tokens: 1,
                    sampling: Sampling {
                        temperature: 1.0,
                        top_p: 1.0,
                        top_k: 0,
                        seed: 0,
                    },
                    stop: Vec::new(),
                    session: None,
                    reuse: false,
                    traceparent: None,
                };
                let is_asked = question(&target, &generation).is_ok();
                let is_told = workloads(kind).contains(&input.workload());
                assert_eq!(is_asked, is_told, "{kind:?}: {:?}", input.workload());
            }
        }
    }

    #[test]
    fn results_are_one_for_each_input_or_none() {
        let in_order = |indices: &[usize]| {
            let results = indices.iter().map(|index| (*index, number(1.5).unwrap()));
            Results::in_order(results.collect(), 2, Counts::default()).is_ok()
        };
        assert!(in_order(&[1, 0]));
        for wrong in [&[0][..], &[0, 0], &[0, 2], &[0, 1, 1], &[]] {
            assert!(!in_order(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_number_that_is_none_is_no_result() {
        assert_eq!(number(0.1).unwrap(), "0.1");
        assert!(number(f32::NAN).is_err());
        assert!(number(f32::INFINITY).is_err());
    }
}
