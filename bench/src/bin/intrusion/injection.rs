//! What callers and engines say, wherever it is told on: in answers, in the log, in metrics and in events.
//!
//! Each hostile text is put in every place of a request where text may stand, and a hostile engine says all of them.
//! Afterwards each answer has had the fields that it should have and no other, each line of the log is one line, no
//! byte of it acts on a terminal, there are as many series as before, and an event is what the daemon meant.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use orchestratord_bench::Failure;
use orchestratord_gpu::is_visible;
use serde_json::{Value, json};

use crate::findings::{Findings, require};
use crate::hostile_engine;
use crate::request::{bare, json as with_json};
use crate::stage::Stage;
use crate::wire::{Answer, Wire};

/// Texts that end lines, fields and strings, that act on terminals, or that are too long for a label.
pub(crate) fn texts() -> Vec<String> {
    let texts = [
        "a\r\nX-Injected: 1",
        "a\r\n\r\nHTTP/1.1 200 OK\r\nX-Injected: 1\r\nContent-Length: 0\r\n\r\n",
        "a\n{\"event\":\"FORGED\"}",
        "a\nFORGED a line",
        "a\n\nevent: end\ndata: {\"FORGED\":1}\n\n",
        "\",\"event\":\"FORGED\",\"x\":\"",
        "a\"} 1\nFORGED{x=\"",
        "\\",
        "\\\"",
        "\0",
        "\u{1b}[2J\u{1b}]0;FORGED\u{7}",
        "\u{9b}31m",
        "\u{202e}DEGROF",
        "a\u{2028}FORGED",
        "\u{feff}\u{200b}",
        "%0d%0aX-Injected:%201",
        "{}`$(FORGED)'",
        "../../etc/passwd",
    ];
    let mut texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
    texts.push("x".repeat(5000));
    texts.push("é".repeat(2000));
    texts
}

const ID: &str = "7d444840-9dc0-41d1-b245-5ffdce74fad2";
/// Fields of requests that are read, or told on, by somebody.
const FIELDS: [&str; 11] = [
    "X-Correlation-Id",
    "traceparent",
    "tracestate",
    "Last-Event-ID",
    "Accept",
    "X-API-Key",
    "Authorization",
    "X-Trust-Policy",
    "User-Agent",
    "Idempotency-Key",
    "X-Session-Id",
];
/// Paths that hold a name.
const PATHS: [(&str, &str); 13] = [
    ("GET", "/v2/tasks/{}"),
    ("GET", "/v2/tasks/{}/events"),
    ("POST", "/v2/tasks/{}/cancel"),
    ("GET", "/v2/sessions/{}"),
    ("DELETE", "/v2/sessions/{}"),
    ("GET", "/v2/pools/{}/health"),
    ("POST", "/v2/pools/{}/undrain"),
    ("DELETE", "/v2/workers/{}/{}"),
    ("GET", "/v2/artifacts/{}"),
    ("GET", "/v2/catalog/models/{}"),
    ("POST", "/v2/catalog/models/{}/verify"),
    ("DELETE", "/v2/catalog/models/{}"),
    ("GET", "/{}"),
];
const QUERIES: [&str; 6] = [
    "/v2/tasks?state={}",
    "/v2/tasks?pool={}",
    "/v2/tasks?limit={}",
    "/v2/tasks?cursor={}",
    "/v2/tasks?{}={}",
    "/v2/tasks/7d444840-9dc0-41d1-b245-5ffdce74fad2/events?verbose={}",
];
/// What answers may carry.
const ANSWER_FIELDS: [&str; 14] = [
    "date",
    "x-correlation-id",
    "content-type",
    "content-length",
    "connection",
    "location",
    "retry-after",
    "x-backoff-ms",
    "allow",
    "www-authenticate",
    "x-budget-tokens-remaining",
    "x-budget-time-remaining-ms",
    "x-budget-cost-remaining",
    "transfer-encoding",
];

