//! What the sentences of the features mean, one file per noun.
//!
//! A step says one thing, waits for it if it may take time, and fails with what it saw instead. No
//! step sleeps for a fixed time, and none asserts how fast anything is.

mod connection;
mod daemon;
mod device;
mod engine;
mod http2;
mod key;
mod llamacpp;
pub(crate) mod load;
mod log;
mod metrics;
mod mirror;
mod naming;
mod pool;
mod request;
mod settings;
mod stream;
