//! What is too large, too many or too deep, with the status that says so.

use crate::http2::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, block, frame};
use crate::request::{bare, json};
use crate::tricks::NOTHING;

/// The daemon's limits, as `docs/limits.md` lists them.
const REQUEST_LINE: usize = 8 * 1024;
pub(crate) const HEAD: usize = 32 * 1024;
const FIELDS: usize = 100;
const BODY: usize = 1 << 20;

pub(crate) type Case = (String, u16, Vec<u8>);

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

pub(crate) fn at_the_bound() -> Vec<Case> {
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

pub(crate) fn beyond_the_bound() -> Vec<Case> {
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
pub(crate) fn without_an_end() -> Vec<(&'static str, u16, Vec<u8>, Vec<u8>)> {
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
pub(crate) const ROUTES: [(&str, &str); 2] = [
    ("/v2/tasks", "\"model_ref\": \"mock\", \"prompt\": \"a\""),
    ("/v2/artifacts", "\"kind\": \"other\", \"content\": 1"),
];

/// Documents within the bound of a body that are none for a route, which else would take this.
pub(crate) fn documents(takes: &str) -> Vec<(&'static str, String)> {
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
pub(crate) fn frames() -> Vec<(&'static str, Vec<u8>)> {
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
