//! What the published description (OpenAPI 3.1, `GET /openapi.json`) says of each route.
//!
//! It is made from the table of routes and from the types of bodies ([`crate::api::openapi`]), so a
//! route can't be forgotten; the features hold every answer that they get against it.

use std::sync::LazyLock;

use orchestratord_http::{Fields, Method};
use utoipa::{
    OpenApi as _,
    openapi::{
        ContentBuilder, HttpMethod, Info, License, Object, OpenApi, Ref, RefOr, ResponseBuilder,
        SecurityRequirement, Type,
        path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::Schema,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::table::{ROUTES, Route};
use crate::{api::openapi::Bodies, metrics};

/// What stands in the body of an answer.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// Nothing.
    Nothing,
    /// A word.
    Text,
    /// An event stream.
    Events,
    /// An exposition.
    Metrics,
    /// This description.
    Document,
    /// JSON of the type of that name.
    Json(&'static str),
}

impl Content {
    /// What it may be declared as.
    const fn media_types(self) -> &'static [&'static str] {
        match self {
            Self::Nothing => &[],
            Self::Text => &["text/plain"],
            Self::Events => &["text/event-stream"],
            Self::Metrics => &metrics::Format::MEDIA_TYPES,
            Self::Document | Self::Json(_) => &["application/json"],
        }
    }
}

/// Something that a request may carry beside its body and path.
#[derive(Clone, Copy)]
pub(super) struct Parameter {
    place: Place,
    name: &'static str,
    kind: Kind,
    description: &'static str,
}

#[derive(Clone, Copy)]
enum Place {
    Query,
    Header,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    OneOf(&'static [&'static str]),
    Number { min: u32, max: Option<u32> },
    Flag,
}

const fn query(name: &'static str, kind: Kind, description: &'static str) -> Parameter {
    Parameter {
        place: Place::Query,
        name,
        kind,
        description,
    }
}

const fn header(name: &'static str, kind: Kind, description: &'static str) -> Parameter {
    Parameter {
        place: Place::Header,
        name,
        kind,
        description,
    }
}

/// Of a list that is read a page at a time.
pub(super) const PAGE: &[Parameter] = &[
    query(
        "state",
        Kind::OneOf(&["queued", "running", "completed", "canceled", "failed"]),
        "Only tasks in this state",
    ),
    query("pool", Kind::Text, "Only tasks of this pool"),
    query(
        "limit",
        Kind::Number {
            min: 1,
            max: Some(1000),
        },
        "Tasks of a page; 100 unless told otherwise",
    ),
    query("cursor", Kind::Text, "`next_cursor` of the page before"),
];

/// Of a task's events.
pub(super) const STREAM: &[Parameter] = &[
    query("verbose", Kind::Flag, "Say more"),
    header(
        "Last-Event-ID",
        Kind::Number { min: 0, max: None },
        "The stream goes on after this event",
    ),
];

/// Of a model that is registered.
pub(super) const TRUST: &[Parameter] = &[header(
    "X-Trust-Policy",
    Kind::OneOf(&["strict", "best_effort"]),
    "`strict` refuses what no trusted key has signed",
)];

/// What is said of one route.
pub(super) struct Description {
    /// The type of the body that it takes.
    pub(super) body: Option<&'static str>,
    summary: &'static str,
    parameters: &'static [Parameter],
    answer: (u16, Content),
    /// There may be nothing to answer with: 204.
    may_be_empty: bool,
    /// Statuses of refusals that other routes don't have.
    refusals: &'static [u16],
}

/// A route with this purpose.
pub(super) const fn describe(summary: &'static str) -> Description {
    Description {
        body: None,
        summary,
        parameters: &[],
        answer: (200, Content::Nothing),
        may_be_empty: false,
        refusals: &[],
    }
}

impl Description {
    pub(super) const fn takes(self, body: &'static str) -> Self {
        Self {
            body: Some(body),
            ..self
        }
    }

    pub(super) const fn reads(self, parameters: &'static [Parameter]) -> Self {
        Self { parameters, ..self }
    }

    pub(super) const fn answers(self, status: u16, content: Content) -> Self {
        Self {
            answer: (status, content),
            ..self
        }
    }

    pub(super) const fn or_nothing(self) -> Self {
        Self {
            may_be_empty: true,
            ..self
        }
    }

    /// Whether the client takes one of the forms that the answer has.
    pub(super) fn is_taken_by(&self, fields: &Fields) -> bool {
        let (_, content) = self.answer;
        let forms = content.media_types();
        forms.is_empty() || forms.iter().any(|form| fields.accepts(form) > 0)
    }

    pub(super) const fn refuses(self, refusals: &'static [u16]) -> Self {
        Self { refusals, ..self }
    }
}

/// Refusals of the framing and of the daemon as a whole, which any request may get.
const ANY_REFUSAL: &[u16] = &[400, 408, 414, 417, 431, 500, 503];
/// Of a route that something is asked of.
const GET_REFUSALS: &[u16] = &[406];
/// Of a route that needs a key, which may have been used too often.
const KEY_REFUSALS: &[u16] = &[401, 403, 429];
/// Of a route that takes a body.
const BODY_REFUSALS: &[u16] = &[411, 413, 415];

/// The description, as JSON; the same for as long as the daemon lives.
pub(crate) fn document() -> &'static [u8] {
    static DOCUMENT: LazyLock<Vec<u8>> = LazyLock::new(|| crate::api::json(&describe_all()));
    &DOCUMENT
}

