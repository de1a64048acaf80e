//! The request target: which path, with which query.
//!
//! A target is checked whole when it is read, so that asking for a segment or a query value later
//! cannot fail. Nothing is normalised: `/a/../b` has the segments `a`, `..`, `b`, and `%2F` stays
//! inside its segment, because a router that compares segments needs neither treatment and a
//! router that relied on one would be one bug away from serving the wrong resource.

use crate::error::Refusal;
use crate::grammar::{hex_digit, is_host, is_target};
use crate::head::Method;
use std::borrow::Cow;
use std::ops::Range;

/// The target of a request, in one of the forms of RFC 9112 §3.2 that a server without tunnels
/// knows: `/path?query`, `http://host/path?query`, or `*` for `OPTIONS`.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    raw: String,
    authority: Option<Range<usize>>,
    path: Range<usize>,
    query: Option<Range<usize>>,
}

impl Target {
    pub(crate) fn parse(method: Method, raw: &[u8]) -> Result<Self, Refusal> {
        if !is_target(raw) {
            return Err(BAD_CHARACTER);
        }
        let raw = std::str::from_utf8(raw)
            .expect("a target is ASCII")
            .to_owned();
        if raw == "*" && method != Method::Options {
            return Err(ASTERISK);
        }
        let authority = authority_of(&raw)?;
        let path_start = authority.as_ref().map_or(0, |authority| authority.end);
        let question_mark = raw[path_start..].find('?').map(|at| path_start + at);
        let target = Self {
            authority,
            path: path_start..question_mark.unwrap_or(raw.len()),
            query: question_mark.map(|at| at + 1..raw.len()),
            raw,
        };
        let decodes = |text| decode(text, Plus::Literal).is_some();
        if decodes(target.path()) && decodes(target.raw_query()) {
            Ok(target)
        } else {
            Err(BAD_ESCAPE)
        }
    }

    /// The target as it was sent.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The path as it was sent, escapes included: `/v2/tasks`. Empty for `http://host`, `*` for the
    /// asterisk form.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.raw[self.path.clone()]
    }

    /// The parts of the path between its slashes, each decoded: `/v2/a%20b` gives `v2`, `a b`. A
    /// trailing slash gives a last empty segment; `/` alone is one empty segment.
    pub fn segments(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let path = self.path();
        let path = path.strip_prefix('/').unwrap_or(path);
        path.split('/')
            .map(|segment| decoded(segment, Plus::Literal))
    }

    /// The first value of `name` in the query, decoded as forms are (`+` is a space). A name
    /// without
    /// `=` has the empty value.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.raw_query()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(candidate, _)| decoded(candidate, Plus::Space) == name)
            .map(|(_, value)| decoded(value, Plus::Space))
    }

    /// The host that the target itself names, in the absolute form.
    pub(crate) fn authority(&self) -> Option<&str> {
        self.authority.clone().map(|authority| &self.raw[authority])
    }

    fn raw_query(&self) -> &str {
        self.query.clone().map_or("", |query| &self.raw[query])
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.raw.fmt(f)
    }
}

/// Tells the absolute form from the origin form. The scheme is not compared with how the
/// connection is secured: a proxy in front may have taken the encryption off.
fn authority_of(raw: &str) -> Result<Option<Range<usize>>, Refusal> {
    if raw.starts_with('/') || raw == "*" {
        return Ok(None);
    }
    let scheme_len = ["http://", "https://"]
        .into_iter()
        .find(|scheme| {
            raw.get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
        .ok_or(UNKNOWN_FORM)?
        .len();
    let rest = &raw[scheme_len..];
    let end = scheme_len + rest.find(['/', '?']).unwrap_or(rest.len());
    let authority = &raw.as_bytes()[scheme_len..end];
    // RFC 9110 §4.2.1: a recipient rejects an `http` URI with an empty host.
    if authority.is_empty() || authority[0] == b':' || !is_host(authority) {
        return Err(BAD_AUTHORITY);
    }
    Ok(Some(scheme_len..end))
}

/// What `+` means: itself in a path, a space in a form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    Literal,
    Space,
}

fn decoded(text: &str, plus: Plus) -> Cow<'_, str> {
    decode(text, plus).expect("escapes were checked when the target was read")
}

