//! From a request to its handler.
//!
//! A handler is a plain function from a [`Call`] to an [`Outcome`]. It never waits: what takes time
//! (a stream, a task that lives elsewhere) is an outcome that the connection acts on. A panic in a
//! handler, or in an answer that it waits for, answers 500 and harms nobody else ([`panics`](crate::panics)).

mod artifact;
mod caller;
mod catalog;
mod control;
mod description;
mod health;
mod list;
mod meta;
mod pool;
mod session;
mod table;
pub mod task;
mod worker;

use std::{borrow::Cow, pin::Pin};

use futures_channel::oneshot;
use orchestratord_http::{BodyLength, Method, Refusal, server::Request};
use orchestratord_sched::ShardId;
use uuid::Uuid;

pub(crate) use self::description::document;
use self::table::Route;
use super::{Shard, peer::Peer, reader::Subscription, replay::Replay, reply::Reply};
use crate::{
    api::error::{ApiError, Code},
    clock,
    identity::{Caller, Identity, Scope},
    logs,
    panics::{contain, contained},
    shared::bodies::Charge,
    trace::TraceId,
};

/// What the connection does with a request.
pub enum Outcome {
    /// Answers it.
    Reply(Reply),
    /// Answers it after the task's readers have written what they had to say.
    ReplyAfterReaders(Uuid, Reply),
    /// Streams a task.
    Stream(Subscription),
    /// Answers it when another thread has.
    Later(Later),
    /// Streams a task that has ended when another thread has found its events.
    Replay(Pin<Box<dyn Future<Output = Result<Replay, ApiError>>>>),
    /// Takes the request to another shard.
    Elsewhere(ShardId),
    /// Waits until a thief has told where the task is, then asks again.
    InTransit(Uuid),
}

/// An answer that other threads will give.
pub type Later = Pin<Box<dyn Future<Output = Result<Reply, ApiError>>>>;

/// Answers with what another thread sends.
fn later<T: 'static>(
    answer: oneshot::Receiver<Result<T, ApiError>>,
    reply: impl FnOnce(T) -> Reply + 'static,
) -> Outcome {
    Outcome::Later(Box::pin(async move { told(answer).await.map(reply) }))
}

/// What another thread sends.
async fn told<T>(answer: oneshot::Receiver<Result<T, ApiError>>) -> Result<T, ApiError> {
    // Canceled: whoever would have answered is gone.
    let stopping = |_| ApiError::new(Code::PoolDraining, "the daemon is shutting down");
    answer.await.map_err(stopping)?
}

type Handler = fn(&Shard, &Call) -> Result<Outcome, ApiError>;

/// One request, read whole.
pub struct Call {
    /// Its head.
    pub request: Request,
    /// Its body.
    pub body: Vec<u8>,
    /// The caller's own, or a new one.
    pub correlation_id: String,
    /// The caller's own, or a new one.
    pub trace: TraceId,
    /// What the body takes of the memory that all share.
    charge: Charge,
    /// How often it moved to another shard.
    pub hops: usize,
    /// Who calls, or why the request goes no further. Decided before the body is read.
    admitted: Result<(&'static Route, Caller), ApiError>,
}

impl Call {
    /// Looks at the head: route, caller, and whether the body is one that the route takes.
    pub fn open(shard: &Shard, request: Request, peer: Peer) -> Self {
        let correlation_id = request
            .fields
            .get("x-correlation-id")
            .filter(|id| is_correlation_id(id))
            .map_or_else(|| clock::new_id().to_string(), str::to_owned);
        let admitted = contain(|| admit(shard, &request, peer))
            .map_err(ApiError::from)
            .flatten();
        Self {
            trace: TraceId::of(request.fields.get("traceparent")),
            request,
            body: Vec::new(),
            charge: shard.shared.bodies.open(),
            correlation_id,
            hops: 0,
            admitted,
        }
    }

    /// Takes more of the body, if there is memory for it. If there is none the call is refused.
    pub fn take_body(&mut self, bytes: &[u8]) {
        if self.charge.grow_to((self.body.len() + bytes.len()) as u64) {
            self.body.extend_from_slice(bytes);
        } else {
            let message = "as much of long bodies is being read as may be; send it again later";
            self.admitted = Err(ApiError::new(Code::PoolUnready, message));
        }
    }

    /// Whether the body is not worth reading.
    pub fn is_refused(&self) -> bool {
        self.admitted.is_err()
    }

    /// Who calls.
    ///
    /// # Panics
    ///
    /// If the call was refused: no handler sees such a call.
    pub fn caller(&self) -> &Caller {
        let (_, caller) = self
            .admitted
            .as_ref()
            .expect("handlers get admitted calls only");
        caller
    }

    fn identity(&self) -> Option<&Identity> {
        self.admitted
            .as_ref()
            .ok()
            .map(|(_, caller)| &caller.identity)
    }

