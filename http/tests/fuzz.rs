//! What must hold for any bytes whatever: no panic, and one meaning however they are split.
//!
//! Random bytes seldom get past the first line, so most inputs here are soup: pieces of real
//! messages, of attacks on them and of noise, stuck together. A failure prints the smallest such
//! input.

mod meaning;

use meaning::serve;
use orchestratord_http::Limits;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Small limits, so that soup can reach them.
const LIMITS: Limits = Limits {
    request_line_max: 40,
    head_max: 200,
    fields_max: 5,
    body_max: 30,
};
/// The same for an event.
const EVENT_MAX: usize = 20;

/// Pieces of messages, with what attackers put between them.
const INGREDIENTS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b=%20c HTTP/1.1\r\n",
    "HEAD http://b/ HTTP/1.0\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 200\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "Host: a\r\n",
    "Host: a\r\n\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 5\r\n\r\nhello",
    "Content-Length: 0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\n\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Expect: 100-continue\r\n",
    "X: y\r\n",
    "5\r\nhello\r\n",
    "1;extension\r\nx\r\n",
    "0\r\n\r\n",
    "hello",
    "data: x\n",
    "id: 7\r",
    "event: e\r\n",
    ": comment\n\n",
    "\u{feff}",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    " ",
    ":",
    "\0",
    "a",
    "0",
];

fn soup() -> impl Strategy<Value = Vec<u8>> {
    let ingredient = select(INGREDIENTS).prop_map(|text| text.as_bytes().to_vec());
    let noise = vec(any::<u8>(), 1..4);
    vec(prop_oneof![20 => ingredient, 1 => noise], 0..20).prop_map(|parts| parts.concat())
}

fn piece_lens() -> impl Strategy<Value = Vec<usize>> {
    vec(1_usize..12, 1..8)
}

/// A well-formed request with a body of each kind.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let start = "POST /a HTTP/1.1\r\nHost: a\r\n";
    prop_oneof![
        Just(format!("{start}\r\n").into_bytes()),
        vec(any::<u8>(), 0..30).prop_map(move |body| {
            let head = format!("{start}Content-Length: {}\r\n\r\n", body.len());
            [head.into_bytes(), body].concat()
        }),
        vec(vec(any::<u8>(), 1..10), 0..4).prop_map(move |chunks| {
            let mut bytes = format!("{start}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
            for chunk in chunks {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            bytes
        }),
    ]
}

proptest! {
    #[test]
    fn any_bytes_mean_the_same_to_a_server_however_they_are_split(
        bytes in soup(),
        lens in piece_lens(),
    ) {
        meaning::same_to_a_server(&bytes, &lens, LIMITS);
    }

    #[test]
    fn any_bytes_mean_the_same_to_a_client_however_they_are_split(
        bytes in soup(),
        lens in piece_lens(),
    ) {
        meaning::same_to_a_client(&bytes, &lens, LIMITS);
    }

    #[test]
    fn any_bytes_mean_the_same_to_an_event_reader_however_they_are_split(
        bytes in soup(),
        lens in piece_lens(),
    ) {
        meaning::same_to_an_event_reader(&bytes, &lens, EVENT_MAX);
    }

    #[test]
    fn well_formed_requests_are_all_understood_however_they_are_split(
        requests in vec(request(), 1..5),
        lens in piece_lens(),
    ) {
        let transcript = serve(&requests.concat(), &lens, LIMITS);
        let completed = transcript.0.iter().filter(|line| *line == "\"complete\"").count();
        prop_assert_eq!(completed, requests.len());
        prop_assert_eq!(transcript.0.last().map(String::as_str), Some("Idle"));
    }

    #[test]
    fn a_head_we_accept_reads_the_same_to_a_stranger(lines in soup()) {
        let bytes = [b"GET /a HTTP/1.1\r\nHost: b\r\n", &lines[..], b"\r\n\r\n"].concat();
        meaning::same_to_a_stranger(&bytes);
    }
}
