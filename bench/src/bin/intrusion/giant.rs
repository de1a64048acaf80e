//! Everything that a client can make grow, grown beyond its limit: by a little, by a lot, and without an end.
//!
//! Each is refused with the status that says why. Where that leaves in doubt where the next message begins, the
//! connection ends; where it does not, an honest request on it is answered. What is refused is not sent
//! back, and all of it together leaves the daemon about as large as it was.

use std::net::SocketAddr;

use orchestratord_bench::Failure;

use crate::findings::{Findings, require};
use crate::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Fate, HEADERS, Http2, block, frame,
};
use crate::request::{bare, json};
use crate::stage::{Stage, Victim};
use crate::tricks::NOTHING;
use crate::wire::Wire;

/// What is sent of something without an end. Whoever has not been cut off by then is read for ever.
const ENDLESS_BYTES: usize = 16 << 20;
/// The most that an answer to a refused request says.
const REFUSAL_BYTES_MAX: usize = 1024;
/// Connections that hold what they may at the same time.
const HOLDERS: usize = 200;
/// What all of this may leave the daemon larger: a head for each holder, and the buffers of those that were served.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

const REQUEST_LINE: usize = 8 * 1024;
const HEAD: usize = 32 * 1024;
const FIELDS: usize = 100;
const BODY: usize = 1 << 20;

pub(crate) fn play(stage: &Stage, findings: &mut Findings) -> Result<(), Failure> {
    let victim = stage.daemon("giant", "json", &["--engine=mock"])?;
    let addr = victim.addr;
    honest(addr)?;
    let before = victim.resident_bytes_max()?;
    for (name, status, bytes) in at_the_bound() {
        findings.tried(&name, is_answered(addr, status, &bytes));
    }
    for (name, status, bytes) in beyond_the_bound() {
        findings.tried(&name, is_the_end(addr, status, &bytes));
    }
    for (name, status, start, unit) in without_an_end() {
        findings.tried(
            &format!("{name} without an end"),
            is_cut_off(addr, status, &start, &unit),
        );
    }
    for (target, takes) in ROUTES {
        for (name, body) in documents(takes) {
            let request = json("POST", target, &[], body.as_bytes());
            findings.tried(
                &format!("{name} to {target}"),
                is_answered(addr, 400, &request),
            );
        }
    }
    for (name, frames) in frames() {
        findings.tried(&format!("HTTP/2, {name}"), is_refused(addr, &frames));
    }
    findings.tried("many heads that are not whole", hold(&victim, before));
    Ok(())
}

/// The daemon answers somebody who asks for nothing unusual.
fn honest(addr: SocketAddr) -> Result<(), Failure> {
    let answer = Wire::open(addr)?.ask(&bare("GET", "/livez", &[]))?;
    require(answer.status == 200, || {
        format!("an honest request was answered {}", answer.status)
    })
}

/// It is answered in few words, and the connection goes on.
fn is_answered(addr: SocketAddr, status: u16, bytes: &[u8]) -> Result<(), Failure> {
    let mut wire = Wire::open(addr)?;
    let answer = wire.ask(bytes)?;
    check(&answer, status)?;
    let next = wire.ask(&bare("GET", "/livez", &[]))?.status;
    require(next == 200, || {
        format!("what follows it was answered {next}")
    })
}

/// It is answered in few words, and that is the end of the connection.
fn is_the_end(addr: SocketAddr, status: u16, bytes: &[u8]) -> Result<(), Failure> {
    let mut wire = Wire::open(addr)?;
    let _ = wire.send(bytes);
    ends_with(wire, status)
}

fn is_cut_off(addr: SocketAddr, status: u16, start: &[u8], unit: &[u8]) -> Result<(), Failure> {
    let mut wire = Wire::open(addr)?;
    let piece = unit.repeat((64 * 1024 / unit.len()).max(1));
    let mut sent = start.len();
    let mut takes = wire.send(start);
    while takes && sent < ENDLESS_BYTES {
        takes = wire.send(&piece);
        sent += piece.len();
    }
    require(!takes, || format!("{sent} bytes of it were taken"))?;
    ends_with(wire, status)
}

fn ends_with(mut wire: Wire, status: u16) -> Result<(), Failure> {
    let answer = wire.answer()?;
    let answer = answer.ok_or_else(|| Failure("it was not answered".to_owned()))?;
    check(&answer, status)?;
    let more = wire.answer()?;
    require(more.is_none(), || {
        "the connection goes on after it".to_owned()
    })
}

fn check(answer: &crate::wire::Answer, status: u16) -> Result<(), Failure> {
    require(answer.status == status, || {
        format!("it was answered {}, and not {status}", answer.status)
    })?;
    let len = answer.body.len();
    require(len <= REFUSAL_BYTES_MAX, || {
        format!("it was answered with {len} bytes")
    })
}

