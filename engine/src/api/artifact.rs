//! Artifacts: what plans, runs and streams leave behind, addressed by what they say.
//!
//! An artifact's id is the SHA-256, in hexadecimal digits, of the canonical JSON (RFC 8785) of the object
//! of its `kind`, `content`, `tags`, `parent` and `metadata`, without those that are absent or empty, the
//! tags sorted and each once. So an artifact never changes, and the same one has the same id wherever
//! and however often it is stored. Its `digest` is that of the canonical JSON of its `content` alone:
//! two artifacts that say the same under different tags have it in common.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::error::ApiError;
use crate::digest::Digest;

/// Tags that an artifact may have.
pub const TAGS_MAX: usize = 64;
/// Bytes of one tag, or of the name of a parent.
pub const TAG_BYTES_MAX: usize = 256;

/// What an artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ArtifactKind)]
pub enum Kind {
    /// What is to be done.
    Plan,
    /// What was done, in short.
    Summary,
    /// What changed.
    Diff,
    /// What was done, step by step.
    Trace,
    /// How a stream went.
    Transcript,
    /// What a program said.
    Logs,
    /// Anything else.
    Other,
}

/// The body of `POST /v2/artifacts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactSpec {
    /// See [`Kind`].
    pub kind: Kind,
    /// What it says: any JSON.
    pub content: Value,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// The artifact that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// What is known about it: any JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

impl ArtifactSpec {
    /// Parses and checks a body.
    ///
    /// # Errors
    ///
    /// 400 with a sentence that names the field.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let spec: Self = super::parse(body)?;
        if spec.tags.len() > TAGS_MAX {
            let message = format!("`tags` takes at most {TAGS_MAX} words");
            return Err(ApiError::invalid(message));
        }
        let long = |text: &String| text.len() > TAG_BYTES_MAX;
        if spec.tags.iter().any(long) || spec.parent.as_ref().is_some_and(long) {
            return Err(ApiError::invalid(format!(
                "each of `tags`, and `parent`, must have at most {TAG_BYTES_MAX} bytes"
            )));
        }
        Ok(spec)
    }

    /// Its id.
    pub fn id(&self) -> String {
        Digest::of(&canonical(self)).hex()
    }

    /// The digest of its content.
    pub fn digest(&self) -> Digest {
        Digest::of(&canonical(&self.content))
    }
}

/// Canonical JSON (RFC 8785).
///
/// # Panics
///
/// Never: what was read from JSON has string keys, each once, and finite numbers.
fn canonical(value: &impl Serialize) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("what was read from JSON can be written as JSON")
}

/// An artifact as it is stored, and as its owner reads it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Artifact {
    /// See the top of this file.
    pub id: String,
    /// See the top of this file.
    pub digest: Digest,
    /// When it was first stored, in milliseconds since 1970.
    pub created_ms: u64,
    /// See [`Kind`].
    pub kind: Kind,
    /// Words to find it by.
    pub tags: BTreeSet<String>,
    /// What it says.
    pub content: Value,
    /// The artifact that it came from.
    pub parent: Option<String>,
    /// What is known about it.
    pub metadata: Option<Value>,
}

impl Artifact {
    /// An artifact that is stored at this time.
    pub fn new(spec: ArtifactSpec, created_ms: u64) -> Self {
        Self {
            id: spec.id(),
            digest: spec.digest(),
            created_ms,
            kind: spec.kind,
            tags: spec.tags,
            content: spec.content,
            parent: spec.parent,
            metadata: spec.metadata,
        }
    }

    /// The body of a 201.
    pub fn created(&self) -> Created<'_> {
        Created {
            id: &self.id,
            kind: self.kind,
            digest: self.digest,
            created_ms: self.created_ms,
            tags: &self.tags,
        }
    }
}

