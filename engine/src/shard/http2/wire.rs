//! The socket of a connection, as `h2` wants to be given one.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use futures_lite::{AsyncRead as _, AsyncWrite as _};
use glommio::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::shard::connection::READ_BYTES;

/// Bytes that a connection takes from its socket before the shard's others have their turn. `h2` reads
/// for as long as there is something, and a client that sends without a pause must not have the shard
/// to itself.
const TURN_BYTES: usize = READ_BYTES;

/// A socket and what was read from it too early.
pub(super) struct Wire {
    stream: RefCell<TcpStream>,
    begun: RefCell<Vec<u8>>,
    /// Bytes that may still be taken in this turn.
    left: Cell<usize>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, begun: Vec<u8>) -> Rc<Self> {
        Rc::new(Self {
            stream: RefCell::new(stream),
            begun: RefCell::new(begun),
            left: Cell::new(TURN_BYTES),
        })
    }

    /// The shard's executor has come to this connection.
    pub(super) fn begin_turn(&self) {
        self.left.set(TURN_BYTES);
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }
}

/// `h2`'s hold of it.
pub(super) struct Io(Rc<Wire>);

impl Io {
    pub(super) fn new(wire: &Rc<Wire>) -> Self {
        Self(Rc::clone(wire))
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &self.0;
        let mut begun = wire.begun.borrow_mut();
        if !begun.is_empty() {
            let count = begun.len().min(buffer.remaining());
            buffer.put_slice(&begun[..count]);
            begun.drain(..count);
            return Poll::Ready(Ok(()));
        }
        let left = wire.left.get();
        if left == 0 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let room = buffer.initialize_unfilled_to(left.min(buffer.remaining()));
        let mut stream = wire.stream.borrow_mut();
        Pin::new(&mut *stream)
            .poll_read(context, room)
            .map_ok(|count| {
                buffer.advance(count);
                wire.left.set(left - count);
            })
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_close(context)
    }
}
