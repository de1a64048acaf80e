//! What no engine should say, and what becomes of it. Each row of [`rows`] is one way to misbehave: what the
//! engine answers to a completion of four tokens before it closes, and what is told of that. Each is
//! read whole, and in pieces; what never ends is in a test of its own.

mod dialogue;

use dialogue::{begin, finish, generation, tell};
use orchestratord_gpu::{EngineKind, Workload};

const HELLO: &str = r#"{"choices":[{"text":"hello"}]}"#;
const STOP: &str = r#"{"choices":[{"text":"","finish_reason":"stop"}]}"#;
const LENGTH: &str = r#"{"choices":[{"text":"","finish_reason":"length"}]}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1}}"#;
const EMPTY: &str = r#"{"choices":[{"text":""}]}"#;
const DONE: &str = "[DONE]";

const STARTED: &str = "started ?";
const TOKEN: &str = "token \"hello\"";
const CUT_SHORT: &str = "fault the engine closed before its answer had ended";
const NO_END: &str = "fault the engine ended its answer before the text had ended";
const MALFORMED: &str = "fault the engine's answer is malformed";
const UNREADABLE: &str = "fault the engine's answer can't be read";
const TOO_LONG: &str = "fault the engine's answer is longer than allowed";
const WENT_ON: &str = "fault the engine went on after the end of its text";
const NO_STREAM: &str = "fault the engine answered with something else than a stream";
const ENDED: &str = "end stop prompt ? cached ? text 1";
const COUNTED: &str = "end stop prompt 5 cached ? text 1";
const CUT: &str = "end length prompt ? cached ? text 4";

/// One way to misbehave.
struct Row {
    what: &'static str,
    answer: Vec<u8>,
    told: Vec<&'static str>,
}

fn row(what: &'static str, answer: impl AsRef<[u8]>, told: &[&'static str]) -> Row {
    Row {
        what,
        answer: answer.as_ref().to_vec(),
        told: told.to_vec(),
    }
}

