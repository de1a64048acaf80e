//! Our client against our server, through a wire that splits what they say into small pieces.
//!
//! A pair alone hides mistakes that both sides make; `smuggling.rs`, `conversations.rs` and the
//! stranger in `fuzz.rs` look at each side from outside.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is the assertion")]

use orchestratord_http::{Limits, Method, client, server};
use proptest::collection::vec;
use proptest::prelude::*;

/// A request and how it is answered.
#[derive(Clone, Debug)]
struct Exchange {
    method: Method,
    body: Vec<u8>,
    status: u16,
    answer: Answer,
}

#[derive(Clone, Debug)]
enum Answer {
    Whole(Vec<u8>),
    Stream(Vec<Vec<u8>>),
}

impl Answer {
    fn body(&self) -> Vec<u8> {
        match self {
            Self::Whole(body) => body.clone(),
            Self::Stream(pieces) => pieces.concat(),
        }
    }
}

/// Both ends of one connection.
struct Pair {
    client: client::Connection,
    server: server::Connection,
    piece_len: usize,
}

impl Pair {
    fn new(piece_len: usize) -> Self {
        Self {
            client: client::Connection::new(Limits::default()),
            server: server::Connection::new(Limits::default()),
            piece_len,
        }
    }

    /// Sends the request and returns what the server heard: its head and its body.
    fn ask(&mut self, exchange: &Exchange) -> (server::Request, Vec<u8>) {
        let mut wire = Vec::new();
        let head = client::Request {
            method: exchange.method,
            target: "/a%20b?c=d",
            host: "localhost:8080",
            fields: &[("X-Number", "one"), ("x-number", "two")],
        };
        self.client.request(&head, &exchange.body, &mut wire);
        let (mut request, mut body, mut complete) = (None, Vec::new(), false);
        for piece in wire.chunks(self.piece_len) {
            self.server.receive(piece);
            loop {
                match self.server.poll().unwrap() {
                    server::Event::NeedMore => break,
                    server::Event::Request { request: head, .. } => request = Some(head),
                    server::Event::Body(data) => body.extend_from_slice(data),
                    server::Event::Complete => complete = true,
                }
            }
        }
        assert!(complete, "the request has an end");
        (request.unwrap(), body)
    }

    /// Sends the answer and returns what the client heard: the response's head and its body.
    fn answer(&mut self, exchange: &Exchange) -> (client::Response, Vec<u8>) {
        let wire = self.encode_answer(exchange);
        let (mut response, mut body, mut complete) = (None, Vec::new(), false);
        for piece in wire.chunks(self.piece_len) {
            assert!(!complete, "nothing follows the end of the response");
            self.client.receive(piece);
            loop {
                match self.client.poll().unwrap() {
                    client::Event::NeedMore => break,
                    client::Event::Response(head) => response = Some(head),
                    client::Event::Body(data) => body.extend_from_slice(data),
                    client::Event::Complete => complete = true,
                }
            }
        }
        assert!(complete, "the response has an end");
        (response.unwrap(), body)
    }

    fn encode_answer(&mut self, exchange: &Exchange) -> Vec<u8> {
        let mut wire = Vec::new();
        let head = server::Response {
            status: exchange.status,
            fields: &[("X-Answer", "yes")],
        };
        match &exchange.answer {
            Answer::Whole(body) => self.server.respond(&head, body, &mut wire),
            Answer::Stream(pieces) => {
                self.server.begin_stream(&head, &mut wire);
                for piece in pieces {
                    self.server.stream(piece, &mut wire);
                }
                self.server.end_stream(&mut wire);
            }
        }
        wire
    }

    /// One exchange: each side hears what the other said.
    fn run(&mut self, exchange: &Exchange) {
        let (request, body) = self.ask(exchange);
        assert_eq!(request.method, exchange.method);
        assert_eq!(request.target.raw(), "/a%20b?c=d");
        assert_eq!(request.host(), Some("localhost:8080"));
        assert_eq!(
            request.fields.get_all("X-NUMBER").collect::<Vec<_>>(),
            ["one", "two"]
        );
        assert_eq!(body, exchange.body);

        let (response, body) = self.answer(exchange);
        assert_eq!(response.status, exchange.status);
        assert_eq!(response.fields.get("x-answer"), Some("yes"));
        let bodyless = exchange.method == Method::Head || exchange.status == 204;
        assert_eq!(
            body,
            if bodyless {
                Vec::new()
            } else {
                exchange.answer.body()
            }
        );

        assert_eq!(self.server.phase(), server::Phase::Idle);
        assert!(self.client.is_reusable());
    }
}