fn describe_all() -> OpenApi {
    let mut api = Bodies::openapi();
    let mut info = Info::new("orchestratord", env!("CARGO_PKG_VERSION"));
    info.description = Some(env!("CARGO_PKG_DESCRIPTION").to_owned());
    let mut license = License::new("Apache-2.0 OR MIT");
    license.identifier = Some("Apache-2.0 OR MIT".to_owned());
    info.license = Some(license);
    api.info = info;
    for route in ROUTES {
        let method = match route.method {
            Method::Get => HttpMethod::Get,
            Method::Post => HttpMethod::Post,
            Method::Delete => HttpMethod::Delete,
            Method::Put => HttpMethod::Put,
            Method::Patch => HttpMethod::Patch,
            Method::Head => HttpMethod::Head,
            Method::Options => HttpMethod::Options,
        };
        api.paths
            .add_path_operation(route.path, vec![method], operation(route));
    }
    let components = api.components.get_or_insert_default();
    let key = ApiKey::Header(ApiKeyValue::new("X-API-Key"));
    components.add_security_scheme("key", SecurityScheme::ApiKey(key));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    api
}

fn operation(route: &Route) -> Operation {
    let description = &route.description;
    let mut operation = OperationBuilder::new().summary(Some(description.summary));
    for name in path_parameters(route.path) {
        let id = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .schema(Some(text()));
        operation = operation.parameter(id);
    }
    for parameter in description.parameters {
        operation = operation.parameter(described(parameter));
    }
    if let Some(body) = description.body {
        let body = RequestBodyBuilder::new()
            .content("application/json", content(named(body)))
            .required(Some(utoipa::openapi::Required::True));
        operation = operation.request_body(Some(body.build()));
    }
    let (status, answer) = description.answer;
    operation = operation.response(status.to_string(), response(answer));
    if description.may_be_empty {
        operation = operation.response("204", response(Content::Nothing));
    }
    for status in refusals(route) {
        operation = operation.response(status.to_string(), response(Content::Json("ErrorBody")));
    }
    if route.scope.is_some() {
        for scheme in ["key", "bearer"] {
            let nothing: [&str; 0] = [];
            operation = operation.security(SecurityRequirement::new(scheme, nothing));
        }
        // Without configured keys nobody needs one.
        operation = operation.security(SecurityRequirement::default());
    }
    operation.build()
}

/// What stands in braces.
fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    let segments = path.split('/');
    segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn refusals(route: &Route) -> impl Iterator<Item = u16> {
    let of = |applies: bool, statuses: &'static [u16]| {
        let statuses = if applies { statuses } else { &[] };
        statuses.iter().copied()
    };
    of(true, ANY_REFUSAL)
        .chain(of(route.method == Method::Get, GET_REFUSALS))
        .chain(of(route.scope.is_some(), KEY_REFUSALS))
        .chain(of(route.takes_json(), BODY_REFUSALS))
        .chain(of(route.path.contains('{'), &[404]))
        .chain(of(true, route.description.refusals))
}

fn response(answer: Content) -> utoipa::openapi::Response {
    let (schema, what) = match answer {
        Content::Nothing => return ResponseBuilder::new().description("Done").build(),
        // OpenAPI 3.1 has no words for a stream of events.
        Content::Events => {
            let events = ResponseBuilder::new().description("The events");
            let unsaid = ContentBuilder::new().build();
            return events.content("text/event-stream", unsaid).build();
        }
        Content::Text => (text(), "A word"),
        Content::Metrics => (text(), "An exposition"),
        Content::Document => (
            RefOr::T(Schema::Object(Object::with_type(Type::Object))),
            "An OpenAPI 3.1 document",
        ),
        Content::Json("ErrorBody") => (named("ErrorBody"), "A refusal"),
        Content::Json(name) => (named(name), "The answer"),
    };
    let response = ResponseBuilder::new().description(what);
    let with = |response: ResponseBuilder, media_type: &&str| {
        response.content(*media_type, content(schema.clone()))
    };
    answer.media_types().iter().fold(response, with).build()
}

fn content(schema: RefOr<Schema>) -> utoipa::openapi::Content {
    ContentBuilder::new().schema(Some(schema)).build()
}

fn named(name: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}

fn text() -> RefOr<Schema> {
    RefOr::T(Schema::Object(Object::with_type(Type::String)))
}

fn described(parameter: &Parameter) -> ParameterBuilder {
    let mut schema = Object::with_type(match parameter.kind {
        Kind::Text | Kind::OneOf(_) => Type::String,
        Kind::Number { .. } => Type::Integer,
        Kind::Flag => Type::Boolean,
    });
    match parameter.kind {
        Kind::Text | Kind::Flag => {}
        Kind::OneOf(words) => {
            schema.enum_values = Some(words.iter().map(|word| (*word).into()).collect());
        }
        Kind::Number { min, max } => {
            schema.minimum = Some(min.into());
            schema.maximum = max.map(Into::into);
        }
    }
    ParameterBuilder::new()
        .name(parameter.name)
        .parameter_in(match parameter.place {
            Place::Query => ParameterIn::Query,
            Place::Header => ParameterIn::Header,
        })
        .description(Some(parameter.description))
        .required(utoipa::openapi::Required::False)
        .schema(Some(RefOr::T(Schema::Object(schema))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn references<'d>(value: &'d Value, found: &mut Vec<&'d str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_body_that_a_route_names_is_described() {
        let document: Value = serde_json::from_slice(document()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > ROUTES.len());
        for reference in found {
            let place = reference.trim_start_matches('#');
            assert!(document.pointer(place).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_route_stands_in_the_document() {
        let document: Value = serde_json::from_slice(document()).unwrap();
        for route in ROUTES {
            let method = route.method.as_str().to_lowercase();
            assert!(
                document["paths"][route.path][method].is_object(),
                "{route:?}"
            );
        }
    }
}
