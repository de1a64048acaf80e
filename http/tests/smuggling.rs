//! Ambiguous messages are refused, one test per published trick.
//!
//! Each trick works on two programs in a row that read one message in two ways. This side takes no
//! part: it refuses, with a reason of its own for each, and closes. Every request here is sent both
//! at once and byte by byte, for a trick that works on slow lines only is still a trick.
//!
//! Sources: RFC 9112 §11.2; "HTTP Request Smuggling" (Linhart et al., 2005); "HTTP Desync Attacks"
//! (Kettle, 2019); "Browser-Powered Desync Attacks" (Kettle, 2022); "Funky chunks" (Jeppe Bonde
//! Weikop, 2025).

use orchestratord_http::server::{Connection, Event, Response};
use orchestratord_http::{Limits, Refusal};

/// What a server says to these bytes at last: nothing, or a refusal.
fn verdict(bytes: &[u8], piece_len: usize) -> Option<Refusal> {
    let mut connection = Connection::new(Limits::default());
    for piece in bytes.chunks(piece_len) {
        connection.receive(piece);
        loop {
            match connection.poll() {
                Ok(Event::NeedMore) => break,
                Ok(_) => {}
                Err(refusal) => return Some(refusal),
            }
        }
    }
    None
}

#[track_caller]
fn check(request: impl AsRef<[u8]>, status: u16, reason: &str) {
    let request = request.as_ref();
    let refusal = verdict(request, request.len()).expect("the request is refused");
    assert_eq!(refusal, Refusal { status, ..refusal }, "{reason}");
    assert!(
        refusal.reason.contains(reason),
        "{:?} speaks of {reason:?}",
        refusal.reason
    );
    assert_eq!(verdict(request, 1), Some(refusal), "byte by byte");
}

