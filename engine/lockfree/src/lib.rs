//! The daemon's own lock-free pieces, apart from it.
//!
//! What checks them can't compile the daemon as a whole: a model checker has words of its own for atomics, which
//! the daemon's libraries don't know, and an interpreter knows no io_uring. So the files of the pieces are read a second
//! time here. `cargo loom` tries them in every order of steps (`tests/loom.rs`); `.ci/sanitize` runs their own tests
//! under Miri and ThreadSanitizer.

#[path = "../../src/shared/bell.rs"]
pub mod bell;
#[cfg(loom)]
pub mod model;
#[path = "../../src/shared/ring.rs"]
pub mod ring;
