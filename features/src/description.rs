//! The published description (OpenAPI 3.1), and whether an answer is one that it names.
//!
//! Every answer of every scenario is held against it, so what is published and what is done can't part.

use std::net::SocketAddr;
use std::sync::OnceLock;

use serde_json::Value;

use crate::client::{self, Answer, Request};

/// The same for every daemon of a run: it is built once.
static DOCUMENT: OnceLock<Value> = OnceLock::new();

/// Whether the description names this answer to this request, by its status and media type.
pub(crate) fn check(addr: SocketAddr, request: &Request, answer: &Answer) -> Result<(), String> {
    let document = match DOCUMENT.get() {
        Some(document) => document,
        None => {
            let document = client::get(addr, "/openapi.json")?.json()?;
            DOCUMENT.get_or_init(|| document)
        }
    };
    let asked = format!("{} {}", request.method, request.path);
    let Some(operation) = operation(document, request) else {
        return match answer.status {
            404 | 405 | 501 => Ok(()),
            status => Err(format!("{asked} is not described and answers {status}")),
        };
    };
    let described = &operation["responses"][answer.status.to_string()];
    if described.is_null() {
        return Err(format!("{asked} may not answer {}", answer.status));
    }
    let media_type = answer.header("content-type").map(|declared| {
        let media_type = declared.split(';').next();
        media_type.unwrap_or_default().trim().to_owned()
    });
    match media_type {
        Some(media_type) if described["content"][&media_type].is_null() => Err(format!(
            "{asked} may not answer {} with {media_type}",
            answer.status
        )),
        _ => Ok(()),
    }
}

/// HEAD is GET without a body (RFC 9110 §9.3.2).
fn operation<'d>(document: &'d Value, request: &Request) -> Option<&'d Value> {
    let method = match request.method.as_str() {
        "HEAD" => "get".to_owned(),
        method => method.to_lowercase(),
    };
    let path = request.path.split('?').next()?;
    let mut paths = document["paths"].as_object()?.iter();
    let (_, operations) = paths.find(|(template, _)| matches(template, path))?;
    operations.get(method)
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template
            .zip(path)
            .all(|(one, other)| one.starts_with('{') || one == other)
}
