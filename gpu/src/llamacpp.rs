//! llama.cpp's server, after <https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md>.
//!
//! Prompts go to its own `/completion`, which counts the prompt's tokens in the first event and leaves the
//! order of the samplers to the caller; everything else to its OpenAI API. The last event would repeat the
//! prompt and every setting, so that only a few of its fields are asked for. There is no `[DONE]`: that event
//! says `stop`.
//!
//! Before each piece the server looks whether its client has gone, and gives the slot back then
//! (`tools/server`, `server_response_reader`).

use crate::dialect::{Answer, Counts, Piece, Question, Said, Unreadable, fold_seed, json};
use crate::event::Finish;
use crate::exchange::Target;
use crate::generation::{Generation, Input, Sampling};
use crate::openai::{self, Dialect};
use crate::probe::{Answers, Properties};
use compact_str::CompactString;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// What is asked to learn how the server is. The last two may be switched off.
pub(crate) const PATHS: &[&str] = &["/health", "/props", "/v1/models", "/slots", "/metrics"];

/// How full the KV cache is, as older versions tell it.
const KV_CACHE_GAUGE: &str = "llamacpp:kv_cache_usage_ratio";

const RUNNING_GAUGE: &str = "llamacpp:requests_processing";
/// Those that no slot was free for.
const WAITING_GAUGE: &str = "llamacpp:requests_deferred";

/// What they say.
pub(crate) fn properties(answers: &Answers<'_>) -> Properties {
    let props: Props = answers.json("/props").unwrap_or_default();
    Properties {
        ready: answers.succeeds(PATHS[0]),
        engine_version: props.build_info.and_then(crate::probe::name),
        ctx_max: props.default_generation_settings.n_ctx,
        slots: props.total_slots,
        kv_cache_usage: answers.ratio(KV_CACHE_GAUGE).or_else(|| fill(answers)),
        requests_running: answers.count(RUNNING_GAUGE),
        requests_waiting: answers.count(WAITING_GAUGE),
        ..openai::models(answers)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Props {
    build_info: Option<String>,
    total_slots: Option<u32>,
    default_generation_settings: Settings,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    n_ctx: Option<u32>,
}

/// How full the slots are together.
fn fill(answers: &Answers<'_>) -> Option<f64> {
    let slots: Vec<Slot> = answers.json("/slots")?;
    let (mut used, mut room) = (0.0, 0.0);
    for slot in &slots {
        used += f64::from(slot.n_prompt_tokens?);
        used += slot
            .next_token
            .iter()
            .map(|next| f64::from(next.n_decoded))
            .sum::<f64>();
        room += f64::from(slot.n_ctx);
    }
    (room > 0.0).then(|| f64::min(used / room, 1.0))
}

#[derive(Deserialize)]
struct Slot {
    n_ctx: u32,
    n_prompt_tokens: Option<u32>,
    #[serde(default)]
    next_token: Vec<NextToken>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct NextToken {
    n_decoded: u32,
}

/// The order of [`Sampling`], without those that the server would put in between.
const SAMPLERS: &[&str] = &["temperature", "top_k", "top_p"];

/// One less than 2³¹; the highest number of 32 bits would ask for any seed.
const SEED_MAX: u64 = i32::MAX as u64;

/// In what its OpenAI API differs from OpenAI's own.
const DIALECT: Dialect = Dialect {
    top_k_unbounded: Some(0),
    top_p_unbounded: Some(1.0),
    seed_max: SEED_MAX,
    samplers: SAMPLERS,
    ..openai::DIALECT
};

/// What to send for a generation.
pub(crate) fn question(target: &Target<'_>, generation: &Generation) -> Question {
    let Input::Prompt(prompt) = &generation.input else {
        return DIALECT.question(target.model, generation);
    };
    let Sampling {
        temperature,
        top_p,
        top_k,
        seed,
    } = generation.sampling;
    let body = CompletionRequest {
        prompt,
        n_predict: generation.max_tokens,
        temperature,
        top_p,
        top_k,
        seed: fold_seed(seed, SEED_MAX),
        samplers: SAMPLERS,
        stop: &generation.stop,
        cache_prompt: generation.reuse,
        stream: true,
        response_fields: LAST_FIELDS,
    };
    Question {
        path: "/completion".into(),
        body: json(&body),
        answer: Answer::Stream {
            read: read_event,
            tells_finish: true,
        },
    }
}

/// The fields of the last event that are read; a slash leads into one, and stands in the answer's name, too.
/// (Its own `tokens_cached` is how much the cache holds afterwards.)
const LAST_FIELDS: &[&str] = &[
    "content",
    "stop",
    "stop_type",
    "tokens_predicted",
    "tokens_evaluated",
    "timings/cache_n",
];

#[derive(Serialize)]
struct CompletionRequest<'a> {
    prompt: &'a str,
    n_predict: u32,
    temperature: f32,
    top_p: f32,
    top_k: u32,
    seed: u64,
    samplers: &'a [&'a str],
    stop: &'a [String],
    cache_prompt: bool,
    stream: bool,
    response_fields: &'a [&'a str],
}

fn read_event(data: &[u8]) -> Result<Said, Unreadable> {
    let event: CompletionEvent = serde_json::from_slice(data)?;
    if event.error.is_some() {
        return Ok(Said::Error);
    }
    let counts = Counts {
        prompt: event.tokens_evaluated,
        cached: event.tokens_cached,
        completion: event.tokens_predicted,
    };
    let finish = match event.stop_type.as_deref() {
        Some("limit") => Finish::Length,
        _ => Finish::Stop,
    };
    Ok(Said::Piece(Piece {
        text: event.content,
        finish: event.stop.then_some(finish),
        counts,
    }))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CompletionEvent {
    content: CompactString,
    stop: bool,
    stop_type: Option<CompactString>,
    tokens_predicted: Option<u32>,
    tokens_evaluated: Option<u32>,
    #[serde(rename = "timings/cache_n")]
    tokens_cached: Option<u32>,
    error: Option<IgnoredAny>,
}
