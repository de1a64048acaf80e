//! Servers that speak OpenAI's API: completions, chat and embeddings after
//! <https://platform.openai.com/docs/api-reference>, rerank as llama.cpp, vLLM and others serve it, after
//! <https://docs.cohere.com/reference/rerank>.
//!
//! A text is asked for as a stream with its usage at the end (`stream_options.include_usage`): each event is
//! a chunk with at most one choice, the last one is `[DONE]`. What a model thinks before it answers
//! (`reasoning_content`) is no part of the answer.
//!
//! Where servers of this kind differ, their [`Dialect`] says how.

use crate::dialect::{
    Answer, Counts, First, Piece, Question, ReadResults, Results, Said, Unreadable, finish,
    fold_seed, json, number,
};
use crate::exchange::Target;
use crate::generation::{Generation, Input, Message, Sampling};
use crate::probe::{Answers, Properties};
use crate::vector;
use compact_str::CompactString;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// What is asked to learn how the server is.
pub(crate) const PATHS: &[&str] = &["/v1/models"];

/// What they say.
pub(crate) fn properties(answers: &Answers<'_>) -> Properties {
    Properties {
        ready: answers.succeeds(PATHS[0]),
        ..models(answers)
    }
}

/// In what the servers differ.
pub(crate) struct Dialect {
    /// The `top_k` that takes any token, where the field has to be sent for that.
    pub(crate) top_k_unbounded: Option<i64>,
    /// The `top_p` that takes any token, where the field has to be sent for that.
    pub(crate) top_p_unbounded: Option<f32>,
    /// The highest seed.
    pub(crate) seed_max: u64,
    /// The samplers by name, in order, where the order is up to the caller.
    pub(crate) samplers: &'static [&'static str],
    pub(crate) read_ranking: ReadResults,
}

/// OpenAI's own: its API has no `top_k` and refuses fields that it does not know.
pub(crate) const DIALECT: Dialect = Dialect {
    top_k_unbounded: None,
    top_p_unbounded: None,
    seed_max: i64::MAX as u64,
    samplers: &[],
    read_ranking,
};

/// What to send for a generation.
pub(crate) fn question(target: &Target<'_>, generation: &Generation) -> Question {
    DIALECT.question(target.model, generation)
}

impl Dialect {
    pub(crate) fn question(&self, model: &str, generation: &Generation) -> Question {
        match &generation.input {
            Input::Prompt(prompt) => {
                self.text("/v1/completions", Some(prompt), None, model, generation)
            }
            Input::Chat(messages) => {
                let messages = messages.iter().map(Turn::new).collect();
                self.text(
                    "/v1/chat/completions",
                    None,
                    Some(messages),
                    model,
                    generation,
                )
            }
            Input::Embed(texts) => Question {
                path: "/v1/embeddings".into(),
                body: json(&EmbeddingRequest {
                    model,
                    input: texts,
                    encoding_format: "float",
                }),
                answer: Answer::Whole(read_embeddings),
            },
            Input::Rerank { query, documents } => Question {
                path: "/v1/rerank".into(),
                body: json(&RerankRequest {
                    model,
                    query,
                    documents,
                }),
                answer: Answer::Whole(self.read_ranking),
            },
        }
    }

    fn text<'a>(
        &self,
        path: &'static str,
        prompt: Option<&'a str>,
        messages: Option<Vec<Turn<'a>>>,
        model: &'a str,
        generation: &'a Generation,
    ) -> Question {
        let Sampling {
            temperature,
            top_p,
            top_k,
            seed,
        } = generation.sampling;
        let body = TextRequest {
            model,
            prompt,
            messages,
            max_tokens: generation.max_tokens,
            temperature,
            top_p: if top_p < 1.0 {
                Some(top_p)
            } else {
                self.top_p_unbounded
            },
            top_k: if top_k > 0 {
                Some(top_k.into())
            } else {
                self.top_k_unbounded
            },
            seed: fold_seed(seed, self.seed_max),
            samplers: self.samplers,
            stop: &generation.stop,
            stream: true,
            stream_options: StreamOptions {
                include_usage: true,
            },
        };
        Question {
            path: path.into(),
            body: json(&body),
            answer: Answer::Stream {
                read: read_chunk,
                tells_finish: true,
            },
        }
    }
}

#[derive(Serialize)]
struct TextRequest<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<Turn<'a>>>,
    max_tokens: u32,
    temperature: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<i64>,
    seed: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    samplers: &'a [&'a str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [String],
    stream: bool,
    stream_options: StreamOptions,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: &'a str,
    content: &'a str,
}

