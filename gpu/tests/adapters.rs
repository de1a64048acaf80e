//! What engines say, and what becomes of it: recorded dialogues, each read in every way a socket could cut
//! it. What engines should not say is in `misbehaviour.rs`.
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

mod dialogue;

use dialogue::{begin, finish, generation, tell};
use orchestratord_gpu::{EngineKind, Fault, Generation, Input, Sampling, Workload, probe};
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
    let requests = [properties.requests_running, properties.requests_waiting];
    assert_eq!(requests, [Some(0.0), Some(0.0)], "all were answered");
}

#[test]
fn what_an_engine_publishes_of_its_load_is_read() {
    for (kind, kv_cache_usage) in [
        (EngineKind::Vllm, Some(0.25)),
        (EngineKind::Sglang, Some(0.25)),
        (EngineKind::Tgi, None),
    ] {
        let file = format!("tests/recorded/{}/probe/metrics", kind.name());
        let metrics = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
        let metrics = metrics.expect("it was written down");
        let answers = probe::paths(kind).iter().map(|path| match *path {
            "/metrics" => (200, metrics.as_bytes()),
            _ => (404, &b""[..]),
        });
        let told = probe::read(kind, &answers.collect::<Vec<_>>());
        assert_eq!(told.requests_running, Some(3.0), "{}", kind.name());
        assert_eq!(told.requests_waiting, Some(2.0), "{}", kind.name());
        assert_eq!(told.kv_cache_usage, kv_cache_usage, "{}", kind.name());
    }
}
