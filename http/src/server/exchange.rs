//! One request and its response: what is still to do about them.

use super::{Request, Response};
use crate::buffer::Buffer;
use crate::chunked::{push_chunk, push_end};
use crate::error::Refusal;
use crate::framing::{BodyLength, BodyReader, Piece};
use crate::head::{Method, Version};
use crate::limits::Limits;
use crate::message::{push_content_length, push_field, push_fields, push_status_line};

#[derive(Debug)]
pub(super) struct Exchange {
    version: Version,
    /// The request was a `HEAD`: the response has the head of a `GET`'s and no body.
    is_head: bool,
    /// The client waits to be told to send its body.
    continue_owed: bool,
    /// `None` once the body was read to its end, or given up.
    body: Option<BodyReader>,
    response: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Owed,
    /// The head is written; the body ends like this.
    Begun(Delimiter),
}

/// How the end of a response's body shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delimiter {
    /// By its `Content-Length`.
    Length(usize),
    /// By an empty chunk.
    Chunk,
    /// By the end of the connection: HTTP/1.0 has no chunks.
    Close,
    /// There is no body, and no field speaks of one.
    Nothing,
}

impl Exchange {
    /// An exchange about a request that could not be read.
    pub(super) const UNREADABLE: Self = Self {
        version: Version::Http11,
        is_head: false,
        continue_owed: false,
        body: None,
        response: Progress::Owed,
    };

    /// An exchange about a request whose body will not be read.
    pub(super) fn without_body(request: &Request) -> Self {
        Self {
            version: request.version,
            is_head: request.method == Method::Head,
            ..Self::UNREADABLE
        }
    }

    pub(super) fn new(request: &Request, limits: &Limits) -> Result<Self, Refusal> {
        Ok(Self {
            version: request.version,
            is_head: request.method == Method::Head,
            continue_owed: request.expects_continue(),
            body: Some(match request.body {
                BodyLength::None => BodyReader::EMPTY,
                BodyLength::Exact(length) => BodyReader::exact(length, limits)?,
                BodyLength::Chunked => BodyReader::chunked(limits),
            }),
            response: Progress::Owed,
        })
    }

    /// Whether the next move is the client's.
    pub(super) fn awaits_body(&self) -> bool {
        self.body.as_ref().is_some_and(|body| !body.is_empty())
    }

    /// Whether nothing more will be read of this request.
    pub(super) const fn is_heard(&self) -> bool {
        self.body.is_none()
    }

    /// The next piece of the body; `None` when its end was told or it was given up.
    pub(super) fn poll_body(
        &mut self,
        buffer: &mut Buffer,
        limits: &Limits,
    ) -> Result<Option<Piece>, Refusal> {
        let Some(body) = &mut self.body else {
            return Ok(None);
        };
        let piece = body.poll(buffer, limits)?;
        if piece == Piece::End {
            self.body = None;
        }
        Ok(Some(piece))
    }

    /// Whether to send a `100 Continue`, which then is no longer owed.
    pub(super) fn take_continue(&mut self) -> bool {
        self.response == Progress::Owed && std::mem::take(&mut self.continue_owed)
    }

    /// How the end of a body shows whose length is not known yet.
    pub(super) const fn stream_delimiter(&self) -> Delimiter {
        match self.version {
            Version::Http10 => Delimiter::Close,
            Version::Http11 | Version::Http2 => Delimiter::Chunk,
        }
    }

    /// Writes the head of the response, and gives up what is unread of the request.
    pub(super) fn begin_response(
        &mut self,
        head: &Response<'_>,
        delimiter: Delimiter,
        closing: bool,
        out: &mut Vec<u8>,
    ) {
        assert_eq!(self.response, Progress::Owed, "one request, one response");
        self.body = None;
        self.response = Progress::Begun(match self.is_head {
            true => Delimiter::Nothing,
            false => delimiter,
        });
        push_status_line(out, head.status);
        push_fields(out, head.fields);
        match delimiter {
            Delimiter::Length(length) => push_content_length(out, length),
            Delimiter::Chunk => push_field(out, "Transfer-Encoding", "chunked"),
            Delimiter::Close | Delimiter::Nothing => {}
        }
        if closing {
            push_field(out, "Connection", "close");
        } else if self.version == Version::Http10 {
            push_field(out, "Connection", "keep-alive");
        }
        out.extend_from_slice(b"\r\n");
    }

    pub(super) fn push_data(&self, data: &[u8], out: &mut Vec<u8>) {
        match self.begun() {
            Delimiter::Nothing => {}
            Delimiter::Chunk => push_chunk(out, data),
            Delimiter::Length(_) | Delimiter::Close => out.extend_from_slice(data),
        }
    }

    pub(super) fn push_end(&self, out: &mut Vec<u8>) {
        if self.begun() == Delimiter::Chunk {
            push_end(out);
        }
    }

    fn begun(&self) -> Delimiter {
        match self.response {
            Progress::Begun(delimiter) => delimiter,
            Progress::Owed => panic!("a stream begins with begin_stream"),
        }
    }
}
