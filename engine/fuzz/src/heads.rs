//! Requests and responses, and whatever else comes over a socket.

use crate::{LENS, meaning};
use orchestratord_http::server::Request;
use orchestratord_http::{Limits, client};

/// Small enough to be reached, large enough for what people send.
pub(crate) const LIMITS: Limits = Limits {
    request_line_max: 200,
    head_max: 800,
    fields_max: 10,
    body_max: 300,
};

pub(crate) fn check_request(bytes: &[u8]) {
    for lens in LENS {
        meaning::same_to_a_server(bytes, lens, LIMITS);
    }
    meaning::same_to_a_stranger(bytes);
    if let Some(request) = meaning::first_request(bytes) {
        check_written_again(&request);
    }
}

pub(crate) fn check_response(bytes: &[u8]) {
    for lens in LENS {
        meaning::same_to_a_client(bytes, lens, LIMITS);
    }
}

/// What we have understood we can say ourselves, and understand again.
fn check_written_again(request: &Request) {
    let fields: Vec<_> = free_fields(request).collect();
    let head = client::Request {
        method: request.method,
        target: request.target.raw(),
        host: request.host().unwrap_or("a"),
        fields: &fields,
    };
    let mut written = Vec::new();
    client::Connection::new(Limits::default()).request(&head, b"", &mut written);
    let again = meaning::first_request(&written).expect("what we write we can read");
    assert_eq!(again.method, request.method);
    assert_eq!(again.target, request.target);
    assert!(free_fields(&again).eq(free_fields(request)));
}

/// The fields that are not written by the connection itself.
fn free_fields(request: &Request) -> impl Iterator<Item = (&str, &str)> {
    let framing = ["host", "connection", "content-length", "transfer-encoding"];
    request.fields.iter().filter(move |(name, _)| {
        framing
            .iter()
            .all(|framing| !framing.eq_ignore_ascii_case(name))
    })
}
