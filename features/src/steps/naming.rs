//! Naming what only the run can know, so that later steps can ask for it.

use cucumber::{then, when};

use crate::claim::{Claim, eventually};
use crate::client::{self, Answer};
use crate::expectation::look;
use crate::world::World;

#[then(regex = r"^the body's ([\w.]+) is called ([a-z]+)$")]
fn name_field(world: &mut World, field: String, name: String) {
    let value = world.answer().and_then(|answer| text(answer, &field));
    world.words.insert(name, value.holds());
}

/// Asks until the answer has it: what the daemon does in its own time comes to be known.
#[when(regex = r"^(the client|[A-Z][a-z]+) learns the (\w+) of (/\S+), called ([a-z]+)$")]
fn learn(world: &mut World, caller: String, field: String, path: String, name: String) {
    let addr = world.addr().holds();
    let request = world.compose(&caller, "GET", &path, None).holds();
    let value = eventually(|| text(&client::send(addr, &request)?, &field));
    world.words.insert(name, value.holds());
}

fn text(answer: &Answer, field: &str) -> Result<String, String> {
    let body = answer.json()?;
    let value = look(&body, field).and_then(|value| value.as_str());
    value
        .map(str::to_owned)
        .ok_or_else(|| format!("{field} is no text in {body}"))
}
