//! What is asked of an engine to learn how it is.

use crate::kind::EngineKind;

/// What an engine says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// Whether it generates if asked now.
    pub ready: bool,
    /// Its version.
    pub engine_version: Option<String>,
    /// How full its KV cache is, from 0 to 1.
    pub kv_cache_usage: Option<f64>,
}

/// What is asked, in this order; the first answer decides whether it is ready.
#[must_use]
pub const fn paths(_: EngineKind) -> &'static [&'static str] {
    &["/health"]
}

/// What the answers mean: a status and a body for each path, fewer if one failed.
#[must_use]
pub fn read(_: EngineKind, answers: &[(u16, &[u8])]) -> Properties {
    Properties {
        ready: answers.first().is_some_and(|(status, _)| *status == 200),
        ..Properties::default()
    }
}
