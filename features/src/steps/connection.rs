//! Bytes written by hand on one connection, for what no ordinary client would send.

use std::collections::VecDeque;

use cucumber::gherkin::Step;
use cucumber::{then, when};

use crate::claim::Claim;
use crate::connection::Connection;
use crate::world::World;

use super::request::check_answer;

/// Writes heads of requests in one piece: lines as they stand, an empty line between two heads.
#[when("the client writes")]
fn write_heads(world: &mut World, step: &Step) {
    let text = step
        .docstring
        .as_deref()
        .unwrap_or_default()
        .trim_matches('\n');
    let text = world.fill(text).holds();
    let heads = text
        .split("\n\n")
        .map(|head| head.split(' ').next().unwrap_or_default().to_owned());
    let (connection, awaited) = conversation(world).holds();
    awaited.extend(heads);
    connection
        .write(format!("{}\r\n\r\n", text.replace('\n', "\r\n")).as_bytes())
        .holds();
}

#[when(regex = r"^the client writes the body (.+)$")]
fn write_body(world: &mut World, body: String) {
    let (connection, _) = conversation(world).holds();
    connection.write(body.as_bytes()).holds();
}

/// An answer names its request by the correlation id that the request brought.
#[then(regex = r"^the next answer is (\d+)(?: to (\w+))?$")]
fn next_answer(world: &mut World, status: u16, correlation_id: String) {
    let (connection, awaited) = conversation(world).holds();
    let method = awaited.front().ok_or("no request awaits an answer").holds();
    let answer = connection.read_answer(method).holds();
    // An interim answer leaves the request waiting for its own (RFC 9110 section 15.2).
    let interim = answer.status < 200;
    if !interim {
        awaited.pop_front();
    }
    let traced = answer.header("x-correlation-id").unwrap_or_default();
    assert!(
        correlation_id.is_empty() || traced == correlation_id,
        "the answer is to {traced}"
    );
    world.answers.push(answer);
    if interim {
        assert_eq!(world.answer().holds().status, status);
    } else {
        check_answer(world, status, "").holds();
    }
}

#[then(regex = r"^another connection is answered (\d+) unasked, and closed$")]
fn turned_away(world: &mut World, status: u16) {
    let mut another = world.addr().and_then(Connection::open).holds();
    let answer = another.read_answer("GET").holds();
    another.await_close().holds();
    assert_eq!(answer.status, status);
    world.answers.push(answer);
}

#[then("the daemon closes the connection")]
fn closes(world: &mut World) {
    conversation(world)
        .and_then(|(connection, _)| connection.await_close())
        .holds();
}

fn conversation(world: &mut World) -> Result<&mut (Connection, VecDeque<String>), String> {
    if world.conversation.is_none() {
        world.conversation = Some((Connection::open(world.addr()?)?, VecDeque::new()));
    }
    world
        .conversation
        .as_mut()
        .ok_or_else(|| "unreachable: it has just been opened".to_owned())
}
