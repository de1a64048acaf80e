//! Text Generation Inference, after <https://huggingface.github.io/text-generation-inference>.
//!
//! Prompts go to `/generate_stream`, conversations to its OpenAI API; it neither embeds nor ranks. Its
//! sampling parameters know no value for "no bound", so that those are left out, and no temperature of 0:
//! it does not sample then. A stop text is part of what it sends, and the last event has the token, the
//! whole text once more, and why it ended. Its gauges are those of
//! <https://huggingface.co/docs/text-generation-inference/reference/metrics>.
//!
//! A request whose client has gone leaves the batch before the next token, because nobody takes what is sent
//! (`backends/v3/src/backend.rs`).

use crate::Fault;
use crate::dialect::{Answer, Counts, Piece, Question, Said, Unreadable, finish, json};
use crate::exchange::Target;
use crate::generation::{Generation, Input, Sampling};
use crate::openai::{self, Dialect};
use crate::probe::{Answers, Properties};
use compact_str::CompactString;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// What is asked to learn how the server is.
pub(crate) const PATHS: &[&str] = &["/health", "/info", "/metrics"];

/// Requests in the batch that is being decoded.
const RUNNING_GAUGE: &str = "tgi_batch_current_size";
const WAITING_GAUGE: &str = "tgi_queue_size";

/// What they say.
pub(crate) fn properties(answers: &Answers<'_>) -> Properties {
    let info: Info = answers.json("/info").unwrap_or_default();
    Properties {
        ready: answers.succeeds(PATHS[0]),
        engine_version: info.version.and_then(crate::probe::name),
        ctx_max: info.max_total_tokens,
        slots: info.max_concurrent_requests,
        models: crate::probe::names(info.model_id.into_iter()),
        kv_cache_usage: None,
        requests_running: answers.count(RUNNING_GAUGE),
        requests_waiting: answers.count(WAITING_GAUGE),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Info {
    model_id: Option<String>,
    version: Option<String>,
    max_total_tokens: Option<u32>,
    max_concurrent_requests: Option<u32>,
}

/// In what its OpenAI API differs from OpenAI's own.
const DIALECT: Dialect = Dialect {
    seed_max: u64::MAX,
    ..openai::DIALECT
};

/// What to send for a generation.
///
/// # Errors
/// It does no work of this kind.
pub(crate) fn question(target: &Target<'_>, generation: &Generation) -> Result<Question, Fault> {
    let prompt = match &generation.input {
        Input::Prompt(prompt) => prompt,
        Input::Chat(_) => return Ok(DIALECT.question(target.model, generation)),
        Input::Embed(_) | Input::Rerank { .. } => {
            return Err(Fault::Unsupported(generation.input.workload()));
        }
    };
    let Sampling {
        temperature,
        top_p,
        top_k,
        seed,
    } = generation.sampling;
    let parameters = Parameters {
        max_new_tokens: generation.max_tokens,
        do_sample: temperature > 0.0,
        temperature: (temperature > 0.0).then_some(temperature),
        top_p: (top_p < 1.0).then_some(top_p),
        top_k: (top_k > 0).then_some(top_k),
        seed,
        stop: &generation.stop,
        return_full_text: false,
    };
    Ok(Question {
        path: "/generate_stream".into(),
        body: json(&GenerateRequest {
            inputs: prompt,
            parameters,
        }),
        answer: Answer::Stream {
            read: read_event,
            tells_finish: true,
        },
    })
}

#[derive(Serialize)]
struct GenerateRequest<'a> {
    inputs: &'a str,
    parameters: Parameters<'a>,
}

#[derive(Serialize)]
struct Parameters<'a> {
    max_new_tokens: u32,
    do_sample: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    seed: u64,
    stop: &'a [String],
    return_full_text: bool,
}

fn read_event(data: &[u8]) -> Result<Said, Unreadable> {
    let event: StreamEvent = serde_json::from_slice(data)?;
    if event.error.is_some() {
        return Ok(Said::Error);
    }
    let token = event.token.ok_or(Unreadable)?;
    let Some(details) = event.details else {
        return Ok(Said::Piece(Piece {
            text: token.written(),
            ..Piece::default()
        }));
    };
    Ok(Said::Piece(Piece {
        text: token.written(),
        finish: finish(&details.finish_reason),
        counts: Counts {
            prompt: details.input_length,
            cached: None,
            completion: Some(details.generated_tokens),
        },
    }))
}

#[derive(Deserialize)]
struct StreamEvent {
    token: Option<Token>,
    /// In the last event.
    details: Option<Details>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Token {
    text: CompactString,
    /// It is a mark for the model, not text.
    #[serde(default)]
    special: bool,
}

impl Token {
    fn written(self) -> CompactString {
        if self.special {
            CompactString::default()
        } else {
            self.text
        }
    }
}

#[derive(Deserialize)]
struct Details {
    finish_reason: CompactString,
    generated_tokens: u32,
    /// Versions before 2.3 do not count the prompt.
    input_length: Option<u32>,
}
