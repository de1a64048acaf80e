//! Models of the catalog, as callers write them and as they read them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{check_name, error::ApiError};
use crate::digest::Digest;

/// Bytes of a model's id: it is a label of a metric.
pub const ID_BYTES_MAX: usize = 256;
/// Bytes of a model's source.
pub const SOURCE_BYTES_MAX: usize = 4096;

/// What must be known of a model before it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrustPolicy {
    /// A trusted key has signed its digest.
    Strict,
    /// Nothing.
    #[default]
    BestEffort,
}

impl TrustPolicy {
    /// What the value of `X-Trust-Policy` asks for.
    ///
    /// # Errors
    ///
    /// 400 for a word that we don't know: a misspelt `strict` must not mean trust.
    pub fn parse(value: Option<&str>) -> Result<Self, ApiError> {
        match value {
            None | Some("best_effort") => Ok(Self::BestEffort),
            Some("strict") => Ok(Self::Strict),
            Some(_) => Err(ApiError::invalid(
                "`X-Trust-Policy` must be strict or best_effort",
            )),
        }
    }
}

/// The body of `POST /v2/catalog/models`. Two bodies are the same model exactly when these are
/// equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// What tasks may call it.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub id: String,
    /// What its file's bytes must hash to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Where its file comes from: `file:/abs/path`, `https://…`, `hf:…`; or any reference that a pool serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_url: Option<String>,
    /// Free words.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What it is made of; kept as it comes.
    #[serde(default)]
    pub manifests: Vec<Value>,
    /// Who vouches for it; see [`crate::trust`].
    #[serde(default)]
    pub signatures: Vec<Value>,
    /// Its bill of materials; kept as it comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sbom: Option<Value>,
    /// See [`TrustPolicy`].
    #[serde(default)]
    pub trust_policy: TrustPolicy,
}

/// `null` is as missing as nothing at all.
fn text_or_nothing<'de, D: Deserializer<'de>>(json: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(json).map(Option::unwrap_or_default)
}

impl ModelSpec {
    /// Parses and checks a body.
    ///
    /// # Errors
    ///
    /// 400 with a sentence that names the field.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let spec: Self = super::parse(body)?;
        if spec.id.is_empty() {
            return Err(ApiError::invalid("id required"));
        }
        check_name("id", &spec.id, ID_BYTES_MAX)?;
        if let Some(source) = &spec.source_url {
            check_name("source_url", source, SOURCE_BYTES_MAX)?;
        }
        Ok(spec)
    }
}

/// Whether tasks may use a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ModelState {
    /// They may.
    #[default]
    Active,
    /// They may not, from its deadline on.
    Retired,
}

impl fmt::Display for ModelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "Active",
            Self::Retired => "Retired",
        })
    }
}

/// The body of `POST /v2/catalog/models/{id}/state`.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StateRequest {
    /// The state to come.
    pub state: ModelState,
    /// Milliseconds from now until a retirement takes effect.
    #[serde(default)]
    pub deadline_ms: u64,
}

/// What looking at a model's file came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It hashes to the digest.
    Verified,
    /// It does not.
    Mismatch,
    /// It can't be read.
    Unreadable,
    /// The model's source is no file of this machine.
    NoFile,
    /// The model has no digest to compare with.
    NoDigest,
}

impl Verdict {
    /// `result` and `reason`, as the metric names them.
    pub fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Verified => ("ok", ""),
            Self::Mismatch => ("failed", "mismatch"),
            Self::Unreadable => ("failed", "unreadable"),
            Self::NoFile => ("failed", "no_file"),
            Self::NoDigest => ("failed", "no_digest"),
        }
    }
}

/// A model as callers read it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModelView<'m> {
    /// What tasks may call it.
    pub id: &'m str,
    /// What its file's bytes must hash to.
    pub digest: Option<Digest>,
    /// What it is.
    pub source_url: Option<&'m str>,
    /// Free words.
    pub tags: &'m [String],
    /// What it is made of.
    pub manifests: &'m [Value],
    /// Who vouches for it.
    pub signatures: &'m [Value],
    /// Its bill of materials.
    pub sbom: Option<&'m Value>,
    /// See [`TrustPolicy`].
    pub trust_policy: TrustPolicy,
    /// See [`ModelState`].
    pub state: ModelState,
    /// When its retirement takes effect, in milliseconds since 1970.
    pub retires_ms: Option<u64>,
    /// When it was registered, in milliseconds since 1970.
    pub created_ms: u64,
    /// When its file was last hashed, in milliseconds since 1970.
    pub last_verified_ms: Option<u64>,
    /// What the last look at its file came to.
    pub verdict: Option<Verdict>,
    /// Whether a trusted key has signed its digest.
    pub signed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> String {
        ModelSpec::parse(body.as_bytes()).unwrap_err().message
    }

    #[test]
    fn a_model_without_an_id_is_told_so_in_two_words() {
        for body in ["{}", r#"{"id":null}"#, r#"{"id":""}"#] {
            assert_eq!(refusal(body), "id required");
        }
    }

    #[test]
    fn every_other_refusal_names_its_field() {
        assert!(refusal(r#"{"id":"m","digest":"sha256:abc"}"#).contains("digest"));
        assert!(refusal(r#"{"id":"m","sourceurl":"x"}"#).contains("sourceurl"));
        assert!(refusal(r#"{"id":"m","trust_policy":"blind"}"#).contains("trust_policy"));
        assert!(refusal(&format!(r#"{{"id":"{}"}}"#, "m".repeat(300))).contains("`id`"));
        for unseen in ["\\u0000", "\\n", "\\u001b[2J", "\\u202e"] {
            assert!(refusal(&format!(r#"{{"id":"m{unseen}"}}"#)).contains("`id`"));
        }
    }

    #[test]
    fn a_misspelt_policy_is_not_taken_for_trust() {
        assert_eq!(
            TrustPolicy::parse(Some("strict")).unwrap(),
            TrustPolicy::Strict
        );
        assert_eq!(TrustPolicy::parse(None).unwrap(), TrustPolicy::BestEffort);
        assert!(TrustPolicy::parse(Some("strikt")).is_err());
    }
}
