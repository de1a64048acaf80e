//! The data of the stream's events.
//!
//! `token` stands on the hot path: it is written by hand into a buffer that is used again, so that
//! it allocates nothing. The others come once or a few times in a stream.

use std::io::Write as _;

use serde::Serialize;

use super::{error::ApiError, preparation::Preparation, session::BudgetsRemaining};

/// What `started` says to every reader.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Started {
    /// Tasks ahead at admission.
    pub queue_position: u32,
    /// The wait that was predicted at admission, in milliseconds.
    pub predicted_start_ms: u64,
}

/// What `started` says to a verbose reader.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StartedVerbose<'a> {
    /// What everybody is told.
    #[serde(flatten)]
    pub started: Started,
    /// The pool that took the task.
    pub pool_id: &'a str,
    /// The replica in it.
    pub replica_id: &'a str,
    /// How much of the session's KV cache was found warm, from 0 to 1.
    pub kv_warmth: f64,
}

/// What `metrics` says.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Metrics {
    /// Tasks waiting in the pool now.
    pub queue_depth: u32,
    /// The probability, from 0 to 1, that the last token comes before the deadline.
    pub on_time_probability: f64,
    /// See [`StartedVerbose::kv_warmth`].
    pub kv_warmth: f64,
    /// See [`BudgetsRemaining`].
    #[serde(flatten)]
    pub budgets: BudgetsRemaining,
}

/// What `metrics` says to a verbose reader.
#[derive(Clone, Debug, Serialize)]
pub struct MetricsVerbose<'a> {
    /// What everybody is told.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// What must happen first: nothing any more once tokens flow.
    pub prep: Preparation,
    /// One plain sentence.
    pub human: &'a str,
}

/// How many tokens went in and out. `null` is what the engine does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u32>,
    /// Tokens generated.
    pub completion_tokens: u32,
    /// Their sum.
    pub total_tokens: Option<u32>,
    /// Tokens of the prompt that were found in a KV cache.
    pub cached_tokens: Option<u32>,
}

/// What `end` says.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct End<'a> {
    /// Tokens generated.
    pub tokens_out: u32,
    /// From the first token to the last, in milliseconds.
    pub decode_time_ms: u64,
    /// The same under its older name.
    pub decode_ms: u64,
    /// `stop` or `length`.
    pub finish_reason: &'a str,
    /// Tokens in and out.
    pub usage: Usage,
}

/// What `error` says.
#[derive(Clone, Debug, Serialize)]
struct ErrorData<'a> {
    code: &'a str,
    message: &'a str,
    engine: &'a str,
    retriable: bool,
}

/// The data of an `error` event.
pub fn error(error: &ApiError, engine: &str) -> Vec<u8> {
    super::json(&ErrorData {
        code: error.code.name(),
        message: &error.message,
        engine,
        retriable: error.code.is_retriable(),
    })
}

/// Writes the data of a `token` event: `{"t":"…","i":0}`. A vector or a score is one, too: then the
/// text is JSON, and the index is the place of what was embedded or ranked.
pub fn token(out: &mut Vec<u8>, text: &str, index: u32) {
    out.extend_from_slice(b"{\"t\":\"");
    escape(out, text);
    out.extend_from_slice(b"\",\"i\":");
    write!(out, "{index}}}").expect("writing into memory does not fail");
}

/// Appends `text` as the inside of a JSON string (RFC 8259 §7).
fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| needs_escape(byte)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                write!(out, "\\u{control:04x}").expect("writing into memory does not fail");
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// A stranger's parser reads back what our hand wrote.
    #[test]
    fn every_text_survives_the_token_event() {
        for text in [
            "",
            "plain",
            "\"\\\"",
            "\n\r\t\u{0}\u{1f}",
            "žluťoučký 🐎",
            "a\\\nb\"c",
        ] {
            let mut out = Vec::new();
            token(&mut out, text, 7);
            let read: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(read["t"], text);
            assert_eq!(read["i"], 7);
            assert!(!out.contains(&b'\n'), "one line of JSON");
        }
    }
}
