//! From an engine's error to whose fault it is, and to a sentence that may be shown to anybody.
//!
//! Engines put their message in one of a few places: OpenAI's API in `error.message`, Text Generation
//! Inference and Triton in `error`, older versions of vLLM and SGLang in `message`, FastAPI (which vLLM
//! and SGLang are built on) in `detail`. llama.cpp also says by how much a prompt is too long.

use crate::{Fault, Workload, is_visible};
use compact_str::{CompactString, format_compact};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};

/// Characters of an engine's message that are told on: two lines of a terminal. Some engines append
/// the whole request to what they say.
const SENTENCE_CHARS_MAX: usize = 160;

/// Where a message may be, in the order in which they are looked at.
const PLACES: [&str; 5] = [
    "/error/message",
    "/error",
    "/message",
    "/detail/0/msg",
    "/detail",
];

/// The fault of an answer that is not the text that was asked for.
pub(crate) fn of_answer(status: u16, body: &[u8], workload: Workload) -> Fault {
    let document = serde_json::from_slice(body).unwrap_or(Value::Null);
    match status {
        200 if document.get("error").is_some() => of_event(body, workload),
        200 => Fault::Broken("the engine answered with something else than a stream".into()),
        _ => of_status(status, &document, workload),
    }
}

/// The fault of an error within a stream. It has a status of its own if the engine thinks of one.
pub(crate) fn of_event(data: &[u8], workload: Workload) -> Fault {
    let data = serde_json::from_slice(data).unwrap_or(Value::Null);
    let code = data.pointer("/error/code").and_then(Value::as_u64);
    let status = code.and_then(|code| u16::try_from(code).ok());
    of_status(status.unwrap_or(500), &data, workload)
}

fn of_status(status: u16, body: &Value, workload: Workload) -> Fault {
    let may_lack = matches!(workload, Workload::Embedding | Workload::Rerank);
    match status {
        429 | 503 => Fault::Busy,
        // Every engine continues texts, and not every one embeds or ranks.
        404 | 405 | 501 if may_lack => Fault::Unsupported(workload),
        404 => Fault::Broken("the engine does not know the model, or the route to it".into()),
        401 | 403 => Fault::Broken("the engine does not accept our key".into()),
        // Text Generation Inference says 424 when its model fails.
        400..=499 if status != 424 => {
            context_exceeded(body).unwrap_or_else(|| refused(status, body))
        }
        _ => Fault::Broken(format_compact!("the engine answered with status {status}")),
    }
}

/// llama.cpp's `exceed_context_size_error`.
fn context_exceeded(body: &Value) -> Option<Fault> {
    let tokens = |place| u32::try_from(body.pointer(place)?.as_u64()?).ok();
    Some(Fault::ContextExceeded {
        prompt_tokens: tokens("/error/n_prompt_tokens")?,
        context_tokens: tokens("/error/n_ctx")?,
    })
}

fn refused(status: u16, body: &Value) -> Fault {
    let mut messages = PLACES
        .iter()
        .filter_map(|place| body.pointer(place)?.as_str());
    let sentence = messages
        .next()
        .map(sentence)
        .filter(|said| !said.is_empty());
    Fault::Refused(match sentence {
        Some(sentence) => format_compact!("the engine refused it: {sentence}"),
        None => format_compact!("the engine refused it with status {status}"),
    })
}

/// One line of what an engine said, without what can't be seen and without the addresses and paths
/// that engines like to quote.
fn sentence(said: &str) -> CompactString {
    let words = said.split(|c: char| c.is_whitespace() || !is_visible(c));
    let mut sentence = CompactString::default();
    for word in words.filter(|word| !word.is_empty()) {
        if !sentence.is_empty() {
            sentence.push(' ');
        }
        sentence.push_str(if is_internal(word) { "…" } else { word });
    }
    match sentence.char_indices().nth(SENTENCE_CHARS_MAX) {
        Some((end, _)) => format_compact!("{}…", &sentence[..end]),
        None => sentence,
    }
}

