//! Plain requests, spoken by a stranger: `ureq` frames them and reads the answers, each on a
//! connection of its own. What needs odd bytes or an open stream goes through [`crate::connection`].

use std::net::SocketAddr;

use serde_json::Value;

use crate::claim::PATIENCE;

/// A request as a feature writes it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `GET`, `POST`, …
    pub(crate) method: String,
    /// The target: path and query.
    pub(crate) path: String,
    /// Fields beside those that framing needs.
    pub(crate) headers: Vec<(String, String)>,
    /// The content, if any.
    pub(crate) body: Option<String>,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The fields, in their order.
    pub(crate) headers: Vec<(String, String)>,
    /// The content, decoded.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A field's value; names are compared without case.
    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        let field = self
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        field.map(|(_, value)| value.as_str())
    }

    /// The content as JSON.
    pub(crate) fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body)
            .map_err(|error| format!("the body is not JSON, {error}: {}", self.text()))
    }

    /// The content as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends `request` and reads the whole answer, whatever its status.
pub(crate) fn send(addr: SocketAddr, request: &Request) -> Result<Answer, String> {
    exchange(addr, request).map_err(|error| format!("{} {}: {error}", request.method, request.path))
}

/// A `GET` without any field of its own.
pub(crate) fn get(addr: SocketAddr, path: &str) -> Result<Answer, String> {
    let (method, path) = ("GET".to_owned(), path.to_owned());
    send(
        addr,
        &Request {
            method,
            path,
            headers: Vec::new(),
            body: None,
        },
    )
}

fn exchange(addr: SocketAddr, request: &Request) -> Result<Answer, ureq::Error> {
    // An error status is an answer like any other; proxies and redirects would hide the daemon.
    let settings = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .max_redirects(0)
        .proxy(None)
        .build();
    let agent = ureq::Agent::new_with_config(settings);
    let mut head = ureq::http::Request::builder()
        .method(request.method.as_str())
        .uri(format!("http://{addr}{}", request.path));
    for (name, value) in &request.headers {
        head = head.header(name, value);
    }
    let answer = match &request.body {
        Some(body) => agent.run(head.body(body.as_str())?),
        None => agent.run(head.body(())?),
    }?;
    let (head, mut body) = answer.into_parts();
    let text =
        |value: &ureq::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body: body.read_to_vec()?,
    })
}
