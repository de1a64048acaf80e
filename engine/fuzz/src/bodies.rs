//! Bodies in chunks.

use crate::heads::LIMITS;
use crate::{LENS, meaning};
use orchestratord_http::server::{Connection, Response};
use orchestratord_http::{Limits, Method, client};

const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

pub(crate) fn check_chunked(bytes: &[u8]) {
    let request = [REQUEST, bytes].concat();
    for lens in LENS {
        meaning::same_to_a_server(&request, lens, LIMITS);
    }
    if let Some(body) = read(&[RESPONSE, bytes].concat()) {
        assert_eq!(read_by_a_stranger(bytes).as_ref(), Some(&body));
        assert_eq!(read(&write(&body)), Some(body));
    }
}

/// Two chunks, one after the other: nine bytes or more, of which most are the only right ones.
pub(crate) fn check_canary(bytes: &[u8]) {
    let (chunks, _) = chunks(&[RESPONSE, bytes].concat());
    assert!(chunks.len() < 2, "the planted fault");
}

/// The body of this response, if it is whole.
fn read(response: &[u8]) -> Option<Vec<u8>> {
    let (chunks, is_whole) = chunks(response);
    is_whole.then(|| chunks.concat())
}

/// What has come of each chunk of this response, and whether that is all.
fn chunks(response: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut connection = client::Connection::new(Limits::default());
    let head = client::Request {
        method: Method::Get,
        target: "/",
        host: "a",
        fields: &[],
    };
    connection.request(&head, b"", &mut Vec::new());
    connection.receive(response);
    let mut chunks = Vec::new();
    loop {
        match connection.poll() {
            Ok(client::Event::Response(_)) => {}
            Ok(client::Event::Body(data)) => chunks.push(data.to_vec()),
            Ok(client::Event::Complete) => return (chunks, true),
            Ok(client::Event::NeedMore) | Err(_) => return (chunks, false),
        }
    }
}

/// A response with this body, in chunks of our own.
fn write(body: &[u8]) -> Vec<u8> {
    let (mut connection, mut response) = (Connection::new(Limits::default()), Vec::new());
    connection.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    while !matches!(
        connection.poll(),
        Ok(orchestratord_http::server::Event::Complete)
    ) {}
    let head = Response {
        status: 200,
        fields: &[],
    };
    connection.begin_stream(&head, &mut response);
    for data in body.chunks(20) {
        connection.stream(data, &mut response);
    }
    connection.end_stream(&mut response);
    response
}

/// The body as somebody else reads it, who looks at the sizes and at nothing else.
fn read_by_a_stranger(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = httparse::parse_chunk_size(bytes).ok()?;
        let httparse::Status::Complete((line_len, size)) = size else {
            return None;
        };
        let (data, rest) = bytes[line_len..].split_at_checked(usize::try_from(size).ok()?)?;
        if data.is_empty() {
            return Some(body);
        }
        body.extend_from_slice(data);
        bytes = rest.strip_prefix(b"\r\n")?;
    }
}