fn bytes(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..len_max)
}

fn answers() -> impl Strategy<Value = (u16, Answer)> {
    prop_oneof![
        bytes(300).prop_map(|body| (200, Answer::Whole(body))),
        bytes(30).prop_map(|body| (503, Answer::Whole(body))),
        vec(bytes(40), 0..6).prop_map(|pieces| (200, Answer::Stream(pieces))),
        Just((204, Answer::Whole(Vec::new()))),
    ]
}

fn exchanges() -> impl Strategy<Value = Exchange> {
    (
        prop::sample::select(&Method::ALL[..]),
        bytes(300),
        answers(),
    )
        .prop_map(|(method, body, (status, answer))| Exchange {
            method,
            body,
            status,
            answer,
        })
}

proptest! {
    #[test]
    fn each_side_hears_what_the_other_said(
        exchanges in vec(exchanges(), 1..5),
        piece_len in 1_usize..50,
    ) {
        let mut pair = Pair::new(piece_len);
        for exchange in &exchanges {
            pair.run(exchange);
        }
    }
}

/// A client that has sent a `GET`.
fn asking() -> client::Connection {
    let mut client = client::Connection::new(Limits::default());
    let head = client::Request {
        method: Method::Get,
        target: "/",
        host: "a",
        fields: &[],
    };
    client.request(&head, b"", &mut Vec::new());
    client
}

/// What a client hears in the body of this response, or why it hears none.
fn hear(response: &str, piece_len: usize) -> Result<String, &'static str> {
    let mut client = asking();
    let mut body = String::new();
    let mut pieces = response.as_bytes().chunks(piece_len);
    loop {
        match client.poll().map_err(|fault| fault.reason)? {
            client::Event::Response(_) => {}
            client::Event::Body(data) => body.push_str(std::str::from_utf8(data).unwrap()),
            client::Event::Complete => return Ok(body),
            client::Event::NeedMore => match pieces.next() {
                Some(piece) => client.receive(piece),
                None => client.receive_end(),
            },
        }
    }
}

#[track_caller]
fn check(response: &str, expected: Result<&str, &str>) {
    for piece_len in [usize::MAX, 1, 2, 5] {
        match (hear(response, piece_len), expected) {
            (Ok(body), expected) => assert_eq!(Ok(body.as_str()), expected),
            (Err(reason), Err(part)) => {
                assert!(reason.contains(part), "{reason:?} speaks of {part:?}")
            }
            (Err(reason), Ok(_)) => panic!("{reason}"),
        }
    }
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    check("HTTP/1.1 200 OK\r\n\r\nall of it", Ok("all of it"));
    check("HTTP/1.0 200\r\n\r\n", Ok(""));
}

#[test]
fn interim_responses_are_passed_over_but_not_for_ever() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    check(&(interim.repeat(8) + last), Ok("ok"));
    check(&(interim.repeat(9) + last), Err("without end"));
    check("HTTP/1.1 101 Switching Protocols\r\n\r\n", Err("switched"));
}

#[test]
fn a_response_cut_short_is_a_fault() {
    check("", Err("before its response"));
    check("HTTP/1.1 200 OK\r\nX: y", Err("before its response"));
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour",
        Err("before its response"),
    );
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n",
        Err("before its response"),
    );
}

#[test]
fn an_ambiguous_response_is_a_fault() {
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nfives",
        Err("more than one Content-Length"),
    );
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        Err("exclude each other"),
    );
    check(
        "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        Err("LF alone"),
    );
    check("HTTP/1.1 2000 OK\r\n\r\n", Err("status"));
    check("HTTP/1.1 600 Odd\r\n\r\n", Err("status"));
    check("ICY 200 OK\r\n\r\n", Err("version"));
}

#[test]
fn a_response_nobody_asked_for_makes_the_connection_useless() {
    let mut client = asking();
    client.receive(b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n");
    assert!(matches!(client.poll(), Ok(client::Event::Response(_))));
    assert_eq!(client.poll(), Ok(client::Event::Complete));
    assert!(!client.is_reusable());
    assert!(client.poll().unwrap_err().reason.contains("no request"));
}

#[test]
fn a_server_that_closes_is_not_asked_again() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let mut client = asking();
        client.receive(response.as_bytes());
        assert!(matches!(client.poll(), Ok(client::Event::Response(_))));
        assert_eq!(client.poll(), Ok(client::Event::Complete));
        assert!(!client.is_reusable());
    }
    let mut idle = client::Connection::new(Limits::default());
    assert!(idle.is_reusable());
    idle.receive_end();
    assert!(!idle.is_reusable());
}