fn is_refused(addr: SocketAddr, frames: &[u8]) -> Result<(), Failure> {
    let mut connection = Http2::open(addr)?;
    let _ = connection.send(frames);
    let [fate] = connection.fates([1])?;
    let is_refused = matches!(fate, Fate::Answered(413 | 431) | Fate::Reset | Fate::Ended);
    require(is_refused, || format!("it met with {fate:?}"))?;
    honest(addr)
}

/// As large a head as may be, but for its end, on many connections at a time.
fn hold(victim: &Victim, before: u64) -> Result<(), Failure> {
    let head = bare("GET", "/livez", &[("X", &"x".repeat(HEAD - 1024))]);
    let holders: Vec<Wire> = (0..HOLDERS)
        .map(|_| {
            let mut wire = Wire::open(victim.addr)?;
            wire.send(&head[..head.len() - 2]);
            Ok(wire)
        })
        .collect::<Result<_, Failure>>()?;
    honest(victim.addr)?;
    let growth = victim.resident_bytes_max()?.saturating_sub(before);
    drop(holders);
    require(growth <= GROWTH_BYTES_MAX, || {
        format!("the daemon grew by {growth} bytes")
    })
}

type Case = (String, u16, Vec<u8>);

fn chunked(chunks: &str) -> Vec<u8> {
    let head = format!("POST {NOTHING} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    (head + chunks).into_bytes()
}

/// A target that makes the request line this long.
fn target(line_len: usize) -> String {
    format!("/{}", "a".repeat(line_len - "GET / HTTP/1.1".len()))
}

/// A head of so many bytes, and so many fields.
fn head_of(len: usize) -> Vec<u8> {
    let filled = bare("GET", "/livez", &[("X", "")]).len() - "\r\n".len();
    bare("GET", "/livez", &[("X", &"x".repeat(len - filled))])
}

fn fields_of(count: usize) -> Vec<u8> {
    // Its host is one of them.
    bare("GET", "/livez", &vec![("X", "y"); count - 1])
}

fn at_the_bound() -> Vec<Case> {
    let case = |name: &str, status, bytes| (name.to_owned(), status, bytes);
    vec![
        case(
            "the longest request line",
            404,
            bare("GET", &target(REQUEST_LINE), &[]),
        ),
        case("the longest head", 200, head_of(HEAD)),
        case("the most fields", 200, fields_of(FIELDS)),
        case(
            "the longest body",
            404,
            json("POST", NOTHING, &[], &vec![b' '; BODY]),
        ),
        case(
            "the longest body in chunks",
            404,
            chunked(&format!("{BODY:x}\r\n{}\r\n0\r\n\r\n", " ".repeat(BODY))),
        ),
    ]
}

fn beyond_the_bound() -> Vec<Case> {
    let case = |name: &str, status, bytes| (name.to_owned(), status, bytes);
    let length = |length: &str| {
        format!("POST {NOTHING} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
            .into_bytes()
    };
    let digits = "9".repeat(10_000);
    vec![
        case(
            "a request line longer by one",
            414,
            bare("GET", &target(REQUEST_LINE + 1), &[]),
        ),
        case("a head longer by one", 431, head_of(HEAD + 1)),
        case("one field too many", 431, fields_of(FIELDS + 1)),
        case(
            "a body longer by one, before it comes",
            413,
            length(&(BODY + 1).to_string()),
        ),
        case("a body of terabytes", 413, length("99999999999999")),
        case("a length of many digits", 400, length(&digits)),
        case(
            "a chunk larger than a body",
            413,
            chunked(&format!("{:x}\r\n", BODY + 1)),
        ),
        case(
            "chunks larger than a body",
            413,
            chunked(&format!("{BODY:x}\r\n{}\r\n1\r\n", " ".repeat(BODY))),
        ),
        case("a chunk size of many digits", 400, chunked(&digits)),
        case(
            "trailers longer than a head",
            431,
            chunked(&format!("0\r\nX: {}\r\n", "x".repeat(HEAD))),
        ),
        case(
            "one trailer too many",
            431,
            chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(FIELDS + 1))),
        ),
    ]
}

