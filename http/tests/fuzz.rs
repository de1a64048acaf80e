//! What must hold for any bytes whatever: no panic, and one meaning however they are split.
//!
//! Random bytes seldom get past the first line, so most inputs here are soup: pieces of real
//! messages, of attacks on them and of noise, stuck together. A failure prints the smallest such
//! input.

use orchestratord_http::server::{Connection, Event, Response};
use orchestratord_http::sse::Decoder;
use orchestratord_http::{Limits, Method, client};
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

/// What was understood of some bytes: one line for each event, the pieces of a body joined.
#[derive(Default, Debug, PartialEq, Eq)]
struct Transcript(Vec<String>);

impl Transcript {
    fn note(&mut self, event: impl std::fmt::Debug) {
        self.0.push(format!("{event:?}"));
    }

    fn note_body(&mut self, data: &[u8]) {
        assert!(!data.is_empty(), "an empty piece says nothing");
        let text = data.escape_ascii().to_string();
        match self.0.last_mut() {
            Some(last) if last.starts_with("body ") => last.push_str(&text),
            _ => self.0.push(format!("body {text}")),
        }
    }
}

/// Cuts `bytes` into pieces of the given lengths, over and over.
fn split<'a>(mut bytes: &'a [u8], lens: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    lens.iter().cycle().map_while(move |len| {
        let piece = bytes.split_off(..(*len).min(bytes.len()))?;
        (!piece.is_empty()).then_some(piece)
    })
}

/// A server that answers every request once it is whole, and every refusal.
fn serve(bytes: &[u8], lens: &[usize]) -> Transcript {
    let mut transcript = Transcript::default();
    let mut connection = Connection::new(LIMITS);
    let head = |status| Response {
        status,
        fields: &[],
    };
    let mut out = Vec::new();
    for piece in split(bytes, lens) {
        connection.receive(piece);
        loop {
            match connection.poll() {
                Ok(Event::NeedMore) => break,
                Ok(Event::Body(data)) => transcript.note_body(data),
                Ok(Event::Complete) => {
                    transcript.note("complete");
                    connection.respond(&head(200), b"", &mut out);
                }
                Ok(event @ Event::Request { .. }) => transcript.note(event),
                Err(refusal) => {
                    transcript.note(refusal);
                    connection.refuse(&head(refusal.status), b"", &mut out);
                }
            }
        }
    }
    transcript.note(connection.phase());
    transcript
}

/// A client that asks once, with this method.
fn ask(method: Method, bytes: &[u8], lens: &[usize]) -> Transcript {
    let mut transcript = Transcript::default();
    let mut connection = client::Connection::new(LIMITS);
    let head = client::Request {
        method,
        target: "/",
        host: "a",
        fields: &[],
    };
    connection.request(&head, b"", &mut Vec::new());
    let mut pieces = split(bytes, lens);
    let mut ended = false;
    loop {
        match connection.poll() {
            Ok(client::Event::NeedMore) if ended => return transcript,
            Ok(client::Event::NeedMore) => match pieces.next() {
                Some(piece) => connection.receive(piece),
                None => {
                    ended = true;
                    connection.receive_end();
                }
            },
            Ok(client::Event::Body(data)) => transcript.note_body(data),
            Ok(event) => transcript.note(event),
            Err(fault) => {
                transcript.note(fault);
                return transcript;
            }
        }
    }
}

/// What a decoder finds, up to the first fault.
fn decode(bytes: &[u8], lens: &[usize]) -> Transcript {
    let mut transcript = Transcript::default();
    let mut decoder = Decoder::new(20);
    for mut piece in split(bytes, lens) {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(event)) => transcript.note(event),
                Ok(None) => break,
                Err(too_long) => {
                    transcript.note(too_long);
                    return transcript;
                }
            }
        }
        assert!(piece.is_empty(), "all bytes are taken");
    }
    transcript
}

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
        prop_assert_eq!(serve(&bytes, &lens), serve(&bytes, &[usize::MAX]));
    }

    #[test]
    fn any_bytes_mean_the_same_to_a_client_however_they_are_split(
        bytes in soup(),
        lens in piece_lens(),
    ) {
        for method in [Method::Get, Method::Head] {
            prop_assert_eq!(ask(method, &bytes, &lens), ask(method, &bytes, &[usize::MAX]));
        }
    }

    #[test]
    fn any_bytes_mean_the_same_to_an_event_reader_however_they_are_split(
        bytes in soup(),
        lens in piece_lens(),
    ) {
        prop_assert_eq!(decode(&bytes, &lens), decode(&bytes, &[usize::MAX]));
    }

    #[test]
    fn well_formed_requests_are_all_understood_however_they_are_split(
        requests in vec(request(), 1..5),
        lens in piece_lens(),
    ) {
        let transcript = serve(&requests.concat(), &lens);
        let completed = transcript.0.iter().filter(|line| *line == "\"complete\"").count();
        prop_assert_eq!(completed, requests.len());
        prop_assert_eq!(transcript.0.last().map(String::as_str), Some("Idle"));
    }

    /// The stranger: a head that we accept reads the same to a parser we did not write.
    #[test]
    fn a_head_we_accept_reads_the_same_to_a_stranger(lines in soup()) {
        let bytes = [b"GET /a HTTP/1.1\r\nHost: b\r\n", &lines[..], b"\r\n\r\n"].concat();
        let mut connection = Connection::new(Limits::default());
        connection.receive(&bytes);
        if let Ok(Event::Request { request, .. }) = connection.poll() {
            let mut headers = [httparse::EMPTY_HEADER; 100];
            let mut stranger = httparse::Request::new(&mut headers);
            prop_assert!(stranger.parse(&bytes).unwrap().is_complete());
            prop_assert_eq!(stranger.path, Some(request.target.raw()));
            let theirs = stranger.headers.iter().map(|header| (header.name, header.value));
            let ours = request.fields.iter().map(|(name, value)| (name, value.as_bytes()));
            prop_assert!(ours.eq(theirs));
        }
    }
}
