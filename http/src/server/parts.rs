//! Heads that another version of HTTP has taken apart already.
//!
//! HTTP/2 has no lines, so nothing of how they are told apart applies; what they mean does, and so
//! do the limits. A head that comes this way passes the same checks as one that was read here, and
//! what comes out is the same [`Request`].

use crate::error::Refusal;
use crate::fields::FieldsReader;
use crate::framing::{BodyLength, BodyReader, declared_length};
use crate::head::{
    LINE_TOO_LONG, Method, Request, TWO_HOSTS, Version, check_expectation, check_host,
};
use crate::limits::Limits;
use crate::target::Target;

/// What stands in place of a first line (RFC 9113 §8.3.1).
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// `:method`.
    pub method: &'a str,
    /// `:path`. Empty if there is none.
    pub target: &'a str,
    /// `:authority`, if it was sent.
    pub authority: Option<&'a str>,
    /// Whether a body follows, be its length declared or not.
    pub has_body: bool,
}

impl Request {
    /// The request with these parts and fields.
    ///
    /// # Errors
    ///
    /// The refusal of a head that is malformed, ambiguous, too long or not implemented, or whose
    /// declared body is too long.
    pub fn from_parts<'a>(
        parts: &Parts<'a>,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let line_len = parts.method.len() + 1 + parts.target.len();
        if line_len > limits.request_line_max {
            return Err(LINE_TOO_LONG);
        }
        let method = Method::parse(parts.method.as_bytes())?;
        let target = Target::parse(method, parts.target.as_bytes())?;
        let mut reader = FieldsReader::after_line(line_len);
        let mut host = None;
        for (name, value) in fields {
            if name.eq_ignore_ascii_case(b"host") {
                host = Some(value);
            }
            reader.add(name, value, limits)?;
        }
        match (parts.authority, host) {
            // RFC 9113 §8.3.1: two programs that believe different ones see different hosts.
            (Some(authority), Some(host)) if authority.as_bytes() != host => return Err(TWO_HOSTS),
            (Some(authority), None) => reader.add(b"host", authority.as_bytes(), limits)?,
            _ => {}
        }
        let fields = reader.finish();
        check_host(Version::Http2, &fields)?;
        check_expectation(&fields)?;
        let body = match declared_length(Version::Http2, &fields)? {
            BodyLength::None if parts.has_body => BodyLength::Chunked,
            declared => declared,
        };
        if let BodyLength::Exact(length) = body {
            BodyReader::exact(length, limits)?;
        }
        Ok(Self {
            method,
            target,
            version: Version::Http2,
            fields,
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Parts<'_> = Parts {
        method: "GET",
        target: "/v2/tasks?limit=2",
        authority: Some("localhost"),
        has_body: false,
    };

    fn read(parts: &Parts<'_>, fields: &[(&str, &str)]) -> Result<Request, u16> {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        Request::from_parts(parts, fields, &Limits::default()).map_err(|refusal| refusal.status)
    }

    #[test]
    fn the_authority_is_the_host() {
        let request = read(&GET, &[("x-note", " a ")]).unwrap();
        assert_eq!(request.host(), Some("localhost"));
        assert_eq!(request.fields.get("X-Note"), Some("a"));
        assert_eq!(request.target.query("limit").as_deref(), Some("2"));
        assert!(read(&GET, &[("host", "localhost")]).is_ok());
        assert_eq!(read(&GET, &[("host", "elsewhere")]), Err(400));
        let nobody = Parts {
            authority: None,
            ..GET
        };
        assert_eq!(read(&nobody, &[]), Err(400));
        assert!(read(&nobody, &[("host", "localhost")]).is_ok());
    }

    #[test]
    fn a_body_needs_no_length_but_may_have_one() {
        let post = Parts {
            method: "POST",
            has_body: true,
            ..GET
        };
        let length = |parts: &Parts<'_>, fields: &[(&str, &str)]| {
            read(parts, fields).map(|request| request.body)
        };
        assert_eq!(length(&GET, &[]), Ok(BodyLength::None));
        assert_eq!(length(&post, &[]), Ok(BodyLength::Chunked));
        let five = ("content-length", "5");
        assert_eq!(length(&post, &[five]), Ok(BodyLength::Exact(5)));
        assert_eq!(length(&post, &[five, five]), Err(400));
        assert_eq!(length(&post, &[("content-length", "9999999999")]), Err(413));
    }

    #[test]
    fn the_limits_are_those_of_a_head_in_lines() {
        let long = "a".repeat(40 * 1024);
        let target = format!("/{long}");
        let far = Parts {
            target: &target,
            ..GET
        };
        assert_eq!(read(&far, &[]), Err(414));
        assert_eq!(read(&GET, &[("x-note", &long)]), Err(431));
        assert_eq!(read(&GET, &[("x-note", "a"); 101]), Err(431));
    }

    #[test]
    fn what_is_no_request_in_lines_is_none_in_parts() {
        let with_method = |method| read(&Parts { method, ..GET }, &[]);
        assert_eq!(with_method("BREW"), Err(501));
        assert_eq!(with_method("G T"), Err(400));
        let with_target = |target| read(&Parts { target, ..GET }, &[]);
        assert_eq!(with_target("*"), Err(400));
        assert_eq!(with_target(""), Err(400));
        assert_eq!(with_target("/%zz"), Err(400));
        assert_eq!(read(&GET, &[("x-note", "a\r\nb: c")]), Err(400));
        assert_eq!(read(&GET, &[("expect", "a miracle")]), Err(417));
    }
}
