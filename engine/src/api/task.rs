//! A task as callers write it and as they read it.
//!
//! A request is parsed and checked here, whole: what comes out ([`Submission`]) obeys every bound
//! that does not depend on a pool. Unknown fields are refused by name, so that a misspelt
//! `dead_line_ms` is an error and not a silently missing deadline.

pub mod input;
pub mod list;

use std::time::Duration;

use input::{Fields, Message, Workload};
use orchestratord_gpu::{Input, Sampling};
use orchestratord_sched::{
    Class, Text,
    placement::{Needs, Wish},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    error::{ApiError, Code},
    placement::{Determinism, PlacementRequest},
    preparation::Preparation,
};

/// Tokens generated when the caller sets no bound: a few paragraphs.
pub const MAX_TOKENS_DEFAULT: u32 = 256;
/// Stop strings a request may bring; each is compared at every token.
pub const STOPS_MAX: usize = 16;
/// Bytes of one stop string.
pub const STOP_BYTES_MAX: usize = 256;

/// What happens when the last reader of a stream goes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnect {
    /// The task is a durable job and goes on.
    #[default]
    Continue,
    /// Nobody listens, nobody generates.
    Cancel,
}

/// What becomes of what the session's last turn left in its KV cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KvHint {
    /// It is used again: the session's last replica is preferred.
    #[default]
    Reuse,
    /// It is not.
    Cold,
}

/// The class of a task, as callers write it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Somebody is waiting.
    #[default]
    Interactive,
    /// Nobody is.
    Batch,
}

impl From<Priority> for Class {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Interactive => Self::Interactive,
            Priority::Batch => Self::Batch,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize, ToSchema)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

/// The body of `POST /v2/tasks`, word for word. Two bodies are the same request exactly when
/// these are equal.
#[derive(Clone, Debug, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskRequest {
    task_id: Option<Uuid>,
    session_id: Option<Uuid>,
    #[serde(default)]
    kv_hint: KvHint,
    #[serde(default)]
    workload: Workload,
    model_ref: String,
    engine: Option<String>,
    ctx: Option<u32>,
    #[serde(default)]
    priority: Priority,
    /// What a completion continues.
    prompt: Option<String>,
    /// What a chat answers, the oldest first.
    messages: Option<Vec<Message>>,
    /// The texts of an embedding; of a rerank, the query and then the documents. Each text or document
    /// is answered by one `token` event, whose `i` is its place and whose `t` is JSON: the vector as
    /// an array of numbers, or the score as a number.
    inputs: Option<Vec<String>>,
    max_tokens: Option<u32>,
    expected_tokens: Option<u32>,
    deadline_ms: Option<i64>,
    seed: Option<u64>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<u32>,
    stop: Option<Stop>,
    #[serde(default)]
    determinism: Determinism,
    sampler_profile_version: Option<String>,
    #[serde(default)]
    on_disconnect: OnDisconnect,
    placement: Option<PlacementRequest>,
}

/// A checked request.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// The id that the caller chose.
    pub task_id: Option<Uuid>,
    /// The conversation that it is a turn of.
    pub session_id: Option<Uuid>,
    /// See [`KvHint`].
    pub kv_hint: KvHint,
    /// Which model; resolved to a pool later.
    pub model_ref: String,
    /// Only pools of this engine.
    pub engine: Option<String>,
    /// Tokens of context needed.
    pub ctx_tokens: u32,
    /// Its class.
    pub priority: Priority,
    /// What to work on.
    pub input: Input,
    /// At least 1. As many as there are results, where that is known.
    pub max_tokens: u32,
    /// The caller's own estimate, never above `max_tokens`.
    pub expected_tokens: u32,
    /// From admission until the last token is wanted.
    pub deadline: Option<Duration>,
    /// `None`: the daemon draws one.
    pub seed: Option<u64>,
    /// How tokens are chosen; its seed is filled in at admission.
    pub sampling: Sampling,
    /// Texts that end the generation.
    pub stop: Vec<String>,
    /// See [`Determinism`].
    pub determinism: Determinism,
    /// The sampler profile that it wants.
    pub sampler_profile: Option<String>,
    /// See [`OnDisconnect`].
    pub on_disconnect: OnDisconnect,
    /// Where it wants to run.
    pub placement: Wish,
}

