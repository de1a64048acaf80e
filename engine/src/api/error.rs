//! What a caller is told when something can't be done: one enum of codes, each with its status.
//!
//! The codes are the contract's; the same code serves in a response body and in an `error` event.
//! A message is one sentence for the caller; it never names a path, an address or a backtrace.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::sentence::shown;
use crate::{identity::guesses::Network, shared::snapshot::Pool};

/// The contract's error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// The request is not what the route takes.
    InvalidParams,
    /// The deadline has passed or can't be met.
    DeadlineUnmet,
    /// A model that must be trusted is not, or is not what its digest says.
    UntrustedArtifact,
    /// A key is needed and none was shown.
    MissingKey,
    /// The key is not a configured one.
    InvalidKey,
    /// The key's scopes don't cover the route.
    Forbidden,
    /// No such route or thing.
    NotFound,
    /// No such task, or not the caller's.
    TaskNotFound,
    /// The model reference resolves to no pool.
    ModelNotFound,
    /// No such pool.
    PoolNotFound,
    /// The route exists, the method doesn't.
    MethodNotAllowed,
    /// The client takes nothing that the route answers with.
    NotAcceptable,
    /// The id is taken by something else.
    Conflict,
    /// The pool's model could not be replaced.
    ReloadFailed,
    /// What is to be removed is being used.
    InUse,
    /// The body is not JSON by its own declaration.
    UnsupportedMediaType,
    /// The body's length was not declared.
    LengthRequired,
    /// The request itself is malformed or too large; the status is the framing's.
    MalformedRequest(u16),
    /// The queue is full.
    AdmissionReject,
    /// The queue is full and nothing in it may be dropped for this task; or this task was dropped
    /// for another.
    QueueFullDropLru,
    /// As many are kept as may be.
    RateLimited,
    /// The session has no turn left, or can't afford this one.
    BudgetExhausted,
    /// A bug of ours or a broken machine.
    Internal,
    /// The engine broke before or while it generated.
    WorkerReset,
    /// The model's pool has no live replica.
    PoolUnavailable,
    /// The pool, or the daemon, takes no new work.
    PoolDraining,
    /// The pool exists and is not ready yet.
    PoolUnready,
    /// The replica's order queue is full.
    ReplicaExhausted,
    /// The engine stopped talking.
    DecodeTimeout,
    /// The caller ended the task.
    Canceled,
}

impl Code {
    /// The HTTP status of a response with this code.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidParams | Self::DeadlineUnmet | Self::UntrustedArtifact => 400,
            Self::MissingKey => 401,
            Self::InvalidKey | Self::Forbidden => 403,
            Self::NotFound | Self::TaskNotFound | Self::ModelNotFound | Self::PoolNotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::Conflict | Self::ReloadFailed | Self::InUse => 409,
            Self::LengthRequired => 411,
            Self::UnsupportedMediaType => 415,
            Self::MalformedRequest(status) => status,
            Self::AdmissionReject
            | Self::QueueFullDropLru
            | Self::RateLimited
            | Self::BudgetExhausted => 429,
            // A canceled task is told by an event; no response carries it.
            Self::Internal | Self::Canceled => 500,
            Self::WorkerReset => 502,
            Self::PoolUnavailable
            | Self::PoolDraining
            | Self::PoolUnready
            | Self::ReplicaExhausted => 503,
            Self::DecodeTimeout => 504,
        }
    }

    /// Whether the same request may succeed later, unchanged.
    pub fn is_retriable(self) -> bool {
        self != Self::BudgetExhausted && matches!(self.status(), 408 | 429 | 502 | 503 | 504)
    }

    /// The policy behind every 429, where the refusal names none that is more exact.
    fn policy(self) -> Option<&'static str> {
        match self {
            Self::RateLimited => Some("rate_limit"),
            Self::BudgetExhausted => Some("session_budget"),
            _ => None,
        }
    }

    /// The contract's spelling. Framing errors have no name of their own there: they are invalid
    /// parameters of a lower floor.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidParams
            | Self::MalformedRequest(_)
            | Self::UnsupportedMediaType
            | Self::LengthRequired => "INVALID_PARAMS",
            Self::DeadlineUnmet => "DEADLINE_UNMET",
            Self::UntrustedArtifact => "UNTRUSTED_ARTIFACT",
            Self::MissingKey => "MISSING_KEY",
            Self::InvalidKey => "INVALID_KEY",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::TaskNotFound => "TASK_NOT_FOUND",
            Self::ModelNotFound => "MODEL_NOT_FOUND",
            Self::PoolNotFound => "POOL_NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::NotAcceptable => "NOT_ACCEPTABLE",
            Self::Conflict => "CONFLICT",
            Self::ReloadFailed => "RELOAD_FAILED",
            Self::InUse => "IN_USE",
            Self::AdmissionReject => "ADMISSION_REJECT",
            Self::QueueFullDropLru => "QUEUE_FULL_DROP_LRU",
            Self::RateLimited => "RATE_LIMITED",
            Self::BudgetExhausted => "BUDGET_EXHAUSTED",
            Self::Internal => "INTERNAL",
            Self::WorkerReset => "WORKER_RESET",
            Self::PoolUnavailable => "POOL_UNAVAILABLE",
            Self::PoolDraining => "POOL_DRAINING",
            Self::PoolUnready => "POOL_UNREADY",
            Self::ReplicaExhausted => "REPLICA_EXHAUSTED",
            Self::DecodeTimeout => "DECODE_TIMEOUT",
            Self::Canceled => "CANCELED",
        }
    }
}