impl<'a> Turn<'a> {
    fn new(message: &'a Message) -> Self {
        Self {
            role: message.role.name(),
            content: &message.content,
        }
    }
}

#[derive(Serialize)]
struct EmbeddingRequest<'a> {
    model: &'a str,
    input: &'a [String],
    encoding_format: &'a str,
}

#[derive(Serialize)]
struct RerankRequest<'a> {
    model: &'a str,
    query: &'a str,
    documents: &'a [String],
}

/// Reads the data of one event of a text.
pub(crate) fn read_chunk(data: &[u8]) -> Result<Said, Unreadable> {
    if data == b"[DONE]" {
        return Ok(Said::Done);
    }
    let chunk: Chunk = serde_json::from_slice(data)?;
    if chunk.error.is_some() {
        return Ok(Said::Error);
    }
    let counts = chunk.usage.map(Counts::from).unwrap_or_default();
    let Some(choice) = chunk.choices.and_then(|First(choice)| choice) else {
        return Ok(Said::Piece(Piece {
            counts,
            ..Piece::default()
        }));
    };
    let text = choice.text.or_else(|| choice.delta?.content);
    let finish = match choice.finish_reason.as_deref().map(finish) {
        Some(None) => return Ok(Said::Error),
        finish => finish.flatten(),
    };
    Ok(Said::Piece(Piece {
        text: text.unwrap_or_default(),
        finish,
        counts,
    }))
}

#[derive(Deserialize)]
struct Chunk {
    choices: Option<First<Choice>>,
    usage: Option<TokenUsage>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice {
    /// Of a completion.
    text: Option<CompactString>,
    /// Of a chat.
    delta: Option<Delta>,
    finish_reason: Option<CompactString>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<CompactString>,
}

/// Tokens, as the servers count them.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TokenUsage {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
    /// vLLM tells it only with `--enable-prompt-tokens-details`, SGLang with `--enable-cache-report`.
    prompt_tokens_details: Option<PromptTokens>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct PromptTokens {
    cached_tokens: Option<u32>,
}

impl From<TokenUsage> for Counts {
    fn from(usage: TokenUsage) -> Self {
        Self {
            prompt: usage.prompt_tokens,
            cached: usage
                .prompt_tokens_details
                .and_then(|details| details.cached_tokens),
            completion: usage.completion_tokens,
        }
    }
}

fn read_embeddings(body: &[u8], expected: usize) -> Result<Results, Unreadable> {
    let embeddings: Embeddings = serde_json::from_slice(body)?;
    let results = embeddings
        .data
        .iter()
        .map(|result| Ok((result.index, result.text()?)));
    let results = results.collect::<Result<_, Unreadable>>()?;
    Results::in_order(
        results,
        expected,
        embeddings.usage.unwrap_or_default().into(),
    )
}

#[derive(Deserialize)]
struct Embeddings {
    data: Vec<Embedding>,
    usage: Option<TokenUsage>,
}

#[derive(Deserialize)]
struct Embedding {
    index: usize,
    embedding: Vec<f32>,
}

impl Embedding {
    fn text(&self) -> Result<CompactString, Unreadable> {
        let is_vector = !self.embedding.is_empty() && self.embedding.iter().all(|x| x.is_finite());
        match is_vector {
            true => Ok(vector::json(&self.embedding)),
            false => Err(Unreadable),
        }
    }
}

fn read_ranking(body: &[u8], expected: usize) -> Result<Results, Unreadable> {
    let ranking: Ranking = serde_json::from_slice(body)?;
    let results = ranking.results.iter();
    let results = results.map(|result| Ok((result.index, number(result.relevance_score)?)));
    let results = results.collect::<Result<_, Unreadable>>()?;
    Results::in_order(results, expected, ranking.usage.unwrap_or_default().into())
}

#[derive(Deserialize)]
struct Ranking {
    results: Vec<Ranked>,
    usage: Option<TokenUsage>,
}

#[derive(Deserialize)]
struct Ranked {
    index: usize,
    relevance_score: f32,
}

/// What `/v1/models` says: names, and where the server tells it (vLLM, SGLang) the longest context.
pub(crate) fn models(answers: &Answers<'_>) -> Properties {
    let models: Models = answers.json("/v1/models").unwrap_or_default();
    Properties {
        ctx_max: models
            .data
            .iter()
            .filter_map(|model| model.max_model_len)
            .max(),
        models: crate::probe::names(models.data.into_iter().map(|model| model.id)),
        ..Properties::default()
    }
}

#[derive(Default, Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    max_model_len: Option<u32>,
}
