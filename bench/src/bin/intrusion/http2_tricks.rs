//! The tricks of HTTP/2: what would be two readings if it were written down in lines, and what has none.
//!
//! Sources: RFC 9113 §8.1 to §8.3; "HTTP/2: The Sequel is Always Worse" (Kettle, 2021).

use std::net::SocketAddr;

use orchestratord_bench::Failure;

use crate::findings::{Findings, require};
use crate::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Fate, Field, HEADERS, Http2, PADDED, block, frame,
};
use crate::tricks::NOTHING;

/// The parts of a request that is answered 404 when its body has come.
const METHOD: Field<'_> = (b":method", b"POST");
const SCHEME: Field<'_> = (b":scheme", b"http");
const PATH: Field<'_> = (b":path", NOTHING.as_bytes());
const AUTHORITY: Field<'_> = (b":authority", b"a");
const HONEST: [Field<'_>; 4] = [METHOD, SCHEME, PATH, AUTHORITY];
const HIDDEN: &[u8] = b"a\r\n\r\nGET /v2/meta/version HTTP/1.1\r\nHost: a\r\n\r\n";

pub(crate) fn play(addr: SocketAddr, findings: &mut Findings) -> Result<(), Failure> {
    for (name, fields) in malformed_heads() {
        let frames = request(&fields, b"");
        findings.tried(&format!("HTTP/2, {name}"), is_refused(addr, &frames)?);
    }
    for (name, frames) in malformed_streams() {
        findings.tried(&format!("HTTP/2, {name}"), is_refused(addr, &frames)?);
    }
    for (name, frames) in honest_streams() {
        findings.tried(&format!("HTTP/2, {name}"), is_answered(addr, &frames)?);
    }
    Ok(())
}

/// A request on the first stream, with its body, if it has one.
fn request(fields: &[Field<'_>], body: &[u8]) -> Vec<u8> {
    let head = block(fields);
    match body {
        b"" => frame(HEADERS, END_HEADERS | END_STREAM, 1, &head),
        body => [
            frame(HEADERS, END_HEADERS, 1, &head),
            frame(DATA, END_STREAM, 1, body),
        ]
        .concat(),
    }
}

fn with(more: &[Field<'static>]) -> Vec<Field<'static>> {
    [&HONEST, more].concat()
}

/// What became of the trick, and of an honest request after it.
fn fates(addr: SocketAddr, frames: &[u8]) -> Result<[Fate; 2], Failure> {
    let canary = [
        (&b":method"[..], &b"GET"[..]),
        SCHEME,
        (b":path", b"/livez"),
        AUTHORITY,
    ];
    let canary = frame(HEADERS, END_HEADERS | END_STREAM, 5, &block(&canary));
    let mut connection = Http2::open(addr)?;
    // Who is refused may not get all of it across.
    let _ = connection.send(&[frames, &canary].concat());
    connection.fates([1, 5])
}

/// The stream is refused: alone, and others go on; or with its connection.
fn is_refused(addr: SocketAddr, frames: &[u8]) -> Result<Result<(), Failure>, Failure> {
    let [trick, canary] = fates(addr, frames)?;
    let is_refused = match trick {
        Fate::Answered(status) => matches!(status, 400..=499) && status != 404,
        Fate::Reset | Fate::Ended => true,
    };
    let goes_on = match trick {
        Fate::Answered(_) => canary == Fate::Answered(200),
        Fate::Reset | Fate::Ended => matches!(canary, Fate::Answered(200) | Fate::Ended),
    };
    Ok(require(is_refused && goes_on, || {
        format!("it met with {trick:?}, and what follows it with {canary:?}")
    }))
}

fn is_answered(addr: SocketAddr, frames: &[u8]) -> Result<Result<(), Failure>, Failure> {
    let fates = fates(addr, frames)?;
    Ok(require(
        fates == [Fate::Answered(404), Fate::Answered(200)],
        || format!("it and what follows it met with {fates:?}"),
    ))
}

fn malformed_heads() -> Vec<(String, Vec<Field<'static>>)> {
    let mut heads = Vec::new();
    let mut add = |name: String, fields: Vec<Field<'static>>| heads.push((name, fields));
    for value in [
        HIDDEN,
        b"a\rb",
        b"a\nb",
        b"a\0b",
        b"a\r",
        b"\x7f",
        b"a\x1b[31mb",
    ] {
        add(
            format!("the value {:?}", String::from_utf8_lossy(value)),
            with(&[(b"x", value)]),
        );
    }
    for name in [
        &b"X-Upper"[..],
        b"transfer-encoding: chunked\r\nx",
        b"x y",
        b"",
        b"x:",
        b"x\0",
        b"x\n",
        b":evil",
        b":status",
        b":METHOD",
    ] {
        add(
            format!("the name {:?}", String::from_utf8_lossy(name)),
            with(&[(name, b"a")]),
        );
    }
    for (name, value) in [
        ("connection", "close"),
        ("keep-alive", "max=1"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("content-length", "+5"),
        ("content-length", "5, 5"),
        ("content-length", "0x5"),
        ("content-length", ""),
        ("expect", "200-ok"),
        ("host", "b"),
        ("host", "a b"),
    ] {
        add(
            format!("`{name}: {value}`"),
            with(&[(name.as_bytes(), value.as_bytes())]),
        );
    }
    add(
        "two lengths".to_owned(),
        with(&[(b"content-length", b"0"), (b"content-length", b"5")]),
    );
    for field in HONEST {
        let name = String::from_utf8_lossy(field.0).into_owned();
        let others: Vec<_> = HONEST
            .into_iter()
            .filter(|other| other.0 != field.0)
            .collect();
        add(format!("{name} twice"), with(&[field]));
        add(
            format!("{name} after a field"),
            [&others, &[(&b"x"[..], &b"a"[..]), field][..]].concat(),
        );
        add(
            format!("{name} with a hidden request"),
            [&others[..], &[(field.0, HIDDEN)]].concat(),
        );
        add(format!("no {name}"), others);
    }
    for path in [
        &b""[..],
        b"*",
        b"livez",
        b"/a b",
        b"/%zz",
        b"/a\r\nx: y",
        b"http://b/livez",
        b"\\",
    ] {
        add(
            format!("the path {:?}", String::from_utf8_lossy(path)),
            vec![METHOD, SCHEME, (b":path", path), AUTHORITY],
        );
    }
    for method in [&b"GET /livez HTTP/1.1\r\nx: y"[..], b"G T", b"", b"G\0T"] {
        add(
            format!("the method {:?}", String::from_utf8_lossy(method)),
            vec![(b":method", method), SCHEME, PATH, AUTHORITY],
        );
    }
    for authority in [&b"u@a"[..], b"a/b", b"a,b", b"a:b", b"a\r\nx: y"] {
        let name = format!("the authority {:?}", String::from_utf8_lossy(authority));
        add(name, vec![METHOD, SCHEME, PATH, (b":authority", authority)]);
    }
    heads
}

fn malformed_streams() -> Vec<(&'static str, Vec<u8>)> {
    let length =
        |length: &'static [u8], body: &[u8]| request(&with(&[(b"content-length", length)]), body);
    let head = |flags| frame(HEADERS, flags, 1, &block(&HONEST));
    let trailers = |fields: &[Field<'_>]| {
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields));
        [head(END_HEADERS), frame(DATA, 0, 1, b"abcde"), trailers].concat()
    };
    vec![
        ("a length shorter than the body", length(b"3", b"abcde")),
        ("a length longer than the body", length(b"50", b"abcde")),
        ("a length and no body", length(b"5", b"")),
        (
            "trailers with a coding",
            trailers(&[(b"transfer-encoding", b"chunked")]),
        ),
        ("trailers with a line end", trailers(&[(b"x", HIDDEN)])),
        (
            "a second head that is not the end",
            [head(END_HEADERS), head(END_HEADERS)].concat(),
        ),
        (
            "a body after the end",
            [
                request(&HONEST[..3], b""),
                frame(DATA, END_STREAM, 1, b"abcde"),
            ]
            .concat(),
        ),
        (
            "a body before its head",
            frame(DATA, END_STREAM, 1, b"abcde"),
        ),
        (
            "a stream of even number",
            frame(HEADERS, END_HEADERS | END_STREAM, 2, &block(&HONEST)),
        ),
        (
            "the stream of number 0",
            frame(HEADERS, END_HEADERS | END_STREAM, 0, &block(&HONEST)),
        ),
        (
            "more padding than frame",
            frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &[255, 0]),
        ),
        (
            "another frame within a head",
            [head(0), frame(DATA, END_STREAM, 1, b"abcde")].concat(),
        ),
        (
            "a head that goes on nowhere",
            frame(CONTINUATION, END_HEADERS, 1, &block(&HONEST)),
        ),
        (
            "a frame longer than said",
            [head(END_HEADERS), frame(DATA, END_STREAM, 1, &[0; 16_385])].concat(),
        ),
        (
            "fields that no table has",
            frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[0xff, 0xff, 0xff, 0x0f],
            ),
        ),
        (
            "a field that ends nowhere",
            frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f],
            ),
        ),
    ]
}

