//! SGLang, after <https://docs.sglang.io/basic_usage/openai_api_completions.html> and
//! <https://docs.sglang.io/basic_usage/native_api.html>: OpenAI's API with `top_k` besides, whose -1 takes any
//! token. A ranking is a list of its own, with the tokens counted beside each document. Its gauges
//! (<https://docs.sglang.io/references/production_metrics.html>) are there when it was started with
//! `--enable-metrics`.
//!
//! A stream whose client has gone is aborted a second or two later (`managers/tokenizer_manager.py`,
//! `create_abort_task`). `/abort_request` would be sooner by that, and would need an id of ours in each request.

use crate::dialect::{Counts, Question, Results, Unreadable, number};
use crate::exchange::Target;
use crate::generation::Generation;
use crate::openai::{self, Dialect, TokenUsage};
use crate::probe::{Answers, Properties};
use serde::Deserialize;

/// What is asked to learn how the server is. `/get_server_info` is what `/server_info` was called before.
pub(crate) const PATHS: &[&str] = &[
    "/health",
    "/v1/models",
    "/server_info",
    "/get_server_info",
    "/metrics",
];

/// How full the KV cache is: the tokens in it, of those that fit.
const KV_CACHE_GAUGE: &str = "sglang:token_usage";

const RUNNING_GAUGE: &str = "sglang:num_running_reqs";
const WAITING_GAUGE: &str = "sglang:num_queue_reqs";

/// What they say.
pub(crate) fn properties(answers: &Answers<'_>) -> Properties {
    let info = answers
        .json("/server_info")
        .or_else(|| answers.json("/get_server_info"));
    let info: ServerInfo = info.unwrap_or_default();
    Properties {
        ready: answers.succeeds(PATHS[0]),
        engine_version: info.version.and_then(crate::probe::name),
        slots: info.max_running_requests,
        kv_cache_usage: answers.ratio(KV_CACHE_GAUGE),
        requests_running: answers.count(RUNNING_GAUGE),
        requests_waiting: answers.count(WAITING_GAUGE),
        ..openai::models(answers)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ServerInfo {
    version: Option<String>,
    max_running_requests: Option<u32>,
}

/// In what it differs from OpenAI's own.
const DIALECT: Dialect = Dialect {
    top_k_unbounded: Some(-1),
    top_p_unbounded: Some(1.0),
    read_ranking,
    ..openai::DIALECT
};

/// What to send for a generation.
pub(crate) fn question(target: &Target<'_>, generation: &Generation) -> Question {
    DIALECT.question(target.model, generation)
}

fn read_ranking(body: &[u8], expected: usize) -> Result<Results, Unreadable> {
    let ranking: Vec<Ranked> = serde_json::from_slice(body)?;
    // The tokens of all documents, if they were counted for each.
    let tokens = ranking
        .iter()
        .map(|result| Counts::from(result.meta_info?).prompt);
    let prompt = tokens.reduce(|all, more| Some(all?.saturating_add(more?)));
    let results = ranking
        .iter()
        .map(|result| Ok((result.index, number(result.score)?)));
    Results::in_order(
        results.collect::<Result<_, Unreadable>>()?,
        expected,
        Counts {
            prompt: prompt.flatten(),
            ..Counts::default()
        },
    )
}

#[derive(Deserialize)]
struct Ranked {
    index: usize,
    score: f32,
    meta_info: Option<TokenUsage>,
}
