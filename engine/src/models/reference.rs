//! What a model is called: a name, or the place that its file comes from.
//!
//! ```text
//! tale                                   a name: the catalog's, or one that an engine knows
//! file:/abs/path                         a file of this machine
//! https://host/path[#sha256=HEX]         a file of the web, and what it must hash to
//! hf:org/repo[/file][@revision]          a file of the model hub; without `file` its only GGUF
//! ```

use std::{
    fmt,
    path::{Path, PathBuf},
};

use http::Uri;

use crate::digest::Digest;

/// The revision of a repository that is meant when none is named.
const REVISION: &str = "main";

/// What a model is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelRef {
    /// A name that says nothing of a place.
    Name(String),
    /// The place that its file comes from.
    Source(Source),
}

/// A model's file: where it comes from, and what it must hash to if somebody has said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where from.
    pub place: Place,
    /// What its bytes must hash to.
    pub digest: Option<Digest>,
}

/// Where a model's file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This machine.
    File(PathBuf),
    /// The web.
    Url(Uri),
    /// The model hub.
    Hub(HubFile),
}

/// A file of a repository of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// `org/repo`.
    pub repository: String,
    /// Its path there; the only GGUF if none is named.
    pub file: Option<String>,
    /// A branch, a tag or a commit.
    pub revision: String,
}

/// Why a text that begins like a place is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadReference(&'static str);

impl fmt::Display for BadReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

const FILE: BadReference = BadReference("a file's reference is `file:/abs/path`");
const URL: BadReference =
    BadReference("a reference to the web is `https://host/path`, without a name and a password");
const FRAGMENT: BadReference =
    BadReference("what follows `#` in a reference is `sha256=` and 64 hexadecimal digits");
const HUB: BadReference =
    BadReference("a reference to the hub is `hf:org/repo`, `/file` and `@revision` if need be");

impl ModelRef {
    /// Reads a reference. What begins like no place is a name.
    ///
    /// # Errors
    ///
    /// When it begins like a place and is none.
    pub fn parse(text: &str) -> Result<Self, BadReference> {
        let source = if let Some(path) = text.strip_prefix("file:") {
            file(path).map(Source::from)
        } else if let Some(file) = text.strip_prefix("hf:") {
            hub(file).map(Source::from)
        } else if text.starts_with("https://") || text.starts_with("http://") {
            url(text)
        } else {
            return Ok(Self::Name(text.to_owned()));
        };
        source.map(Self::Source)
    }
}

fn file(path: &str) -> Result<Place, BadReference> {
    // `file:///path` is the same by RFC 8089, section 2.
    let path = match path.strip_prefix("//") {
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    };
    if path.starts_with("//") || !Path::new(path).is_absolute() {
        return Err(FILE);
    }
    Ok(Place::File(PathBuf::from(path)))
}

fn url(text: &str) -> Result<Source, BadReference> {
    let (url, fragment) = match text.split_once('#') {
        Some((url, fragment)) => (url, Some(fragment)),
        None => (text, None),
    };
    let digest = fragment.map(|fragment| {
        let digits = fragment.strip_prefix("sha256=").ok_or(FRAGMENT)?;
        Digest::of_hex(digits).map_err(|_| FRAGMENT)
    });
    let url: Uri = url.parse().map_err(|_| URL)?;
    let authority = url.authority().ok_or(URL)?;
    // A name and a password would end up in logs and views.
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(URL);
    }
    Ok(Source {
        place: Place::Url(url),
        digest: digest.transpose()?,
    })
}

fn hub(text: &str) -> Result<Place, BadReference> {
    let (path, revision) = text.rsplit_once('@').unwrap_or((text, REVISION));
    let mut parts = path.splitn(3, '/');
    let (Some(org), Some(repo)) = (parts.next(), parts.next()) else {
        return Err(HUB);
    };
    let file = parts.next();
    let mut segments = [org, repo]
        .into_iter()
        .chain(file.iter().flat_map(|file| file.split('/')))
        .chain(revision.split('/'));
    if !segments.all(is_segment) {
        return Err(HUB);
    }
    Ok(Place::Hub(HubFile {
        repository: format!("{org}/{repo}"),
        file: file.map(str::to_owned),
        revision: revision.to_owned(),
    }))
}

