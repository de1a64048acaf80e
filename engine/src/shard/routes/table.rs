//! The table of routes: method, path, scope, handler, and what is said of it.

use std::{borrow::Cow, fmt};

use orchestratord_http::Method::{self, Delete, Get, Post};

use super::{
    Handler, artifact, catalog, control,
    description::{
        self,
        Content::{Document, Events, Json, Metrics, Nothing, Text},
        Description, describe,
    },
    health, list, meta, pool, session, task, worker,
};
use crate::identity::Scope;

/// One row.
pub(super) struct Route {
    pub(super) method: Method,
    /// A segment in braces matches any one.
    pub(super) path: &'static str,
    /// What the caller's key must cover; `None` is open to everybody.
    pub(super) scope: Option<Scope>,
    pub(super) handler: Handler,
    /// What the published description says of it. It expects a body of JSON if this names one.
    pub(super) description: Description,
}

impl Route {
    /// Whether a body of JSON is expected.
    pub(super) const fn takes_json(&self) -> bool {
        self.description.body.is_some()
    }

    fn matches(&self, segments: &[Cow<'_, str>]) -> bool {
        let expected = self.path.split('/').skip(1);
        expected.clone().count() == segments.len()
            && expected
                .zip(segments)
                .all(|(expected, segment)| expected.starts_with('{') || expected == segment)
    }
}

const fn route(
    method: Method,
    path: &'static str,
    scope: Option<Scope>,
    handler: Handler,
    description: Description,
) -> Route {
    Route {
        method,
        path,
        scope,
        handler,
        description,
    }
}

const DATA: Option<Scope> = Some(Scope::Data);
const CONTROL: Option<Scope> = Some(Scope::Control);
const WORKER: Option<Scope> = Some(Scope::Worker);
const METRICS: Option<Scope> = Some(Scope::Metrics);
const OPEN: Option<Scope> = None;

pub(super) static ROUTES: &[Route] = &[
    route(
        Post,
        "/v2/tasks",
        DATA,
        task::submit,
        describe("Submit a task")
            .takes("TaskRequest")
            .answers(202, Json("Accepted"))
            .refuses(&[404, 409, 429]),
    ),
    route(
        Get,
        "/v2/tasks",
        DATA,
        list::list,
        describe("List your tasks")
            .reads(description::PAGE)
            .answers(200, Json("TaskList")),
    ),
    route(
        Get,
        "/v2/tasks/{id}",
        DATA,
        task::show,
        describe("How a task stands").answers(200, Json("TaskView")),
    ),
    route(
        Get,
        "/v2/tasks/{id}/events",
        DATA,
        task::events,
        describe("Read a task's events")
            .reads(description::STREAM)
            .answers(200, Events)
            .or_nothing(),
    ),
    route(
        Post,
        "/v2/tasks/{id}/cancel",
        DATA,
        task::cancel,
        describe("End a task").answers(204, Nothing),
    ),
    route(
        Get,
        "/v2/sessions/{id}",
        DATA,
        session::show,
        describe("What a session may still spend").answers(200, Json("SessionView")),
    ),
    route(
        Delete,
        "/v2/sessions/{id}",
        DATA,
        session::delete,
        describe("End a session").answers(204, Nothing),
    ),
    route(
        Get,
        "/v2/pools",
        DATA,
        pool::list,
        describe("List the pools").answers(200, Json("PoolList")),
    ),
    route(
        Get,
        "/v2/pools/{id}/health",
        DATA,
        pool::health,
        describe("How a pool stands").answers(200, Json("PoolHealth")),
    ),
    route(
        Post,
        "/v2/pools/{id}/drain",
        CONTROL,
        control::drain,
        describe("Take a pool out of service")
            .takes("DrainRequest")
            .answers(202, Json("PoolChanged")),
    ),
    route(
        Post,
        "/v2/pools/{id}/undrain",
        CONTROL,
        control::undrain,
        describe("Take a pool back into service").answers(202, Json("PoolChanged")),
    ),
    route(
        Post,
        "/v2/pools/{id}/reload",
        CONTROL,
        control::reload,
        describe("Give a pool another model")
            .takes("ReloadRequest")
            .answers(200, Json("PoolChanged"))
            .refuses(&[409]),
    ),
    route(
        Post,
        "/v2/pools/{id}/purge",
        CONTROL,
        control::purge,
        describe("Remove a pool's engines or files")
            .takes("PurgeRequest")
            .answers(202, Json("PoolChanged"))
            .refuses(&[409]),
    ),
    route(
        Post,
        "/v2/workers/register",
        WORKER,
        worker::register,
        describe("Bind a server that generates, or say that it is still there")
            .takes("RegisterRequest")
            .answers(200, Json("Registered")),
    ),
    route(
        Delete,
        "/v2/workers/{pool_id}/{replica_id}",
        WORKER,
        worker::unregister,
        describe("Unbind a server").answers(204, Nothing),
    ),
    route(
        Post,
        "/v2/artifacts",
        DATA,
        artifact::store,
        describe("Keep an artifact")
            .takes("ArtifactSpec")
            .answers(201, Json("ArtifactCreated")),
    ),
    route(
        Get,
        "/v2/artifacts/{id}",
        DATA,
        artifact::show,
        describe("Read an artifact back").answers(200, Json("Artifact")),
    ),
    route(
        Post,
        "/v2/catalog/models",
        CONTROL,
        catalog::register,
        describe("Register a model")
            .reads(description::TRUST)
            .takes("ModelSpec")
            .answers(201, Json("ModelView"))
            .refuses(&[409]),
    ),
    route(
        Get,
        "/v2/catalog/models/{id}",
        DATA,
        catalog::show,
        describe("How a model stands").answers(200, Json("ModelView")),
    ),
    route(
        Delete,
        "/v2/catalog/models/{id}",
        CONTROL,
        catalog::remove,
        describe("Forget a model").answers(204, Nothing),
    ),
    route(
        Post,
        "/v2/catalog/models/{id}/verify",
        CONTROL,
        catalog::verify,
        describe("Hash a model's file").answers(202, Json("ModelView")),
    ),
    route(
        Post,
        "/v2/catalog/models/{id}/state",
        CONTROL,
        catalog::set_state,
        describe("Retire a model, or take it back")
            .takes("StateRequest")
            .answers(202, Json("ModelView")),
    ),
    route(
        Get,
        "/v2/meta/capabilities",
        DATA,
        meta::capabilities,
        describe("What the daemon can do").answers(200, Json("Capabilities")),
    ),
    route(
        Get,
        "/v2/meta/version",
        DATA,
        meta::version,
        describe("Which release it is").answers(200, Json("Version")),
    ),
    route(
        Get,
        "/openapi.json",
        OPEN,
        meta::openapi,
        describe("This description").answers(200, Document),
    ),
    route(
        Get,
        "/metrics",
        METRICS,
        meta::metrics,
        describe("Metrics, as Prometheus or OpenMetrics by `Accept`").answers(200, Metrics),
    ),
    route(
        Get,
        "/livez",
        OPEN,
        health::live,
        describe("Whether the daemon answers").answers(200, Text),
    ),
    route(
        Get,
        "/readyz",
        OPEN,
        health::ready,
        describe("Whether new work would be taken").answers(200, Text),
    ),
    route(
        Get,
        "/healthz",
        OPEN,
        health::ready,
        describe("Whether new work would be taken").answers(200, Text),
    ),
];

/// The routes whose path this is.
pub(super) fn on_path(segments: &[Cow<'_, str>]) -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(|route| route.matches(segments))
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.method, self.path)
    }
}
