//! What must hold for any bytes whatever: no panic, no more than the limits, and one meaning however they are
//! split. Who thinks the bytes up is another matter: the dice of `fuzz.rs`, or a fuzzer that watches what they
//! reach (`engine/fuzz`).

use orchestratord_http::server::{Connection, Event, Request, Response};
use orchestratord_http::sse::Decoder;
use orchestratord_http::{Limits, Method, client};

/// Any bytes mean the same to a server however they are split.
pub(crate) fn same_to_a_server(bytes: &[u8], lens: &[usize], limits: Limits) {
    let whole = serve(bytes, &[usize::MAX], limits);
    assert_eq!(serve(bytes, lens, limits), whole);
}

/// Any bytes mean the same to a client, whatever it has asked, however they are split.
pub(crate) fn same_to_a_client(bytes: &[u8], lens: &[usize], limits: Limits) {
    for method in [Method::Get, Method::Head] {
        let whole = ask(method, bytes, &[usize::MAX], limits);
        assert_eq!(ask(method, bytes, lens, limits), whole);
    }
}

/// Any bytes mean the same to a reader of events however they are split.
pub(crate) fn same_to_an_event_reader(bytes: &[u8], lens: &[usize], event_max: usize) {
    let whole = decode(bytes, &[usize::MAX], event_max);
    assert_eq!(decode(bytes, lens, event_max), whole);
}

/// The stranger: a head that we accept reads the same to a parser we did not write.
pub(crate) fn same_to_a_stranger(bytes: &[u8]) {
    let Some(request) = first_request(bytes) else {
        return;
    };
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut stranger = httparse::Request::new(&mut headers);
    let read = stranger.parse(bytes);
    assert!(read.is_ok_and(|status| status.is_complete()));
    assert_eq!(stranger.method, Some(request.method.as_str()));
    assert_eq!(stranger.path, Some(request.target.raw()));
    let theirs = stranger
        .headers
        .iter()
        .map(|header| (header.name, header.value));
    let ours = request
        .fields
        .iter()
        .map(|(name, value)| (name, value.as_bytes()));
    assert!(ours.eq(theirs));
}

/// The request that these bytes begin with, if they do.
pub(crate) fn first_request(bytes: &[u8]) -> Option<Request> {
    let mut connection = Connection::new(Limits::default());
    connection.receive(bytes);
    match connection.poll() {
        Ok(Event::Request { request, .. }) => Some(request),
        _ => None,
    }
}

/// What was understood of some bytes: one line for each event, the pieces of a body joined.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Transcript(pub(crate) Vec<String>);

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
pub(crate) fn serve(bytes: &[u8], lens: &[usize], limits: Limits) -> Transcript {
    let mut transcript = Transcript::default();
    let mut connection = Connection::new(limits);
    let head = |status| Response {
        status,
        fields: &[],
    };
    let mut out = Vec::new();
    let mut body = 0;
    for piece in split(bytes, lens) {
        connection.receive(piece);
        loop {
            match connection.poll() {
                Ok(Event::NeedMore) => break,
                Ok(Event::Body(data)) => {
                    body += data.len() as u64;
                    assert!(body <= limits.body_max, "a body is no longer than allowed");
                    transcript.note_body(data);
                }
                Ok(Event::Complete) => {
                    transcript.note("complete");
                    connection.respond(&head(200), b"", &mut out);
                }
                Ok(Event::Request {
                    request,
                    expects_continue,
                }) => {
                    assert!(request.fields.iter().count() <= limits.fields_max);
                    assert!(request.target.raw().len() < limits.request_line_max);
                    transcript.note((request, expects_continue));
                    body = 0;
                }
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
fn ask(method: Method, bytes: &[u8], lens: &[usize], limits: Limits) -> Transcript {
    let mut transcript = Transcript::default();
    let mut connection = client::Connection::new(limits);
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
fn decode(bytes: &[u8], lens: &[usize], event_max: usize) -> Transcript {
    let mut transcript = Transcript::default();
    let mut decoder = Decoder::new(event_max);
    for mut piece in split(bytes, lens) {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(event)) => {
                    let longest = event.data.len().max(event.event.len()).max(event.id.len());
                    assert!(longest <= event_max.max("message".len()));
                    transcript.note(event);
                }
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
