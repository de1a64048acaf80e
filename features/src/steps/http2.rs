//! What only HTTP/2 has: many streams over one connection, resets, and a farewell.

use cucumber::{given, then, when};
use serde_json::json;

use crate::claim::Claim;
use crate::client::{Answer, Request};
use crate::http2::Http2;
use crate::sequence;
use crate::sse::Parser;
use crate::stream::Stream;
use crate::world::World;

#[given("every request goes over one connection of HTTP/2")]
fn speak(world: &mut World) {
    let addr = world.addr().holds();
    world.http2 = Some(Http2::open(addr).holds());
}

#[when("every request goes over a connection of its own again")]
fn speak_as_ever(world: &mut World) {
    world.http2 = None;
}

fn connection(world: &World) -> Result<Http2, String> {
    let connection = world.http2.clone();
    connection.ok_or_else(|| "no request goes over HTTP/2".to_owned())
}

#[when(regex = r"^(\d+) readers read (/\S+) at once$")]
fn read_at_once(world: &mut World, readers: usize, path: String) {
    let request = world.compose("the client", "GET", &path, None).holds();
    let answers = connection(world)
        .and_then(|http2| http2.send_all(&vec![request.clone(); readers]))
        .holds();
    keep(world, &request, answers);
}

/// Connections are spread over the cores by the kernel, so among many some meet a task at home and
/// others do not.
#[when(regex = r"^(\d+) connections of HTTP/2 enqueue a task each and read the tasks of all$")]
fn read_crosswise(world: &mut World, connections: usize, #[step] step: &cucumber::gherkin::Step) {
    let addr = world.addr().holds();
    let task = world.compose_task("the client", step).holds();
    let open = |_| Http2::open(addr).holds();
    let connections: Vec<Http2> = (0..connections).map(open).collect();
    let mut requests = Vec::new();
    for connection in &connections {
        let accepted = connection.send(&task).and_then(|answer| answer.json());
        let path = accepted.holds()["streams"]["sse"]
            .as_str()
            .map(str::to_owned);
        let path = path.ok_or("a task is not accepted").holds();
        requests.push(world.compose("the client", "GET", &path, None).holds());
    }
    for connection in connections {
        let answers = connection.send_all(&requests).holds();
        for (request, answer) in requests.iter().zip(answers) {
            keep(world, request, vec![answer]);
        }
    }
}

fn keep(world: &mut World, request: &Request, answers: Vec<Answer>) {
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        world.seen.push((request.path.clone(), answer.body));
    }
}

#[then("every reader has seen the same stream in order")]
fn seen_alike(world: &mut World) {
    assert!(!world.seen.is_empty(), "nobody has read anything");
    for (path, bytes) in &world.seen {
        let events = Parser::default().push(bytes).holds();
        sequence::check(&events).holds();
        let mut others = world.seen.iter().filter(|(other, _)| other == path);
        assert!(
            others.all(|(_, other)| other == bytes),
            "two readers of {path} have seen different bytes"
        );
    }
}

#[when(regex = r"^the client sends GET (/\S+) with a field of (\d+) characters$")]
fn send_long_field(world: &mut World, path: String, characters: usize) {
    let mut request = world.compose("the client", "GET", &path, None).holds();
    let field = ("X-Note".to_owned(), "a".repeat(characters));
    request.headers.push(field);
    let answer = connection(world).and_then(|http2| http2.send(&request));
    // A head that ends the connection has no answer; a later step says which was expected.
    world.answers.extend(answer);
}

#[when(regex = r"^the client stores (\d+) artifacts of (\d+) bytes at once$")]
fn store_at_once(world: &mut World, artifacts: usize, bytes: usize) {
    let request = |number: usize| {
        let content = format!("{number}{}", "x".repeat(bytes));
        let body = json!({"kind": "other", "content": content}).to_string();
        world.compose("the client", "POST", "/v2/artifacts", Some(&body))
    };
    let requests: Result<Vec<_>, _> = (0..artifacts).map(request).collect();
    let answers = connection(world).and_then(|http2| http2.send_all(&requests?));
    world.answers.extend(answers.holds());
}

#[then(regex = r"^every answer is (\d+)$")]
fn every_answer(world: &mut World, status: u16) {
    for answer in &world.answers {
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

#[when("the client begins a task and sends no body")]
fn begin(world: &mut World) {
    let request = begun_task();
    let answer = connection(world).and_then(|http2| http2.send_head(&request));
    world.answers.push(answer.holds());
}

fn begun_task() -> Request {
    let (method, path) = ("POST".to_owned(), "/v2/tasks".to_owned());
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    Request {
        method,
        path,
        headers,
        body: None,
    }
}

#[when("the client begins tasks and resets them until it is cut off")]
fn reset_again_and_again(world: &mut World) {
    let request = begun_task();
    let http2 = connection(world).holds();
    /// Far more than an honest client takes back on one connection.
    const RESETS: usize = 2000;
    let cut_off = (0..RESETS).any(|_| http2.begin_and_reset(&request).is_err());
    assert!(cut_off, "{RESETS} resets in a row were put up with");
}

#[then(regex = r"^the connection is said farewell to with ([A-Z_]+)$")]
fn farewell(world: &mut World, reason: String) {
    let said = connection(world).and_then(|http2| http2.farewell()).holds();
    assert_eq!(format!("{said:?}"), reason);
}

#[then("the connection comes to its end")]
fn ends(world: &mut World) {
    connection(world)
        .and_then(|http2| http2.await_end())
        .holds();
}

#[then(regex = r"^the stream of ([A-Z][a-z]+) comes to be reset$")]
fn reset(world: &mut World, reader: String) {
    world.stream(&reader).and_then(Stream::await_reset).holds();
}
