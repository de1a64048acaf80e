//! What engines answer, whatever they speak.
//!
//! The first byte of an input says who is asked, the second for what, the third with which status it is answered;
//! the rest is the body.

use crate::dialogue::{begin, close, generation, tell};
use orchestratord_gpu::exchange::workloads;
use orchestratord_gpu::probe::{self, Properties};
use orchestratord_gpu::{EngineKind, Event, Fault, Generation, Workload};
use serde_json::Value;

/// One of each kind that is told apart.
const STATUSES: [u16; 6] = [200, 400, 404, 429, 500, 503];
/// No text that is told has it.
const STOP: &str = "STOP";

pub(crate) fn check(bytes: &[u8]) {
    let [kind, workload, status, body @ ..] = bytes else {
        return;
    };
    let kind = pick(&EngineKind::ALL, *kind);
    let workload = pick(&Workload::ALL, *workload);
    let status = pick(&STATUSES, *status);
    check_probe(kind, status, body);
    let mut generation = generation(workload);
    generation.stop.push(STOP.to_owned());
    let answer = [head(status, workload).as_bytes(), body].concat();
    check_answer(kind, &generation, &answer);
}

fn pick<T: Copy>(all: &[T], byte: u8) -> T {
    all[usize::from(byte) % all.len()]
}

/// The body goes on until the connection ends.
fn head(status: u16, workload: Workload) -> String {
    let is_stream = status == 200 && matches!(workload, Workload::Completion | Workload::Chat);
    let media_type = if is_stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    format!("HTTP/1.1 {status} OK\r\nContent-Type: {media_type}\r\n\r\n")
}

/// An answer is told alike wherever it is cut.
fn check_answer(kind: EngineKind, generation: &Generation, answer: &[u8]) {
    let play = |cuts: &[usize]| {
        let mut exchange = begin(kind, generation, &mut Vec::new())?;
        let told = tell(&mut exchange, answer, cuts);
        Ok::<_, Fault>(close(told, exchange))
    };
    let does_it = workloads(kind).contains(&generation.input.workload());
    let Ok((told, is_open)) = play(&[]) else {
        assert!(!does_it, "it is asked for what it does");
        return;
    };
    assert!(does_it && !is_open, "its answer has no other end");
    check_told(generation, &told);
    let everywhere: Vec<usize> = (0..answer.len()).collect();
    assert_eq!(play(&everywhere), Ok((told.clone(), is_open)));
    assert_eq!(play(&[answer.len() / 2]), Ok((told, is_open)));
}

/// No more than was asked for.
fn check_told(generation: &Generation, told: &[Event]) {
    let tokens = told.iter().filter_map(|event| match event {
        Event::Token { text } => Some(text.as_str()),
        _ => None,
    });
    let tokens: Vec<&str> = tokens.collect();
    match generation.input.workload() {
        Workload::Completion | Workload::Chat => {
            assert!(!tokens.concat().contains(STOP), "a stop text is not told");
            // What is held back, because a stop text may begin there, comes last and by itself.
            assert!(tokens.len() <= generation.max_tokens as usize + 2);
        }
        Workload::Embedding | Workload::Rerank => {
            let is_json = |text: &&str| serde_json::from_str::<Value>(text).is_ok();
            assert!(tokens.iter().all(is_json), "a result is JSON");
            assert!(tokens.is_empty() || tokens.len() == 2, "one for each input");
        }
    }
}

/// The same body, whatever the engine is asked of itself.
fn check_probe(kind: EngineKind, status: u16, body: &[u8]) {
    let answers: Vec<_> = probe::paths(kind).iter().map(|_| (status, body)).collect();
    let Properties {
        engine_version,
        models,
        kv_cache_usage,
        requests_running,
        requests_waiting,
        ..
    } = probe::read(kind, &answers);
    assert!(models.len() <= 64, "that many are a catalog");
    let mut names = models.iter().chain(&engine_version);
    assert!(
        names.all(|name| name.chars().count() <= 128),
        "a name is a label"
    );
    let usage = kv_cache_usage.unwrap_or_default();
    assert!((0.0..=1.0).contains(&usage), "{usage}");
    for count in [requests_running, requests_waiting].into_iter().flatten() {
        assert!(count.is_finite() && count >= 0.0, "{count}");
    }
}