impl Submission {
    /// Parses and checks a body.
    ///
    /// # Errors
    ///
    /// 400 with a sentence that names the field.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        super::parse::<TaskRequest>(body)?.check()
    }

    /// Whether it is answered with a text, which may be longer or shorter, and which the next turn of a
    /// conversation may begin with.
    pub const fn generates_text(&self) -> bool {
        matches!(self.input, Input::Prompt(_) | Input::Chat(_))
    }

    /// What it says about where it can run.
    pub fn needs(&self) -> Needs<'_> {
        Needs {
            wish: &self.placement,
            engine: self.engine.as_deref(),
            ctx_tokens: self.ctx_tokens,
            determinism: self.determinism.into(),
            sampler_profile: self.sampler_profile.as_deref(),
        }
    }

    /// What is known of its text when it has so many tokens.
    pub const fn text(&self, tokens_out: u32) -> Text {
        Text {
            tokens_expected: self.expected_tokens,
            tokens_max: self.max_tokens,
            tokens_out,
        }
    }
}

impl TaskRequest {
    fn check(self) -> Result<Submission, ApiError> {
        let sampling = sampling(&self)?;
        let max_tokens = at_least_one("max_tokens", self.max_tokens)?;
        let expected = at_least_one("expected_tokens", self.expected_tokens)?;
        let deadline = deadline(self.deadline_ms)?;
        let chooses_tokens = self.chooses_tokens();
        let fields = Fields {
            prompt: self.prompt,
            messages: self.messages,
            inputs: self.inputs,
        };
        let input = fields.input(self.workload)?;
        let results = input::results(&input);
        if let (Some(_), Some(field)) = (results, chooses_tokens) {
            let message = format!("`{field}` is for texts, and this workload generates none");
            return Err(ApiError::invalid(message));
        }
        let max_tokens = results.or(max_tokens).unwrap_or(MAX_TOKENS_DEFAULT);
        Ok(Submission {
            task_id: self.task_id,
            session_id: self.session_id,
            kv_hint: self.kv_hint,
            model_ref: self.model_ref,
            engine: self.engine,
            ctx_tokens: self.ctx.unwrap_or(0),
            priority: self.priority,
            input,
            max_tokens,
            expected_tokens: expected.unwrap_or(max_tokens).min(max_tokens),
            deadline,
            seed: self.seed,
            sampling,
            stop: stops(self.stop)?,
            determinism: self.determinism,
            sampler_profile: self.sampler_profile_version,
            on_disconnect: self.on_disconnect,
            placement: self.placement.unwrap_or_default().check()?,
        })
    }

    /// The first field that says how many tokens there are to be, or which.
    fn chooses_tokens(&self) -> Option<&'static str> {
        let fields = [
            ("max_tokens", self.max_tokens.is_some()),
            ("temperature", self.temperature.is_some()),
            ("top_p", self.top_p.is_some()),
            ("top_k", self.top_k.is_some()),
            ("stop", self.stop.is_some()),
        ];
        let chooses = fields.into_iter().find(|(_, is_there)| *is_there);
        chooses.map(|(field, _)| field)
    }
}

fn at_least_one(field: &str, value: Option<u32>) -> Result<Option<u32>, ApiError> {
    match value {
        Some(0) => Err(ApiError::invalid(format!("`{field}` must be at least 1"))),
        value => Ok(value),
    }
}

fn deadline(deadline_ms: Option<i64>) -> Result<Option<Duration>, ApiError> {
    let Some(ms) = deadline_ms else {
        return Ok(None);
    };
    match u64::try_from(ms) {
        Ok(ms) if ms > 0 => Ok(Some(Duration::from_millis(ms))),
        _ => Err(ApiError::new(
            Code::DeadlineUnmet,
            "`deadline_ms` has already passed: it counts from now and must be positive",
        )),
    }
}

fn sampling(request: &TaskRequest) -> Result<Sampling, ApiError> {
    let temperature = request.temperature.unwrap_or(1.0);
    if !(0.0..=2.0).contains(&temperature) {
        return Err(ApiError::invalid("`temperature` must lie between 0 and 2"));
    }
    let top_p = request.top_p.unwrap_or(1.0);
    if !(top_p > 0.0 && top_p <= 1.0) {
        return Err(ApiError::invalid("`top_p` must be above 0 and at most 1"));
    }
    Ok(Sampling {
        temperature,
        top_p,
        top_k: request.top_k.unwrap_or(0),
        seed: request.seed.unwrap_or(0),
    })
}

fn stops(stop: Option<Stop>) -> Result<Vec<String>, ApiError> {
    let stops = match stop {
        None => Vec::new(),
        Some(Stop::One(stop)) => vec![stop],
        Some(Stop::Many(stops)) => stops,
    };
    if stops.len() > STOPS_MAX {
        return Err(ApiError::invalid(format!(
            "`stop` takes at most {STOPS_MAX} strings"
        )));
    }
    if stops
        .iter()
        .any(|stop| stop.is_empty() || stop.len() > STOP_BYTES_MAX)
    {
        return Err(ApiError::invalid(format!(
            "each string of `stop` must have 1 to {STOP_BYTES_MAX} bytes"
        )));
    }
    Ok(stops)
}

