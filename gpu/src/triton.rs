//! Triton Inference Server, after
//! <https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_generate.html>.
//!
//! Which parameters a model takes is up to its backend. Those of the TensorRT-LLM and vLLM backends agree on
//! the few that are sent here; they do not agree on stop texts, which therefore are found on our side. A
//! stream just ends: nothing says why, or how many tokens the prompt had. Servers with Triton's OpenAI
//! front end are of the kind `openai`.
//!
//! Its metrics are served on a port of their own (8002, `--metrics-port`), which nobody names here: what runs and
//! waits in it stays unknown.
//!
//! A request whose client has gone is canceled since 23.11 (<https://github.com/triton-inference-server/server/pull/6591>);
//! whether that ends the generation is up to the backend, as is said in
//! <https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/request_cancellation.html>.

use crate::Fault;
use crate::dialect::{Answer, Piece, Question, Said, Unreadable, fold_seed, json};
use crate::exchange::Target;
use crate::generation::{Generation, Input, Sampling};
use crate::probe::{Answers, Properties};
use compact_str::CompactString;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// What is asked to learn how the server is.
pub(crate) const PATHS: &[&str] = &["/v2/health/ready", "/v2"];

/// What they say.
pub(crate) fn properties(answers: &Answers<'_>) -> Properties {
    let server: Option<Server> = answers.json("/v2");
    Properties {
        ready: answers.succeeds(PATHS[0]),
        engine_version: server.and_then(|server| crate::probe::name(server.version)),
        ..Properties::default()
    }
}

#[derive(Deserialize)]
struct Server {
    version: String,
}

/// What to send for a generation.
///
/// # Errors
/// It does no work of this kind.
pub(crate) fn question(target: &Target<'_>, generation: &Generation) -> Result<Question, Fault> {
    let Input::Prompt(text_input) = &generation.input else {
        return Err(Fault::Unsupported(generation.input.workload()));
    };
    let Sampling {
        temperature,
        top_p,
        top_k,
        seed,
    } = generation.sampling;
    let is_greedy = temperature <= 0.0;
    let parameters = Parameters {
        stream: true,
        max_tokens: generation.max_tokens,
        temperature: (!is_greedy).then_some(temperature),
        top_p: (top_p < 1.0).then_some(top_p),
        top_k: if is_greedy {
            Some(1)
        } else {
            (top_k > 0).then_some(top_k)
        },
        seed: fold_seed(seed, SEED_MAX),
    };
    Ok(Question {
        path: format!("/v2/models/{}/generate_stream", segment(target.model)).into(),
        body: json(&GenerateRequest {
            text_input,
            parameters,
        }),
        answer: Answer::Stream {
            read: read_event,
            tells_finish: false,
        },
    })
}

/// Some versions read numbers as signed ones of 64 bits.
const SEED_MAX: u64 = i64::MAX as u64;

/// A segment of a path (RFC 3986 §3.3), without the characters that mean something there.
fn segment(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                segment.push(char::from(byte));
            }
            _ => write!(segment, "%{byte:02X}").expect("a String takes whatever is written"),
        }
    }
    segment
}

#[derive(Serialize)]
struct GenerateRequest<'a> {
    text_input: &'a str,
    parameters: Parameters,
}

#[derive(Serialize)]
struct Parameters {
    stream: bool,
    max_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    seed: u64,
}

fn read_event(data: &[u8]) -> Result<Said, Unreadable> {
    let event: StreamEvent = serde_json::from_slice(data)?;
    match (event.error, event.text_output) {
        (Some(_), _) => Ok(Said::Error),
        (None, Some(text)) => Ok(Said::Piece(Piece {
            text,
            ..Piece::default()
        })),
        (None, None) => Err(Unreadable),
    }
}

#[derive(Deserialize)]
struct StreamEvent {
    text_output: Option<CompactString>,
    error: Option<IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_cannot_name_its_way_out_of_its_path() {
        assert_eq!(segment("ensemble_v1.2"), "ensemble_v1.2");
        assert_eq!(segment("a/b?c d%#ä"), "a%2Fb%3Fc%20d%25%23%C3%A4");
    }
}