fn rows() -> Vec<Row> {
    [
        no_http(),
        wrong_lengths(),
        no_text(),
        no_end(),
        more_than_an_end(),
        more_than_was_asked(),
        statuses(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn no_http() -> Vec<Row> {
    let head = "HTTP/1.1 200 OK\r\n";
    vec![
        row("it closes at once", "", &[CUT_SHORT, "closed"]),
        row("it closes in its head", head, &[CUT_SHORT, "closed"]),
        row(
            "it talks garbage",
            b"\x00\xff\xfe garbage",
            &[CUT_SHORT, "closed"],
        ),
        row(
            "it speaks SSH",
            "SSH-2.0-OpenSSH_9.6\r\n\r\n",
            &[MALFORMED, "closed"],
        ),
        row(
            "its status is none",
            "HTTP/1.1 abc OK\r\n\r\n",
            &[MALFORMED, "closed"],
        ),
        row(
            "its head has a NUL",
            "HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
            &[MALFORMED, "closed"],
        ),
        row(
            "it changes the protocol",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
            &[MALFORMED, "closed"],
        ),
        row(
            "it is always about to answer",
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(100),
            &[MALFORMED, "closed"],
        ),
        row(
            "it has a thousand fields",
            head.to_owned() + &"a: b\r\n".repeat(1000),
            &[MALFORMED, "closed"],
        ),
        row(
            "a field has a megabyte",
            head.to_owned() + "a: " + &"b".repeat(1_000_000),
            &[MALFORMED, "closed"],
        ),
    ]
}

fn wrong_lengths() -> Vec<Row> {
    let whole = events(&[HELLO, STOP, USAGE, DONE]);
    let exactly = |length: usize| sized(&format!("Content-Length: {length}"), &whole);
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked";
    let two = "Content-Length: 1\r\nContent-Length: 2";
    let chunks = "Transfer-Encoding: chunked";
    vec![
        row("two lengths", sized(two, ""), &[MALFORMED, "closed"]),
        row(
            "a length and chunks",
            sized(both, "0\r\n\r\n"),
            &[MALFORMED, "closed"],
        ),
        row(
            "a chunk without a length",
            sized(chunks, "zz\r\n"),
            &[MALFORMED, "closed"],
        ),
        row(
            "a chunk of all there is",
            sized(chunks, "ffffffffffffffffff\r\n"),
            &[MALFORMED, "closed"],
        ),
        row(
            "an unending line of chunk",
            sized(chunks, &"0".repeat(100_000)),
            &[MALFORMED, "closed"],
        ),
        row(
            "its body is shorter than its length, and its text is whole",
            exactly(whole.len() + 7),
            &[STARTED, TOKEN, COUNTED, "closed"],
        ),
        row(
            "its body is longer than its length",
            exactly(whole.len() - 1),
            &[STARTED, TOKEN, COUNTED, "closed"],
        ),
        row(
            "its length ends within the text",
            exactly(HELLO.len()),
            &[NO_END, "closed"],
        ),
        row(
            "it sends a second answer on its own",
            [stream(&[HELLO, STOP, DONE]), stream(&[HELLO, STOP, DONE])].concat(),
            &[STARTED, TOKEN, ENDED, "closed"],
        ),
    ]
}

fn no_text() -> Vec<Row> {
    let text = |text: &str| format!(r#"{{"choices":[{{"text":"{text}"}}]}}"#);
    let unreadable = [UNREADABLE, "closed"];
    vec![
        row("an event is no JSON", stream(&["<html>"]), &unreadable),
        row("an event is half JSON", stream(&[&HELLO[..9]]), &unreadable),
        row(
            "an event is JSON of another shape",
            stream(&["[]"]),
            &unreadable,
        ),
        row(
            "its choices are a number",
            stream(&[r#"{"choices":7}"#]),
            &unreadable,
        ),
        row(
            "a text is a number",
            stream(&[r#"{"choices":[{"text":7}]}"#]),
            &unreadable,
        ),
        row(
            "a count is negative",
            stream(&[r#"{"usage":{"prompt_tokens":-1}}"#]),
            &unreadable,
        ),
        row(
            "a text is no UTF-8",
            raw_stream(b"{\"choices\":[{\"text\":\"\xff\"}]}"),
            &unreadable,
        ),
        row(
            "a text is half a surrogate",
            stream(&[&text("\\ud83d")]),
            &unreadable,
        ),
        row(
            "a NUL stands in a text",
            raw_stream(b"{\"choices\":[{\"text\":\"\0\"}]}"),
            &unreadable,
        ),
        row(
            "it is as deep as a well",
            stream(&[&"[".repeat(100_000)]),
            &unreadable,
        ),
        row(
            "a text is a NUL, as JSON writes it: that is a text",
            stream(&[&text("\\u0000"), STOP, DONE]),
            &[STARTED, "token \"\\0\"", ENDED, "open"],
        ),
        row(
            "a token has ten million bytes",
            stream(&[&text(&"a".repeat(10_000_000))]),
            &[TOO_LONG, "closed"],
        ),
        row(
            "a token has a hundred thousand bytes",
            stream(&[&text(&"a".repeat(100_000))]),
            &["fault the engine sent a token longer than any", "closed"],
        ),
        row(
            "four tokens have five thousand bytes",
            stream(&[&text(&"a".repeat(5000))]),
            &[
                STARTED,
                "fault the engine's text is longer than its tokens can be",
                "closed",
            ],
        ),
        row(
            "a line without an event never ends",
            raw_stream(&[b':'; 3_000_000]),
            &[TOO_LONG, "closed"],
        ),
        row(
            "it sends a page",
            document(200, "text/html", "<html></html>"),
            &[NO_STREAM, "open"],
        ),
        row(
            "it sends a document that nobody asked for",
            document(200, "application/json", HELLO),
            &[NO_STREAM, "open"],
        ),
        row(
            "it sends an error as if it were an answer",
            document(
                200,
                "application/json",
                r#"{"error":{"message":"no seed","code":400}}"#,
            ),
            &["fault the engine refused it: no seed", "open"],
        ),
        row(
            "it sends an error as if it were a text",
            stream(&[r#"{"error":{"message":"out of memory"}}"#]),
            &["fault the engine answered with status 500", "closed"],
        ),
    ]
}

fn no_end() -> Vec<Row> {
    let abort = r#"{"choices":[{"text":"","finish_reason":"abort"}]}"#;
    let half = {
        let mut answer = stream(&[HELLO, HELLO]);
        answer.truncate(answer.len() - 30);
        answer
    };
    vec![
        row("it has nothing to say", stream(&[]), &[NO_END, "open"]),
        row(
            "it stops in the middle",
            stream(&[HELLO]),
            &[STARTED, TOKEN, NO_END, "open"],
        ),
        row(
            "it is cut off within an event",
            half,
            &[STARTED, TOKEN, CUT_SHORT, "closed"],
        ),
        row(
            "its body ends within an event",
            sized("Transfer-Encoding: chunked", "5\r\ndata:\r\n0\r\n\r\n"),
            &[NO_END, "open"],
        ),
        row(
            "it gives up",
            stream(&[HELLO, abort]),
            &[
                STARTED,
                TOKEN,
                "fault the engine answered with status 500",
                "closed",
            ],
        ),
        row(
            "it closes before it has counted: the text is whole",
            unended(&[HELLO, STOP]),
            &[STARTED, TOKEN, ENDED, "closed"],
        ),
    ]
}

fn more_than_an_end() -> Vec<Row> {
    let told = [STARTED, TOKEN, ENDED, "open"];
    let long = events(&[HELLO, DONE]) + &": more\n".repeat(100_000);
    vec![
        row("it says no reason", stream(&[HELLO, DONE]), &told),
        row(
            "it does not say that it is done",
            stream(&[HELLO, STOP]),
            &told,
        ),
        row(
            "it ends twice",
            stream(&[HELLO, STOP, STOP, DONE, DONE]),
            &told,
        ),
        row(
            "it ends for two reasons: the first counts",
            stream(&[HELLO, STOP, LENGTH, DONE]),
            &told,
        ),
        row(
            "it goes on after it was done",
            stream(&[HELLO, DONE, HELLO]),
            &told,
        ),
        row(
            "it breaks after it was done",
            stream(&[HELLO, DONE, "{"]),
            &told,
        ),
        row(
            "it goes on after the end of its text",
            stream(&[HELLO, STOP, HELLO, DONE]),
            &[STARTED, TOKEN, WENT_ON, "closed"],
        ),
        row(
            "it has much to say after it was done",
            sized("Content-Length: 10000000", &long),
            &[STARTED, TOKEN, ENDED, "closed"],
        ),
        row(
            "its body never ends: the text has",
            unended(&[HELLO, STOP, USAGE]),
            &[STARTED, TOKEN, COUNTED, "closed"],
        ),
    ]
}

fn more_than_was_asked() -> Vec<Row> {
    let cut = [STARTED, TOKEN, TOKEN, TOKEN, TOKEN, CUT, "closed"];
    let native =
        r#"{"choices":[{"text":"hello"}],"usage":{"prompt_tokens":5,"completion_tokens":9}}"#;
    let empty = [[EMPTY; 20].as_slice(), &[STOP, DONE]].concat();
    vec![
        row("it does not know max_tokens", stream(&[HELLO; 20]), &cut),
        row(
            "it does, a little late",
            stream(&[HELLO, HELLO, HELLO, HELLO, HELLO, HELLO, LENGTH, DONE]),
            &cut,
        ),
        row(
            "it counts on, too: what was told counts",
            stream(&[native; 20]),
            &[
                "started 5",
                TOKEN,
                TOKEN,
                TOKEN,
                TOKEN,
                "end length prompt 5 cached ? text 4",
                "closed",
            ],
        ),
        row(
            "it tells the end of its last token apart: that was asked for",
            stream(&[HELLO, HELLO, HELLO, HELLO, HELLO, LENGTH, DONE]),
            &[STARTED, TOKEN, TOKEN, TOKEN, TOKEN, TOKEN, CUT, "open"],
        ),
        row(
            "most of its events hold no text: those are no tokens",
            stream(&empty),
            &[STARTED, "end stop prompt ? cached ? text 0", "open"],
        ),
    ]
}

fn statuses() -> Vec<Row> {
    let moved =
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://other/\r\nContent-Length: 0\r\n\r\n";
    let error = |status, body: &str| document(status, "application/json", body);
    let long = format!(r#"{{"error":"{}"}}"#, "a".repeat(100_000));
    vec![
        row(
            "500",
            error(500, "boom"),
            &["fault the engine answered with status 500", "open"],
        ),
        row(
            "502",
            error(502, ""),
            &["fault the engine answered with status 502", "open"],
        ),
        row(
            "429",
            error(429, ""),
            &["fault the engine has too much to do", "open"],
        ),
        row(
            "503",
            error(503, r#"{"error":"loading"}"#),
            &["fault the engine has too much to do", "open"],
        ),
        row(
            "401",
            error(401, ""),
            &["fault the engine does not accept our key", "open"],
        ),
        row(
            "403",
            error(403, ""),
            &["fault the engine does not accept our key", "open"],
        ),
        row(
            "404",
            error(404, "{}"),
            &[
                "fault the engine does not know the model, or the route to it",
                "open",
            ],
        ),
        row(
            "a redirect is not followed",
            moved,
            &["fault the engine answered with status 307", "open"],
        ),
        row(
            "204",
            "HTTP/1.1 204 No Content\r\n\r\n",
            &["fault the engine answered with status 204", "open"],
        ),
        row(
            "206",
            error(206, HELLO),
            &["fault the engine answered with status 206", "open"],
        ),
        row(
            "400",
            error(400, r#"{"error":{"message":"`stop` is no list"}}"#),
            &["fault the engine refused it: `stop` is no list", "open"],
        ),
        row(
            "an error without end",
            error(400, &long),
            &["fault the engine refused it with status 400", "closed"],
        ),
    ]
}

/// The events of a stream.
fn events(events: &[&str]) -> String {
    events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect()
}

/// A stream of these events, and the end of the body.
fn stream(events: &[&str]) -> Vec<u8> {
    let mut answer = unended(events);
    answer.extend(b"0\r\n\r\n");
    answer
}

/// The same, without the end.
fn unended(events: &[&str]) -> Vec<u8> {
    let mut answer = sized("Transfer-Encoding: chunked", "");
    for event in events {
        answer.extend(chunk(event.as_bytes()));
    }
    answer
}

/// A stream of one event, of bytes that need be no text.
fn raw_stream(event: &[u8]) -> Vec<u8> {
    [sized("Transfer-Encoding: chunked", ""), chunk(event)].concat()
}

fn chunk(event: &[u8]) -> Vec<u8> {
    let length = "data: \n\n".len() + event.len();
    let head = format!("{length:x}\r\ndata: ");
    [head.as_bytes(), event, b"\n\n\r\n"].concat()
}

fn sized(framing: &str, body: &str) -> Vec<u8> {
    let kind = "Content-Type: text/event-stream; charset=utf-8";
    format!("HTTP/1.1 200 OK\r\n{kind}\r\n{framing}\r\n\r\n{body}").into_bytes()
}

fn document(status: u16, media_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} \r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// What is told of an answer to a completion of four tokens, cut into pieces of this length.
fn answered(answer: &[u8], piece: usize) -> Vec<String> {
    let asked = begin(
        EngineKind::OpenAi,
        &generation(Workload::Completion),
        &mut Vec::new(),
    );
    let mut exchange = asked.expect("it can be asked");
    let cuts: Vec<usize> = (piece..answer.len()).step_by(piece).collect();
    let told = tell(&mut exchange, answer, &cuts);
    finish(told, exchange)
}

#[test]
fn every_misbehaviour_is_told_as_its_row_says_however_it_is_cut() {
    let mut wrong = Vec::new();
    for Row { what, answer, told } in rows() {
        for piece in [usize::MAX, 4096, 61] {
            let said = answered(&answer, piece);
            if said != told {
                wrong.push(format!("{what}, in pieces of {piece}: {said:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether the engine is left before it has said so many bytes more of this, after `before`.
fn is_left(before: &[u8], again: &[u8], bytes_max: usize) -> bool {
    let asked = begin(
        EngineKind::OpenAi,
        &generation(Workload::Completion),
        &mut Vec::new(),
    );
    let mut exchange = asked.expect("it can be asked");
    exchange.receive(before, &mut drop);
    for _ in 0..bytes_max.div_ceil(again.len()) {
        exchange.receive(again, &mut drop);
    }
    exchange.is_over()
}

#[test]
fn what_never_ends_is_left_within_a_bound() {
    let begun = unended(&[]);
    let done = unended(&[HELLO, DONE]);
    let error = b"HTTP/1.1 500 \r\n\r\n";
    for (what, before, again, bytes_max) in [
        ("a status line", &b""[..], &b"H"[..], 100_000),
        ("a head", b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", 100_000),
        (
            "interim answers",
            b"",
            b"HTTP/1.1 102 Processing\r\n\r\n",
            100_000,
        ),
        ("a line", &begun, b"5\r\naaaaa\r\n", 4_000_000),
        ("an event", &begun, b"a\r\ndata: aaa\n\r\n", 8_000_000),
        ("a text", &begun, &chunk(HELLO.as_bytes()), 10_000),
        ("a body after its text", &done, b"5\r\n:aaa\n\r\n", 200_000),
        ("an error", error, b"aaaaaaaaaaaaaaaa", 100_000),
    ] {
        assert!(is_left(before, again, bytes_max), "{what}");
    }
}

#[test]
fn signs_of_life_are_no_text() {
    // How long they may go on is for whoever waits to say.
    let begun = unended(&[]);
    for sign in [&b"3\r\n:\n\n\r\n"[..], &chunk(EMPTY.as_bytes())] {
        assert!(!is_left(&begun, sign, 1_000_000));
    }
}

#[test]
fn the_end_is_told_before_its_body_has_ended() {
    for before_end in [&[HELLO, STOP, USAGE][..], &[HELLO, DONE]] {
        let asked = begin(
            EngineKind::OpenAi,
            &generation(Workload::Completion),
            &mut Vec::new(),
        );
        let mut exchange = asked.expect("it can be asked");
        let (answer, rest) = (stream(before_end), b"0\r\n\r\n");
        let (now, later) = answer.split_at(answer.len() - rest.len());
        let told = tell(&mut exchange, now, &[]);
        assert!(exchange.is_finished());
        assert!(!exchange.is_over());
        assert_eq!(tell(&mut exchange, later, &[]), []);
        assert!(exchange.is_over());
        assert_eq!(
            finish(told, exchange).last().map(String::as_str),
            Some("open")
        );
    }
}

#[test]
fn a_stream_is_no_document() {
    let asked = begin(
        EngineKind::OpenAi,
        &generation(Workload::Embedding),
        &mut Vec::new(),
    );
    let mut exchange = asked.expect("it can be asked");
    let told = tell(&mut exchange, &stream(&[HELLO, STOP, DONE]), &[]);
    let fault = "fault the engine answered with a stream that nobody asked for";
    assert_eq!(finish(told, exchange), [fault, "closed"]);
}

#[test]
fn a_stop_text_that_an_engine_sends_is_not_told() {
    let mut generation = generation(Workload::Completion);
    generation.stop = vec!["END".to_owned()];
    let text = |text: &str| format!(r#"{{"choices":[{{"text":"{text}"}}]}}"#);
    let answer = stream(&[&text("one E"), &text("ND two"), &text(" three"), STOP, DONE]);
    let mut exchange = begin(EngineKind::OpenAi, &generation, &mut Vec::new()).unwrap();
    let told = tell(&mut exchange, &answer, &[]);
    let told = finish(told, exchange);
    let end = "end stop prompt ? cached ? text 2";
    assert_eq!(told, [STARTED, "token \"one \"", end, "closed"]);
}
