//! The daemon: the only floor that touches the world.
//!
//! The folder says which thread runs the code:
//!
//! | folder | thread |
//! | --- | --- |
//! | [`shard`] | one pinned executor a core: connections, queues, running tasks; never blocks |
//! | [`compute`] | one plain thread a replica: the engines of this process |
//! | [`store`] | two plain threads: the disk's, and the one that hashes models' files |
//! | [`control`] | the main thread: signals, rates, the way down |
//! | [`shared`] | no thread: the only state that several threads touch |
//!
//! The rest runs before the threads start ([`cli`], [`settings`], [`preflight`], [`provision`], [`recover`]) or belongs to no
//! thread in particular ([`api`], [`identity`], [`trust`], [`digest`], [`metrics`], [`models`], [`logs`], [`trace`],
//! [`endpoint`], [`roots`], [`keeper`], [`clock`], [`panics`]).
//! [`daemon::Daemon::start`] introduces them to each other.

pub mod api;
pub mod cli;
pub mod clock;
pub mod compute;
pub mod control;
pub mod daemon;
pub mod digest;
pub mod endpoint;
pub mod identity;
pub mod keeper;
pub mod logs;
pub mod metrics;
pub mod models;
pub mod panics;
pub mod plan;
pub mod preflight;
pub mod provision;
pub mod recover;
pub mod roots;
pub mod settings;
pub mod shard;
pub mod shared;
#[cfg(test)]
mod simulation;
pub mod store;
pub mod trace;
pub mod trust;
