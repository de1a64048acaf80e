//! What engines say, and what becomes of it: recorded dialogues, each read in every way a socket could cut
//! it, and answers that no engine should give.
//!
//! A recording is a file of `recorded/<engine>/`, line by line:
//!
//! ```text
//! # what it is about
//! ? workload, then what is unlike the usual generation of that kind
//! > a line that is sent, CRLF added
//! < a line that is answered, CRLF added
//! <- the same with LF alone
//! <| the same with nothing
//! = an event that is told; and last, whether the connection is open or closed
//! ```

use orchestratord_gpu::exchange::{Exchange, LIMITS, Target};
use orchestratord_gpu::{
    EngineKind, Event, Fault, Generation, Input, Message, Role, Sampling, Workload, probe,
};
use orchestratord_http::client::Connection;
use std::fs;
use std::path::{Path, PathBuf};

/// A dialogue, and what is to be told of it.
struct Recording {
    kind: EngineKind,
    generation: Generation,
    sent: Vec<u8>,
    answered: Vec<u8>,
    told: Vec<String>,
}

impl Recording {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("it is text");
        let folder = path.parent().and_then(Path::file_name);
        let kind = folder.and_then(|name| EngineKind::parse(name.to_str()?));
        let kind = kind.expect("it is in an engine's folder");
        let mut recording = Self {
            kind,
            generation: generation(Workload::Completion),
            sent: Vec::new(),
            answered: Vec::new(),
            told: Vec::new(),
        };
        for line in text.lines() {
            let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
            match mark {
                "#" | "" => {}
                "?" => recording.ask(rest),
                ">" => recording.sent.extend(format!("{rest}\r\n").bytes()),
                ">|" => recording.sent.extend(rest.bytes()),
                "<" => recording.answered.extend(format!("{rest}\r\n").bytes()),
                "<-" => recording.answered.extend(format!("{rest}\n").bytes()),
                "<|" => recording.answered.extend(rest.bytes()),
                "=" => recording.told.push(rest.to_owned()),
                _ => panic!("nobody says {line:?}"),
            }
        }
        recording
    }

    fn ask(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let workloads = [
            Workload::Completion,
            Workload::Chat,
            Workload::Embedding,
            Workload::Rerank,
        ];
        match word {
            "prompt" => self.generation.input = Input::Prompt(rest.to_owned()),
            "stop" => self.generation.stop.push(rest.to_owned()),
            "greedy" => {
                self.generation.sampling = Sampling {
                    temperature: 0.0,
                    top_p: 1.0,
                    top_k: 0,
                    seed: 7,
                };
            }
            _ => {
                let named = workloads.into_iter().find(|kind| kind.name() == word);
                self.generation = generation(named.expect("it is a kind of work"));
            }
        }
    }

    /// Asks, and reads the answer cut at these places.
    fn play(&self, cuts: &[usize]) -> (Vec<u8>, Vec<String>) {
        let mut sent = Vec::new();
        let mut exchange = begin(self.kind, &self.generation, &mut sent).expect("it can be asked");
        let told = tell(&mut exchange, &self.answered, cuts);
        (sent, finish(told, exchange))
    }
}

fn generation(workload: Workload) -> Generation {
    let texts = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
    Generation {
        input: match workload {
            Workload::Completion => Input::Prompt("Once upon a time".to_owned()),
            Workload::Chat => Input::Chat(vec![Message {
                role: Role::User,
                content: "Hello".to_owned(),
            }]),
            Workload::Embedding => Input::Embed(texts(["a fox", "the sea"])),
            Workload::Rerank => Input::Rerank {
                query: "a fox".to_owned(),
                documents: texts(["the sea", "the old fox"]),
            },
        },
        max_tokens: 4,
        sampling: Sampling {
            temperature: 0.5,
            top_p: 0.75,
            top_k: 40,
            seed: 7,
        },
        stop: Vec::new(),
        session: None,
        reuse: true,
        traceparent: Some(TRACE.to_owned()),
    }
}

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn begin(kind: EngineKind, generation: &Generation, out: &mut Vec<u8>) -> Result<Exchange, Fault> {
    let target = Target {
        kind,
        host: "engine:8000",
        base_path: "",
        model: "tales",
        key: Some("secret"),
    };
    Exchange::begin(Connection::new(LIMITS), &target, generation, out)
}

/// What is told of an answer that comes in pieces.
fn tell(exchange: &mut Exchange, answer: &[u8], cuts: &[usize]) -> Vec<Event> {
    let mut told = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([answer.len()]) {
        exchange.receive(&answer[from..to], &mut |event| told.push(event));
        from = to;
    }
    told
}

/// The events in words, and what becomes of the connection if the engine closes it where it has to.
fn finish(mut told: Vec<Event>, mut exchange: Exchange) -> Vec<String> {
    if !exchange.is_over() {
        exchange.receive_end(&mut |event| told.push(event));
    }
    assert!(exchange.is_over(), "nothing is left to come");
    check_order(&told);
    let connection = exchange.into_connection();
    let connection = if connection.is_some() {
        "open"
    } else {
        "closed"
    };
    let words = told.iter().map(word).chain([connection.to_owned()]);
    words.collect()
}