    /// The path's variable segment, of most routes.
    fn path_id(&self) -> Cow<'_, str> {
        self.segment(2)
    }

    /// The task that the path names.
    fn path_task(&self) -> Option<Uuid> {
        let is_task = self.segment(1) == "tasks";
        is_task.then(|| self.path_id().parse().ok())?
    }

    /// A segment of the path, counted from 0.
    fn segment(&self, index: usize) -> Cow<'_, str> {
        self.request
            .target
            .segments()
            .nth(index)
            .unwrap_or_default()
    }
}

/// 1 to 128 visible ASCII characters: what may be copied into a field and a log line.
fn is_correlation_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

fn admit(
    shard: &Shard,
    request: &Request,
    peer: Peer,
) -> Result<(&'static Route, Caller), ApiError> {
    let route = find(request)?;
    let scope = match route.scope {
        // A scraper on the same machine needs no key.
        Some(Scope::Metrics) if peer.is_local() => None,
        scope => scope,
    };
    let caller = caller::identify(shard, request, peer, scope)?;
    if route.takes_json() {
        expect_json(request)?;
    }
    // What is asked for, comes in a form that the client takes. What is to be done, is done in any case,
    // and told in ours.
    if route.method == Method::Get && !route.description.is_taken_by(&request.fields) {
        let message = "nothing that the route answers with is named in Accept";
        return Err(ApiError::new(Code::NotAcceptable, message));
    }
    Ok((route, caller))
}

fn find(request: &Request) -> Result<&'static Route, ApiError> {
    let segments: Vec<_> = request.target.segments().collect();
    let on_path = || table::on_path(&segments);
    // HEAD is GET without a body (RFC 9110 §9.3.2); the framing leaves the body out.
    let method = match request.method {
        Method::Head => Method::Get,
        method => method,
    };
    if let Some(route) = on_path().find(|route| route.method == method) {
        return Ok(route);
    }
    let methods: Vec<&str> = on_path().map(|route| allowed(route.method)).collect();
    if methods.is_empty() {
        return Err(ApiError::new(Code::NotFound, "there is no such route"));
    }
    Err(ApiError {
        allow: Some(methods.join(", ").into()),
        ..ApiError::new(Code::MethodNotAllowed, "the route has no such method")
    })
}

/// The methods that a route of this one has, as `Allow` lists them.
fn allowed(method: Method) -> &'static str {
    match method {
        Method::Get => "GET, HEAD",
        method => method.as_str(),
    }
}

fn expect_json(request: &Request) -> Result<(), ApiError> {
    if request.body == BodyLength::None {
        return Err(ApiError::new(
            Code::LengthRequired,
            "the route takes a JSON body; send it with Content-Length or chunked",
        ));
    }
    let declared = request.fields.get("content-type").unwrap_or("");
    let media_type = declared.split(';').next().unwrap_or("").trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::new(
        Code::UnsupportedMediaType,
        "the body must be declared as Content-Type: application/json",
    ))
}

/// Runs the call's handler.
pub fn run(shard: &Shard, call: &Call) -> Outcome {
    let outcome = match &call.admitted {
        Err(error) => Err(error.clone()),
        Ok((route, _)) => contain(|| (route.handler)(shard, call))
            .map_err(ApiError::from)
            .flatten(),
    };
    outcome.unwrap_or_else(|error| Outcome::Reply(refusal(call, error)))
}

/// The answer to a request that can't be read, and the id under which the log knows it: the caller's
/// own, if its head could be read.
pub fn misread(refused: &Refusal, call: Option<&Call>) -> (Reply, String) {
    let error = ApiError::new(Code::MalformedRequest(refused.status), refused.reason);
    if let Some(call) = call {
        return (refusal(call, error), call.correlation_id.clone());
    }
    let correlation_id = clock::new_id().to_string();
    logs::refused(&error, &correlation_id, None, None);
    (Reply::error(&error, &correlation_id), correlation_id)
}

/// The answer to whoever connects when no connection more may be served.
pub fn no_place() -> (Reply, String) {
    let message = "as many connections are served as may be; connect again later";
    let error = ApiError::new(Code::PoolUnready, message);
    let correlation_id = clock::new_id().to_string();
    logs::refused(&error, &correlation_id, None, None);
    (Reply::error(&error, &correlation_id), correlation_id)
}

/// Waits for the answer of other threads.
pub async fn settle(call: &Call, later: Later) -> Reply {
    let answer = contained(later).await.map_err(ApiError::from).flatten();
    answer.unwrap_or_else(|error| refusal(call, error))
}

/// The answer to a request that is refused, which the log is told.
pub fn refusal(call: &Call, mut error: ApiError) -> Reply {
    if let Some(task) = call.path_task() {
        error.subject.get_or_insert_default().job_id = Some(task);
    }
    logs::refused(
        &error,
        &call.correlation_id,
        Some(call.trace),
        call.identity(),
    );
    Reply::error(&error, &call.correlation_id)
}