pub(crate) fn play(stage: &Stage, findings: &mut Findings) -> Result<(), Failure> {
    for format in ["json", "pretty"] {
        let scene = format!("injection-{format}");
        // What a disk keeps is another promise's affair, and would take most of the time.
        let arguments = [
            "--engine=mock",
            "--slots=64",
            "--durability=off",
            "--transcripts=off",
        ];
        let victim = stage.daemon(&scene, format, &arguments)?;
        let addr = victim.addr;
        let before = series(addr)?;
        let mut wire = Wire::open(addr)?;
        for text in texts() {
            for request in requests(&text) {
                findings.tried(
                    &format!("{text:.40?} in {:.60?}", String::from_utf8_lossy(&request)),
                    put(&mut wire, addr, &request),
                );
            }
        }
        let after = series(addr)?;
        // Operators name models, which are bounded, and a pool that is reloaded has another replica.
        let known: BTreeSet<String> = before.iter().map(|series| of_any_replica(series)).collect();
        let new: Vec<_> = after
            .iter()
            .filter(|series| !series.starts_with("model_state{"))
            .filter(|series| !known.contains(&of_any_replica(series)))
            .collect();
        findings.tried(
            "series of metrics",
            require(new.is_empty(), || format!("there are new ones: {new:?}")),
        );
        hostile_engine::play(addr, findings)?;
        findings.tried("metrics of a hostile engine", series(addr).map(drop));
        let log = victim.into_log()?;
        findings.tried(
            &format!("the log in {format}"),
            is_clean(&log, format == "json"),
        );
    }
    Ok(())
}

/// Sends it and looks at the answer. A refusal of the framing ends the connection; another is made.
fn put(wire: &mut Wire, addr: SocketAddr, request: &[u8]) -> Result<(), Failure> {
    wire.send(request);
    let answer = match wire.answer() {
        Ok(Some(answer)) => answer,
        Ok(None) | Err(_) => {
            *wire = Wire::open(addr)?;
            return Err(Failure("it was not answered".to_owned()));
        }
    };
    if answer.field("connection") == Some("close") {
        let more = wire.rest()?;
        *wire = Wire::open(addr)?;
        require(more.is_empty(), || {
            "something follows the last answer".to_owned()
        })?;
    }
    is_honest(&answer)
}

/// An answer with the fields that answers have, whose body says nothing that can't be seen.
pub(crate) fn is_honest(answer: &Answer) -> Result<(), Failure> {
    for (name, value) in &answer.fields {
        let is_known = ANSWER_FIELDS.contains(&&*name.to_lowercase());
        require(is_known, || format!("the answer has a field `{name}`"))?;
        let is_text = value.iter().all(|byte| (b' '..=b'~').contains(byte));
        require(is_text, || {
            format!("the field `{name}` is {:?}", String::from_utf8_lossy(value))
        })?;
    }
    if answer.field("content-type") != Some("application/json") {
        return Ok(());
    }
    let controls = answer.body.iter().any(u8::is_ascii_control);
    let body = serde_json::from_slice::<Value>(&answer.body);
    let body = body.map_err(|error| Failure::new("reading an answer as JSON", error))?;
    let message = body["message"].as_str().unwrap_or_default();
    require(!controls && message.chars().all(is_visible), || {
        format!("the answer says {message:?}")
    })
}

/// A text in every place.
fn requests(text: &str) -> Vec<Vec<u8>> {
    let escaped: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut requests = Vec::new();
    for field in FIELDS {
        requests.push(bare("GET", "/v2/tasks", &[(field, text)]));
    }
    for (method, path) in PATHS {
        requests.push(bare(method, &path.replace("{}", &escaped), &[]));
    }
    for query in QUERIES {
        requests.push(bare("GET", &query.replace("{}", &escaped), &[]));
    }
    for (target, honest) in documents() {
        let post =
            |document: &Value| with_json("POST", target, &[], document.to_string().as_bytes());
        for name in honest
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
        {
            let mut document = honest.clone();
            document[name] = match &honest[name] {
                Value::Array(_) => json!([text, text]),
                Value::Object(_) => json!({text: text}),
                _ => json!(text),
            };
            requests.push(post(&document));
        }
        let mut document = honest.clone();
        document[text] = json!(text);
        requests.push(post(&document));
    }
    requests
}

