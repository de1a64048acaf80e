//! A connection of somebody who means no good: it never waits, and says when it was cut.

use orchestratord_bench::Failure;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// What is kept of an answer: enough for its status.
const KEPT_BYTES: usize = 64;
/// How often a socket is tried that took nothing.
const LOOK: Duration = Duration::from_millis(1);

/// An attacker's end of a connection.
pub(crate) struct Hostile {
    stream: TcpStream,
    begun: Vec<u8>,
    /// Bytes that were read of it so far.
    pub(crate) taken: usize,
    /// How it ended, once it has.
    pub(crate) ended: Option<End>,
}

/// How the daemon ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In order.
    Closed,
    /// Without regard for what was on its way.
    Reset,
}

impl Hostile {
    /// Asks to be connected; the daemon may take its time.
    ///
    /// # Errors
    /// If this machine has no socket left.
    pub(crate) fn connect(addr: SocketAddr) -> Result<Self, Failure> {
        Self::prepared(addr, |_| Ok(())).map_err(|error| Failure::new("connecting", error))
    }

    /// The same, with as little room for what is sent to it as the kernel allows.
    ///
    /// # Errors
    /// If this machine has no socket left.
    pub(crate) fn connect_small(addr: SocketAddr) -> Result<Self, Failure> {
        Self::prepared(addr, |stream| {
            sockopt::set_socket_recv_buffer_size(stream, 1)
        })
        .map_err(|error| Failure::new("connecting", error))
    }

    fn prepared(
        addr: SocketAddr,
        prepare: impl FnOnce(&TcpStream) -> rustix::io::Result<()>,
    ) -> io::Result<Self> {
        let family = match addr {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
        let stream = TcpStream::from(socket);
        prepare(&stream)?;
        match net::connect(&stream, &addr) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self {
            stream,
            begun: Vec::new(),
            taken: 0,
            ended: None,
        })
    }

    /// Sends what the socket takes of it, and says how much that was.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> usize {
        match self.stream.write(bytes) {
            Ok(count) => count,
            Err(error) => {
                self.note(&error);
                0
            }
        }
    }

    /// Sends all of it, however slowly it is taken, unless it is answered before.
    ///
    /// # Errors
    /// If the connection ends before, or takes nothing for so long.
    pub(crate) fn send_all(&mut self, mut bytes: &[u8], patience: Duration) -> Result<(), Failure> {
        let mut taken_last = Instant::now();
        while !bytes.is_empty() && self.status().is_none() {
            let count = self.send(bytes);
            bytes = &bytes[count..];
            if count > 0 {
                taken_last = Instant::now();
            } else if self.ended.is_some() || taken_last.elapsed() > patience {
                return Err(Failure("what was sent was not taken".to_owned()));
            } else {
                thread::sleep(LOOK);
                self.take(KEPT_BYTES);
            }
        }
        Ok(())
    }

    /// Reads what has come, at most so many bytes of it; it is given to `see`.
    pub(crate) fn take_with(&mut self, bytes_max: usize, mut see: impl FnMut(&[u8])) {
        let mut buffer = [0; 16 * 1024];
        let mut left = bytes_max;
        while left > 0 && self.ended.is_none() {
            let room = left.min(buffer.len());
            match self.stream.read(&mut buffer[..room]) {
                Ok(0) => self.ended = Some(End::Closed),
                Ok(count) => {
                    left -= count;
                    self.taken += count;
                    let kept = count.min(KEPT_BYTES - self.begun.len());
                    self.begun.extend_from_slice(&buffer[..kept]);
                    see(&buffer[..count]);
                }
                Err(error) => return self.note(&error),
            }
        }
    }

    /// Reads what has come, at most so many bytes of it.
    pub(crate) fn take(&mut self, bytes_max: usize) {
        self.take_with(bytes_max, |_| {});
    }

    /// The status of the first answer, once that has come.
    pub(crate) fn status(&self) -> Option<u16> {
        let words = std::str::from_utf8(&self.begun).ok()?;
        let status = words.strip_prefix("HTTP/1.1 ")?.get(..3)?;
        status.parse().ok()
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        // A socket that lingers for no time is closed by a reset (socket(7)).
        let _ = sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }

    fn note(&mut self, error: &io::Error) {
        if !matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
        ) {
            self.ended = Some(End::Reset);
        }
    }
}
