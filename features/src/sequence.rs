//! The order of a task's events, which every stream keeps whatever happens to the task:
//!
//! ```text
//! started ──► token ──► token | metrics … ──► end       after the first token at least one metrics
//!    └──────────┴──────────────┴────────────► error
//! ```
//!
//! A task that ends while it still waits has never started; its stream is a single `error`.

use crate::sse::Event;

/// Checks a whole stream, from its first event to its last.
pub(crate) fn check(events: &[Event]) -> Result<(), String> {
    check_order(events).map_err(|why| format!("{why}: {}", outline(events)))?;
    check_numbering(events)
}

fn check_order(events: &[Event]) -> Result<(), &'static str> {
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    let middle = match kinds.as_slice() {
        ["error"] => &[],
        ["started", middle @ .., "end" | "error"] => middle,
        _ => return Err("a stream leads from `started` to one `end` or `error`"),
    };
    if middle
        .iter()
        .any(|kind| !matches!(*kind, "token" | "metrics"))
    {
        return Err("only `token` and `metrics` have a place inside a stream");
    }
    let first = |wanted| middle.iter().position(|kind| *kind == wanted);
    match (first("token"), first("metrics")) {
        (None, Some(_)) => Err("`metrics` comes without a token"),
        (Some(token), Some(metrics)) if metrics < token => {
            Err("`metrics` comes before the first token")
        }
        (_, None) if kinds.ends_with(&["end"]) => Err("a finished stream has no `metrics`"),
        _ => Ok(()),
    }
}

/// The kinds of the events in a line, repetitions counted: `started token×12 metrics end`.
pub(crate) fn outline(events: &[Event]) -> String {
    let runs = events.chunk_by(|one, next| one.kind == next.kind);
    let run = |run: &[Event]| match run {
        [single] => single.kind.clone(),
        _ => format!("{}×{}", run[0].kind, run.len()),
    };
    runs.map(run).collect::<Vec<_>>().join(" ")
}

/// The text that a stream has delivered.
pub(crate) fn text(events: &[Event]) -> String {
    tokens(events)
        .filter_map(|event| event.data["t"].as_str())
        .collect()
}

/// The tokens among the events.
pub(crate) fn tokens(events: &[Event]) -> impl Iterator<Item = &Event> {
    events.iter().filter(|event| event.kind == "token")
}

fn check_numbering(events: &[Event]) -> Result<(), String> {
    for (index, event) in (0..).zip(events) {
        if event.id != index {
            return Err(format!("event {index} has the id {}", event.id));
        }
    }
    for (index, token) in (0_u64..).zip(tokens(events)) {
        if token.data["i"] != index || !token.data["t"].is_string() {
            return Err(format!("token {index} is {}", token.data));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A stream written as the initials of its events.
    fn stream(initials: &str) -> Vec<Event> {
        let mut tokens = 0..;
        let event = |(id, initial)| match initial {
            't' => Event {
                id,
                kind: "token".to_owned(),
                data: json!({"t": "a", "i": tokens.next()}),
            },
            's' => Event {
                id,
                kind: "started".to_owned(),
                data: json!({}),
            },
            'm' => Event {
                id,
                kind: "metrics".to_owned(),
                data: json!({}),
            },
            'e' => Event {
                id,
                kind: "end".to_owned(),
                data: json!({}),
            },
            _ => Event {
                id,
                kind: "error".to_owned(),
                data: json!({}),
            },
        };
        (0..).zip(initials.chars()).map(event).collect()
    }

    #[test]
    fn the_promised_orders_are_accepted() {
        for initials in ["stme", "sttmttmte", "stm!", "st!", "s!", "!"] {
            assert_eq!(check(&stream(initials)), Ok(()), "{initials}");
        }
    }

    #[test]
    fn every_other_order_is_refused() {
        for initials in [
            "", "s", "st", "te", "sse", "stee", "ste", "smte", "stm!t", "st!e", "tm!", "sm!", "e",
        ] {
            assert!(check(&stream(initials)).is_err(), "{initials}");
        }
    }

    #[test]
    fn a_gap_is_refused_in_ids_and_in_token_indexes() {
        let mut events = stream("sttme");
        events[2].data = json!({"t": "a", "i": 2});
        assert!(check(&events).is_err());
        let mut events = stream("sttme");
        events.remove(2);
        assert!(check(&events).is_err());
    }

    #[test]
    fn an_outline_counts_repetitions() {
        assert_eq!(
            outline(&stream("sttmte")),
            "started token×2 metrics token end"
        );
    }

    #[test]
    fn the_text_is_what_the_tokens_say() {
        assert_eq!(text(&stream("sttmte")), "aaa");
    }
}
