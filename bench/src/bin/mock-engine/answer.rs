//! How an engine's events are written: as chunks of a stream, or as one document.

use orchestratord_gpu::{Event, Finish, Usage};
use serde_json::{Value, json};

use crate::asked::{Asked, Route};

pub(crate) struct Answer {
    route: Route,
    is_stream: bool,
    wants_usage: bool,
    model: Option<String>,
    prompt_tokens: Option<u32>,
    /// What was told so far; of a stream only how many there were matters.
    texts: Vec<String>,
    tokens: u32,
    end: Option<(Finish, Usage)>,
}

impl Answer {
    pub(crate) fn new(asked: &Asked, model: Option<&str>) -> Self {
        let is_text = matches!(asked.route, Route::Completion | Route::Chat | Route::Native);
        Self {
            route: asked.route,
            is_stream: is_text && asked.is_stream,
            wants_usage: asked.wants_usage,
            model: model.map(str::to_owned),
            prompt_tokens: None,
            texts: Vec::new(),
            tokens: 0,
            end: None,
        }
    }

    pub(crate) const fn is_stream(&self) -> bool {
        self.is_stream
    }

    pub(crate) const fn is_complete(&self) -> bool {
        self.end.is_some()
    }

    pub(crate) const fn tokens(&self) -> u32 {
        self.tokens
    }

    /// The chunks of a stream that an event becomes; none of a document.
    pub(crate) fn tell(&mut self, event: Event) -> Vec<String> {
        match event {
            Event::Started { prompt_tokens, .. } => self.prompt_tokens = prompt_tokens,
            Event::Token { text } => {
                self.tokens += 1;
                if self.is_stream {
                    return vec![data(&self.piece(&text))];
                }
                self.texts.push(text.into());
            }
            Event::End { finish, usage } => {
                self.end = Some((finish, usage));
                if self.is_stream {
                    return self.last(finish, usage);
                }
            }
            Event::Fault(_) => {}
        }
        Vec::new()
    }

    fn piece(&self, text: &str) -> Value {
        match self.route {
            Route::Native => {
                json!({"content": text, "stop": false, "tokens_predicted": self.tokens,
                "tokens_evaluated": self.prompt_tokens})
            }
            Route::Chat => self
                .chunk(&json!([{"index": 0, "delta": {"content": text}, "finish_reason": null}])),
            _ => self.chunk(&json!([{"index": 0, "text": text, "finish_reason": null}])),
        }
    }

    fn last(&self, finish: Finish, usage: Usage) -> Vec<String> {
        let finish_reason = finish.name();
        let choice = match self.route {
            Route::Native => return vec![data(&native_end("", finish, usage))],
            Route::Chat => json!({"index": 0, "delta": {}, "finish_reason": finish_reason}),
            _ => json!({"index": 0, "text": "", "finish_reason": finish_reason}),
        };
        let mut chunks = vec![data(&self.chunk(&json!([choice])))];
        if self.wants_usage {
            let mut chunk = self.chunk(&json!([]));
            chunk["usage"] = count(usage);
            chunks.push(data(&chunk));
        }
        chunks.push("data: [DONE]\n\n".to_owned());
        chunks
    }

    fn chunk(&self, choices: &Value) -> Value {
        json!({"object": self.object(), "model": self.model, "choices": choices})
    }

    const fn object(&self) -> &'static str {
        match (self.route, self.is_stream) {
            (Route::Chat, true) => "chat.completion.chunk",
            (Route::Chat, false) => "chat.completion",
            (Route::Completion | Route::Native, _) => "text_completion",
            (Route::Embedding | Route::Rerank, _) => "list",
        }
    }

    /// The whole answer, if it is no stream and complete.
    pub(crate) fn document(&self) -> Option<Value> {
        let (finish, usage) = self.end.filter(|_| !self.is_stream)?;
        let text = self.texts.concat();
        let finish_reason = finish.name();
        let mut document = match self.route {
            Route::Native => return Some(native_end(&text, finish, usage)),
            Route::Chat => {
                let message = json!({"role": "assistant", "content": text});
                self.chunk(
                    &json!([{"index": 0, "message": message, "finish_reason": finish_reason}]),
                )
            }
            Route::Completion => {
                self.chunk(&json!([{"index": 0, "text": text, "finish_reason": finish_reason}]))
            }
            Route::Embedding => {
                json!({"object": "list", "model": self.model, "data": self.results("embedding")})
            }
            Route::Rerank => {
                json!({"object": "list", "model": self.model, "results": self.results("relevance_score")})
            }
        };
        document["usage"] = count(usage);
        Some(document)
    }

    /// A result for each input, each of them JSON already.
    fn results(&self, name: &str) -> Vec<Value> {
        let results = self.texts.iter().enumerate();
        let result = |(index, text): (usize, &String)| {
            let value: Value = serde_json::from_str(text).expect("the script writes JSON");
            json!({"index": index, name: value})
        };
        results.map(result).collect()
    }
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn count(usage: Usage) -> Value {
    let prompt_tokens = usage.prompt_tokens.unwrap_or_default();
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": prompt_tokens.saturating_add(usage.completion_tokens),
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    })
}

fn native_end(text: &str, finish: Finish, usage: Usage) -> Value {
    let stop_type = match finish {
        Finish::Length => "limit",
        Finish::Stop => "eos",
    };
    json!({"content": text, "stop": true, "stop_type": stop_type,
        "tokens_predicted": usage.completion_tokens, "tokens_evaluated": usage.prompt_tokens,
        "timings/cache_n": usage.cached_tokens})
}