/// What begins like this and goes on and on.
fn without_an_end() -> Vec<(&'static str, u16, Vec<u8>, Vec<u8>)> {
    let get = b"GET /livez HTTP/1.1\r\nHost: a\r\n".to_vec();
    let case = |name, status, start: Vec<u8>, unit: &[u8]| (name, status, start, unit.to_vec());
    vec![
        case("a method", 414, Vec::new(), b"G"),
        case("a target", 414, b"GET /".to_vec(), b"a"),
        case("empty lines", 400, Vec::new(), b"\r\n"),
        case("a field's name", 431, get.clone(), b"X"),
        case("a field's value", 431, [&get[..], b"X: "].concat(), b"y"),
        case("small fields", 431, get.clone(), b"X: y\r\n"),
        case(
            "large fields",
            431,
            get,
            &[&b"X: "[..], &[b'y'; 4096], b"\r\n"].concat(),
        ),
        case("small chunks", 413, chunked(""), b"1\r\nx\r\n"),
        case("an extension", 400, chunked("1;"), b"x"),
        case(
            "extensions",
            400,
            chunked(""),
            &[&b"1;"[..], &[b'x'; 200], b"\r\nx\r\n"].concat(),
        ),
        case("zeros of a chunk size", 400, chunked(""), b"0"),
        case("a trailer", 431, chunked("0\r\nX: "), b"x"),
        case("trailers", 431, chunked("0\r\n"), b"X: y\r\n"),
    ]
}

/// The routes that documents are sent to, each with what one of theirs has.
const ROUTES: [(&str, &str); 2] = [
    ("/v2/tasks", "\"model_ref\": \"mock\", \"prompt\": \"a\""),
    ("/v2/artifacts", "\"kind\": \"other\", \"content\": 1"),
];

/// Documents within the bound of a body that are none for a route, which else would take this.
fn documents(takes: &str) -> Vec<(&'static str, String)> {
    let long = "x".repeat(900_000);
    let with = |rest: &str| format!("{{{rest}, {takes}}}");
    let many: Vec<_> = (0..50_000).map(|at| format!("\"f{at}\": 1")).collect();
    vec![
        ("deep lists", "[".repeat(900_000)),
        (
            "deep lists in a field",
            with(&format!("\"tags\": {}", "[".repeat(900_000))),
        ),
        (
            "deep objects in a field",
            with(&format!("\"metadata\": {}", "{\"a\":".repeat(150_000))),
        ),
        (
            "a nesting that is whole",
            with(&format!(
                "\"metadata\": {}{}",
                "[".repeat(1000),
                "]".repeat(1000)
            )),
        ),
        ("a long name", with(&format!("\"{long}\": 1"))),
        (
            "a long text for a number",
            with(&format!("\"max_tokens\": \"{long}\"")),
        ),
        (
            "a long text for a choice",
            format!(
                "{{\"priority\": \"{long}\", \"kind\": \"{}\"}}",
                &long[..9000]
            ),
        ),
        (
            "a long number",
            with(&format!("\"max_tokens\": {}", "9".repeat(900_000))),
        ),
        (
            "a long text for a list",
            with(&format!("\"tags\": \"{long}\", \"stop\": 1")),
        ),
        ("many fields", with(&many.join(","))),
        ("a text without an end", format!("{{\"{long}")),
        (
            "half a character",
            with("\"seed\": \"\\ud800\", \"parent\": \"\\ud800\""),
        ),
        ("white space alone", " ".repeat(900_000)),
        ("two documents", format!("{{{takes}}}{{}}")),
    ]
}

/// Heads and bodies that no window or table should be made for.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let honest = [
        (&b":method"[..], &b"POST"[..]),
        (b":scheme", b"http"),
        (b":path", NOTHING.as_bytes()),
        (b":authority", b"a"),
    ];
    let head = block(&honest);
    let begins = |flags, block: &[u8]| frame(HEADERS, flags, 1, block);
    let field = block(&[(b"x", &[b'y'; 4000])]);
    // RFC 7541 §6.2.1: into the table, and then out of it again and again.
    let kept = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4000]].concat();
    let bomb = [&head[..], &kept, &[0xbe; 10_000]].concat();
    let goes_on = |count: usize, block: &[u8]| frame(CONTINUATION, 0, 1, block).repeat(count);
    vec![
        (
            "a head longer than may be",
            [
                begins(0, &head),
                goes_on(9, &field),
                frame(CONTINUATION, END_HEADERS, 1, b""),
            ]
            .concat(),
        ),
        (
            "a head that goes on without an end",
            [begins(0, &head), goes_on(1000, &field)].concat(),
        ),
        (
            "a head that goes on in tiny frames",
            [begins(0, &head), goes_on(100_000, &block(&[(b"x", b"y")]))].concat(),
        ),
        (
            "a head that goes on empty",
            [begins(0, &head), goes_on(100_000, b"")].concat(),
        ),
        (
            "a small head that unpacks to a giant",
            begins(END_HEADERS | END_STREAM, &bomb),
        ),
        (
            "a body of terabytes",
            begins(
                END_HEADERS,
                &[&head[..], &block(&[(b"content-length", b"99999999999999")])].concat(),
            ),
        ),
        (
            "more than the window",
            [
                begins(END_HEADERS, &head),
                frame(DATA, 0, 1, &[0; 16_000]).repeat(600),
            ]
            .concat(),
        ),
    ]
}
