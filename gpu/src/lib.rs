//! What engines speak, and the engines that run in our process.
//!
//! Every engine, whatever its protocol, is translated to the same few words: a [`Generation`] goes
//! in, [`Event`]s come out. This crate knows how text is generated; it knows no pools, tasks,
//! queues or other engines.
//!
//! | word | meaning |
//! | --- | --- |
//! | generation | what is asked: an input, a bound, how to choose tokens, when to stop |
//! | sequence | one generation while it runs, named by a [`SequenceKey`] |
//! | slot | room for one sequence |
//! | step | one turn of an engine: every running sequence gets on by about one token |
//!
//! # Driving an engine
//!
//! A [`LocalEngine`] is a state machine without a thread. Its owner admits and cancels sequences
//! between steps, and calls [`step`](LocalEngine::step) when the last one says so:
//!
//! ```
//! use orchestratord_gpu::{
//!     Event, Generation, Input, LocalEngine, Sampling, SequenceKey, Step, mock,
//! };
//! use std::time::Duration;
//!
//! let mut engine = mock::Engine::new(mock::Options::default());
//! let generation = Generation {
//!     input: Input::Prompt("Once upon a time".to_owned()),
//!     max_tokens: 3,
//!     sampling: Sampling { temperature: 1.0, top_p: 1.0, top_k: 0, seed: 7 },
//!     stop: Vec::new(),
//!     session: None,
//!     reuse: false,
//!     traceparent: None,
//! };
//! engine.admit(Duration::ZERO, SequenceKey(1), generation).unwrap();
//!
//! let (mut now, mut text) = (Duration::ZERO, String::new());
//! loop {
//!     let step = engine.step(now, &mut |_, event| {
//!         if let Event::Token { text: token } = event {
//!             text.push_str(&token);
//!         }
//!     });
//!     match step {
//!         Step::Again => {}
//!         Step::At(when) => now = when,
//!         Step::Idle => break,
//!     }
//! }
//! assert_eq!(text.split_whitespace().count(), 3);
//! ```
//!
//! # Speaking to an engine
//!
//! An engine elsewhere is spoken to with an [`Exchange`](exchange::Exchange), and asked how it is with [`probe`]. Both are
//! told bytes and tell bytes; their owner has the sockets. Each kind of engine has a file that knows its
//! protocol.
//!
//! # Not here
//!
//! No clock, no socket, no file, no entropy: time, bytes and seeds are arguments. The arithmetic of
//! the embedded model may use the threads of the library that does it (see [`embedded`]).

pub mod command;
mod dialect;
pub mod embedded;
pub mod event;
pub mod exchange;
mod generation;
pub mod handoff;
mod kind;
mod llamacpp;
pub mod mock;
mod openai;
pub mod probe;
mod refusal;
mod sglang;
mod telling;
mod text;
mod tgi;
mod triton;
mod vector;
mod visible;
mod vllm;

pub use event::{Event, Fault, Finish, Usage};
pub use generation::{Generation, Input, Message, Role, Sampling, SessionKey, Workload};
pub use kind::EngineKind;
pub use visible::is_visible;

use core::time::Duration;

/// Names a running sequence; chosen by whoever admits it, unique while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceKey(pub u64);

/// When an engine wants its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// At once: it is in the middle of work.
    Again,
    /// Not before this time, counted as `now` is.
    At(Duration),
    /// When something was admitted.
    Idle,
}

/// An engine in our process. `now` counts from any one moment that stays the same.
pub trait LocalEngine: Send {
    /// How many sequences run at a time.
    fn slots(&self) -> u32;

    /// Tries the engine out, as cheaply as can be told from a real generation.
    ///
    /// # Errors
    /// Why it can't generate.
    fn probe(&mut self) -> Result<(), Fault>;

    /// Starts a sequence. Its events begin with the next step.
    ///
    /// # Errors
    /// Why this one can't be generated. Nothing has started then.
    fn admit(
        &mut self,
        now: Duration,
        key: SequenceKey,
        generation: Generation,
    ) -> Result<(), Fault>;

    /// Ends a sequence without another event and frees its slot. An unknown one has ended already.
    fn cancel(&mut self, key: SequenceKey);

    /// One turn. `emit` is told what happened, of each sequence in order: [`Event::Started`] once,
    /// tokens, then [`Event::End`] or [`Event::Fault`], after which the sequence is gone.
    fn step(&mut self, now: Duration, emit: &mut dyn FnMut(SequenceKey, Event)) -> Step;

    /// Lets go of a session's KV cache. An engine that keeps none has nothing to do.
    fn forget(&mut self, _session: SessionKey) {}

    /// Tells how many bytes of KV cache are kept of which session, where that has changed since it
    /// was asked last.
    fn kept(&mut self, _tell: &mut dyn FnMut(SessionKey, u64)) {}

    /// How full the KV caches of its slots are, from 0 to 1; `None` if it has none.
    fn kv_cache_usage(&self) -> Option<f64> {
        None
    }
}
