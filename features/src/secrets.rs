//! What no daemon may ever write down: prompts, texts and keys.
//!
//! Every scenario plants some simply by doing its work; when it is over, its daemon's log is searched
//! for all of them.

use serde_json::Value;

use crate::sequence;
use crate::sse::Event;

/// Shorter ones would be found in innocent words.
const BYTES_MIN: usize = 8;
/// Tokens of a text that make a secret: what is longer would miss a log of its beginning.
const TOKENS: usize = 3;

/// The secrets of one scenario.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// A key, or anything else that is one by itself.
    pub(crate) fn plant(&mut self, secret: &str) {
        if secret.len() >= BYTES_MIN {
            self.0.push(secret.to_owned());
        }
    }

    /// What a request asks, if it asks something: a prompt, messages, texts.
    pub(crate) fn plant_asked(&mut self, body: &str) {
        let Ok(body) = serde_json::from_str::<Value>(body) else {
            return;
        };
        let list = |field: &str| body[field].as_array().cloned().unwrap_or_default();
        let messages = list("messages");
        let contents = messages.iter().map(|message| &message["content"]);
        let inputs = list("inputs");
        [&body["prompt"]]
            .into_iter()
            .chain(contents)
            .chain(&inputs)
            .filter_map(Value::as_str)
            .for_each(|text| self.plant(text));
    }

    /// The beginning of a text.
    pub(crate) fn plant_text(&mut self, events: &[Event]) {
        let text: String = sequence::tokens(events)
            .take(TOKENS)
            .filter_map(|token| token.data["t"].as_str().map(str::to_owned))
            .collect();
        self.plant(text.trim());
    }

    /// The first line of a log that tells one of them.
    pub(crate) fn told<'log>(&self, log: &'log str) -> Option<&'log str> {
        let tells = |line: &&str| self.0.iter().any(|secret| is_in(line, secret));
        log.lines().find(tells)
    }
}

/// As it is, or as JSON writes it.
fn is_in(line: &str, secret: &str) -> bool {
    let json = Value::from(secret).to_string();
    line.contains(secret) || line.contains(json.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_however_it_is_written() {
        let mut secrets = Secrets::default();
        secrets.plant("short");
        secrets.plant_asked(r#"{"model_ref": "mock", "prompt": "a \"quoted\" secret"}"#);
        secrets.plant_asked(r#"{"messages": [{"role": "user", "content": "said in a chat"}]}"#);
        secrets.plant_asked(r#"{"inputs": ["to be embedded"]}"#);
        assert_eq!(secrets.told("short\n{\"model\":\"mock\"}"), None);
        assert!(secrets.told("x\nas it is: a \"quoted\" secret.").is_some());
        assert!(secrets.told("as was said in a chat").is_some());
        assert!(secrets.told("which is to be embedded").is_some());
        assert!(secrets.told(r#"{"at":"a \"quoted\" secret"}"#).is_some());
    }
}
