//! vLLM, after <https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html>: OpenAI's API with
//! `top_k` besides, whose -1 takes any token. Fields that are left out it may take from the model's own
//! `generation_config.json`, so that none is. Its gauges are those of
//! <https://docs.vllm.ai/en/latest/usage/metrics.html>.
//!
//! A generation whose client has gone is aborted (`vllm/v1/engine/async_llm.py`, `generate`); its own `/abort_requests`
//! exists only where prefill and decoding are told apart.

use crate::dialect::Question;
use crate::exchange::Target;
use crate::generation::Generation;
use crate::openai::{self, Dialect};
use crate::probe::{Answers, Properties};
use serde::Deserialize;

/// What is asked to learn how the server is.
pub(crate) const PATHS: &[&str] = &["/health", "/v1/models", "/version", "/metrics"];

/// The name of today, and the one before vLLM 0.10.
const KV_CACHE_GAUGES: [&str; 2] = ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"];

const RUNNING_GAUGE: &str = "vllm:num_requests_running";
const WAITING_GAUGE: &str = "vllm:num_requests_waiting";

/// What they say.
pub(crate) fn properties(answers: &Answers<'_>) -> Properties {
    let version: Option<Version> = answers.json("/version");
    Properties {
        ready: answers.succeeds(PATHS[0]),
        engine_version: version.and_then(|version| crate::probe::name(version.version)),
        kv_cache_usage: KV_CACHE_GAUGES.iter().find_map(|name| answers.ratio(name)),
        requests_running: answers.count(RUNNING_GAUGE),
        requests_waiting: answers.count(WAITING_GAUGE),
        ..openai::models(answers)
    }
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

/// In what it differs from OpenAI's own.
pub(crate) const DIALECT: Dialect = Dialect {
    top_k_unbounded: Some(-1),
    top_p_unbounded: Some(1.0),
    ..openai::DIALECT
};

/// What to send for a generation.
pub(crate) fn question(target: &Target<'_>, generation: &Generation) -> Question {
    DIALECT.question(target.model, generation)
}
