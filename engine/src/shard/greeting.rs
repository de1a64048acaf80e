//! The first bytes of a connection, which say what its client speaks.
//!
//! HTTP/2 without encryption is spoken by clients that know beforehand that they may (RFC 9113 §3.3).
//! They begin with a preface that is no request of HTTP/1.1, so nothing has to be set or offered.

use std::{future::poll_fn, pin::Pin, task::Poll};

use futures_lite::AsyncRead as _;
use glommio::{net::TcpStream, timer::Timer};

use super::Shard;

/// RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How a connection begins, with the bytes that were read to know it.
pub enum Greeting {
    /// With the preface of HTTP/2.
    Http2(Vec<u8>),
    /// With anything else. It is for the framing of HTTP/1.1 to judge.
    Http1(Vec<u8>),
    /// It was closed, or nothing came for too long.
    Silence,
}

/// Reads until it is clear how the connection begins. In nearly all cases that is one read.
pub async fn read(shard: &Shard, stream: &mut TcpStream) -> Greeting {
    let timeouts = shard.shared.limits().timeouts;
    let mut begun = Vec::new();
    let mut timer = Timer::new(timeouts.idle);
    loop {
        let was_silent = begun.is_empty();
        let came = read_some(shard, stream, &mut timer, &mut begun).await;
        match (came, of(&begun)) {
            (false, _) if was_silent => return Greeting::Silence,
            // A part of the preface is no request: whoever sent no more is told so.
            (false, _) | (true, Some(Version::Http1)) => return Greeting::Http1(begun),
            (true, Some(Version::Http2)) => return Greeting::Http2(begun),
            (true, None) if was_silent => timer = Timer::new(timeouts.head),
            (true, None) => {}
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// What a connection speaks that begins like this, once that is clear.
fn of(begun: &[u8]) -> Option<Version> {
    let known = begun.len().min(PREFACE.len());
    match begun[..known] == PREFACE[..known] {
        false => Some(Version::Http1),
        true if known == PREFACE.len() => Some(Version::Http2),
        true => None,
    }
}

/// Whether bytes came before the end of the connection and before the timer.
async fn read_some(
    shard: &Shard,
    stream: &mut TcpStream,
    timer: &mut Timer,
    begun: &mut Vec<u8>,
) -> bool {
    poll_fn(|context| {
        let mut buffer = shard.read_buffer.borrow_mut();
        if let Poll::Ready(read) = Pin::new(&mut *stream).poll_read(context, &mut buffer) {
            let count = read.unwrap_or(0);
            begun.extend_from_slice(&buffer[..count]);
            return Poll::Ready(count > 0);
        }
        Pin::new(&mut *timer).poll(context).map(|_| false)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_preface_begins_http_2() {
        for cut in 0..PREFACE.len() {
            assert_eq!(of(&PREFACE[..cut]), None, "{cut} bytes of it");
        }
        assert_eq!(of(PREFACE), Some(Version::Http2));
        assert_eq!(of(&[PREFACE, b"\0\0\0"].concat()), Some(Version::Http2));
    }

    #[test]
    fn every_request_of_http_1_is_told_by_its_first_bytes() {
        for begun in ["G", "PO", "PU", "PA", "\r\n", "PRI * HTTP/1"] {
            assert_eq!(of(begun.as_bytes()), Some(Version::Http1), "{begun:?}");
        }
    }
}
