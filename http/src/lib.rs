//! HTTP/1.1 framing, without I/O.
//!
//! This crate turns bytes into events and events into bytes. In scope: HTTP/1.0 and 1.1 messages
//! (RFC 9110, RFC 9112) from either side of a connection. Out of scope: HTTP/2, TLS, routes, cookies, compression, and what any body means.
//!
//! It opens no socket, reads no clock, starts no thread and draws no random number. The owner of a
//! connection does those, and runs this loop:
//!
//! 1. read from the socket, and `receive` what came;
//! 2. `poll` until there is `NeedMore`, and act on each event;
//! 3. write what the answering methods put in `out`;
//! 4. close when the connection `must_close`, or when the timeout of its `phase` has passed.
//!
//! Every input is somebody's mistake or attack until shown otherwise: no bytes make this crate panic, do
//! quadratic work or hold more than its [`Limits`], and a message that two programs could read in two
//! ways is refused, with a reason that a person can act on.

mod buffer;
mod chunked;
pub mod client;
mod error;
mod fields;
mod framing;
mod grammar;
mod head;
mod limits;
mod message;
pub mod server;
mod target;

pub use error::{Fault, Refusal};
pub use fields::Fields;
pub use framing::BodyLength;
pub use head::{Method, Version};
pub use limits::Limits;
pub use target::Target;
