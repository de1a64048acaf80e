//! The behaviour features: what the daemon promises, run against the real program over real sockets.
//!
//! The promises are the `*.feature` files beside the manifest; everything here only carries them out:
//!
//! - [`run`] builds the daemon and runs the features (`runner` → `program`, `daemon`, `world`);
//! - `mirror` serves files that the daemon may fetch;
//! - `driver` pretends devices that are not there;
//! - `certificate` makes what engines at https show;
//! - `sandbox` takes away from the daemon what a container would;
//! - `steps/` says what the sentences mean, one file per noun;
//! - `client` speaks for ordinary callers, through a library that knows nothing of us;
//! - `connection`, `chunked`, `stream`, `sse` speak and read by hand, for streams and for odd bytes;
//! - `http2` does both over HTTP/2, for scenarios that say so;
//! - `description` holds every answer against the published description;
//! - `secrets` searches every scenario's log for what no daemon may write down;
//! - `expectation`, `sequence`, `exposition` judge what came: JSON, the order of events, metrics.
//!
//! Nothing of the project's own is imported. Two mistakes that agree would look like one truth.

mod certificate;
mod chunked;
mod claim;
mod client;
mod connection;
mod daemon;
mod description;
mod driver;
mod engine;
mod expectation;
mod exposition;
mod farewell;
mod http2;
mod mirror;
mod program;
mod runner;
mod sandbox;
mod secrets;
mod sequence;
mod sse;
mod steps;
mod stream;
mod world;

pub use runner::{FEATURES, Options, Verdict, run};
pub use world::World;
