//! What is read from strangers, laid open to a fuzzer: one target for each kind of bytes.
//!
//! A target says what holds of any bytes whatever, and panics where it does not. It has two drivers: a fuzzer that
//! thinks bytes up and sees which code they reach (`cargo fuzzers`, in `examples/fuzzer.rs`), and a test that
//! reads again what a fuzzer has found worth keeping (`tests/corpora.rs`), without a C++ compiler.
//!
//! What is kept began with the recorded dialogues of `http` and `gpu`, the example of a settings file and two models of
//! a few numbers, and is now the fewest inputs that reach as much as all that were ever found
//! (`cargo fuzzers --keep`). An input that did harm goes to `crashes/`, in a folder of its target, with the mend.

mod answers;
mod bodies;
mod events;
mod gguf;
mod handoff;
mod heads;
mod settings;

/// The properties that the floor's own tests roll dice for.
#[path = "../../../http/tests/meaning/mod.rs"]
mod meaning;

/// The engine's side of a dialogue, as its own tests play it.
#[expect(dead_code, reason = "those tests tell events in words, too")]
#[path = "../../../gpu/tests/dialogue/mod.rs"]
mod dialogue;

/// A kind of bytes, and what holds of them.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The folder of `corpora/` that inputs are kept in is called so.
    pub name: &'static str,
    /// Panics if something does not hold.
    pub check: fn(&[u8]),
}

/// Everything that a stranger's bytes go into.
pub const TARGETS: [Target; 8] = [
    target("answers", answers::check),
    target("chunked", bodies::check_chunked),
    target("events", events::check),
    target("gguf", gguf::check),
    target("handoff", handoff::check),
    target("request", heads::check_request),
    target("response", heads::check_response),
    target("settings", settings::check),
];

/// A target with a planted fault, deep enough that nobody stumbles upon it.
pub const CANARY: Target = target("canary", bodies::check_canary);

const fn target(name: &'static str, check: fn(&[u8])) -> Target {
    Target { name, check }
}

/// Where bytes are cut on their way: everywhere, and in two ways that have little to do with each other.
const LENS: [&[usize]; 3] = [&[1], &[7, 2], &[64, 3, 11]];
