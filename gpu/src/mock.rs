//! A scripted engine: its pace and its faults are set, its text is drawn from a few words.
//!
//! For tests and benchmarks of everything around an engine. It generates a token of each running
//! sequence whenever that sequence's next one is due, and never looks at a clock: time is what
//! [`step`](LocalEngine::step) is told. It stops at no stop text, because it has none to find.
//!
//! A chat is answered like any prompt. A text's vector is drawn by the text, and documents are ranked
//! by how much their vectors are like the query's; results come at the pace of tokens.

use crate::{
    Event, Finish, Generation, Input, LocalEngine, SequenceKey, Step, Usage, event, vector,
};
use compact_str::{CompactString, format_compact};
use core::time::Duration;
use std::collections::BTreeMap;

/// How the engine breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    #[default]
    None,
    /// It answers no probe and starts no sequence.
    RefusesAdmission,
    /// It breaks when a sequence has so many tokens.
    DiesAfterTokens(u32),
    /// It falls silent about a sequence that has so many tokens.
    HangsAfterTokens(u32),
}

/// What the engine is like.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many sequences run at a time; more are served all the same.
    pub slots: u32,
    /// From admission to the first token.
    pub first_token: Duration,
    /// From each token to the next; zero is as fast as it is asked.
    pub token_interval: Duration,
    /// Changes the words.
    pub seed: u64,
    /// How it breaks.
    pub fault: Fault,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            slots: 4,
            first_token: Duration::ZERO,
            token_interval: Duration::ZERO,
            seed: 0,
            fault: Fault::None,
        }
    }
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    options: Options,
    running: BTreeMap<SequenceKey, Sequence>,
    broken: bool,
}

#[derive(Debug)]
struct Sequence {
    script: Script,
    usage: Usage,
    max_tokens: u32,
    due: Duration,
}

/// What a sequence says.
#[derive(Debug)]
enum Script {
    /// Words, drawn by a seed.
    Words(u64),
    /// One of these after the other.
    Results(Vec<CompactString>),
}

impl Script {
    fn of(input: &Input, seed_of_engine: u64, seed_of_text: u64) -> Self {
        let vector = |text: &String| text_vector(seed_of_engine, text);
        match input {
            Input::Prompt(_) | Input::Chat(_) => Self::Words(seed_of_engine ^ seed_of_text),
            Input::Embed(texts) => {
                let vectors = texts.iter().map(vector);
                Self::Results(vectors.map(|vector| vector::json(&vector)).collect())
            }
            Input::Rerank { query, documents } => {
                let query = vector(query);
                let vectors = documents.iter().map(vector);
                let scores = vectors.map(|vector| vector::cosine(&query, &vector));
                Self::Results(scores.map(|score| format_compact!("{score}")).collect())
            }
        }
    }

    /// How many tokens it has, of at most so many.
    fn tokens(&self, max_tokens: u32) -> u32 {
        match self {
            Self::Words(_) => max_tokens,
            Self::Results(results) => u32::try_from(results.len()).unwrap_or(u32::MAX),
        }
    }

    fn token(&self, place: u32) -> CompactString {
        match self {
            Self::Words(seed) => word(*seed, place),
            Self::Results(results) => {
                let result = usize::try_from(place).ok().and_then(|at| results.get(at));
                result.cloned().unwrap_or_default()
            }
        }
    }

    const fn finish(&self) -> Finish {
        match self {
            Self::Words(_) => Finish::Length,
            Self::Results(_) => Finish::Stop,
        }
    }
}

impl Engine {
    /// An engine with nothing to do.
    #[must_use]
    pub const fn new(options: Options) -> Self {
        Self {
            options,
            running: BTreeMap::new(),
            broken: false,
        }
    }

    /// What is left to do: nothing, or wait for the first token that is due.
    fn next_step(&self, now: Duration) -> Step {
        let hangs = |sequence: &&Sequence| !self.hangs(sequence);
        let due = self
            .running
            .values()
            .filter(hangs)
            .map(|sequence| sequence.due)
            .min();
        match due {
            None => Step::Idle,
            Some(due) if due <= now => Step::Again,
            Some(due) => Step::At(due),
        }
    }

    fn hangs(&self, sequence: &Sequence) -> bool {
        let tokens = sequence.usage.completion_tokens;
        matches!(self.options.fault, Fault::HangsAfterTokens(count) if tokens >= count)
    }

    fn dies(&self, sequence: &Sequence) -> bool {
        let tokens = sequence.usage.completion_tokens;
        matches!(self.options.fault, Fault::DiesAfterTokens(count) if tokens >= count)
    }

