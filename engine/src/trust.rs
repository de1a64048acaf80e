//! Whose signatures count: the public keys of those who may vouch for a model.
//!
//! A signature is Ed25519 (RFC 8032) over the text of the model's digest, `sha256:<hex>`, written as
//! `ed25519:` and 128 hexadecimal digits. Without a configured key nothing can be verified, so nothing
//! is trusted.

use std::{fmt, fs, path::Path};

use ed25519_dalek::{Signature, VerifyingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::digest::Digest;

/// The only scheme that signatures here are of.
const PREFIX: &str = "ed25519:";

/// The configured public keys; none means that nothing is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedKeys(Vec<VerifyingKey>);

/// What is wrong with a file of trusted keys; each sentence says what to do.
#[derive(Debug)]
pub enum TrustError {
    /// The file can't be read.
    Unreadable(std::io::Error),
    /// It is not the TOML that we expect.
    Malformed(Box<toml::de::Error>),
    /// It names no key at all.
    Empty,
    /// A key is not one.
    BadKey(String),
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "it can't be read: {error}"),
            Self::Malformed(error) => {
                write!(f, "it is not a file of trusted keys: {}", error.message())
            }
            Self::Empty => f.write_str("it holds no [[key]]"),
            Self::BadKey(name) => write!(
                f,
                "key `{name}`: ed25519 must be the 64 hexadecimal digits of a public key"
            ),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustFile {
    #[serde(default)]
    key: Vec<TrustStanza>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustStanza {
    name: String,
    ed25519: String,
}

impl TrustedKeys {
    /// Reads the file of trusted keys.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn load(path: &Path) -> Result<Self, TrustError> {
        Self::parse(&fs::read_to_string(path).map_err(TrustError::Unreadable)?)
    }

    fn parse(text: &str) -> Result<Self, TrustError> {
        let file: TrustFile =
            toml::from_str(text).map_err(|error| TrustError::Malformed(Box::new(error)))?;
        if file.key.is_empty() {
            return Err(TrustError::Empty);
        }
        let keys = file
            .key
            .into_iter()
            .map(|stanza| parse_key(&stanza.ed25519).ok_or(TrustError::BadKey(stanza.name)));
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of the signatures is a trusted key's over this digest. What is no signature of
    /// ours counts for nothing.
    pub fn vouch(&self, digest: &Digest, signatures: &[Value]) -> bool {
        let text = digest.to_string();
        let mut signatures = signatures.iter().filter_map(parse_signature);
        signatures.any(|signature| {
            let mut keys = self.0.iter();
            keys.any(|key| key.verify_strict(text.as_bytes(), &signature).is_ok())
        })
    }
}

fn parse_key(digits: &str) -> Option<VerifyingKey> {
    let mut key = [0; 32];
    hex::decode_to_slice(digits, &mut key).ok()?;
    VerifyingKey::from_bytes(&key).ok()
}

fn parse_signature(signature: &Value) -> Option<Signature> {
    let mut bytes = [0; 64];
    let digits = signature.as_str()?.strip_prefix(PREFIX)?;
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(Signature::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    fn stanza(key: &SigningKey) -> String {
        let public = hex::encode(key.verifying_key().as_bytes());
        format!("[[key]]\nname = 'release'\ned25519 = '{public}'\n")
    }

    fn signature(key: &SigningKey, text: &str) -> Value {
        let bytes = key.sign(text.as_bytes()).to_bytes();
        format!("ed25519:{}", hex::encode(bytes)).into()
    }

    #[test]
    fn only_a_trusted_key_over_this_very_digest_vouches() {
        let (ours, other) = (
            SigningKey::from_bytes(&[1; 32]),
            SigningKey::from_bytes(&[2; 32]),
        );
        let keys = TrustedKeys::parse(&stanza(&ours)).unwrap();
        let digest = Digest::of(b"a model");
        let signed = |key, text: &str| [Value::from("cosign:abc"), signature(key, text)];
        assert!(keys.vouch(&digest, &signed(&ours, &digest.to_string())));
        assert!(!keys.vouch(&digest, &signed(&other, &digest.to_string())));
        let another = Digest::of(b"another model").to_string();
        assert!(!keys.vouch(&digest, &signed(&ours, &another)));
        assert!(!keys.vouch(&digest, &[]));
    }

    #[test]
    fn without_keys_nothing_is_trusted() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let digest = Digest::of(b"a model");
        let signatures = [signature(&key, &digest.to_string())];
        assert!(!TrustedKeys::default().vouch(&digest, &signatures));
    }

    #[test]
    fn a_broken_file_says_what_is_wrong() {
        let check = |text: &str, expected: &str| {
            let message = TrustedKeys::parse(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        check("", "holds no [[key]]");
        check("[[key]]\nname = 'a'\ned25519 = 'xyz'", "64 hexadecimal");
        check("[[key]]\nname = 'a'", "missing field");
    }
}