/// Replaces `%41` by `A`. `None` when a `%` lacks its two hexadecimal digits, or when the bytes
/// that the escapes stand for are not UTF-8.
///
/// A part cut out at an ASCII separator decodes if the whole does, for such a byte never stands
/// within a UTF-8 sequence.
fn decode(text: &str, plus: Plus) -> Option<Cow<'_, str>> {
    let is_plain = |byte: u8| byte != b'%' && !(byte == b'+' && plus == Plus::Space);
    if text.bytes().all(is_plain) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            b'+' if plus == Plus::Space => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

const BAD_CHARACTER: Refusal = Refusal::malformed(
    "The request target is empty or holds a character that must be percent-encoded.",
);
const BAD_ESCAPE: Refusal = Refusal::malformed(
    "The request target holds a percent sign that does not begin an encoded UTF-8 character.",
);
const UNKNOWN_FORM: Refusal =
    Refusal::malformed("The request target is neither a path nor an http URL.");
const ASTERISK: Refusal = Refusal::malformed("The target * belongs to OPTIONS alone.");
const BAD_AUTHORITY: Refusal = Refusal::malformed(
    "The URL in the request target has no host, or one with characters that hosts can't hold.",
);

#[cfg(test)]
mod tests {
    use super::*;

    fn target(raw: &str) -> Target {
        Target::parse(Method::Get, raw.as_bytes()).unwrap()
    }

    fn refused(raw: &str) -> Refusal {
        Target::parse(Method::Get, raw.as_bytes()).unwrap_err()
    }

    fn check_segments(raw: &str, expected: &[&str]) {
        assert_eq!(
            target(raw).segments().collect::<Vec<_>>(),
            expected,
            "{raw}"
        );
    }

    #[test]
    fn segments_are_decoded_but_never_merged_or_resolved() {
        check_segments("/", &[""]);
        check_segments("/v2/tasks", &["v2", "tasks"]);
        check_segments("/v2//tasks/", &["v2", "", "tasks", ""]);
        check_segments("/a/../b", &["a", "..", "b"]);
        check_segments("/a%2Fb/%e2%82%ac+?c/d", &["a/b", "€+"]);
    }

    #[test]
    fn the_query_is_read_as_a_form() {
        let target = target("/p?verbose=true&q=a+b%26c&flag&q=second&=nameless&a%20b=1");
        assert_eq!(target.path(), "/p");
        assert_eq!(target.query("verbose").as_deref(), Some("true"));
        assert_eq!(target.query("q").as_deref(), Some("a b&c"));
        assert_eq!(target.query("flag").as_deref(), Some(""));
        assert_eq!(target.query("a b").as_deref(), Some("1"));
        assert_eq!(target.query("absent"), None);
    }

    #[test]
    fn the_absolute_form_names_its_own_host() {
        let target = target("HTTP://example.com:8080/v2/tasks?limit=1");
        assert_eq!(target.authority(), Some("example.com:8080"));
        assert_eq!(target.path(), "/v2/tasks");
        assert_eq!(target.query("limit").as_deref(), Some("1"));
        check_segments("http://[::1]", &[""]);
        check_segments("http://host?limit=1", &[""]);
    }

    #[test]
    fn what_is_no_target_is_refused_with_its_own_reason() {
        for (raw, reason) in [
            ("", BAD_CHARACTER),
            ("/a\tb", BAD_CHARACTER),
            ("/caf\u{e9}", BAD_CHARACTER),
            ("/a#b", BAD_CHARACTER),
            ("/%", BAD_ESCAPE),
            ("/%4", BAD_ESCAPE),
            ("/%zz", BAD_ESCAPE),
            ("/%ff", BAD_ESCAPE),
            ("/?q=%+1", BAD_ESCAPE),
            ("*", ASTERISK),
            ("path", UNKNOWN_FORM),
            ("host:443", UNKNOWN_FORM),
            ("ftp://host/", UNKNOWN_FORM),
            ("http:///path", BAD_AUTHORITY),
            ("http://:80/", BAD_AUTHORITY),
            ("http://user@host/", BAD_AUTHORITY),
        ] {
            assert_eq!(refused(raw), reason, "{raw:?}");
        }
    }

    #[test]
    fn options_may_ask_about_the_server_as_a_whole() {
        let target = Target::parse(Method::Options, b"*").unwrap();
        assert_eq!((target.raw(), target.path()), ("*", "*"));
    }
}