/// What may stand between slashes: it is put into URLs as it is.
fn is_segment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+=,()".contains(&byte);
    !text.is_empty() && !matches!(text, "." | "..") && text.bytes().all(plain)
}

/// The file there, whatever it hashes to.
impl From<Place> for Source {
    fn from(place: Place) -> Self {
        Self {
            place,
            digest: None,
        }
    }
}

impl Source {
    /// What a task may call it: the reference, with its digest and without.
    pub fn names(&self) -> Vec<String> {
        let reference = self.place.reference();
        let digest = self.digest.filter(|_| matches!(self.place, Place::Url(_)));
        let pinned = digest.map(|digest| format!("{reference}#sha256={}", digest.hex()));
        [reference].into_iter().chain(pinned).collect()
    }

    /// The same, and it must hash to this too if nothing was said before.
    #[must_use]
    pub fn or_digest(self, digest: Option<Digest>) -> Self {
        Self {
            digest: self.digest.or(digest),
            ..self
        }
    }
}

impl Place {
    /// What tasks and the cache call it: the reference without its digest.
    pub fn reference(&self) -> String {
        match self {
            Self::File(path) => format!("file:{}", path.display()),
            Self::Url(url) => url.to_string(),
            Self::Hub(HubFile {
                repository,
                file,
                revision,
            }) => {
                let file = file
                    .as_ref()
                    .map_or_else(String::new, |it| format!("/{it}"));
                let revision = match revision.as_str() {
                    REVISION => String::new(),
                    revision => format!("@{revision}"),
                };
                format!("hf:{repository}{file}{revision}")
            }
        }
    }
}

/// For people: a query is left out, because it may be a signature.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reference = self.reference();
        let shown = match self {
            Self::Url(_) => reference.split('?').next().unwrap_or_default(),
            Self::File(_) | Self::Hub(_) => &reference,
        };
        f.write_str(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        match ModelRef::parse(text) {
            Ok(ModelRef::Source(source)) => source.place,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_place_is_written_as_it_was_read() {
        for text in [
            "file:/models/a tale#1.gguf",
            "https://host.example/tale.gguf?v=2",
            "http://127.0.0.1:8000/tale.gguf",
            "hf:org/repo",
            "hf:org/repo@v1.0",
            "hf:org/repo/deep/tale-Q4_K_M.gguf",
            "hf:org/repo/tale.gguf@refs/pr/1",
        ] {
            assert_eq!(place(text).reference(), text);
        }
        assert_eq!(place("file:///tale.gguf"), place("file:/tale.gguf"));
        assert_eq!(place("hf:org/repo@main"), place("hf:org/repo"));
    }

    #[test]
    fn what_begins_like_no_place_is_a_name() {
        for name in ["tale", "org/repo", "C:/tale.gguf", ""] {
            assert_eq!(ModelRef::parse(name), Ok(ModelRef::Name(name.to_owned())));
        }
    }

    #[test]
    fn what_begins_like_a_place_and_is_none_is_refused() {
        for (text, why) in [
            ("file:tale.gguf", FILE),
            ("file://host/tale.gguf", FILE),
            ("https://", URL),
            ("https://me:secret@host/tale.gguf", URL),
            ("https://host/tale.gguf#sha256=12", FRAGMENT),
            ("https://host/tale.gguf#part", FRAGMENT),
            ("hf:repo", HUB),
            ("hf:org/", HUB),
            ("hf:org/repo/../tale.gguf", HUB),
            ("hf:org/repo//tale.gguf", HUB),
            ("hf:org/repo/tale.gguf?x=1", HUB),
            ("hf:org/repo@", HUB),
        ] {
            assert_eq!(ModelRef::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_fragment_is_the_digest_and_no_part_of_the_name() {
        let digest = Digest::of(b"a tale");
        let text = format!("https://host/tale.gguf#sha256={}", digest.hex());
        let Ok(ModelRef::Source(source)) = ModelRef::parse(&text) else {
            panic!("{text} is a source");
        };
        assert_eq!(source.digest, Some(digest));
        assert_eq!(source.place.reference(), "https://host/tale.gguf");
    }

    #[test]
    fn people_are_not_shown_what_may_be_a_signature() {
        let place = place("https://host/tale.gguf?signature=secret");
        assert_eq!(place.to_string(), "https://host/tale.gguf");
    }
}
