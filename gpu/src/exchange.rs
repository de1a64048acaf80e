//! One request to an engine that is spoken to over HTTP, and its answer.
//!
//! **After each [`receive`](Exchange::receive) look whether it [is over](Exchange::is_over); when the
//! socket ends, say so with [`receive_end`](Exchange::receive_end).**

use crate::event::{Event, Fault, Finish, Usage};
use crate::generation::{Generation, Input};
use crate::kind::EngineKind;
use orchestratord_http::{Method, client, sse};
use serde::Deserialize;
use serde_json::json;

/// Bytes of one event of an answer: far more than any token.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// What it is.
    pub kind: EngineKind,
    /// The `Host` field.
    pub host: &'a str,
    /// What stands before each path, without a slash at its end.
    pub base_path: &'a str,
    /// What it calls its model.
    pub model: &'a str,
    /// What it wants as `Authorization: Bearer`.
    pub key: Option<&'a str>,
}

/// A request and its answer.
#[derive(Debug)]
pub struct Exchange {
    connection: client::Connection,
    events: sse::Decoder,
    status: u16,
    started: bool,
    finish: Option<Finish>,
    usage: Usage,
    over: bool,
    whole: bool,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<ChunkUsage>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    text: String,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct ChunkUsage {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default)]
    completion_tokens: u32,
}

impl Exchange {
    /// Writes the request.
    ///
    /// # Errors
    ///
    /// Why it can't be asked; nothing was written.
    pub fn begin(
        mut connection: client::Connection,
        target: &Target<'_>,
        generation: &Generation,
        out: &mut Vec<u8>,
    ) -> Result<Self, Fault> {
        let Input::Prompt(prompt) = &generation.input else {
            return Err(Fault::Unsupported(generation.input.workload()));
        };
        let body = json!({
            "model": target.model,
            "prompt": prompt,
            "max_tokens": generation.max_tokens,
            "temperature": generation.sampling.temperature,
            "top_p": generation.sampling.top_p,
            "seed": generation.sampling.seed,
            "stop": generation.stop,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        let path = format!("{}/v1/completions", target.base_path);
        let key = target.key.map(|key| format!("Bearer {key}"));
        let mut fields = vec![("Content-Type", "application/json")];
        fields.extend(key.iter().map(|key| ("Authorization", key.as_str())));
        let trace = generation.traceparent.iter();
        fields.extend(trace.map(|trace| ("traceparent", trace.as_str())));
        let head = client::Request {
            method: Method::Post,
            target: &path,
            host: target.host,
            fields: &fields,
        };
        connection.request(&head, body.to_string().as_bytes(), out);
        Ok(Self {
            connection,
            events: sse::Decoder::new(EVENT_BYTES_MAX),
            status: 0,
            started: false,
            finish: None,
            usage: Usage::default(),
            over: false,
            whole: false,
        })
    }

    /// Bytes from the socket.
    pub fn receive(&mut self, bytes: &[u8], emit: &mut dyn FnMut(Event)) {
        self.connection.receive(bytes);
        self.listen(emit);
    }

    /// The engine has closed its side.
    pub fn receive_end(&mut self, emit: &mut dyn FnMut(Event)) {
        self.connection.receive_end();
        self.listen(emit);
        if !self.over {
            self.fail("the engine broke off its answer", emit);
        }
    }

    /// Whether nothing more will be said.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// The connection, if another request may be made on it.
    #[must_use]
    pub fn into_connection(self) -> Option<client::Connection> {
        (self.whole && self.connection.is_reusable()).then_some(self.connection)
    }

    fn fail(&mut self, reason: &str, emit: &mut dyn FnMut(Event)) {
        self.over = true;
        emit(Event::Fault(Fault::Broken(reason.into())));
    }

    fn listen(&mut self, emit: &mut dyn FnMut(Event)) {
        while !self.over {
            match self.connection.poll() {
                Ok(client::Event::NeedMore) => return,
                Ok(client::Event::Response(response)) => self.status = response.status,
                Ok(client::Event::Body(body)) if self.status == 200 => {
                    let body = body.to_vec();
                    self.read(&body, emit);
                }
                Ok(client::Event::Body(_)) => {}
                Ok(client::Event::Complete) => self.end(emit),
                Err(_) => self.fail("the engine's answer is malformed", emit),
            }
        }
    }

    fn read(&mut self, mut body: &[u8], emit: &mut dyn FnMut(Event)) {
        loop {
            let chunk: Result<Chunk, _> = match self.events.decode(&mut body) {
                Ok(None) => return,
                Ok(Some(event)) if event.data == b"[DONE]" => continue,
                Ok(Some(event)) => serde_json::from_slice(event.data),
                Err(sse::TooLong) => return self.fail("the engine says too much at once", emit),
            };
            match chunk {
                Ok(chunk) => self.hear(chunk, emit),
                Err(_) => return self.fail("the engine's answer is malformed", emit),
            }
        }
    }

    fn hear(&mut self, chunk: Chunk, emit: &mut dyn FnMut(Event)) {
        if !core::mem::replace(&mut self.started, true) {
            emit(Event::Started {
                prompt_tokens: 0,
                cached_tokens: 0,
            });
        }
        if let Some(usage) = chunk.usage {
            self.usage = Usage {
                prompt_tokens: usage.prompt_tokens,
                completion_tokens: usage.completion_tokens,
            };
        }
        for choice in chunk.choices {
            if !choice.text.is_empty() {
                let text = choice.text.into();
                emit(Event::Token { text });
            }
            self.finish = choice.finish_reason.map_or(self.finish, |reason| {
                let is_length = reason == "length";
                Some(if is_length {
                    Finish::Length
                } else {
                    Finish::Stop
                })
            });
        }
    }

    fn end(&mut self, emit: &mut dyn FnMut(Event)) {
        (self.over, self.whole) = (true, true);
        emit(match (self.status, self.finish) {
            (200, Some(finish)) => Event::End {
                finish,
                usage: self.usage,
            },
            (200, None) => Event::Fault(Fault::Broken("the engine broke off its answer".into())),
            (429 | 503, _) => Event::Fault(Fault::Busy),
            (400..500, _) => Event::Fault(Fault::Refused("the engine refuses the task".into())),
            _ => Event::Fault(Fault::Broken("the engine answers with an error".into())),
        });
    }
}
