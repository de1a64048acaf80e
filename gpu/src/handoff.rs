//! The handoff file: how a supervisor that has started an engine says where it is.
//!
//! One JSON object a file. What we don't know in it is somebody else's and is passed over.

use crate::kind::EngineKind;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Bytes of a handoff file: a screen of text; more is some other file.
pub const BYTES_MAX: u64 = 64 * 1024;

/// An engine that was started, and how it is to be bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handoff {
    /// What it is: a name of [`EngineKind`].
    pub engine: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<String>,
    /// How it came to be, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning_mode: Option<String>,
    /// Where it listens.
    pub url: String,
    /// The pool that it is to serve.
    pub pool_id: String,
    /// Its id within the pool.
    pub replica_id: String,
    /// Tasks that it can decode at a time.
    pub slots: u32,
    /// The devices that it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_mask: Option<String>,
    /// What it serves.
    pub model: Model,
    /// What it was started with, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// The model that an engine serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// What requests call it.
    pub id: String,
    /// Its file, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Why a file is no handoff.
#[derive(Debug)]
pub enum BadHandoff {
    /// It is something else than one JSON object.
    NoObject,
    /// It is not the JSON that it should be.
    Malformed(serde_json::Error),
    /// Nobody knows such an engine.
    UnknownEngine(String),
}

impl fmt::Display for BadHandoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoObject => f.write_str("it is no handoff: it is not one JSON object"),
            Self::Malformed(error) => write!(f, "it is no handoff: {error}"),
            Self::UnknownEngine(name) => {
                let known = EngineKind::ALL.map(EngineKind::name).join(", ");
                write!(f, "`{name}` is no engine; known are {known}")
            }
        }
    }
}

impl core::error::Error for BadHandoff {}

impl Handoff {
    /// Reads a file, and what its engine is.
    ///
    /// # Errors
    /// Why it is no handoff.
    pub fn parse(bytes: &[u8]) -> Result<(EngineKind, Self), BadHandoff> {
        // A list of the same values would be read, too, by their order; nobody has promised one.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(BadHandoff::NoObject);
        }
        let handoff: Self = serde_json::from_slice(bytes).map_err(BadHandoff::Malformed)?;
        match EngineKind::parse(&handoff.engine) {
            Some(kind) => Ok((kind, handoff)),
            None => Err(BadHandoff::UnknownEngine(handoff.engine)),
        }
    }

    /// The text of a file that says this.
    #[must_use]
    pub fn write(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings and numbers are always JSON")
    }
}

/// The name of the file of a pool's replica.
#[must_use]
pub fn file_name(pool_id: &str, replica_id: &str) -> String {
    format!("{pool_id}-{replica_id}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = r#"{"engine": "llamacpp", "url": "http://127.0.0.1:8001", "pool_id": "gpu",
        "replica_id": "r0", "slots": 4, "model": {"id": "tales"}, "pid": 17}"#;

    #[test]
    fn what_was_written_is_read_back() {
        let (kind, handoff) = Handoff::parse(SMALLEST.as_bytes()).unwrap();
        assert_eq!(kind, EngineKind::LlamaCpp);
        assert_eq!(
            file_name(&handoff.pool_id, &handoff.replica_id),
            "gpu-r0.json"
        );
        let (_, again) = Handoff::parse(handoff.write().as_bytes()).unwrap();
        assert_eq!(again, handoff);
    }

    #[test]
    fn a_broken_file_says_what_is_wrong() {
        let reason = |text: &str| Handoff::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(reason("{").contains("no handoff"));
        let list = r#"["llamacpp", null, null, "http://127.0.0.1:8001", "gpu", "r0", 4, null, {"id": "tales"}, []]"#;
        assert!(reason(list).contains("not one JSON object"));
        assert!(reason("{}").contains("engine"));
        assert!(reason(&SMALLEST.replace("llamacpp", "llama")).contains("llamacpp"));
        assert!(reason(&SMALLEST.replace("4", "-4")).contains("no handoff"));
    }
}
