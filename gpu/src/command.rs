//! The command line that starts an engine.
//!
//! A command is a list of words, never a line for a shell: nothing in it is split or expanded but the
//! names in braces that stand for what only the daemon knows, as `{port}`.

use crate::kind::EngineKind;
use core::fmt;

/// What the names in braces stand for.
#[derive(Clone, Copy, Debug)]
pub struct Blanks<'a> {
    /// The address to listen on.
    pub host: &'a str,
    /// The port to listen on.
    pub port: &'a str,
    /// The model, as the settings name it.
    pub model: &'a str,
    /// Tasks to decode at a time.
    pub slots: u32,
    /// The devices to run on; empty when nothing was said.
    pub devices: &'a str,
    /// The pool that it is for.
    pub pool: &'a str,
    /// Its id there.
    pub replica: &'a str,
}

/// A command with blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<String>);

/// Why a command can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadTemplate {
    /// It names no program.
    Empty,
    /// Nobody knows what to fill in for this name.
    UnknownBlank(String),
}

/// The names that may stand in braces.
const BLANKS: [&str; 7] = [
    "host", "port", "model", "slots", "devices", "pool", "replica",
];

impl fmt::Display for BadTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the command names no program"),
            Self::UnknownBlank(name) => {
                write!(f, "nothing is known to fill in for {{{name}}}; ")?;
                write!(f, "there is {{{}}}", BLANKS.join("}, {"))
            }
        }
    }
}

impl core::error::Error for BadTemplate {}

impl Template {
    /// Checks a command.
    ///
    /// # Errors
    /// Why it can't be used.
    pub fn parse(words: Vec<String>) -> Result<Self, BadTemplate> {
        if words.first().is_none_or(String::is_empty) {
            return Err(BadTemplate::Empty);
        }
        for word in &words {
            let mut names = word
                .split('{')
                .skip(1)
                .filter_map(|rest| rest.split_once('}'));
            if let Some((name, _)) = names.find(|(name, _)| is_name(name) && !BLANKS.contains(name))
            {
                return Err(BadTemplate::UnknownBlank((*name).to_owned()));
            }
        }
        Ok(Self(words))
    }

    /// How this kind of engine is started when the settings don't say, by its own documentation:
    /// llama.cpp `tools/server`, `vllm serve`, `sglang.launch_server`, `text-generation-launcher`.
    /// `None`: nobody could guess.
    #[must_use]
    pub fn default_of(kind: EngineKind) -> Option<Self> {
        let words: &[&str] = match kind {
            EngineKind::LlamaCpp => &[
                "llama-server",
                "--host",
                "{host}",
                "--port",
                "{port}",
                "--model",
                "{model}",
                "--parallel",
                "{slots}",
                "--metrics",
            ],
            EngineKind::Vllm => &[
                "vllm",
                "serve",
                "{model}",
                "--host",
                "{host}",
                "--port",
                "{port}",
                "--max-num-seqs",
                "{slots}",
            ],
            EngineKind::Sglang => &[
                "python3",
                "-m",
                "sglang.launch_server",
                "--model-path",
                "{model}",
                "--host",
                "{host}",
                "--port",
                "{port}",
                "--max-running-requests",
                "{slots}",
            ],
            EngineKind::Tgi => &[
                "text-generation-launcher",
                "--model-id",
                "{model}",
                "--hostname",
                "{host}",
                "--port",
                "{port}",
                "--max-concurrent-requests",
                "{slots}",
            ],
            EngineKind::Embedded | EngineKind::Triton | EngineKind::OpenAi | EngineKind::Mock => {
                return None;
            }
        };
        Some(Self(words.iter().map(|word| (*word).to_owned()).collect()))
    }

    /// The command with everything filled in: a program and its arguments.
    #[must_use]
    pub fn fill(&self, blanks: &Blanks<'_>) -> Vec<String> {
        let slots = blanks.slots.to_string();
        let values = [
            blanks.host,
            blanks.port,
            blanks.model,
            &slots,
            blanks.devices,
            blanks.pool,
            blanks.replica,
        ];
        self.0.iter().map(|word| fill(word, &values)).collect()
    }
}

/// From left to right, so that nothing that was filled in is looked at again.
fn fill(word: &str, values: &[&str; BLANKS.len()]) -> String {
    let (mut filled, mut rest) = (String::new(), word);
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let named = after.split_once('}').and_then(|(name, after)| {
            let blank = BLANKS.iter().position(|blank| *blank == name)?;
            Some((values[blank], after))
        });
        match named {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// Braces around anything else are left alone: JSON has them.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLANKS: Blanks<'_> = Blanks {
        host: "127.0.0.1",
        port: "8001",
        model: "a {port} b.gguf",
        slots: 4,
        devices: "0,1",
        pool: "gpu",
        replica: "r0",
    };

    fn template(words: &[&str]) -> Result<Template, BadTemplate> {
        Template::parse(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn blanks_are_filled_once_and_nothing_else_is_touched() {
        let command = template(&[
            "serve",
            "--at={host}:{port}",
            "{model}",
            r#"{"n": {slots}}"#,
        ]);
        assert_eq!(
            command.unwrap().fill(&BLANKS),
            [
                "serve",
                "--at=127.0.0.1:8001",
                "a {port} b.gguf",
                r#"{"n": 4}"#
            ]
        );
    }

    #[test]
    fn what_nobody_knows_is_named() {
        let error = template(&["serve", "{prot}"]).unwrap_err();
        assert_eq!(error, BadTemplate::UnknownBlank("prot".to_owned()));
        assert!(error.to_string().contains("{port}"), "{error}");
        assert_eq!(template(&[]), Err(BadTemplate::Empty));
    }

    #[test]
    fn every_known_command_says_where_to_listen() {
        for kind in EngineKind::ALL {
            let Some(command) = Template::default_of(kind) else {
                continue;
            };
            let Template(words) = command.clone();
            assert_eq!(Template::parse(words), Ok(command.clone()), "{kind:?}");
            assert!(
                command.fill(&BLANKS).contains(&"8001".to_owned()),
                "{kind:?}"
            );
        }
    }
}