/// A document of each route, with every field that text may be put in.
fn documents() -> Vec<(&'static str, Value)> {
    vec![
        (
            "/v2/tasks",
            json!({
                "model_ref": "mock", "prompt": "a", "max_tokens": 1, "task_id": ID, "session_id": ID, "engine": "mock",
                "workload": "completion", "priority": "batch", "determinism": "best_effort", "sampler_profile_version": "1",
                "kv_hint": "cold", "on_disconnect": "cancel", "stop": ["a"], "seed": 1,
                "placement": {"mode": "auto"},
            }),
        ),
        (
            "/v2/tasks",
            json!({"model_ref": "mock", "workload": "chat", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}),
        ),
        (
            "/v2/tasks",
            json!({"model_ref": "mock", "prompt": "a", "placement": {"pin_pool_id": "a", "prefer_pools": [], "avoid_pools": []}}),
        ),
        (
            "/v2/artifacts",
            json!({"kind": "other", "content": "a", "tags": ["a"], "parent": "a", "metadata": {"a": "b"}}),
        ),
        (
            "/v2/catalog/models",
            json!({
                "id": "a", "digest": format!("sha256:{}", "0".repeat(64)), "source_url": "file:/a", "tags": ["a"], "manifests": ["a"],
                "signatures": ["a"], "sbom": "a", "trust_policy": "best_effort",
            }),
        ),
        ("/v2/catalog/models/a/state", json!({"state": "Active"})),
        (
            "/v2/workers/register",
            json!({
                "pool_id": "a", "replica_id": "b", "engine": "none", "url": "http://127.0.0.1:9", "slots": 1, "engine_version": "1",
                "device_mask": "0", "model_ref": "a",
            }),
        ),
        ("/v2/pools/default/reload", json!({"new_model_ref": "a"})),
        ("/v2/pools/nowhere/drain", json!({"deadline_ms": 1})),
        ("/v2/pools/nowhere/purge", json!({"drain_first": true})),
    ]
}

/// The series of a scrape, each line of which is what a scraper reads.
fn series(addr: SocketAddr) -> Result<BTreeSet<String>, Failure> {
    let answer = Wire::open(addr)?.ask(&bare("GET", "/metrics", &[]))?;
    let text =
        String::from_utf8(answer.body).map_err(|error| Failure::new("reading metrics", error))?;
    let mut series = BTreeSet::new();
    for line in text
        .lines()
        .filter(|line| !line.starts_with("# HELP ") && !line.starts_with("# TYPE "))
    {
        let (name, value) = line.rsplit_once(' ').unwrap_or((line, ""));
        require(value.parse::<f64>().is_ok() && is_series(name), || {
            format!("the metrics have a line {line:?}")
        })?;
        require(series.insert(name.to_owned()), || {
            format!("the metrics tell twice of {name}")
        })?;
    }
    Ok(series)
}

/// The same, whichever replica it is about.
fn of_any_replica(series: &str) -> String {
    let Some((start, rest)) = series.split_once("replica_id=\"") else {
        return series.to_owned();
    };
    let end = rest.split_once('"').map_or("", |(_, end)| end);
    format!("{start}{end}")
}

/// `name` or `name{label="value",…}`, in whose values `\`, `"` and line ends are escaped.
fn is_series(series: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let Some((name, labels)) = series.split_once('{') else {
        return is_name(series);
    };
    let Some(mut labels) = labels.strip_suffix('}') else {
        return false;
    };
    while let Some((label, rest)) = labels.split_once("=\"") {
        let mut escaped = false;
        let end = rest.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let (true, Some(end)) = (is_name(label), end) else {
            return false;
        };
        let value = &rest[..end];
        if !value.chars().all(is_visible) {
            return false;
        }
        labels = rest[end + 1..].trim_start_matches(',');
    }
    is_name(name) && labels.is_empty()
}

/// Lines that are each one object, or at least one line, and nothing that acts on a terminal.
fn is_clean(log: &[u8], is_json: bool) -> Result<(), Failure> {
    let log = std::str::from_utf8(log).map_err(|error| Failure::new("reading the log", error))?;
    require(log.lines().count() > 100, || {
        "the log tells of nothing".to_owned()
    })?;
    for line in log.lines() {
        // Text may be escaped in JSON; then it is a terminal's affair only when somebody has unpacked it.
        require(line.chars().all(is_visible), || {
            format!("a line of the log is {line:?}")
        })?;
        require(!line.starts_with("FORGED"), || {
            format!("a line of the log is forged: {line}")
        })?;
        if !is_json {
            continue;
        }
        let read = serde_json::from_str::<Value>(line).unwrap_or_default();
        require(read.is_object() && read["event"] != "FORGED", || {
            format!("a line of the log is {line:?}")
        })?;
    }
    Ok(())
}
