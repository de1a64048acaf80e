//! Server-sent events, read as bytes arrive (WHATWG HTML, "Server-sent events").
//!
//! A browser forgives: it drops what it does not know and joins what is doubled. This reader is the
//! opposite, because it judges a server. Every event must carry `id`, `event` and `data` exactly once,
//! and `data` must be one line of JSON. Comment lines are allowed anywhere, as the standard has it.

use serde_json::Value;

/// One event of a task's stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// Its index in the stream, the cursor for `Last-Event-ID`.
    pub(crate) id: u64,
    /// `started`, `token`, `metrics`, `end` or `error`.
    pub(crate) kind: String,
    /// The payload.
    pub(crate) data: Value,
}

/// Turns the bytes of a stream into events, however they are split.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// Bytes after the last complete line.
    rest: Vec<u8>,
    /// Fields of the event being read.
    fields: Vec<(String, String)>,
}

impl Parser {
    /// Takes the next bytes; returns the events that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, String> {
        self.rest.extend_from_slice(bytes);
        let mut events = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8(line).map_err(|_| "a line is not UTF-8".to_owned())?;
            events.extend(self.take_line(line.trim_end_matches(['\r', '\n']))?);
        }
        Ok(events)
    }

    /// Whether the stream stopped between events, not inside one.
    pub(crate) fn is_between_events(&self) -> bool {
        self.rest.is_empty() && self.fields.is_empty()
    }

    fn take_line(&mut self, line: &str) -> Result<Option<Event>, String> {
        if line.is_empty() {
            let fields = std::mem::take(&mut self.fields);
            return if fields.is_empty() {
                Ok(None)
            } else {
                event(fields).map(Some)
            };
        }
        if !line.starts_with(':') {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            self.fields.push((name.to_owned(), value.to_owned()));
        }
        Ok(None)
    }
}

fn event(fields: Vec<(String, String)>) -> Result<Event, String> {
    let field = |wanted: &str| {
        let mut values = fields.iter().filter(|(name, _)| name == wanted);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Ok(value.as_str()),
            _ => Err(format!(
                "an event must carry `{wanted}` exactly once: {fields:?}"
            )),
        }
    };
    let (id, kind, data) = (field("id")?, field("event")?, field("data")?);
    if fields.len() > 3 {
        return Err(format!(
            "an event carries a field that nobody promised: {fields:?}"
        ));
    }
    Ok(Event {
        id: id
            .parse()
            .map_err(|_| format!("the id `{id}` is not an index"))?,
        kind: kind.to_owned(),
        data: serde_json::from_str(data)
            .map_err(|error| format!("data is not JSON, {error}: {data}"))?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STREAM: &str = ": hello\n\nid: 0\nevent: started\ndata: {\"queue_position\":0}\n\n\
                          id:1\r\nevent:token\r\n:still here\r\ndata:{\"t\":\"Él\",\"i\":0}\r\n\r\nid: 2\n";

    #[test]
    fn events_are_the_same_however_the_bytes_are_split() {
        let event = |id, kind: &str, data| Event {
            id,
            kind: kind.to_owned(),
            data,
        };
        let expected = [
            event(0, "started", json!({"queue_position": 0})),
            event(1, "token", json!({"t": "Él", "i": 0})),
        ];
        for step in 1..=STREAM.len() {
            let mut parser = Parser::default();
            let pieces = STREAM.as_bytes().chunks(step);
            let events: Vec<_> = pieces
                .flat_map(|piece| parser.push(piece).unwrap())
                .collect();
            assert_eq!(events, expected, "split every {step} bytes");
            assert!(!parser.is_between_events(), "the third event is incomplete");
        }
    }

    #[test]
    fn what_a_browser_would_forgive_is_refused() {
        for wrong in [
            "event: token\ndata: {}\n\n",
            "id: 1\ndata: {}\n\n",
            "id: 1\nevent: token\n\n",
            "id: 1\nevent: token\ndata: {\ndata: }\n\n",
            "id: 1\nevent: token\ndata: {}\nretry: 5\n\n",
            "id: one\nevent: token\ndata: {}\n\n",
            "id: 1\nevent: token\ndata: Once upon\n\n",
        ] {
            assert!(
                Parser::default().push(wrong.as_bytes()).is_err(),
                "{wrong:?} is refused"
            );
        }
    }
}
