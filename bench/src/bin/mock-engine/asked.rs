//! What is asked of the engine.

use orchestratord_gpu::{Generation, Input, Message, Role, Sampling};
use serde_json::Value;

use crate::Protocol;

/// Where work can be asked for, and so what it is and how it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Completion,
    Chat,
    Embedding,
    Rerank,
    /// llama.cpp's own completion.
    Native,
}

impl Route {
    pub(crate) fn of(path: &str, protocol: Protocol) -> Option<Self> {
        match path {
            "/v1/completions" => Some(Self::Completion),
            "/v1/chat/completions" => Some(Self::Chat),
            "/v1/embeddings" => Some(Self::Embedding),
            "/v1/rerank" => Some(Self::Rerank),
            "/completion" if protocol == Protocol::Llamacpp => Some(Self::Native),
            _ => None,
        }
    }
}

pub(crate) struct Asked {
    pub(crate) route: Route,
    pub(crate) generation: Generation,
    pub(crate) is_stream: bool,
    pub(crate) wants_usage: bool,
}

/// As many tokens as there are when nobody says how many.
const MAX_TOKENS: u64 = 16;

impl Asked {
    /// Reads a body.
    ///
    /// # Errors
    /// What it lacks.
    pub(crate) fn read(route: Route, body: &Value) -> Result<Self, &'static str> {
        let max_tokens = match route {
            Route::Native => &body["n_predict"],
            _ => &body["max_tokens"],
        };
        Ok(Self {
            route,
            generation: Generation {
                input: input(route, body)?,
                max_tokens: u32::try_from(max_tokens.as_u64().unwrap_or(MAX_TOKENS))
                    .unwrap_or(u32::MAX),
                sampling: Sampling {
                    temperature: 1.0,
                    top_p: 1.0,
                    top_k: 0,
                    seed: body["seed"].as_u64().unwrap_or_default(),
                },
                stop: Vec::new(),
                session: None,
                reuse: false,
                traceparent: None,
            },
            is_stream: body["stream"].as_bool().unwrap_or_default(),
            wants_usage: body["stream_options"]["include_usage"]
                .as_bool()
                .unwrap_or_default(),
        })
    }
}

fn input(route: Route, body: &Value) -> Result<Input, &'static str> {
    match route {
        Route::Completion | Route::Native => {
            let prompt = body["prompt"]
                .as_str()
                .ok_or("`prompt` is needed, as a text")?;
            Ok(Input::Prompt(prompt.to_owned()))
        }
        Route::Chat => {
            let messages = body["messages"]
                .as_array()
                .map(|messages| messages.iter().map(message));
            let messages = messages.and_then(Iterator::collect::<Option<Vec<_>>>);
            let messages = messages.filter(|messages| !messages.is_empty());
            messages
                .map(Input::Chat)
                .ok_or("`messages` are needed, each with `role` and `content`")
        }
        Route::Embedding => match &body["input"] {
            Value::String(text) => Ok(Input::Embed(vec![text.clone()])),
            texts => texts_of(texts)
                .map(Input::Embed)
                .ok_or("`input` is needed, as texts"),
        },
        Route::Rerank => match (body["query"].as_str(), texts_of(&body["documents"])) {
            (Some(query), Some(documents)) => Ok(Input::Rerank {
                query: query.to_owned(),
                documents,
            }),
            _ => Err("`query` and `documents` are needed, as texts"),
        },
    }
}

fn message(message: &Value) -> Option<Message> {
    let role = match message["role"].as_str()? {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        _ => return None,
    };
    let content = message["content"].as_str()?.to_owned();
    Some(Message { role, content })
}

fn texts_of(texts: &Value) -> Option<Vec<String>> {
    let texts = texts
        .as_array()?
        .iter()
        .map(|text| text.as_str().map(str::to_owned));
    texts
        .collect::<Option<Vec<String>>>()
        .filter(|texts| !texts.is_empty())
}
