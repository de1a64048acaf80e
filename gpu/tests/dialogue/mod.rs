//! One question to an engine, its answer in whatever pieces, and what is told of it, in words.

use orchestratord_gpu::exchange::{Exchange, LIMITS, Target};
use orchestratord_gpu::{
    EngineKind, Event, Fault, Generation, Input, Message, Role, Sampling, Workload,
};
use orchestratord_http::client::Connection;

/// The usual generation of this kind.
pub(crate) fn generation(workload: Workload) -> Generation {
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

/// Asks an engine; the request is written to `out`.
pub(crate) fn begin(
    kind: EngineKind,
    generation: &Generation,
    out: &mut Vec<u8>,
) -> Result<Exchange, Fault> {
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
pub(crate) fn tell(exchange: &mut Exchange, answer: &[u8], cuts: &[usize]) -> Vec<Event> {
    let mut told = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([answer.len()]) {
        exchange.receive(&answer[from..to], &mut |event| told.push(event));
        from = to;
    }
    told
}

/// The events in words, and what becomes of the connection if the engine closes it where it has to.
pub(crate) fn finish(told: Vec<Event>, exchange: Exchange) -> Vec<String> {
    let (told, is_open) = close(told, exchange);
    let connection = if is_open { "open" } else { "closed" };
    let words = told.iter().map(word).chain([connection.to_owned()]);
    words.collect()
}

/// All events, and whether the connection is open, if the engine closes it where it has to.
pub(crate) fn close(mut told: Vec<Event>, mut exchange: Exchange) -> (Vec<Event>, bool) {
    if !exchange.is_over() {
        exchange.receive_end(&mut |event| told.push(event));
    }
    assert!(exchange.is_over(), "nothing is left to come");
    check_order(&told);
    (told, exchange.into_connection().is_some())
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
        Event::Started { prompt_tokens, .. } => format!("started {}", count(*prompt_tokens)),
        Event::Token { text } => format!("token {text:?}"),
        Event::End { finish, usage } => format!(
            "end {} prompt {} cached {} text {}",
            finish.name(),
            count(usage.prompt_tokens),
            count(usage.cached_tokens),
            usage.completion_tokens
        ),
        Event::Fault(fault) => format!("fault {fault}"),
    }
}

/// What is not known is `?`.
fn count(tokens: Option<u32>) -> String {
    tokens.map_or("?".to_owned(), |tokens| tokens.to_string())
}
