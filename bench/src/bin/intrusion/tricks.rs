//! The tricks of HTTP/1.1, each with the one reading that it has.
//!
//! Sources: RFC 9112 §11.2; "HTTP Request Smuggling" (Linhart et al., 2005); "HTTP Desync Attacks" (Kettle,
//! 2019); "HTTP/2: The Sequel is Always Worse" (Kettle, 2021); "Browser-Powered Desync Attacks" (Kettle, 2022);
//! "Funky chunks" (Jeppe Bonde Weikop, 2025); the table of tricks of `smuggler` (Barre, 2020).

/// The id of the request that is hidden in a trick.
pub(crate) const SMUGGLED: &str = "smuggled";

/// Bytes, and how they are to be answered.
pub(crate) struct Trick {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// The status of each answer, and whether it answers the hidden request.
    pub(crate) answers: Vec<(u16, bool)>,
    /// Whether the connection ends with the last of them.
    pub(crate) is_the_end: bool,
}

/// A request that asks for nothing that is there: what is read of it is answered 404.
pub(crate) const NOTHING: &str = "/v2/tasks/00000000-0000-0000-0000-000000000000/cancel";
/// What is hidden.
const HIDDEN: &str =
    "GET /v2/meta/version HTTP/1.1\r\nHost: a\r\nX-Correlation-Id: smuggled\r\n\r\n";

struct Tricks(Vec<Trick>);

/// All of them.
pub(crate) fn all() -> Vec<Trick> {
    let mut tricks = Tricks(Vec::new());
    tricks.two_lengths();
    tricks.strange_lengths();
    tricks.strange_codings();
    tricks.chunks();
    tricks.lines();
    tricks.request_lines();
    tricks.hosts();
    tricks.what_is_ignored();
    tricks.what_is_two_requests();
    tricks.0
}