/// A request with these field lines besides its `Host`.
fn with_fields(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// A request with this chunked body.
fn chunked(body: &str) -> String {
    with_fields("Transfer-Encoding: chunked\r\n") + body
}

mod two_lengths {
    use super::*;

    #[test]
    fn cl_te_length_beside_chunked() {
        let fields = "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n";
        check(
            with_fields(fields) + "0\r\n\r\nG",
            400,
            "exclude each other",
        );
    }

    #[test]
    fn te_cl_chunked_beside_length() {
        let fields = "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n";
        check(
            with_fields(fields) + "8\r\nSMUGGLED\r\n0\r\n\r\n",
            400,
            "exclude each other",
        );
    }

    #[test]
    fn cl_cl_two_different_lengths() {
        check(
            with_fields("Content-Length: 0\r\nContent-Length: 5\r\n"),
            400,
            "more than one Content-Length",
        );
    }

    #[test]
    fn two_equal_lengths() {
        check(
            with_fields("Content-Length: 5\r\ncontent-length: 5\r\n"),
            400,
            "more than one Content-Length",
        );
    }

    #[test]
    fn a_list_of_equal_lengths() {
        check(
            with_fields("Content-Length: 5, 5\r\n"),
            400,
            "decimal digits",
        );
    }

    #[test]
    fn cl_0_a_body_where_none_is_usual() {
        let inner = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
        let length = inner.len();
        let outer = format!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let mut connection = Connection::new(Limits::default());
        connection.receive((outer + inner).as_bytes());
        assert!(matches!(connection.poll(), Ok(Event::Request { .. })));
        assert_eq!(connection.poll(), Ok(Event::Body(inner.as_bytes())));
        assert_eq!(connection.poll(), Ok(Event::Complete));
    }
}

mod strange_lengths {
    use super::*;

    #[track_caller]
    fn check_length(length: &str) {
        check(
            with_fields(&format!("Content-Length: {length}\r\n")),
            400,
            "decimal digits",
        );
    }

    #[test]
    fn signed() {
        check_length("+5");
        check_length("-5");
    }

    #[test]
    fn hexadecimal() {
        check_length("0x5");
    }

    #[test]
    fn beyond_what_a_machine_word_holds() {
        check_length("18446744073709551616");
        check_length("184467440737095516150");
    }

    #[test]
    fn empty() {
        check_length("");
    }

    #[test]
    fn with_a_space_a_dot_or_an_underscore() {
        check_length("5 0");
        check_length("5.0");
        check_length("5_0");
    }

    #[test]
    fn longer_than_any_body_may_be() {
        check(
            with_fields("Content-Length: 18446744073709551615\r\n"),
            413,
            "longer",
        );
    }
}

mod strange_codings {
    use super::*;

    #[track_caller]
    fn check_coding(coding: &str) {
        check(
            with_fields(&format!("Transfer-Encoding: {coding}\r\n")),
            501,
            "is chunked",
        );
    }

    #[test]
    fn another_coding_than_chunked() {
        check_coding("gzip");
        check_coding("identity");
        check_coding("gzip, chunked");
    }

    #[test]
    fn te_te_nearly_chunked() {
        for coding in [
            "xchunked",
            "chunke",
            "chunked;q=1",
            "\"chunked\"",
            "chunked,",
            ", chunked",
            "",
        ] {
            check_coding(coding);
        }
    }

    #[test]
    fn te_te_chunked_twice() {
        check_coding("chunked, chunked");
        let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n";
        check(with_fields(twice), 400, "more than one Transfer-Encoding");
    }

    #[test]
    fn te_te_hidden_behind_whitespace() {
        check(
            with_fields("Transfer-Encoding:\x0bchunked\r\n"),
            400,
            "control",
        );
        check(
            with_fields("Transfer-Encoding : chunked\r\n"),
            400,
            "and its colon",
        );
        check(
            with_fields("X: y\r\n Transfer-Encoding: chunked\r\n"),
            400,
            "begins with whitespace",
        );
        check(
            with_fields("X: y\nTransfer-Encoding: chunked\r\n"),
            400,
            "LF alone",
        );
    }

    #[test]
    fn chunked_in_a_version_that_has_no_chunks() {
        check(
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            "HTTP/1.0",
        );
    }
}

mod line_ends {
    use super::*;

    #[test]
    fn a_line_feed_alone_ends_no_line() {
        check("GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "LF alone");
        check("GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "LF alone");
        check("GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "LF alone");
        check("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "LF alone");
    }

    #[test]
    fn a_carriage_return_alone_stands_nowhere() {
        check("GET / HTTP/1.1\rHost: a\r\n\r\n", 400, "CR stands");
        check("GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", 400, "CR stands");
        check(with_fields("X: a\rContent-Length: 5\r\n"), 400, "CR stands");
        check(with_fields("X: a\r\r\n"), 400, "CR stands");
    }

    #[test]
    fn the_lines_of_the_chunked_coding_are_as_strict() {
        check(chunked("1\nx\r\n0\r\n\r\n"), 400, "LF alone");
        check(chunked("1\r\nx\n0\r\n\r\n"), 400, "LF alone");
        check(chunked("1\r\nx\r\n0\r\n\n"), 400, "LF alone");
        check(chunked("1\rX\r\nx\r\n"), 400, "CR stands");
        check(chunked("1;a\rb\r\nx\r\n"), 400, "CR stands");
    }

    #[test]
    fn a_newline_within_a_chunk_extension() {
        check(chunked("2;\nxx\r\n0\r\n\r\n"), 400, "LF alone");
        check(chunked("2;a=\"\nb\"\r\nxx\r\n0\r\n\r\n"), 400, "LF alone");
    }

    #[test]
    fn a_folded_field() {
        check(with_fields("X: a\r\n b\r\n"), 400, "begins with whitespace");
        check(
            with_fields("X: a\r\n\tb\r\n"),
            400,
            "begins with whitespace",
        );
        check(
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            400,
            "begins with whitespace",
        );
    }

    #[test]
    fn more_than_a_few_empty_lines_before_a_request() {
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(verdict(("\r\n".repeat(4) + request).as_bytes(), 1), None);
        check("\r\n".repeat(5) + request, 400, "empty lines");
    }
}

mod fields {
    use super::*;

    #[test]
    fn space_between_a_name_and_its_colon() {
        check(with_fields("Content-Length : 5\r\n"), 400, "and its colon");
        check(with_fields("Content-Length\t: 5\r\n"), 400, "and its colon");
    }

    #[test]
    fn a_name_that_is_no_token() {
        for line in [
            ": x",
            "Content Length: 5",
            "Content-Length\x0b: 5",
            "(Content-Length): 5",
            "X\0: y",
            "\u{fc}: x",
        ] {
            check(with_fields(&format!("{line}\r\n")), 400, "field name");
        }
    }

    #[test]
    fn a_line_without_a_colon() {
        check(with_fields("Content-Length\r\n"), 400, "no colon");
    }

    #[test]
    fn controls_in_a_value() {
        for control in ["\0", "\x01", "\x08", "\x0b", "\x0c", "\x1b", "\x7f"] {
            check(with_fields(&format!("X: a{control}b\r\n")), 400, "control");
        }
    }

    #[test]
    fn bytes_that_are_no_text_in_a_value() {
        check(
            b"GET / HTTP/1.1\r\nHost: a\r\nX: caf\xE9\r\n\r\n",
            400,
            "UTF-8",
        );
    }

    #[test]
    fn no_host_two_hosts_or_half_a_host() {
        check("GET / HTTP/1.1\r\n\r\n", 400, "requires a Host");
        check(
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            400,
            "more than one Host",
        );
        check(
            "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
            400,
            "more than one Host",
        );
        for host in [
            "a b", "a/b", "user@a", "a,b", "a?b", "a#b", "a\\b", "a:b", "a:80:90", "[::1",
            "[::1]80", "a%zz",
        ] {
            check(
                format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
                400,
                "not a host",
            );
        }
    }

    #[test]
    fn an_expectation_that_cannot_be_met() {
        check(with_fields("Expect: 200-ok\r\n"), 417, "100-continue");
    }
}

mod request_lines {
    use super::*;

    #[track_caller]
    fn check_line(line: &str, status: u16, reason: &str) {
        check(format!("{line}\r\nHost: a\r\n\r\n"), status, reason);
    }

    #[test]
    fn spaces_in_the_wrong_places() {
        for line in [
            "GET  / HTTP/1.1",
            "GET / a HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET /",
        ] {
            check_line(line, 400, "one space");
        }
        check_line("GET\t/ HTTP/1.1", 400, "one space");
    }

    #[test]
    fn controls_in_the_target() {
        for target in ["/a\tb", "/a\0b", "/a\x7fb", "/\u{e9}", "/a#b"] {
            check_line(&format!("GET {target} HTTP/1.1"), 400, "percent-encoded");
        }
        check_line("GET /%2 HTTP/1.1", 400, "percent sign");
    }

    #[test]
    fn a_target_in_another_methods_form() {
        check_line("GET * HTTP/1.1", 400, "OPTIONS");
        check_line("GET a:80 HTTP/1.1", 400, "neither a path");
        check_line("CONNECT a:80 HTTP/1.1", 501, "not implemented");
        check_line("GET http://user:word@a/ HTTP/1.1", 400, "has no host");
    }

    #[test]
    fn the_host_in_an_absolute_target_outranks_the_field() {
        let mut connection = Connection::new(Limits::default());
        connection.receive(b"GET http://inner:8080/x HTTP/1.1\r\nHost: outer\r\n\r\n");
        let Ok(Event::Request { request, .. }) = connection.poll() else {
            panic!("the request is taken");
        };
        assert_eq!(request.host(), Some("inner:8080"));
        assert_eq!(request.target.path(), "/x");
    }

    #[test]
    fn methods_that_nobody_knows() {
        check_line("BREW / HTTP/1.1", 501, "not implemented");
        check_line("get / HTTP/1.1", 501, "not implemented");
        check_line("G@T / HTTP/1.1", 400, "method");
    }

    #[test]
    fn versions_that_are_not_spoken_here() {
        check("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/1.1");
        check_line("GET / HTTP/1.2", 505, "HTTP/1.1");
        check_line("GET / HTTP/0.9", 505, "HTTP/1.1");
        for version in [
            "http/1.1",
            "HTTP/1.10",
            "HTTP/01.1",
            "HTTP/1",
            "HTTPS/1.1",
            "HTTP/1.1\0",
        ] {
            check_line(&format!("GET / {version}"), 400, "version");
        }
    }
}

mod chunks {
    use super::*;

    #[track_caller]
    fn check_size(size: &str) {
        check(
            chunked(&format!("{size}\r\n")),
            400,
            "sixteen hexadecimal digits",
        );
    }

    #[test]
    fn sizes_that_readers_disagree_about() {
        for size in [
            "", "0x5", "+5", "-1", " 5", "5 ", "5\t", "5_0", "g", ";a=b", "5 ;a=b",
        ] {
            check_size(size);
        }
    }

    #[test]
    fn sizes_of_more_digits_than_a_machine_word() {
        check_size("00000000000000005");
        check_size("10000000000000005");
    }

    #[test]
    fn data_longer_than_its_size() {
        check(chunked("1\r\nxy\r\n0\r\n\r\n"), 400, "not followed by CRLF");
    }

    #[test]
    fn two_other_bytes_in_the_place_of_crlf() {
        check(chunked("1\r\nxAB0\r\n\r\n"), 400, "not followed by CRLF");
    }

    #[test]
    fn a_flood_of_extensions() {
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(200));
        check(chunked(&chunk.repeat(100)), 400, "extensions");
        check(chunked(&format!("1;{}", "e".repeat(300))), 400, "size line");
    }

    #[test]
    fn a_body_longer_than_allowed_in_small_pieces() {
        check(
            chunked(&format!("1\r\nx\r\n{:x}\r\n", 1024 * 1024)),
            413,
            "longer",
        );
    }

    #[test]
    fn endless_trailers() {
        check(
            chunked("0\r\n") + &"T: x\r\n".repeat(101),
            431,
            "more header fields",
        );
        check(
            chunked("0\r\n") + "T: " + &"x".repeat(40_000),
            431,
            "longer",
        );
    }
}

mod limits {
    use super::*;

    #[test]
    fn an_endless_request_line() {
        check(format!("GET /{}", "a".repeat(9000)), 414, "request line");
    }

    #[test]
    fn endless_fields() {
        check(
            with_fields(&format!("X: {}\r\n", "a".repeat(40_000))),
            431,
            "longer",
        );
        check(
            with_fields(&format!("X: {}\r\n", "a".repeat(1000)).repeat(40)),
            431,
            "longer",
        );
        check(
            with_fields(&"X: y\r\n".repeat(100)),
            431,
            "more header fields",
        );
    }

    #[test]
    fn a_head_exactly_as_large_as_allowed() {
        let line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(8 * 1024 - 14));
        let host = "Host: a\r\n";
        let filler_len = 32 * 1024 - line.len() - host.len() - "X: \r\n".len();
        let head = |filler_len| format!("{line}{host}X: {}\r\n\r\n", "b".repeat(filler_len));
        assert_eq!(verdict(head(filler_len).as_bytes(), 1), None);
        assert!(verdict(head(filler_len + 1).as_bytes(), 1).is_some());
    }
}

#[test]
fn after_a_refusal_nothing_is_read_any_more() {
    let mut connection = Connection::new(Limits::default());
    connection.receive(b"GET / HTTP/1.1\r\n\r\n");
    let refusal = connection.poll().unwrap_err();
    connection.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(connection.poll(), Err(refusal));

    let mut out = Vec::new();
    let head = Response {
        status: refusal.status,
        fields: &[],
    };
    connection.refuse(&head, b"", &mut out);
    assert_eq!(
        out,
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    assert!(connection.must_close());
    connection.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(connection.poll(), Ok(Event::NeedMore));
}
