//! One connection of HTTP/2: what all its streams share.
//!
//! The library `h2` frames and counts windows. What is here drives it on a shard: it begins and ends
//! the connection, starts a task of the shard for each stream ([`stream`]), and holds the client to
//! what an honest one keeps without noticing. A connection stays on the shard that accepted it; a
//! stream whose task lives elsewhere is relayed ([`super::relay`]).

mod patience;
mod request;
mod stream;
mod wire;

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use glommio::{net::TcpStream, sync::Semaphore, timer::Timer};
use h2::{Reason, server};

use self::{patience::Patience, wire::Wire};
use super::{
    Shard,
    connection::hang_up,
    farewell::Listener,
    peer::Peer,
    reader::{BATCH_BYTES, OpenStream},
};

/// Streams of one connection at a time: a little more than the hundred that RFC 9113 §6.5.2 calls
/// the least, as a page of readers over one connection is what HTTP/2 is for. One more is refused
/// (`REFUSED_STREAM`), and the client tries it again.
const STREAMS_MAX: u32 = 128;
/// What a client may send on a stream before it was read; HTTP/2's own default. Most bodies fit.
const WINDOW_BYTES: u32 = 64 * 1024;
/// Bodies of one connection that are longer than a window and read at a time. Others wait, so that a
/// connection holds a window a stream and this many bodies, and not a body a stream.
const LONG_BODIES_MAX: u64 = 8;
/// What `h2` decodes of a head: twice of what is accepted, so that a head somewhat too long is
/// answered in words, by us. It answers a longer one with a bare 431, and four times this ends the
/// connection, as do more CONTINUATION frames than a head of this length can need.
const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// What the streams of a connection share.
struct Common {
    shard: Rc<Shard>,
    peer: Peer,
    /// With resets.
    patience: Patience,
    /// Turns at reading a long body.
    long_bodies: Semaphore,
}

/// Serves a connection to its end. `begun` was read already.
pub async fn serve(shard: &Rc<Shard>, stream: TcpStream, peer: Peer, begun: Vec<u8>) {
    let wire = Wire::new(stream, begun);
    if let Some(h2) = shake_hands(shard, &wire).await {
        let mut driver = Driver::new(shard, peer, h2, Rc::clone(&wire));
        poll_fn(|context| driver.poll(context)).await;
    }
    if let Some(wire) = Rc::into_inner(wire) {
        hang_up(wire.into_stream()).await;
    }
}

type H2 = server::Connection<wire::Io, Bytes>;

async fn shake_hands(shard: &Shard, wire: &Rc<Wire>) -> Option<H2> {
    let mut handshake = pin!(
        server::Builder::new()
            .max_concurrent_streams(STREAMS_MAX)
            .initial_window_size(WINDOW_BYTES)
            // No stream that waits for its turn can hold up another one.
            .initial_connection_window_size(WINDOW_BYTES * STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX)
            .max_send_buffer_size(BATCH_BYTES)
            .handshake::<_, Bytes>(wire::Io::new(wire))
    );
    let mut timer = Timer::new(shard.shared.limits().timeouts.head);
    poll_fn(|context| {
        wire.begin_turn();
        if let Poll::Ready(shaken) = handshake.as_mut().poll(context) {
            return Poll::Ready(shaken.ok());
        }
        Pin::new(&mut timer).poll(context).map(|_| None)
    })
    .await
}

/// Drives `h2`, and through it every stream of the connection.
struct Driver {
    common: Rc<Common>,
    h2: H2,
    wire: Rc<Wire>,
    /// Runs while there is no stream.
    idle: Option<Timer>,
    /// While there is one: what `h2` has not written yet is waited for by a daemon that stops.
    open: Option<OpenStream>,
    /// The client was told that no more streams are taken.
    leaving: bool,
    /// The client was told that this is the end.
    ending: bool,
    farewell: Listener,
}

impl Driver {
    fn new(shard: &Rc<Shard>, peer: Peer, h2: H2, wire: Rc<Wire>) -> Self {
        let common = Common {
            shard: Rc::clone(shard),
            peer,
            patience: Patience::default(),
            long_bodies: Semaphore::new(LONG_BODIES_MAX),
        };
        Self {
            common: Rc::new(common),
            h2,
            wire,
            idle: None,
            open: None,
            leaving: false,
            ending: false,
            farewell: Listener::new(shard),
        }
    }

    /// Ready when the connection is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.wire.begin_turn();
        self.farewell.listen(context.waker());
        if self.common.shard.is_stopping() && !self.leaving {
            self.leaving = true;
            self.h2.graceful_shutdown();
        }
        if self.common.patience.is_at_its_end() {
            self.end(Reason::ENHANCE_YOUR_CALM);
        }
        while let Poll::Ready(accepted) = self.h2.poll_accept(context) {
            let Some(Ok((request, respond))) = accepted else {
                return Poll::Ready(());
            };
            stream::begin(&self.common, request, respond);
        }
        if self.is_idle(context) {
            // The farewell names the last stream that was served: a request that crosses it is
            // safely sent again on another connection.
            self.end(Reason::NO_ERROR);
            return self.h2.poll_closed(context).map(drop);
        }
        Poll::Pending
    }

    fn end(&mut self, reason: Reason) {
        if !self.ending {
            self.ending = true;
            self.h2.abrupt_shutdown(reason);
        }
    }

    /// Whether there has been no stream for as long as a connection may rest.
    fn is_idle(&mut self, context: &mut Context<'_>) -> bool {
        let shard = &self.common.shard;
        if self.h2.has_streams() {
            self.idle = None;
            self.open.get_or_insert_with(|| OpenStream::new(shard));
            return false;
        }
        self.open = None;
        let timeout = shard.shared.limits().timeouts.idle;
        let idle = self.idle.get_or_insert_with(|| Timer::new(timeout));
        !self.ending && Pin::new(idle).poll(context).is_ready()
    }
}