/// Whether a word says where something is: a URL, an address, or a path.
fn is_internal(word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | ':' | '-' | '_' | '/');
    word.contains("://") || word.split(|c| !is_part(c)).any(is_place)
}

fn is_place(part: &str) -> bool {
    let is_path = part.starts_with('/') && part[1..].contains('/');
    let bare = part.trim_end_matches(['.', ':', '/']);
    let is_address = bare.parse::<IpAddr>().is_ok() || bare.parse::<SocketAddr>().is_ok();
    is_path || is_address || has_port(bare)
}

/// `host:port`, with a port that servers have: smaller numbers are rather a line, a code or a time.
fn has_port(part: &str) -> bool {
    let port = part
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse::<u16>().ok());
    port.is_some_and(|port| port >= 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, expected: &str) {
        let fault = of_answer(status, body.as_bytes(), Workload::Completion);
        assert_eq!(fault.to_string(), expected, "{status} {body}");
    }

    #[test]
    fn the_message_is_found_wherever_an_engine_puts_it() {
        let expected = "the engine refused it: too long";
        for body in [
            r#"{"error":{"message":"too long","type":"invalid_request_error","code":400}}"#,
            r#"{"error":"too long","error_type":"validation"}"#,
            r#"{"object":"error","message":"too long","code":400}"#,
            r#"{"detail":[{"loc":["body"],"msg":"too long","type":"value_error"}]}"#,
            r#"{"detail":"too long"}"#,
        ] {
            check(400, body, expected);
        }
        check(422, "<html>", "the engine refused it with status 422");
        check(
            413,
            r#"{"error":" \n "}"#,
            "the engine refused it with status 413",
        );
    }

    #[test]
    fn a_message_is_one_line_without_places_and_not_long() {
        let said = |message: &str| sentence(message).to_string();
        assert_eq!(said("a\r\n\tb\u{1b}[31mc\u{0}\u{85}d"), "a b [31mc d");
        assert_eq!(
            said("no host at http://10.0.0.7:8000/v1, (10.0.0.7), [::1]:80 or gpu-7:30000."),
            "no host at … … … or …"
        );
        assert_eq!(
            said("open '/srv/models/a.gguf': code:400 and/or 3:1"),
            "open … code:400 and/or 3:1"
        );
        let long = said(&"ä".repeat(1000));
        assert_eq!(long.chars().count(), SENTENCE_CHARS_MAX + 1);
    }

    #[test]
    fn a_status_says_whose_fault_it_is() {
        let fault = |status| of_answer(status, b"", Workload::Embedding);
        assert_eq!(fault(429), Fault::Busy);
        assert_eq!(fault(503), Fault::Busy);
        assert_eq!(fault(501), Fault::Unsupported(Workload::Embedding));
        assert_eq!(fault(404), Fault::Unsupported(Workload::Embedding));
        for status in [301, 401, 403, 424, 500, 502, 599] {
            assert!(matches!(fault(status), Fault::Broken(_)), "{status}");
        }
        for status in [400, 413, 422] {
            assert!(matches!(fault(status), Fault::Refused(_)), "{status}");
        }
        let chat = of_answer(404, b"", Workload::Chat);
        assert!(
            matches!(chat, Fault::Broken(_)),
            "a wrong route is no caller's fault"
        );
    }

    #[test]
    fn a_prompt_that_is_too_long_is_told_by_how_much() {
        let body = r#"{"error":{"code":400,"n_prompt_tokens":802,"n_ctx":256}}"#;
        let expected = Fault::ContextExceeded {
            prompt_tokens: 802,
            context_tokens: 256,
        };
        assert_eq!(of_answer(400, body.as_bytes(), Workload::Chat), expected);
        assert_eq!(of_event(body.as_bytes(), Workload::Chat), expected);
    }

    #[test]
    fn an_error_within_a_stream_that_has_no_code_is_the_engines() {
        let fault = of_event(
            br#"{"error":"out of memory","error_type":"generation"}"#,
            Workload::Chat,
        );
        assert!(matches!(fault, Fault::Broken(_)));
    }
}