/// The body of every refusal.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ErrorBody<'a> {
    /// What kind, for programs.
    code: &'a str,
    /// One sentence for people.
    message: &'a str,
    /// The engine concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<&'a str>,
    /// Whether the same request may succeed later.
    retriable: bool,
    /// How long to wait before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    /// The admission policy that refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_label: Option<&'a str>,
    /// Under which the log knows the request.
    correlation_id: &'a str,
}

/// What a refusal is about, for the log. What is not known is absent.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// The task.
    pub job_id: Option<Uuid>,
    /// The session.
    pub session_id: Option<Uuid>,
    /// The pool.
    pub pool_id: Option<String>,
    /// The version of the pool's engine.
    pub engine_version: Option<String>,
    /// Where the request came from, if that is what it is about.
    pub network: Option<Network>,
}

/// When to come back, where nobody knows: the causes are such as pass in a moment.
const UNKNOWN_WAIT: Duration = Duration::from_secs(1);

/// One refusal: its code, its sentence, and when to come back if that is known.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// What kind.
    pub code: Code,
    /// One sentence for the caller.
    pub message: String,
    /// How long to wait before asking again.
    pub retry_after: Option<Duration>,
    /// The admission policy that refused.
    pub policy_label: Option<&'static str>,
    /// The engine concerned.
    pub engine: Option<&'static str>,
    /// The methods that the route has, for 405.
    pub allow: Option<Box<str>>,
    /// What it is about.
    pub subject: Option<Box<Subject>>,
}

impl ApiError {
    /// An error with nothing but a code and a sentence, which may quote others.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: shown(message.into()),
            retry_after: None,
            policy_label: None,
            engine: None,
            allow: None,
            subject: None,
        }
    }

    /// 400 with a sentence that names the field.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParams, message)
    }

    /// The sentence for a task that doesn't exist for this caller.
    pub fn task_not_found() -> Self {
        Self::new(Code::TaskNotFound, "there is no such task")
    }

    /// The sentence for what could not be written to the store.
    pub fn disk_failed() -> Self {
        Self::new(Code::Internal, "the daemon's disk has failed")
    }

    /// The same, with the wait that `Retry-After` tells.
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same, about this pool.
    pub fn about(mut self, pool: &Pool) -> Self {
        self.engine = Some(pool.engine);
        let subject = self.subject.get_or_insert_default();
        subject.pool_id = Some(pool.id.clone());
        subject.engine_version = Some(pool.engine_version.clone());
        self
    }

    /// The same, about whoever calls from there.
    pub fn seen_from(mut self, network: Network) -> Self {
        self.subject.get_or_insert_default().network = Some(network);
        self
    }

    /// The same, about a task that was not admitted.
    pub fn about_submission(mut self, task: Option<Uuid>, session: Option<Uuid>) -> Self {
        let subject = self.subject.get_or_insert_default();
        subject.job_id = task;
        subject.session_id = session;
        self
    }

    /// How long to wait before asking again. Whoever is told that it is a matter of time is told of
    /// how much.
    pub fn wait(&self) -> Option<Duration> {
        let is_temporary = matches!(self.code.status(), 429 | 503);
        self.retry_after.or(is_temporary.then_some(UNKNOWN_WAIT))
    }

    /// The body of the response.
    pub fn body(&self, correlation_id: &str) -> Vec<u8> {
        super::json(&ErrorBody {
            code: self.code.name(),
            message: &self.message,
            engine: self.engine,
            retriable: self.code.is_retriable(),
            retry_after_ms: self.wait().map(super::whole_ms),
            policy_label: self.policy_label.or(self.code.policy()),
            correlation_id,
        })
    }
}
