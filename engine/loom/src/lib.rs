//! The daemon's own lock-free pieces, compiled with a model checker's words in place of the machine's.
//!
//! The daemon as a whole can't be: its executor and its libraries have no such words. So the files of the
//! pieces are read a second time here, and `tests/loom.rs` tries them. `cargo loom` runs it; without its
//! words there is nothing here.
#![cfg(loom)]

#[path = "../../src/shared/bell.rs"]
pub mod bell;
pub mod model;
#[path = "../../src/shared/ring.rs"]
pub mod ring;
