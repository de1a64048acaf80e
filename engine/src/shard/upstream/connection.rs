//! A connection to a server, with or without TLS, and those that wait for their next task.

use std::{
    cell::RefCell,
    collections::HashMap,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_lite::{AsyncRead, AsyncWrite, future};
use futures_rustls::{TlsConnector, client::TlsStream};
use glommio::{net::TcpStream, timer::Timer};
use orchestratord_gpu::exchange;
use orchestratord_http::client;

use crate::{endpoint::Peer, roots::Roots};

/// Connections to one server that wait for their next task, on one shard.
const IDLE_MAX: usize = 32;
/// How long they wait. Shorter than the keep-alive of any server that we know (uvicorn's default is
/// 5 s), so that hardly any is closed while a request is on its way.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// A connection on which the next request may be written.
pub struct Connection {
    /// What carries the bytes.
    pub stream: Stream,
    /// What they mean.
    pub http: client::Connection,
}

/// What carries the bytes of a connection.
pub enum Stream {
    /// A socket.
    Plain(TcpStream),
    /// A socket whose server has shown a certificate for the name that was asked for.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// Connects and, where the server is at https, shakes hands, both within the limit.
    ///
    /// # Errors
    ///
    /// Why there is no connection.
    pub async fn open(peer: &Peer, roots: &Roots, limit: Duration) -> io::Result<Self> {
        let stream = within(limit, Stream::open(peer, roots)).await;
        Ok(Self {
            stream: stream.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?,
            http: client::Connection::new(exchange::LIMITS),
        })
    }
}

impl Stream {
    async fn open(peer: &Peer, roots: &Roots) -> io::Result<Self> {
        let socket = TcpStream::connect(peer.addr).await?;
        // A request is one write; it must not wait for the acknowledgement of the one before.
        socket.set_nodelay(true)?;
        let Some(name) = &peer.tls else {
            return Ok(Self::Plain(socket));
        };
        let connector = TlsConnector::from(roots.client());
        let stream = connector.connect(name.clone(), socket).await?;
        Ok(Self::Tls(Box::new(stream)))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_close(context),
            Self::Tls(stream) => Pin::new(stream).poll_close(context),
        }
    }
}

/// What comes of it, if that comes before the time is up.
pub(super) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let up = async {
        Timer::new(limit).await;
        None
    };
    future::or(async { Some(work.await) }, up).await
}

/// Connections that wait for their next task.
#[derive(Default)]
pub struct Idle(RefCell<HashMap<Peer, Vec<IdleConnection>>>);

struct IdleConnection {
    connection: Connection,
    /// When it came here.
    since: Duration,
}

impl Idle {
    /// The one that was used last.
    pub fn take(&self, peer: &Peer) -> Option<Connection> {
        let idle = self.0.borrow_mut().get_mut(peer)?.pop()?;
        Some(idle.connection)
    }

    /// Keeps it for the next task.
    pub fn put(&self, peer: &Peer, connection: Connection, now: Duration) {
        let mut all = self.0.borrow_mut();
        if !all.contains_key(peer) {
            all.insert(peer.clone(), Vec::new());
        }
        if let Some(idle) = all.get_mut(peer)
            && idle.len() < IDLE_MAX
        {
            idle.push(IdleConnection {
                connection,
                since: now,
            });
        }
    }

    /// Closes those that have waited too long.
    pub fn sweep(&self, now: Duration) {
        self.0.borrow_mut().retain(|_, idle| {
            idle.retain(|idle| now - idle.since < IDLE_TIMEOUT);
            !idle.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};

    use futures_lite::AsyncWriteExt as _;
    use glommio::{LocalExecutorBuilder, Placement};

    use super::*;

    fn on_a_shard<T, F>(work: impl FnOnce() -> F + Send + 'static) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let shard = LocalExecutorBuilder::new(Placement::Unbound).io_memory(64 * 1024);
        shard.spawn(work).unwrap().join().unwrap()
    }

    /// Accepts connections, and says and takes nothing.
    fn mute() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, addr)
    }

    fn peer(addr: SocketAddr, name: Option<&'static str>) -> Peer {
        Peer {
            addr,
            tls: name.map(|name| name.try_into().unwrap()),
        }
    }

    #[test]
    fn a_server_that_shakes_no_hands_is_not_waited_for() {
        let (_listener, addr) = mute();
        let error = on_a_shard(move || async move {
            let roots = Roots::load(None).unwrap();
            let limit = Duration::from_millis(50);
            let opened = Connection::open(&peer(addr, Some("localhost")), &roots, limit).await;
            opened.err().map(|error| error.kind())
        });
        assert_eq!(error, Some(io::ErrorKind::TimedOut));
    }

    #[test]
    fn a_server_that_takes_nothing_is_not_waited_for() {
        let (_listener, addr) = mute();
        let written = on_a_shard(move || async move {
            let roots = Roots::load(None).unwrap();
            let limit = Duration::from_secs(60);
            let mut connection = Connection::open(&peer(addr, None), &roots, limit)
                .await
                .unwrap();
            // More than the sockets' buffers hold together.
            let request = vec![0; 64 << 20];
            let limit = Duration::from_millis(50);
            let written = within(limit, connection.stream.write_all(&request)).await;
            written.is_some()
        });
        assert!(!written);
    }

    #[test]
    fn connections_to_one_address_under_two_names_never_mix() {
        let (_listener, addr) = mute();
        on_a_shard(move || async move {
            let roots = Roots::load(None).unwrap();
            let limit = Duration::from_secs(60);
            let plain = peer(addr, None);
            let idle = Idle::default();
            let connection = Connection::open(&plain, &roots, limit).await.unwrap();
            idle.put(&plain, connection, Duration::ZERO);
            assert!(idle.take(&peer(addr, Some("a.lan"))).is_none());
            let connection = idle.take(&plain).unwrap();
            idle.put(&peer(addr, Some("a.lan")), connection, Duration::ZERO);
            assert!(idle.take(&peer(addr, Some("b.lan"))).is_none());
            assert!(idle.take(&plain).is_none());
            idle.sweep(IDLE_TIMEOUT);
            assert!(idle.take(&peer(addr, Some("a.lan"))).is_none());
        });
    }
}