/// Started once, tokens, then the end; or a fault, after which there is nothing.
fn check_order(told: &[Event]) {
    let (last, before) = told.split_last().expect("something is told");
    assert!(
        matches!(last, Event::End { .. } | Event::Fault(_)),
        "{told:?}"
    );
    if let Some((first, tokens)) = before.split_first() {
        assert!(matches!(first, Event::Started { .. }), "{told:?}");
        let is_text = |event: &Event| matches!(event, Event::Token { text } if !text.is_empty());
        assert!(tokens.iter().all(is_text), "{told:?}");
    }
}

fn word(event: &Event) -> String {
    match event {
        Event::Started { prompt_tokens, .. } => format!("started {prompt_tokens}"),
        Event::Token { text } => format!("token {text:?}"),
        Event::End { finish, usage } => format!(
            "end {} {} {}",
            finish.name(),
            usage.prompt_tokens,
            usage.completion_tokens
        ),
        Event::Fault(fault) => format!("fault {fault}"),
    }
}

fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let engines = entries(&folder).into_iter().filter(|path| path.is_dir());
    let mut files: Vec<PathBuf> = engines.flat_map(|engine| entries(&engine)).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "http"));
    files.sort();
    assert!(files.len() > 20, "the recordings are here");
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is here");
    entries.flatten().map(|entry| entry.path()).collect()
}

#[test]
fn every_recording_is_asked_for_and_told_as_it_says() {
    for path in recordings() {
        let recording = Recording::read(&path);
        let (sent, told) = recording.play(&[]);
        let name = path.display();
        assert_eq!(told, recording.told, "{name}");
        let [sent, expected] = [&sent, &recording.sent].map(|bytes| String::from_utf8_lossy(bytes));
        assert_eq!(sent, expected, "{name}");
    }
}

#[test]
fn an_answer_is_told_alike_wherever_it_is_cut() {
    for path in recordings() {
        let recording = Recording::read(&path);
        let length = recording.answered.len();
        let everywhere: Vec<usize> = (0..length).collect();
        assert_eq!(
            recording.play(&everywhere).1,
            recording.told,
            "{}",
            path.display()
        );
        for cut in 0..length {
            let (_, told) = recording.play(&[cut]);
            assert_eq!(told, recording.told, "{} cut at {cut}", path.display());
        }
    }
}

#[test]
fn an_answer_that_ends_early_is_the_engines_fault_wherever_it_ends() {
    for path in recordings() {
        let recording = Recording::read(&path);
        let [.., last, _] = recording.told.as_slice() else {
            panic!("{} tells something", path.display());
        };
        for end in 0..recording.answered.len() {
            let mut exchange = begin(recording.kind, &recording.generation, &mut Vec::new())
                .expect("it can be asked");
            let told = tell(&mut exchange, &recording.answered[..end], &[]);
            let told = finish(told, exchange);
            let [.., end_told, connection] = told.as_slice() else {
                panic!("something is told");
            };
            let is_broken = end_told.starts_with("fault the engine");
            let is_whole = end_told == last || end_told.starts_with("end ");
            assert!(
                is_broken || is_whole,
                "{} ends at {end}: {told:?}",
                path.display()
            );
            assert_eq!(connection, "closed", "{} ends at {end}", path.display());
        }
    }
}

/// What is told of an answer to a completion asked of a server that speaks OpenAI's API.
fn answered(answer: &[u8]) -> Vec<String> {
    let mut exchange = begin(
        EngineKind::OpenAi,
        &generation(Workload::Completion),
        &mut Vec::new(),
    )
    .expect("it can be asked");
    let told = tell(&mut exchange, answer, &[]);
    finish(told, exchange)
}

/// A stream of these events, and the end of the body.
fn stream(events: &[&str]) -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for event in events {
        let length = "data: \n\n".len() + event.len();
        answer.extend(format!("{length:x}\r\ndata: {event}\n\n\r\n").bytes());
    }
    answer.extend(b"0\r\n\r\n");
    answer
}

fn document(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} \r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

const HELLO: &str = r#"{"choices":[{"text":"hello"}]}"#;
const STOP: &str = r#"{"choices":[{"text":"","finish_reason":"stop"}]}"#;
const DONE: &str = "[DONE]";

