//! Keys, scopes, and who is calling.
//!
//! Keys live in a TOML file as SHA-256 digests, so that the file gives nobody access. A presented
//! key is hashed and compared with every stored digest in constant time: how long the answer takes
//! says nothing about how close a guess was. Keys are never logged; an identity's name is.

pub mod guesses;

use std::{
    fmt, fs,
    hash::{DefaultHasher, Hash, Hasher},
    num::NonZeroU32,
    path::Path,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use orchestratord_sched::{Flow, Instant, Rate};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Submit tasks and read, cancel and list one's own.
    Data,
    /// Steer pools, and see other callers' tasks.
    Control,
    /// Bind replicas.
    Worker,
    /// Read `/metrics`.
    Metrics,
}

impl Scope {
    /// Every scope, in the order in which messages list them.
    pub const ALL: [Self; 4] = [Self::Data, Self::Control, Self::Worker, Self::Metrics];

    /// The word in the keys file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Control => "control",
            Self::Worker => "worker",
            Self::Metrics => "metrics",
        }
    }

    /// The scope of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// Who is calling. Two identities are the same caller exactly when they are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// No key is configured: whoever reaches the loopback address.
    Localhost,
    /// The holder of a configured key.
    Key(Arc<str>),
}

impl Identity {
    /// Whose share of a pool its tasks use: the same number for the same identity, in every shard.
    pub fn flow(&self) -> Flow {
        // Its keys are always the same, so shards agree. Callers don't choose the names of keys.
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        let hash = hasher.finish().to_le_bytes();
        Flow(u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]))
    }
}

impl FromStr for Identity {
    type Err = NotAnIdentity;

    fn from_str(text: &str) -> Result<Self, NotAnIdentity> {
        match text.split_once(':') {
            None if text == "localhost" => Ok(Self::Localhost),
            Some(("key", name)) => Ok(Self::Key(name.into())),
            _ => Err(NotAnIdentity),
        }
    }
}

/// A text that names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnIdentity;

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost => f.write_str("localhost"),
            Self::Key(name) => write!(f, "key:{name}"),
        }
    }
}

/// A caller whose key, if one is needed, was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub identity: Identity,
    scopes: Vec<Scope>,
}

impl Caller {
    /// Whoever calls a route that asks for no key.
    pub fn anonymous() -> Self {
        Self {
            identity: Identity::Localhost,
            scopes: Vec::new(),
        }
    }

    /// Whether the caller may do what `scope` covers.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether the caller may know of a thing that `owner` made.
    pub fn may_see(&self, owner: &Identity) -> bool {
        self.identity == *owner || self.may_see_all()
    }

    /// Whether the caller may know of everything, whoever made it.
    pub fn may_see_all(&self) -> bool {
        self.scopes.contains(&Scope::Control)
    }
}

/// Why a caller was turned away at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// Keys are configured and the request shows none.
    NoKey,
    /// The shown key is not a configured one.
    UnknownKey,
}

#[derive(Clone, Debug)]
struct Key {
    name: Arc<str>,
    digest: [u8; 32],
    scopes: Vec<Scope>,
    /// How often its holder may ask; as often as they like if there is none.
    rate: Option<Arc<Rate>>,
}

/// The configured keys; none means that the loopback address is open.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    keys: Vec<Key>,
    /// The digest of the token that lets workers register, whether there are keys or not.
    worker_token: Option<[u8; 32]>,
}

/// The name of whoever shows the workers' token.
const WORKER: &str = "worker";