#[test]
fn a_response_longer_than_allowed_is_a_fault() {
    let body = "x".repeat(1024 * 1024 + 1);
    for framing in ["", "Content-Length: 1048577\r\n"] {
        let response = format!("HTTP/1.1 200 OK\r\n{framing}\r\n{body}");
        assert_eq!(
            hear(&response, 50_000),
            Err("The body is longer than allowed.")
        );
    }
}

/// A server that has taken in this request as far as it goes.
fn asked(request: &str) -> server::Connection {
    let mut server = server::Connection::new(Limits::default());
    server.receive(request.as_bytes());
    while server.poll() != Ok(server::Event::NeedMore) {}
    server
}

/// The head of a response without fields of its own.
const OK: server::Response<'static> = server::Response {
    status: 200,
    fields: &[],
};

#[test]
fn a_connection_may_move_to_another_thread() {
    fn check<T: Send + 'static>() {}
    check::<server::Connection>();
    check::<client::Connection>();
    check::<orchestratord_http::sse_log::Log>();
}

#[test]
fn a_client_that_waits_is_told_to_go_on_once() {
    let waiting = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let mut server = asked(waiting);
    let mut out = Vec::new();
    server.send_continue(&mut out);
    server.send_continue(&mut out);
    assert_eq!(out, b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn a_client_that_has_its_answer_is_not_told_to_go_on() {
    let waiting = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let mut server = asked(waiting);
    server.begin_stream(&OK, &mut Vec::new());
    let mut out = Vec::new();
    server.send_continue(&mut out);
    assert!(out.is_empty());
}

#[test]
fn a_client_without_a_body_does_not_wait() {
    let mut server = server::Connection::new(Limits::default());
    server.receive(
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    );
    let event = server.poll();
    assert!(matches!(
        event,
        Ok(server::Event::Request {
            expects_continue: false,
            ..
        })
    ));
}

#[test]
fn a_last_answer_ends_the_listening_while_it_is_still_being_written() {
    let mut server = asked("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    server.begin_stream(&OK, &mut Vec::new());
    server.receive(&[b'x'; 1000]);
    assert!(!server.has_buffered());
    assert_eq!(server.poll(), Ok(server::Event::NeedMore));
}

#[test]
fn the_phase_says_whose_turn_it_is() {
    use server::Phase::*;
    let mut server = server::Connection::new(Limits::default());
    assert_eq!(server.phase(), Idle);
    for (bytes, phase) in [
        ("\r\n", Idle),
        ("P", Head),
        ("OST / HTTP/1.1\r\n", Head),
        ("Host: a\r\nContent-Length: 2\r\n\r\n", Body),
        ("o", Body),
        ("k", Responding),
        ("next", Responding),
    ] {
        server.receive(bytes.as_bytes());
        while server.poll() != Ok(server::Event::NeedMore) {}
        assert_eq!(server.phase(), phase, "after {bytes:?}");
    }
    server.begin_stream(&OK, &mut Vec::new());
    assert_eq!(server.phase(), Responding);
    server.end_stream(&mut Vec::new());
    assert_eq!(server.phase(), Head, "the next request has begun");
    server.refuse(&OK, b"", &mut Vec::new());
    assert_eq!(server.phase(), Closed);
}

#[test]
#[should_panic(expected = "one request, one response")]
fn a_second_response_is_a_bug_of_the_caller() {
    let mut server = asked("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    server.begin_stream(&OK, &mut Vec::new());
    server.respond(&OK, b"", &mut Vec::new());
}

#[test]
#[should_panic(expected = "holds a control character")]
fn a_line_break_in_a_value_is_never_sent() {
    let fields = &[("Location", "/a\r\nSet-Cookie: b")];
    let head = server::Response { fields, ..OK };
    asked("GET / HTTP/1.1\r\nHost: a\r\n\r\n").respond(&head, b"", &mut Vec::new());
}

#[test]
#[should_panic(expected = "a field name is a token")]
fn a_name_that_is_no_name_is_never_sent() {
    let fields = &[("Content Length", "5")];
    let head = server::Response { fields, ..OK };
    asked("GET / HTTP/1.1\r\nHost: a\r\n\r\n").respond(&head, b"", &mut Vec::new());
}