    /// Whatever is due of one sequence. `false` when it has ended.
    fn advance(&self, now: Duration, sequence: &mut Sequence, emit: &mut dyn FnMut(Event)) -> bool {
        if sequence.usage.completion_tokens == 0 {
            emit(Event::Started {
                prompt_tokens: sequence.usage.prompt_tokens,
                cached_tokens: sequence.usage.cached_tokens,
            });
        }
        let text = sequence.script.token(sequence.usage.completion_tokens);
        emit(Event::Token { text });
        sequence.usage.completion_tokens += 1;
        sequence.due = now + self.options.token_interval;
        if sequence.usage.completion_tokens < sequence.max_tokens {
            return true;
        }
        let (finish, usage) = (sequence.script.finish(), sequence.usage);
        emit(Event::End { finish, usage });
        false
    }

    fn break_down(&mut self, emit: &mut dyn FnMut(SequenceKey, Event)) {
        self.broken = true;
        for key in core::mem::take(&mut self.running).into_keys() {
            emit(key, Event::Fault(broken()));
        }
    }
}

fn broken() -> event::Fault {
    event::Fault::Broken(CompactString::const_new(
        "the mock engine broke, as it was told to",
    ))
}

impl LocalEngine for Engine {
    fn slots(&self) -> u32 {
        self.options.slots
    }

    fn probe(&mut self) -> Result<(), event::Fault> {
        match self.options.fault {
            Fault::RefusesAdmission => Err(broken()),
            _ => Ok(()),
        }
    }

    fn admit(
        &mut self,
        now: Duration,
        key: SequenceKey,
        generation: Generation,
    ) -> Result<(), event::Fault> {
        if self.broken || self.options.fault == Fault::RefusesAdmission {
            return Err(broken());
        }
        let texts = generation.input.texts().into_iter();
        let words: usize = texts.map(|text| text.split_whitespace().count()).sum();
        let (seed, seed_of_text) = (self.options.seed, generation.sampling.seed);
        let script = Script::of(&generation.input, seed, seed_of_text);
        let sequence = Sequence {
            max_tokens: script.tokens(generation.max_tokens),
            script,
            usage: Usage {
                prompt_tokens: Some(u32::try_from(words).unwrap_or(u32::MAX)),
                cached_tokens: Some(0),
                completion_tokens: 0,
            },
            due: now + self.options.first_token,
        };
        self.running.insert(key, sequence);
        Ok(())
    }

    fn cancel(&mut self, key: SequenceKey) {
        self.running.remove(&key);
    }

    fn step(&mut self, now: Duration, emit: &mut dyn FnMut(SequenceKey, Event)) -> Step {
        let mut running = core::mem::take(&mut self.running);
        let mut dies = false;
        running.retain(|key, sequence| {
            if sequence.due > now || self.hangs(sequence) {
                return true;
            }
            dies |= self.dies(sequence);
            dies || self.advance(now, sequence, &mut |event| emit(*key, event))
        });
        self.running = running;
        if dies {
            self.break_down(emit);
        }
        self.next_step(now)
    }
}

/// Numbers of the vector of a text: enough to tell texts apart.
const VECTOR_WIDTH: u32 = 8;

/// The vector that belongs to the seed and the text.
fn text_vector(seed: u64, text: &str) -> Vec<f32> {
    // FNV-1a, 64 bits (Fowler, Noll, Vo).
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let number = |place: u32| {
        let high = u16::try_from(mixed(seed ^ hash, place) >> 48).unwrap_or_default();
        // Odd, so that no vector is without a direction.
        f32::from(high | 1) - f32::from(1_u16 << 15)
    };
    let numbers = (1..=VECTOR_WIDTH).map(number).collect();
    vector::normalized(numbers).expect("an odd number less an even one is not zero")
}