/// What is wrong with a keys file; each sentence says what to do.
#[derive(Debug)]
pub enum KeysError {
    /// The file can't be read.
    Unreadable(std::io::Error),
    /// It is not the TOML that we expect.
    Malformed(Box<toml::de::Error>),
    /// It names no key at all.
    Empty,
    /// A digest is not 64 hexadecimal digits.
    BadDigest(String),
    /// Two stanzas share a name.
    Twice(String),
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "it can't be read: {error}"),
            Self::Malformed(error) => write!(f, "it is not a keys file: {}", error.message()),
            Self::Empty => {
                f.write_str("it holds no [[key]]; make one with `orchestratord keys new NAME`")
            }
            Self::BadDigest(name) => {
                write!(f, "key `{name}`: sha256 must be 64 hexadecimal digits")
            }
            Self::Twice(name) => write!(f, "key `{name}` occurs twice; names must differ"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    #[serde(default)]
    key: Vec<KeyStanza>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyStanza {
    name: String,
    sha256: String,
    scopes: Vec<Scope>,
    /// Requests of every kind.
    requests_per_minute: Option<NonZeroU32>,
}

impl Keys {
    /// Reads the keys file.
    pub fn load(path: &Path) -> Result<Self, KeysError> {
        Self::parse(&fs::read_to_string(path).map_err(KeysError::Unreadable)?)
    }

    fn parse(text: &str) -> Result<Self, KeysError> {
        let file: KeysFile =
            toml::from_str(text).map_err(|error| KeysError::Malformed(Box::new(error)))?;
        if file.key.is_empty() {
            return Err(KeysError::Empty);
        }
        let mut keys: Vec<Key> = Vec::new();
        for stanza in file.key {
            if keys.iter().any(|key| *key.name == *stanza.name) {
                return Err(KeysError::Twice(stanza.name));
            }
            let Some(digest) = parse_digest(&stanza.sha256) else {
                return Err(KeysError::BadDigest(stanza.name));
            };
            keys.push(Key {
                name: stanza.name.into(),
                digest,
                scopes: stanza.scopes,
                rate: stanza.requests_per_minute.map(Rate::new).map(Arc::new),
            });
        }
        Ok(Self {
            keys,
            worker_token: None,
        })
    }

    /// The same, with a token for workers.
    pub fn with_worker_token(mut self, token: Option<&str>) -> Self {
        self.worker_token = token.map(digest);
        self
    }

    /// The same; what was asked under keys that stay as they were counts on.
    pub fn counting_on(mut self, before: &Self) -> Self {
        let per_minute = |key: &Key| key.rate.as_ref().map(|rate| rate.per_minute());
        for key in &mut self.keys {
            let mut known = before.keys.iter();
            let same = known.find(|known| known.name == key.name);
            if let Some(same) = same.filter(|same| per_minute(same) == per_minute(key)) {
                key.rate.clone_from(&same.rate);
            }
        }
        self
    }

    /// Takes one of the requests that the caller may make.
    ///
    /// # Errors
    ///
    /// How long until the caller may make another.
    pub fn count(&self, caller: &Caller, now: Instant) -> Result<(), Duration> {
        let Identity::Key(name) = &caller.identity else {
            return Ok(());
        };
        let key = self.keys.iter().find(|key| key.name == *name);
        let rate = key.and_then(|key| key.rate.as_ref());
        rate.map_or(Ok(()), |rate| rate.take(now))
    }

    /// Whether callers need a key.
    pub fn required(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether there are several callers to tell apart.
    pub fn are_several(&self) -> bool {
        self.keys.len() > 1
    }

    /// Who presents this key (without its `Bearer ` prefix) to do what `scope` covers.
    pub fn identify(&self, presented: Option<&str>, scope: Scope) -> Result<Caller, Stranger> {
        if scope == Scope::Worker
            && let Some(token) = &self.worker_token
        {
            let presented = digest(presented.ok_or(Stranger::NoKey)?);
            if bool::from(token.ct_eq(&presented)) {
                return Ok(Caller {
                    identity: Identity::Key(WORKER.into()),
                    scopes: vec![Scope::Worker],
                });
            }
            if self.keys.is_empty() {
                return Err(Stranger::UnknownKey);
            }
        }
        if self.keys.is_empty() {
            return Ok(Caller {
                identity: Identity::Localhost,
                scopes: Scope::ALL.to_vec(),
            });
        }
        let digest = digest(presented.ok_or(Stranger::NoKey)?);
        let place = place_of(&digest, self.keys.iter().map(|key| &key.digest));
        let key = place.and_then(|place| self.keys.get(place));
        let key = key.ok_or(Stranger::UnknownKey)?;
        Ok(Caller {
            identity: Identity::Key(Arc::clone(&key.name)),
            scopes: key.scopes.clone(),
        })
    }
}

/// Which of the stored digests this is. All are compared, also after a match, and byte by byte to the end, so
/// the time taken tells neither which key was meant nor how much of it was right; and as what is compared are
/// hashes, nobody could choose their first bytes.
fn place_of<'k>(digest: &[u8; 32], stored: impl Iterator<Item = &'k [u8; 32]>) -> Option<usize> {
    let (mut found, mut place) = (Choice::from(0), 0);
    for (at, stored) in (0_u64..).zip(stored) {
        let same = stored.ct_eq(digest);
        place.conditional_assign(&at, same);
        found |= same;
    }
    let place = usize::try_from(place).ok()?;
    bool::from(found).then_some(place)
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn parse_digest(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (place, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let pair = str::from_utf8(pair).ok()?;
        *place = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(digest)
}

/// A fresh key and the stanza that admits it. The key is shown once and stored nowhere.
pub struct NewKey {
    /// What the caller presents.
    pub secret: String,
    /// What goes into the keys file.
    pub stanza: String,
}

impl NewKey {
    /// Makes a key of 244 random bits.
    pub fn make(name: &str, scopes: &[Scope], requests_per_minute: Option<NonZeroU32>) -> Self {
        let halves = [crate::clock::new_id(), crate::clock::new_id()];
        let secret = format!("orchd-{}{}", halves[0].simple(), halves[1].simple());
        let digest: String = Sha256::digest(secret.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
        let mut stanza =
            format!("[[key]]\nname = {name:?}\nsha256 = \"{digest}\"\nscopes = {scopes:?}\n");
        if let Some(count) = requests_per_minute {
            stanza += &format!("requests_per_minute = {count}\n");
        }
        Self { secret, stanza }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_admitted_by_its_own_stanza() {
        let new = NewKey::make("ci", &[Scope::Data], None);
        let keys = Keys::parse(&new.stanza).unwrap();
        let caller = keys.identify(Some(&new.secret), Scope::Data).unwrap();
        assert_eq!(caller.identity.to_string(), "key:ci");
        assert!(caller.may(Scope::Data));
        assert!(!caller.may(Scope::Metrics));
    }

    #[test]
    fn without_a_key_a_keyed_daemon_knows_nobody() {
        let keys = Keys::parse(&NewKey::make("ci", &[Scope::Data], None).stanza).unwrap();
        assert_eq!(keys.identify(None, Scope::Data), Err(Stranger::NoKey));
        assert_eq!(
            keys.identify(Some("orchd-guess"), Scope::Data),
            Err(Stranger::UnknownKey)
        );
    }

    #[test]
    fn without_keys_everybody_on_loopback_is_localhost() {
        let caller = Keys::default().identify(None, Scope::Control).unwrap();
        assert_eq!(caller.identity, Identity::Localhost);
        assert!(caller.may(Scope::Control));
    }

    #[test]
    fn a_worker_token_lets_workers_in_and_nobody_else() {
        let token = "a token for workers";
        let alone = Keys::default().with_worker_token(Some(token));
        let worker = alone.identify(Some(token), Scope::Worker).unwrap();
        assert!(worker.may(Scope::Worker) && !worker.may(Scope::Data));
        let stranger = |shown| alone.identify(shown, Scope::Worker).unwrap_err();
        assert_eq!(stranger(None), Stranger::NoKey);
        assert_eq!(stranger(Some("a guess")), Stranger::UnknownKey);
        // Everything else stays as open as it was.
        assert!(alone.identify(None, Scope::Data).is_ok());

        let key = NewKey::make("fleet", &[Scope::Worker], None);
        let keyed = Keys::parse(&key.stanza)
            .unwrap()
            .with_worker_token(Some(token));
        let holder = keyed.identify(Some(&key.secret), Scope::Worker).unwrap();
        assert_eq!(holder.identity.to_string(), "key:fleet");
        let data = keyed.identify(Some(token), Scope::Data);
        assert_eq!(data, Err(Stranger::UnknownKey));
    }

    #[test]
    fn every_digest_is_compared_whichever_it_is() {
        let stored: Vec<[u8; 32]> = (0..9).map(|key| digest(&format!("key {key}"))).collect();
        let check = |secret: &str, expected| {
            let mut compared = 0;
            let counted = stored.iter().inspect(|_| compared += 1);
            assert_eq!(place_of(&digest(secret), counted), expected, "{secret}");
            assert_eq!(compared, stored.len(), "{secret}");
        };
        check("key 0", Some(0));
        check("key 4", Some(4));
        check("key 8", Some(8));
        check("a guess", None);
        assert_eq!(place_of(&digest("a guess"), [].into_iter()), None);
    }

    #[test]
    fn control_sees_what_others_made_and_data_does_not() {
        let data = NewKey::make("alice", &[Scope::Data], None);
        let control = NewKey::make("operator", &[Scope::Control], None);
        let keys = Keys::parse(&format!("{}{}", data.stanza, control.stanza)).unwrap();
        let alice = keys.identify(Some(&data.secret), Scope::Data).unwrap();
        let operator = keys.identify(Some(&control.secret), Scope::Data).unwrap();
        assert!(operator.may_see(&alice.identity));
        assert!(!alice.may_see(&operator.identity));
    }

    #[test]
    fn what_was_asked_counts_on_under_a_key_that_stays() {
        let limit = NonZeroU32::new(2);
        let new = NewKey::make("ci", &[Scope::Data], limit);
        let load = |stanza: &str| Keys::parse(stanza).unwrap();
        let keys = load(&new.stanza);
        let caller = keys.identify(Some(&new.secret), Scope::Data).unwrap();
        let now = Instant::ZERO;
        assert_eq!(keys.count(&caller, now), Ok(()));
        let renewed = load(&new.stanza).counting_on(&keys);
        assert_eq!(renewed.count(&caller, now), Ok(()));
        assert_eq!(renewed.count(&caller, now), Err(Duration::from_secs(30)));
        let raised = new.stanza.replace("minute = 2", "minute = 3");
        let raised = load(&raised).counting_on(&renewed);
        assert_eq!(raised.count(&caller, now), Ok(()));
    }

    #[test]
    fn a_broken_file_says_what_is_wrong() {
        let check = |text: &str, expected: &str| {
            let message = Keys::parse(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        check("", "holds no [[key]]");
        check(
            "[[key]]\nname = 'a'\nsha256 = 'xyz'\nscopes = []",
            "64 hexadecimal",
        );
        check("[[key]]\nname = 'a'", "missing field");
        let none = "[[key]]\nname = 'a'\nsha256 = ''\nscopes = []\nrequests_per_minute = 0";
        check(none, "nonzero");
        check("[[keys]]", "unknown field");
    }
}
