//! HTTP/1.1 framing and event streams, without I/O.
//!
//! This crate turns bytes into events and events into bytes. In scope: HTTP/1.0 and 1.1 messages
//! (RFC 9110, RFC 9112) from either side of a connection, event streams (WHATWG HTML §9.2), and
//! what the head of a request means that HTTP/2 has taken apart ([`server::Parts`]). Out of scope:
//! the frames of HTTP/2, TLS, routes, cookies, compression, and what any body means.
//!
//! It opens no socket, reads no clock, starts no thread and draws no random number. The owner of a
//! connection does those, and runs this loop:
//!
//! 1. read from the socket, and `receive` what came;
//! 2. `poll` until there is `NeedMore`, and act on each event;
//! 3. write what the answering methods put in `out`;
//! 4. close when the connection `must_close`, or when the timeout of its `phase` has passed.
//!
//! Every input is somebody's mistake or attack until shown otherwise: no bytes make this crate
//! panic, do quadratic work or hold more than its [`Limits`], and a message that two programs could
//! read in two ways is refused, with a reason that a person can act on.
//!
//! ```
//! use orchestratord_http::server::{Connection, Event, Response};
//! use orchestratord_http::{Limits, sse};
//!
//! let mut connection = Connection::new(Limits::default());
//! connection.receive(b"GET /v2/tasks/7/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
//!
//! let Ok(Event::Request { request, .. }) = connection.poll() else { panic!() };
//! assert_eq!(request.target.segments().collect::<Vec<_>>(), ["v2", "tasks", "7", "events"]);
//! assert_eq!(connection.poll(), Ok(Event::Complete));
//!
//! let (mut event, mut out) = (Vec::new(), Vec::new());
//! sse::encode(&mut event, 0, "token", br#"{"t":"Hello","i":0}"#);
//! let head = Response { status: 200, fields: &[("Content-Type", "text/event-stream")] };
//! connection.begin_stream(&head, &mut out);
//! connection.stream(&event, &mut out);
//! connection.end_stream(&mut out);
//!
//! assert_eq!(
//!     String::from_utf8_lossy(&out),
//!     "HTTP/1.1 200 OK\r\n\
//!      Content-Type: text/event-stream\r\n\
//!      Transfer-Encoding: chunked\r\n\
//!      \r\n\
//!      2e\r\n\
//!      id: 0\nevent: token\ndata: {\"t\":\"Hello\",\"i\":0}\n\n\r\n\
//!      0\r\n\
//!      \r\n"
//! );
//! assert!(!connection.must_close());
//! ```

mod accept;
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
pub mod sse;
pub mod sse_log;
mod target;

pub use accept::Quality;
pub use error::{Fault, Refusal};
pub use fields::Fields;
pub use framing::BodyLength;
pub use head::{Method, Version};
pub use limits::Limits;
pub use target::Target;