/// What must not be there and is dropped before the daemon sees it is no second reading either: nothing is
/// made of it.
fn honest_streams() -> Vec<(&'static str, Vec<u8>)> {
    let path = format!("{NOTHING}#b");
    let fragment = [METHOD, SCHEME, (b":path", path.as_bytes()), AUTHORITY];
    let ending = |fields: &[Field<'_>]| {
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields));
        let head = frame(HEADERS, END_HEADERS, 1, &block(&HONEST));
        [head, frame(DATA, 0, 1, b"abcde"), trailers].concat()
    };
    let head = block(&HONEST);
    let (first, rest) = head.split_at(head.len() / 2);
    vec![
        (
            "a body with its length",
            request(&with(&[(b"content-length", b"5")]), b"abcde"),
        ),
        ("a body without its length", request(&HONEST, b"abcde")),
        ("a body of a hidden request", request(&HONEST, HIDDEN)),
        (
            "names that look like others",
            request(
                &with(&[(b"transfer_encoding", b"chunked"), (b"te", b"trailers")]),
                b"abcde",
            ),
        ),
        (
            "a head in two frames",
            [
                frame(HEADERS, END_STREAM, 1, first),
                frame(CONTINUATION, END_HEADERS, 1, rest),
            ]
            .concat(),
        ),
        ("trailers", ending(&[(b"x", b"y")])),
        (
            "trailers that name a path",
            ending(&[(b":path", b"/livez")]),
        ),
        ("a path with a fragment", request(&fragment, b"")),
    ]
}
