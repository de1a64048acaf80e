//! Writing heads: what both roles send is a first line, the caller's fields, and the fields that
//! frame the body, which are this crate's alone.

use crate::grammar::{is_field_value, is_token, push_decimal};

/// The fields that frame a message. A caller that wrote one would contradict the body it hands
/// over.
const FRAMING_FIELDS: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// Writes the caller's fields.
///
/// A line break in a value would let whoever chose the value write the rest of the message, so it
/// is checked here and not left to the many places that make values.
pub(crate) fn push_fields(out: &mut Vec<u8>, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        assert!(
            is_token(name.as_bytes()),
            "a field name is a token, {name:?} is not"
        );
        assert!(
            is_field_value(value.as_bytes()),
            "the value of {name} holds a control character"
        );
        debug_assert!(
            !FRAMING_FIELDS
                .iter()
                .any(|framing| framing.eq_ignore_ascii_case(name)),
            "{name} is written by the connection"
        );
        push_field(out, name, value);
    }
}

pub(crate) fn push_field(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

pub(crate) fn push_content_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(b"Content-Length: ");
    push_decimal(out, length as u64);
    out.extend_from_slice(b"\r\n");
}

/// The status line. The version is the sender's own, not the receiver's (RFC 9110 §6.2).
pub(crate) fn push_status_line(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(out, status.into());
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The phrase that goes with a status, for people who read wires (RFC 9110 §15). It may be empty.
const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
