//! An engine that says hostile texts: as tokens, as its version, as its models, and as its errors.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use orchestratord_bench::Failure;
use orchestratord_gpu::is_visible;
use serde_json::{Value, json};

use crate::findings::{Findings, require};
use crate::injection::{is_honest, texts};
use crate::request::{bare, json as with_json};
use crate::wire::Wire;

const MODEL: &str = "hostile";
/// How long until its daemon has looked at it.
const PATIENCE: Duration = Duration::from_secs(10);
/// The prompt that it answers with errors.
const FAILING: &str = "fail";

/// Binds one to the daemon and reads what becomes of what it says.
pub(crate) fn play(addr: SocketAddr, findings: &mut Findings) -> Result<(), Failure> {
    let listener =
        TcpListener::bind("127.0.0.1:0").map_err(|error| Failure::new("listening", error))?;
    let here = listener
        .local_addr()
        .map_err(|error| Failure::new("listening", error))?;
    // It ends with the program, as the daemon that it serves does before.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    let worker = json!({
        "pool_id": MODEL, "replica_id": "r", "engine": "vllm", "url": format!("http://{here}"), "slots": 4, "model_ref": MODEL,
    });
    let mut wire = Wire::open(addr)?;
    let bound = wire.ask(&with_json(
        "POST",
        "/v2/workers/register",
        &[],
        worker.to_string().as_bytes(),
    ))?;
    require(bound.status == 200, || {
        format!("it was not bound: {}", bound.json())
    })?;
    let give_up = Instant::now() + PATIENCE;
    while wire.ask(&health())?.json()["ready"] != true {
        let told = wire.ask(&health())?.json();
        require(Instant::now() < give_up, || {
            format!("it is not ready: {told}")
        })?;
        thread::sleep(Duration::from_millis(10));
    }
    let health = wire.ask(&health())?;
    findings.tried(
        "what a hostile engine calls itself",
        is_honest(&health).and_then(|()| is_visible_text(&health.json())),
    );
    findings.tried("tokens of a hostile engine", tokens(&mut wire));
    findings.tried("errors of a hostile engine", errors(&mut wire));
    Ok(())
}

fn health() -> Vec<u8> {
    bare("GET", &format!("/v2/pools/{MODEL}/health"), &[])
}

/// All its texts, as they were said, in events that are each what they seem.
fn tokens(wire: &mut Wire) -> Result<(), Failure> {
    let events = stream(wire, "tell")?;
    let mut told = String::new();
    for (at, event) in (0_usize..).zip(&events) {
        let lines: Vec<&str> = event.split('\n').collect();
        let [id, name, data] = lines[..] else {
            return Err(Failure(format!("an event is {event:?}")));
        };
        require(id == format!("id: {at}"), || {
            format!("the event {at} has {id:?}")
        })?;
        let name = name.strip_prefix("event: ").unwrap_or_default();
        let data: Value = data
            .strip_prefix("data: ")
            .and_then(|data| serde_json::from_str(data).ok())
            .unwrap_or_default();
        let is_known = matches!(name, "started" | "token" | "metrics" | "end");
        require(
            is_known && data.is_object() && data["FORGED"].is_null(),
            || format!("an event is {event:?}"),
        )?;
        if name == "token" {
            told += data["t"].as_str().unwrap_or_default();
        }
    }
    require(told == texts().concat(), || {
        format!("what was told is {told:?}")
    })
}

fn errors(wire: &mut Wire) -> Result<(), Failure> {
    let events = stream(wire, FAILING)?;
    let last = events.last().map_or("", |event| event);
    require(last.contains("event: error"), || {
        format!("the last event is {last:?}")
    })?;
    let data = last.lines().find_map(|line| line.strip_prefix("data: "));
    let data: Value = data
        .and_then(|data| serde_json::from_str(data).ok())
        .unwrap_or_default();
    is_visible_text(&data)
}

/// The events of a task.
fn stream(wire: &mut Wire, prompt: &str) -> Result<Vec<String>, Failure> {
    let task = json!({"model_ref": MODEL, "prompt": prompt, "max_tokens": 1000});
    let task = wire
        .ask(&with_json(
            "POST",
            "/v2/tasks",
            &[],
            task.to_string().as_bytes(),
        ))?
        .json();
    let events = task["streams"]["sse"].as_str().unwrap_or_default();
    let body = wire.ask(&bare("GET", events, &[]))?.body;
    let body = String::from_utf8(body).map_err(|error| Failure::new("reading a stream", error))?;
    Ok(body.trim_end().split("\n\n").map(str::to_owned).collect())
}

fn is_visible_text(said: &Value) -> Result<(), Failure> {
    match said {
        Value::String(text) => require(text.chars().all(is_visible), || {
            format!("it is told {text:?}")
        }),
        Value::Array(all) => all.iter().try_for_each(is_visible_text),
        Value::Object(all) => all.values().try_for_each(is_visible_text),
        _ => Ok(()),
    }
}

/// One request on each connection.
fn serve(stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    while reader.read_line(&mut head)? > 2 {
        let line = head.lines().next_back().unwrap_or_default().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    answer(stream, head.split(' ').nth(1).unwrap_or_default(), &asked)
}

fn answer(mut stream: TcpStream, path: &str, asked: &Value) -> io::Result<()> {
    let (status, content_type, body) = match path {
        "/v1/models" => {
            let mut models: Vec<Value> = texts().iter().map(|text| json!({"id": text})).collect();
            models.push(json!({"id": MODEL}));
            (200, "application/json", json!({"data": models}).to_string())
        }
        "/version" => (
            200,
            "application/json",
            json!({"version": "1\u{1b}[2J\n\u{202e}"}).to_string(),
        ),
        "/metrics" => (200, "text/plain", texts().concat()),
        "/health" => (200, "text/plain", texts().concat()),
        _ if asked["prompt"] == FAILING => (
            400,
            "application/json",
            json!({"error": {"message": texts().concat()}}).to_string(),
        ),
        _ => (200, "text/event-stream", chunks()),
    };
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn chunks() -> String {
    let chunk = |choice: Value| format!("data: {}\n\n", json!({"choices": [choice]}));
    let mut chunks: String = texts()
        .into_iter()
        .map(|text| chunk(json!({"index": 0, "text": text, "finish_reason": null})))
        .collect();
    chunks += &chunk(json!({"index": 0, "text": "", "finish_reason": "stop"}));
    chunks + "data: [DONE]\n\n"
}
