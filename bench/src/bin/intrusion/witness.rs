//! A second reading of requests, of RFC 9112 by way of `httparse`, which is none of ours.
//!
//! It decides nothing about what is refused: whoever refuses can't be disagreed with. Of what a daemon
//! answers it says how many requests there were.

use httparse::{EMPTY_HEADER, Request, Status};

const FIELDS_MAX: usize = 128;

/// How many whole requests these bytes are, with nothing over. None, if they are not a number of them.
pub(crate) fn requests(mut bytes: &[u8]) -> Option<usize> {
    let mut count = 0;
    while !bytes.is_empty() {
        bytes = &bytes[request_len(bytes)?..];
        count += 1;
    }
    Some(count)
}

fn request_len(bytes: &[u8]) -> Option<usize> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut request = Request::new(&mut fields);
    let Ok(Status::Complete(head_len)) = request.parse(bytes) else {
        return None;
    };
    let values = |name: &str| -> Vec<&[u8]> {
        let of_name = request.headers.iter();
        let of_name = of_name.filter(|field| field.name.eq_ignore_ascii_case(name));
        of_name.map(|field| field.value).collect()
    };
    let body = &bytes[head_len..];
    let body_len = match (&*values("content-length"), &*values("transfer-encoding")) {
        ([], []) => 0,
        ([length], []) => std::str::from_utf8(length).ok()?.parse().ok()?,
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => chunked_len(body)?,
        _ => return None,
    };
    body.get(..body_len).map(|body| head_len + body.len())
}

fn chunked_len(body: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let Ok(Status::Complete((line_len, size))) = httparse::parse_chunk_size(&body[at..]) else {
            return None;
        };
        at += line_len;
        if size == 0 {
            return Some(at + trailers_len(&body[at..])?);
        }
        at = at.checked_add(usize::try_from(size).ok()?)?;
        if body.get(at..)?.get(..2) != Some(b"\r\n") {
            return None;
        }
        at += 2;
    }
}

fn trailers_len(bytes: &[u8]) -> Option<usize> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    match httparse::parse_headers(bytes, &mut fields) {
        Ok(Status::Complete((len, _))) => Some(len),
        _ => None,
    }
}