/// Spreads seed and place over the high bits: multiplies by an odd constant (Knuth, "The Art of
/// Computer Programming" 6.4).
const fn mixed(seed: u64, place: u32) -> u64 {
    (seed ^ place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The word at this place of the text that belongs to the seed.
fn word(seed: u64, place: u32) -> CompactString {
    const WORDS: [&str; 16] = [
        "amber", "birch", "cloud", "dawn", "ember", "fern", "grove", "harbor", "iris", "jade",
        "kite", "lantern", "moss", "north", "otter", "pine",
    ];
    let index = usize::try_from(mixed(seed, place) >> 60).unwrap_or_default();
    format_compact!("{} ", WORDS[index])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Input, Sampling};

    fn generation(max_tokens: u32, seed: u64) -> Generation {
        Generation {
            input: Input::Prompt("three little words".to_owned()),
            max_tokens,
            sampling: Sampling {
                temperature: 1.0,
                top_p: 1.0,
                top_k: 0,
                seed,
            },
            stop: Vec::new(),
            session: None,
            reuse: false,
            traceparent: None,
        }
    }

    fn engine(fault: Fault) -> Engine {
        let ms = Duration::from_millis;
        Engine::new(Options {
            first_token: ms(20),
            token_interval: ms(10),
            fault,
            ..Options::default()
        })
    }

    /// Runs until nothing is due any more; what was said, and when.
    fn run(engine: &mut Engine) -> Vec<(u128, Event)> {
        let (mut now, mut said) = (Duration::ZERO, Vec::new());
        loop {
            match engine.step(now, &mut |_, event| said.push((now.as_millis(), event))) {
                Step::Again => {}
                Step::At(when) => now = when,
                Step::Idle => return said,
            }
        }
    }

    fn tokens(generation: Generation) -> Vec<CompactString> {
        let mut engine = engine(Fault::None);
        let key = SequenceKey(1);
        engine.admit(Duration::ZERO, key, generation).unwrap();
        let texts = run(&mut engine)
            .into_iter()
            .filter_map(|(_, event)| match event {
                Event::Token { text } => Some(text),
                _ => None,
            });
        texts.collect()
    }

    fn text(seed: u64) -> String {
        tokens(generation(8, seed)).concat()
    }

    fn results(input: Input, seed: u64) -> Vec<CompactString> {
        tokens(Generation {
            input,
            ..generation(1, seed)
        })
    }

    #[test]
    fn tokens_come_at_the_pace_that_was_set() {
        let mut engine = engine(Fault::None);
        engine
            .admit(Duration::ZERO, SequenceKey(1), generation(3, 0))
            .unwrap();
        let said = run(&mut engine);
        let times: Vec<u128> = said.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [20, 20, 30, 40, 40], "started, three tokens, end");
        let started = Event::Started {
            prompt_tokens: Some(3),
            cached_tokens: Some(0),
        };
        assert_eq!(said[0].1, started);
        let usage = Usage {
            prompt_tokens: Some(3),
            cached_tokens: Some(0),
            completion_tokens: 3,
        };
        let finish = Finish::Length;
        assert_eq!(said[4].1, Event::End { finish, usage });
    }

    #[test]
    fn the_seed_is_the_text() {
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn a_text_has_one_vector_whoever_asks() {
        let texts = ["moon", "sea", "moon"].map(str::to_owned).to_vec();
        let vectors = results(Input::Embed(texts.clone()), 7);
        assert_eq!(vectors.len(), 3);
        assert_eq!(vectors[0], vectors[2]);
        assert_ne!(vectors[0], vectors[1]);
        assert_eq!(vectors, results(Input::Embed(texts), 8));
    }

    #[test]
    fn the_document_that_is_the_query_ranks_highest() {
        let scores = results(
            Input::Rerank {
                query: "moon".to_owned(),
                documents: ["sea", "moon", "owl"].map(str::to_owned).to_vec(),
            },
            7,
        );
        let scores: Vec<f32> = scores.iter().map(|score| score.parse().unwrap()).collect();
        assert!(scores[1] > scores[0] && scores[1] > scores[2], "{scores:?}");
        assert!(scores.iter().all(|score| (-1.0..=1.0).contains(score)));
    }

    #[test]
    fn a_canceled_sequence_is_never_heard_of_again() {
        let mut engine = engine(Fault::None);
        engine
            .admit(Duration::ZERO, SequenceKey(1), generation(3, 0))
            .unwrap();
        engine.cancel(SequenceKey(1));
        engine.cancel(SequenceKey(2));
        assert!(run(&mut engine).is_empty());
    }

    #[test]
    fn an_engine_that_dies_says_so_to_all_its_sequences() {
        let mut engine = engine(Fault::DiesAfterTokens(2));
        engine
            .admit(Duration::ZERO, SequenceKey(1), generation(9, 0))
            .unwrap();
        engine
            .admit(Duration::from_millis(5), SequenceKey(2), generation(9, 0))
            .unwrap();
        let faults = run(&mut engine);
        let faults = faults
            .iter()
            .filter(|(_, event)| matches!(event, Event::Fault(_)));
        assert_eq!(faults.count(), 2);
        assert!(
            engine
                .admit(Duration::ZERO, SequenceKey(3), generation(1, 0))
                .is_err()
        );
    }

    #[test]
    fn an_engine_that_hangs_says_nothing() {
        let mut engine = engine(Fault::HangsAfterTokens(2));
        engine
            .admit(Duration::ZERO, SequenceKey(1), generation(9, 0))
            .unwrap();
        assert_eq!(run(&mut engine).len(), 3, "started and two tokens");
    }

    #[test]
    fn an_engine_that_refuses_fails_its_probe() {
        let mut engine = engine(Fault::RefusesAdmission);
        assert!(engine.probe().is_err());
        assert!(
            engine
                .admit(Duration::ZERO, SequenceKey(1), generation(1, 0))
                .is_err()
        );
    }
}
