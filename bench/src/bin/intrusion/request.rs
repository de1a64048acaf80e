//! Requests as honest clients write them.

/// A request without a body.
pub(crate) fn bare(method: &str, target: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    head(method, target, fields, "")
}

/// A request with a body of JSON.
pub(crate) fn json(method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = format!(
        "Content-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    [head(method, target, fields, &length), body.to_vec()].concat()
}

fn head(method: &str, target: &str, fields: &[(&str, &str)], more: &str) -> Vec<u8> {
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}{more}\r\n").into_bytes()
}