/// A request with these lines of fields and this after its head.
fn post(lines: &str, rest: &str) -> String {
    format!("POST {NOTHING} HTTP/1.1\r\nHost: a\r\n{lines}\r\n{rest}")
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

fn get(target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

impl Tricks {
    fn add(
        &mut self,
        name: &str,
        bytes: impl Into<Vec<u8>>,
        answers: &[(u16, bool)],
        is_the_end: bool,
    ) {
        self.0.push(Trick {
            name: name.to_owned(),
            bytes: bytes.into(),
            answers: answers.to_vec(),
            is_the_end,
        });
    }

    /// It is refused, and nothing after it is read.
    fn refused(&mut self, status: u16, name: &str, bytes: impl Into<Vec<u8>>) {
        self.add(name, bytes, &[(status, false)], true);
    }

    /// It is one request.
    fn answered(&mut self, status: u16, name: &str, bytes: impl Into<Vec<u8>>) {
        self.add(name, bytes, &[(status, false)], false);
    }

    fn two_lengths(&mut self) {
        let hidden = format!("0\r\n\r\n{HIDDEN}");
        let length = format!("Content-Length: {}\r\n", hidden.len());
        let coding = "Transfer-Encoding: chunked\r\n";
        self.refused(400, "CL.TE", post(&format!("{length}{coding}"), &hidden));
        self.refused(
            400,
            "TE.CL",
            post(&format!("{coding}Content-Length: 4\r\n"), &hidden),
        );
        for (name, lengths) in [
            (
                "CL.CL, different",
                "Content-Length: 0\r\nContent-Length: 5\r\n",
            ),
            ("CL.CL, equal", "Content-Length: 5\r\nContent-Length: 5\r\n"),
            (
                "CL.CL in another case",
                "Content-Length: 5\r\ncontent-length: 5\r\n",
            ),
            ("a list of lengths", "Content-Length: 5, 5\r\n"),
            (
                "a length beside no coding",
                "Content-Length: 5\r\nTransfer-Encoding:\r\n",
            ),
            (
                "a length beside identity",
                "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
            ),
        ] {
            self.refused(400, name, post(lengths, "abcde"));
        }
        let inner = format!(
            "GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{HIDDEN}",
            HIDDEN.len()
        );
        self.answered(200, "CL.0, a body where none is usual", inner);
        let inner = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
        self.answered(
            200,
            "TE.0, the same in chunks",
            get("/livez", coding) + &inner,
        );
        let length = format!(
            "Content-Length: {}\r\nConnection: content-length\r\n",
            HIDDEN.len()
        );
        self.answered(404, "a length that hops drop", post(&length, HIDDEN));
    }

    fn strange_lengths(&mut self) {
        for length in [
            "+5",
            "-5",
            "0x5",
            "5 5",
            "5;",
            "5,",
            ",5",
            "1e1",
            "5.0",
            "5_0",
            "\"5\"",
            "",
            " ",
            "five",
            "18446744073709551616",
            "184467440737095516150",
            "\u{ff15}",
        ] {
            let name = format!("a length of `{length}`");
            self.refused(
                400,
                &name,
                post(&format!("Content-Length: {length}\r\n"), "abcde"),
            );
        }
        let most = format!("Content-Length: {}\r\n", u64::MAX);
        self.refused(413, "the longest length", post(&most, "abcde"));
        self.answered(
            404,
            "a length with zeros before it",
            post("Content-Length: 005\r\n", "abcde"),
        );
        self.answered(
            404,
            "a length after tabs",
            post("Content-Length:\t 5 \t\r\n", "abcde"),
        );
    }

    fn strange_codings(&mut self) {
        let hidden = format!("0\r\n\r\n{HIDDEN}");
        for coding in [
            "xchunked",
            "chunke",
            "chunked, identity",
            "identity, chunked",
            "chunked, chunked",
            "chunked;q=1",
            "gzip, chunked",
            "\"chunked\"",
            "chunked,",
            ", chunked",
            "",
            "identity",
            "c hunked",
            "chunked chunked",
        ] {
            let name = format!("TE.TE, `{coding}`");
            self.refused(
                501,
                &name,
                post(&format!("Transfer-Encoding: {coding}\r\n"), &hidden),
            );
        }
        for line in [
            "Transfer-Encoding : chunked",
            "Transfer-Encoding\t: chunked",
            "Transfer-Encoding:\x0bchunked",
            "Transfer-Encoding: chunked\x0c",
            "Transfer-Encoding: chunked\0",
            " Transfer-Encoding: chunked",
            "X: y\n Transfer-Encoding: chunked",
            "X: y\nTransfer-Encoding: chunked",
            "X: y\rTransfer-Encoding: chunked",
            "X: y\r\n Transfer-Encoding: chunked",
            "Transfer-Encoding:\r\n chunked",
            "Transfer-Encoding\r\n : chunked",
            "Transfer-Encoding chunked",
            "Transfer-Encoding: chun\u{212a}ed\u{0}",
            "Transfer\0-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        ] {
            let name = format!("TE.TE, the line {line:?}");
            self.refused(400, &name, post(&format!("{line}\r\n"), &hidden));
        }
        let old = format!("POST {NOTHING} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{hidden}");
        self.refused(400, "chunks in HTTP/1.0", old);
        self.answered(
            404,
            "a coding in capitals",
            post("TRANSFER-ENCODING: CHUNKED\r\n", "0\r\n\r\n"),
        );
    }

    fn chunks(&mut self) {
        for size in [
            "0x5",
            "+5",
            "-1",
            " 5",
            "5 ",
            "5\t",
            "5_0",
            "g",
            "",
            ";a=b",
            "5 ;a=b",
            "5\x0b",
            "5\0",
            "00000000000000005",
            "10000000000000005",
            "fffffffffffffffff",
        ] {
            let body = format!("{size}\r\nabcde\r\n0\r\n\r\n{HIDDEN}");
            self.refused(
                400,
                &format!("a chunk of the size {size:?}"),
                chunked(&body),
            );
        }
        for size in ["ffffffffffffffff", "8000000000000000", "7fffffffffffffff"] {
            self.refused(
                413,
                &format!("a chunk of {size}"),
                chunked(&format!("{size}\r\nabcde")),
            );
        }
        for (name, body) in [
            ("data longer than its size", "1\r\nxy\r\n0\r\n\r\n"),
            ("two other bytes for CRLF", "1\r\nxAB0\r\n\r\n"),
            ("LF after a size", "1\nx\r\n0\r\n\r\n"),
            ("LF after data", "1\r\nx\n0\r\n\r\n"),
            ("LF at the end", "1\r\nx\r\n0\r\n\n"),
            ("CR after a size", "1\rx\r\n0\r\n\r\n"),
            ("TERM.EXT, LF in an extension", "2;\nxx\r\n0\r\n\r\n"),
            (
                "EXT.TERM, LF in a quoted extension",
                "2;a=\"\nb\"\r\nxx\r\n0\r\n\r\n",
            ),
            ("NUL in an extension", "2;\0\r\nxx\r\n0\r\n\r\n"),
            ("TERM.SPILL, no line end after data", "5\r\nabcde0\r\n\r\n"),
            (
                "SPILL.TERM, a chunk that reaches into the next",
                "5\r\nabc\r\n0\r\n\r\n",
            ),
            ("a trailer without a colon", "0\r\nX\r\n\r\n"),
            ("a folded trailer", "0\r\nX: a\r\n b\r\n\r\n"),
            ("a trailer with a control", "0\r\nX: a\x01\r\n\r\n"),
        ] {
            self.refused(400, name, chunked(body) + HIDDEN);
        }
        for (name, body) in [
            ("many zeros for the last chunk", "00000000\r\n\r\n"),
            ("an extension", "2;a=\"b;c\"\r\nxx\r\n0;d\r\n\r\n"),
            (
                "a length among the trailers",
                "0\r\nContent-Length: 50\r\n\r\n",
            ),
            (
                "a coding among the trailers",
                "0\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            ("a size in capitals", "A\r\n0123456789\r\n0\r\n\r\n"),
        ] {
            self.answered(404, name, chunked(body));
        }
        let hidden = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
        self.answered(404, "a request in a chunk", chunked(&hidden));
    }

    fn lines(&mut self) {
        for line in [
            "X: a\n",
            "X: a\r",
            "X: a\rb\r\n",
            "X: a\r\r\n",
            "X: a\r\n b\r\n",
            "X: a\r\n\tb\r\n",
            "X : a\r\n",
            "X\t: a\r\n",
            ": a\r\n",
            "X\r\n",
            "X Y: a\r\n",
            "X\0: a\r\n",
            "X: a\0b\r\n",
            "X: a\x1b[31m\r\n",
            "X: a\x7f\r\n",
            "(X): a\r\n",
            "X\u{e9}: a\r\n",
            "\r\x0b\n",
        ] {
            self.refused(400, &format!("the line {line:?}"), post(line, HIDDEN));
        }
        self.refused(
            400,
            "bytes that are no text",
            b"GET /livez HTTP/1.1\r\nHost: a\r\nX: \xe9\r\n\r\n".to_vec(),
        );
        self.refused(
            400,
            "LF after the request line",
            format!("GET /livez HTTP/1.1\nHost: a\r\n\r\n{HIDDEN}"),
        );
        self.refused(
            400,
            "LF at the end of a head",
            format!("GET /livez HTTP/1.1\r\nHost: a\r\n\n{HIDDEN}"),
        );
        self.refused(
            400,
            "space before the first field",
            "GET /livez HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n",
        );
        self.refused(
            400,
            "five empty lines before a request",
            "\r\n".repeat(5) + &get("/livez", ""),
        );
        self.answered(
            200,
            "four empty lines before a request",
            "\r\n".repeat(4) + &get("/livez", ""),
        );
    }

    fn request_lines(&mut self) {
        for line in [
            "GET  /livez HTTP/1.1",
            "GET /livez  HTTP/1.1",
            "GET /livez HTTP/1.1 ",
            " GET /livez HTTP/1.1",
            "GET\t/livez HTTP/1.1",
            "GET /livez",
            "GET /livez HTTP/1.1 HTTP/1.1",
            "GET /livez http/1.1",
            "GET /livez HTTP/1.10",
            "GET /livez HTTP/01.1",
            "GET /livez HTTP/1",
            "GET /livez HTTP/1.1\0",
            "GET /livez HTTP/\u{b9}.1",
            "G(T /livez HTTP/1.1",
            "GET livez HTTP/1.1",
            "GET * HTTP/1.1",
            "GET /livez#x HTTP/1.1",
            "GET /li\x0bvez HTTP/1.1",
            "GET /%zz HTTP/1.1",
            "GET \\livez HTTP/1.1",
            "GET /livez?a=\r HTTP/1.1",
            "GET http:///livez HTTP/1.1",
            "GET ftp://a/livez HTTP/1.1",
            "GET http://a@b/livez HTTP/1.1",
            "GET a:80 HTTP/1.1",
        ] {
            let name = format!("the request line {line:?}");
            self.refused(400, &name, format!("{line}\r\nHost: a\r\n\r\n{HIDDEN}"));
        }
        for line in [
            "GET /livez HTTP/0.9",
            "GET /livez HTTP/1.2",
            "GET /livez HTTP/2.0",
            "GET /livez HTTP/9.9",
        ] {
            self.refused(505, line, format!("{line}\r\nHost: a\r\n\r\n{HIDDEN}"));
        }
        for line in [
            "CONNECT a:80 HTTP/1.1",
            "get /livez HTTP/1.1",
            "TRACE /livez HTTP/1.1",
            "PRI * HTTP/1.1",
        ] {
            self.refused(501, line, format!("{line}\r\nHost: a\r\n\r\n{HIDDEN}"));
        }
        for path in [
            "/%2e%2e/livez",
            "//livez",
            "/livez/",
            "/./livez",
            "/livez%00",
            "/livez%0d%0aX:%20y",
            "/LIVEZ",
            "/livez;a",
        ] {
            self.answered(404, &format!("the path {path}"), get(path, ""));
        }
        self.answered(
            200,
            "a path that is written in escapes",
            get("/%6civez", ""),
        );
    }

    fn hosts(&mut self) {
        self.refused(
            400,
            "no host",
            format!("GET /livez HTTP/1.1\r\n\r\n{HIDDEN}"),
        );
        self.refused(400, "two hosts", get("/livez", "Host: a\r\n"));
        for host in [
            "a b", "a/b", "user@a", "a,b", "a?b", "a#b", "a\\b", "a:b", "[::1", "a%zz",
        ] {
            let head = format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n{HIDDEN}");
            self.refused(400, &format!("the host `{host}`"), head);
        }
        // RFC 9112 §3.2.2: the target's host counts, and there is one daemon behind all of them.
        self.answered(200, "another host in the target", get("http://b/livez", ""));
        self.answered(
            200,
            "a host that others believe",
            get("/livez", "X-Forwarded-Host: b\r\nForwarded: host=b\r\n"),
        );
    }

    fn what_is_ignored(&mut self) {
        let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
        self.answered(200, "an upgrade to h2c", get("/livez", h2c));
        let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
        self.answered(200, "an upgrade to a websocket", get("/livez", socket));
        for line in [
            "X-HTTP-Method-Override: DELETE",
            "X-Original-URL: /v2/meta/version",
            "X-Rewrite-URL: /v2/meta/version",
            "TE: trailers, chunked",
            "Trailer: Content-Length",
            "Connection: X-Correlation-Id",
            "Keep-Alive: max=1",
            "Transfer_Encoding: chunked",
            "Content_Length: 500",
            "X-Transfer-Encoding: chunked",
        ] {
            self.answered(200, line, get("/livez", &format!("{line}\r\n")));
        }
        self.refused(
            417,
            "a hope that can't be met",
            post("Expect: 200-ok\r\n", ""),
        );
        self.answered(
            404,
            "a hope for 100",
            post("Expect: 100-continue\r\nContent-Length: 5\r\n", "abcde"),
        );
    }

    fn what_is_two_requests(&mut self) {
        let two = [(404, false), (200, true)];
        self.add(
            "a request after an empty body",
            post("Content-Length: 0\r\n", HIDDEN),
            &two,
            false,
        );
        self.add(
            "a request after a body",
            post("Content-Length: 5\r\n", "abcde") + HIDDEN,
            &two,
            false,
        );
        self.add(
            "a request after chunks",
            chunked("5\r\nabcde\r\n0\r\n\r\n") + HIDDEN,
            &two,
            false,
        );
        self.add(
            "a request after no body",
            post("Transfer_Encoding: chunked\r\n", HIDDEN),
            &two,
            false,
        );
        let preface = get("/livez", "") + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        self.add(
            "HTTP/2 in the middle",
            preface,
            &[(200, false), (505, false)],
            true,
        );
        let rest = post("Content-Length: 5\r\n", "abcdeX") + HIDDEN;
        self.add(
            "a byte after a body",
            rest,
            &[(404, false), (501, false)],
            true,
        );
        let closes = get("/livez", "Connection: close\r\n") + HIDDEN;
        self.add("a request after the last", closes, &[(200, false)], true);
        let old = format!("GET /livez HTTP/1.0\r\n\r\n{HIDDEN}");
        self.add(
            "a request after one of HTTP/1.0",
            old,
            &[(200, false)],
            true,
        );
    }
}