/// The body of a 201.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ArtifactCreated)]
pub struct Created<'a> {
    id: &'a str,
    kind: Kind,
    digest: Digest,
    created_ms: u64,
    tags: &'a BTreeSet<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(body: &str) -> ArtifactSpec {
        ArtifactSpec::parse(body.as_bytes()).unwrap()
    }

    fn canonical_text(json: &str) -> String {
        let value: Value = serde_json::from_str(json).unwrap();
        String::from_utf8(canonical(&value)).unwrap()
    }

    /// RFC 8785 §3.2.2 to §3.2.4: the example that has all of it.
    #[test]
    fn the_rfc_s_example_is_written_as_the_rfc_writes_it() {
        let written = canonical_text(
            r#"{
              "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
              "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
              "literals": [null, true, false]
            }"#,
        );
        let expected = r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
        assert_eq!(written, expected);
    }

    /// RFC 8785 §3.2.3: keys are sorted by their UTF-16 code units, so that what needs a surrogate pair
    /// goes before U+FB33.
    #[test]
    fn keys_are_sorted_as_the_rfc_sorts_them() {
        let written = canonical_text(
            r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh",
                "1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control",
                "\u00f6":"Latin Small Letter O With Diaeresis"}"#,
        );
        let order = [
            "Carriage Return",
            "One",
            "Control",
            "Latin Small",
            "Euro Sign",
            "Emoji",
            "Hebrew",
        ];
        let places: Vec<_> = order.iter().map(|name| written.find(name)).collect();
        assert!(places.is_sorted(), "{written}");
    }

    /// RFC 8785, appendix B: doubles by their bits, and how ECMAScript writes them.
    #[test]
    fn the_rfc_s_numbers_are_written_as_the_rfc_writes_them() {
        for (bits, expected) in [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            let number = f64::from_bits(bits);
            assert_eq!(canonical(&number), expected.as_bytes());
            // What was read from a text is the same number to the last bit.
            assert_eq!(canonical_text(expected), expected);
        }
    }

    #[test]
    fn the_same_artifact_has_the_same_id_however_it_is_written() {
        let one = spec(r#"{"kind":"plan","content":{"a":1,"b":[1e2]},"tags":["x","y"]}"#);
        let other = spec(
            r#"{ "tags": ["y","x","x"], "content": {"b":[100.0],"a":1.0}, "kind": "plan",
                 "parent": null }"#,
        );
        assert_eq!(one.id(), other.id());
    }

    #[test]
    fn whatever_an_artifact_says_is_in_its_id_and_its_content_alone_in_its_digest() {
        let plan = spec(r#"{"kind":"plan","content":"walk"}"#);
        for other in [
            r#"{"kind":"summary","content":"walk"}"#,
            r#"{"kind":"plan","content":"walk","tags":["x"]}"#,
            r#"{"kind":"plan","content":"walk","parent":"x"}"#,
            r#"{"kind":"plan","content":"walk","metadata":{}}"#,
        ] {
            assert_ne!(plan.id(), spec(other).id(), "{other}");
            assert_eq!(plan.digest(), spec(other).digest(), "{other}");
        }
        let run = spec(r#"{"kind":"plan","content":"run"}"#);
        assert_ne!(plan.digest(), run.digest());
    }

    /// So that anybody can compute it: `printf '{"content":"walk","kind":"plan"}' | sha256sum`.
    #[test]
    fn an_id_is_what_sha256sum_says() {
        let plan = spec(r#"{"kind":"plan","content":"walk"}"#);
        assert_eq!(
            plan.id(),
            Digest::of(br#"{"content":"walk","kind":"plan"}"#).hex()
        );
    }

    #[test]
    fn every_refusal_names_its_field() {
        let check = |body: &str, field: &str| {
            let message = ArtifactSpec::parse(body.as_bytes()).unwrap_err().message;
            assert!(message.contains(field), "{message}");
        };
        check(r#"{"content":1}"#, "kind");
        check(r#"{"kind":"poem","content":1}"#, "kind");
        check(r#"{"kind":"plan"}"#, "content");
        check(r#"{"kind":"plan","content":1,"tag":"x"}"#, "tag");
        let tag = "x".repeat(TAG_BYTES_MAX + 1);
        check(
            &format!(r#"{{"kind":"plan","content":1,"tags":["{tag}"]}}"#),
            "tags",
        );
    }
}
