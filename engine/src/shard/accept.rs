//! The shard's own listener. All shards listen on one address; the kernel spreads connections over
//! them (`SO_REUSEPORT`, Linux 3.9).

use std::{net::SocketAddr, rc::Rc, time::Duration};

use glommio::{
    GlommioError,
    net::{TcpListener, TcpStream},
    timer::Timer,
};
use socket2_options::SockRef;

use super::{Shard, connection};
use crate::{settings::StartError, shared::connections::Entry};

/// How long to wait when the process has no file descriptor left: time for some to close.
const NO_DESCRIPTOR_WAIT: Duration = Duration::from_millis(50);
/// How long to wait when as many connections as may be are being refused: time for some to be gone.
const CROWDED_WAIT: Duration = Duration::from_millis(20);
/// What the kernel holds of a stream that was not sent yet. By itself it would take some megabytes of it,
/// so that who reads nothing would cost that much. What was sent is bounded by the client's window.
const UNSENT_BYTES_MAX: u32 = 16 * 1024;

/// Listens on the address that all shards share.
///
/// # Errors
///
/// When the kernel refuses what preflight was granted a moment ago.
pub fn listen(addr: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(addr).map_err(|error| {
        StartError::new(
            format!("a shard can't listen on {addr}: {error}"),
            "start again; if it persists, choose another port with --addr",
        )
    })
}

/// Accepts connections until it is dropped.
pub async fn serve(shard: Rc<Shard>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok(stream) => {
                prepare(&stream);
                match entry(&shard).await {
                    Entry::Served(place) => connection::accepted(&shard, stream, place),
                    Entry::Refused(place) => connection::turned_away(&shard, stream, place),
                }
            }
            Err(error) => recover(&error).await,
        }
    }
}

/// Where an option can't be set, the socket serves without.
fn prepare(stream: &TcpStream) {
    // Tokens are small and wanted now: Nagle's algorithm would hold them back.
    let _ = stream.set_nodelay(true);
    let socket = connection::descriptor(stream);
    let _ = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
}

/// What there is for a connection. While there is nothing the others wait in the kernel's queue.
async fn entry(shard: &Shard) -> Entry {
    loop {
        match shard.shared.connections.enter() {
            Some(entry) => return entry,
            None => Timer::new(CROWDED_WAIT).await,
        };
    }
}

/// A connection that failed before it was accepted is the client's affair (accept(2)); a lack of
/// descriptors passes.
async fn recover(error: &GlommioError<()>) {
    if let GlommioError::IoError(error) = error
        && matches!(error.raw_os_error(), Some(code) if is_exhaustion(code))
    {
        Timer::new(NO_DESCRIPTOR_WAIT).await;
    }
}

fn is_exhaustion(code: i32) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| errno.raw_os_error() == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lack_of_means_makes_it_wait() {
        let code = |errno: rustix::io::Errno| errno.raw_os_error();
        assert!(is_exhaustion(code(rustix::io::Errno::MFILE)));
        assert!(!is_exhaustion(code(rustix::io::Errno::CONNABORTED)));
    }
}