/// Where a task's events are read.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Streams {
    /// Path of the event stream.
    pub sse: String,
    /// The same with everything in it.
    pub sse_verbose: String,
}

/// The body of a 202.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Accepted {
    /// The task.
    pub task_id: Uuid,
    /// Tasks ahead, across the pool: one's own, and of other callers' as many as get their turn
    /// before.
    pub queue_position: u32,
    /// The predicted wait until its first token is computed.
    pub predicted_start_ms: u64,
    /// How long a caller with more work should wait before the next request; 0 while there is room.
    pub backoff_ms: u64,
    /// Where to read it.
    pub streams: Streams,
    /// What must happen first.
    pub preparation: Preparation,
}

impl Streams {
    /// The paths of a task.
    pub fn of(task_id: Uuid) -> Self {
        Self {
            sse: format!("/v2/tasks/{task_id}/events"),
            sse_verbose: format!("/v2/tasks/{task_id}/events?verbose=true"),
        }
    }
}

/// When things happened to a task, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct Timings {
    /// Admission.
    pub admitted_ms: u64,
    /// A slot was free.
    pub started_ms: Option<u64>,
    /// The first token came.
    pub first_token_ms: Option<u64>,
    /// It ended, however.
    pub ended_ms: Option<u64>,
}

/// Where a task runs or ran.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Placement {
    /// The pool.
    pub pool_id: String,
    /// The replica; unknown while the task waits.
    pub replica_id: Option<String>,
    /// What made the pool the one: `auto` `preference` `pin`, or `fallback` when it was not asked for.
    pub chosen_by: &'static str,
}

/// The body of `GET /v2/tasks/{id}`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TaskView {
    /// The task.
    pub task_id: Uuid,
    /// `queued` `running` `completed` `canceled` `failed`.
    pub state: &'static str,
    /// The conversation that it is a turn of.
    pub session_id: Option<Uuid>,
    /// Its class.
    pub priority: Priority,
    /// Tasks ahead at admission.
    pub queue_position: u32,
    /// The wait that was predicted at admission.
    pub predicted_start_ms: u64,
    /// See [`Timings`].
    pub timings: Timings,
    /// See [`Placement`].
    pub placement: Placement,
    /// What must happen before it can start.
    pub preparation: Preparation,
    /// Tokens of the prompt, once the engine has counted them; some never tell.
    pub tokens_in: Option<u32>,
    /// Tokens generated so far.
    pub tokens_out: u32,
    /// Why it failed, for a task that did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// The artifact that says how it went, once it has ended and that is on the disk.
    pub transcript_artifact_id: Option<String>,
    /// Where to read it.
    pub streams: Streams,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> ApiError {
        Submission::parse(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn the_smallest_task_is_a_model_and_a_prompt() {
        let task = Submission::parse(br#"{"model_ref":"tales","prompt":"Once"}"#).unwrap();
        assert_eq!(task.max_tokens, MAX_TOKENS_DEFAULT);
        assert_eq!(task.priority, Priority::Interactive);
        assert_eq!(task.on_disconnect, OnDisconnect::Continue);
    }

    #[test]
    fn every_refusal_names_its_field() {
        let check = |extra: &str, field: &str| {
            let message = refusal(&format!(r#"{{"model_ref":"m","prompt":"p",{extra}}}"#)).message;
            assert!(message.contains(field), "{message}");
        };
        check(r#""dead_line_ms":5"#, "dead_line_ms");
        check(r#""max_tokens":0"#, "max_tokens");
        check(r#""max_tokens":"many""#, "max_tokens");
        check(r#""max_tokens":-1"#, "max_tokens");
        check(r#""temperature":3"#, "temperature");
        check(r#""top_p":0"#, "top_p");
        check(r#""stop":[""]"#, "stop");
        check(r#""priority":"urgent""#, "priority");
        check(r#""task_id":"42""#, "task_id");
        assert!(refusal("{}").message.contains("model_ref"));
        assert!(refusal(r#"{"model_ref":"m"}"#).message.contains("prompt"));
        assert!(refusal("{").message.contains("not what the route takes"));
    }

    #[test]
    fn a_deadline_in_the_past_is_unmet() {
        for ms in [0, -5] {
            let body = format!(r#"{{"model_ref":"m","prompt":"p","deadline_ms":{ms}}}"#);
            assert_eq!(refusal(&body).code, Code::DeadlineUnmet);
        }
    }

    #[test]
    fn one_stop_string_or_many() {
        let stops = |json: &str| {
            let body = format!(r#"{{"model_ref":"m","prompt":"p","stop":{json}}}"#);
            Submission::parse(body.as_bytes()).unwrap().stop
        };
        assert_eq!(stops(r#""\n""#), ["\n"]);
        assert_eq!(stops(r#"["a","b"]"#), ["a", "b"]);
    }
}
