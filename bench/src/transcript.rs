//! What a reader has seen of a task, held against the contract.

use serde_json::Value;

/// The events of one stream so far.
#[derive(Debug, Default)]
pub struct Transcript {
    events: u64,
    tokens: u64,
    ended: Option<Ended>,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ended {
    /// With `end`.
    Done,
    /// With `error`, and what it said.
    Failed(String),
}

impl Transcript {
    /// Takes the next event. `Ok(true)` if it was the first token.
    ///
    /// # Errors
    /// What about it breaks the contract: a number that does not follow the last one, an event
    /// after the last.
    pub fn take(&mut self, id: &[u8], event: &[u8], data: &[u8]) -> Result<bool, String> {
        let (id, event) = (String::from_utf8_lossy(id), String::from_utf8_lossy(event));
        if id != self.events.to_string() {
            return Err(format!("event {} came with the id {id}", self.events));
        }
        if self.ended.is_some() {
            return Err(format!("`{event}` came after the end"));
        }
        self.events += 1;
        match (event.as_ref(), self.events) {
            ("started", 1) => {}
            ("token", 2..) => {
                self.take_token(data)?;
                return Ok(self.tokens == 1);
            }
            ("metrics", 2..) => {}
            ("end", 2..) => self.ended = Some(Ended::Done),
            ("error", _) => {
                self.ended = Some(Ended::Failed(String::from_utf8_lossy(data).into_owned()));
            }
            _ => return Err(format!("`{event}` came as event {id}")),
        }
        Ok(false)
    }

    fn take_token(&mut self, data: &[u8]) -> Result<(), String> {
        let data: Value = serde_json::from_slice(data).map_err(|error| error.to_string())?;
        if data["i"].as_u64() != Some(self.tokens) {
            return Err(format!(
                "token {} came with the number {}",
                self.tokens, data["i"]
            ));
        }
        self.tokens += 1;
        Ok(())
    }

    /// Whether its last event has come, whatever it was.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// How many tokens the stream had.
    ///
    /// # Errors
    /// If its last event was an `error`, or has not come.
    pub fn finish(&self) -> Result<u64, String> {
        match &self.ended {
            Some(Ended::Done) => Ok(self.tokens),
            Some(Ended::Failed(error)) => Err(format!("the task failed: {error}")),
            None => Err(format!("the stream stopped after {} events", self.events)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first thing that is wrong with events of these names, numbered from 0.
    fn fault(events: &[&str]) -> Option<String> {
        let mut transcript = Transcript::default();
        let mut tokens = 0;
        for (id, event) in events.iter().enumerate() {
            let data = format!("{{\"t\":\"x\",\"i\":{tokens}}}");
            tokens += u64::from(*event == "token");
            let taken =
                transcript.take(id.to_string().as_bytes(), event.as_bytes(), data.as_bytes());
            if let Err(fault) = taken {
                return Some(fault);
            }
        }
        transcript.finish().err()
    }

    #[test]
    fn a_stream_in_order_is_counted() {
        assert_eq!(
            fault(&["started", "token", "metrics", "token", "end"]),
            None
        );
    }

    #[test]
    fn what_is_out_of_order_is_caught() {
        for events in [
            &["token"] as &[&str],
            &["started", "started"],
            &["started", "token", "end", "token"],
            &["started", "error"],
            &["started", "token"],
            &[],
        ] {
            assert!(fault(events).is_some(), "{events:?}");
        }
    }

    /// Whether a token of this id and number is taken after `started` and one token.
    fn is_next(id: &str, number: u64) -> bool {
        let mut transcript = Transcript::default();
        transcript.take(b"0", b"started", b"{}").unwrap();
        let first = transcript.take(b"1", b"token", br#"{"t":"x","i":0}"#);
        assert_eq!(first, Ok(true), "it is the first");
        let data = format!("{{\"t\":\"x\",\"i\":{number}}}");
        transcript
            .take(id.as_bytes(), b"token", data.as_bytes())
            .is_ok()
    }

    #[test]
    fn a_gap_or_a_repetition_is_caught() {
        assert!(is_next("2", 1));
        assert!(!is_next("3", 1), "an event is missing");
        assert!(!is_next("1", 1), "an event came twice");
        assert!(!is_next("2", 2), "a token is missing");
        assert!(!is_next("2", 0), "a token came twice");
    }
}