#[test]
fn a_text_ends_once_and_nothing_follows_it() {
    let hello = ["started 0", "token \"hello\"", "end stop 0 1", "open"];
    assert_eq!(answered(&stream(&[HELLO, STOP, DONE])), hello);
    assert_eq!(answered(&stream(&[HELLO, STOP, STOP, DONE, DONE])), hello);
    assert_eq!(
        answered(&stream(&[HELLO, STOP])),
        hello,
        "a server without [DONE]"
    );
    assert_eq!(
        answered(&stream(&[HELLO, DONE])),
        hello,
        "a server without a reason"
    );
    for more in [&[HELLO, STOP, HELLO, DONE][..], &[HELLO, DONE, HELLO]] {
        let told = answered(&stream(more));
        assert_eq!(
            told[2..],
            [
                "fault the engine went on after the end of its text",
                "closed"
            ]
        );
    }
}

#[test]
fn a_text_without_an_end_is_broken() {
    let told = answered(&stream(&[HELLO]));
    let fault = "fault the engine ended its answer before the text had ended";
    assert_eq!(told, ["started 0", "token \"hello\"", fault, "open"]);
    let told = answered(&stream(&[]));
    assert_eq!(told, [fault, "open"]);
    let given_up = r#"{"choices":[{"text":"","finish_reason":"abort"}]}"#;
    let told = answered(&stream(&[HELLO, given_up]));
    assert_eq!(
        told[2..],
        ["fault the engine answered with status 500", "closed"]
    );
}

#[test]
fn garbage_is_broken_whatever_it_is() {
    let garbage: [&[u8]; 7] = [
        b"\x00\xff\xfe garbage",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        &stream(&["\u{fffd}{"]),
        &stream(&[r#"{"choices":7}"#]),
        &stream(&["<html>"]),
    ];
    for answer in garbage {
        let told = answered(answer);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("fault "), "{told:?}");
        assert_eq!(told[1], "closed");
    }
}

#[test]
fn what_is_too_long_is_broken_before_it_is_held() {
    let token = |length: usize| format!(r#"{{"choices":[{{"text":"{}"}}]}}"#, "a".repeat(length));
    let huge = answered(&stream(&[&token(10_000_000)]));
    assert_eq!(
        huge,
        ["fault the engine's answer is longer than allowed", "closed"]
    );
    let long = answered(&stream(&[&token(100_000)]));
    assert_eq!(
        long,
        ["fault the engine sent a token longer than any", "closed"]
    );
    let message = format!(r#"{{"error":"{}"}}"#, "a".repeat(100_000));
    let error = answered(&document(400, &message));
    assert_eq!(
        error,
        ["fault the engine refused it with status 400", "closed"]
    );
}

#[test]
fn a_status_is_told_as_whose_fault_it_is() {
    let check = |status, body: &str, fault: &str| {
        let told = answered(&document(status, body));
        assert_eq!(told, [&format!("fault {fault}"), "open"]);
    };
    check(500, "boom", "the engine answered with status 500");
    check(429, "", "the engine has too much to do");
    check(
        503,
        r#"{"error":"loading"}"#,
        "the engine has too much to do",
    );
    check(
        404,
        "{}",
        "the engine does not know the model, or the route to it",
    );
    let told = r#"{"error":{"message":"`stop` is no list"}}"#;
    check(400, told, "the engine refused it: `stop` is no list");
}

#[test]
fn an_engine_is_asked_for_no_work_that_it_does_not_do() {
    let refuses = |kind, workload| {
        let mut out = Vec::new();
        let begun = begin(kind, &generation(workload), &mut out);
        assert!(out.is_empty() || begun.is_ok(), "nothing was written");
        matches!(begun, Err(Fault::Unsupported(named)) if named == workload)
    };
    assert!(refuses(EngineKind::Embedded, Workload::Completion));
    assert!(refuses(EngineKind::Triton, Workload::Chat));
    assert!(refuses(EngineKind::Tgi, Workload::Embedding));
    assert!(refuses(EngineKind::Tgi, Workload::Rerank));
    assert!(!refuses(EngineKind::Tgi, Workload::Chat));
    assert!(!refuses(EngineKind::LlamaCpp, Workload::Rerank));
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
    assert_eq!(
        told,
        ["started 0", "token \"one \"", "end stop 0 2", "closed"]
    );
}

#[test]
fn what_llama_cpp_tells_of_itself_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/llamacpp/probe");
    let paths = probe::paths(EngineKind::LlamaCpp);
    let body = |path: &&str| {
        let name = path.trim_start_matches('/').replace('/', "-");
        fs::read_to_string(folder.join(name)).expect("it was recorded")
    };
    let bodies: Vec<String> = paths.iter().map(body).collect();
    let answers: Vec<(u16, &[u8])> = bodies.iter().map(|body| (200, body.as_bytes())).collect();
    let properties = probe::read(EngineKind::LlamaCpp, &answers);
    assert!(properties.ready);
    assert_eq!(properties.engine_version.as_deref(), Some("b0-unknown"));
    assert_eq!((properties.ctx_max, properties.slots), (Some(256), Some(2)));
    assert_eq!(properties.models, ["tales"]);
    let usage = properties.kv_cache_usage.expect("it tells its slots");
    assert!((0.0..=1.0).contains(&usage), "{usage}");
}
