//! Engines beside the daemon: how they come, what they hear, how they go.

use std::fs;

use cucumber::{given, then, when};

use crate::claim::{Claim, eventually};
use crate::engine::Engine;
use crate::world::World;

/// Its address is called by its name.
#[given(regex = r"^an engine called ([a-z]+)(?: started with (--.+))?$")]
#[when(regex = r"^an engine called ([a-z]+) is started(?: with (--.+))?$")]
fn start(world: &mut World, name: String, arguments: String) {
    let engine = Engine::start(world.dir.path(), &name, &arguments).holds();
    world.words.insert(name.clone(), engine.url.clone());
    world.engines.insert(name, engine);
}

#[when(regex = r"^the engine ([a-z]+) is killed$")]
fn kill(world: &mut World, name: String) {
    engine(world, &name).kill().holds();
}

#[then(regex = r"^the engine ([a-z]+) comes to hear of (.+)$")]
fn hears(world: &mut World, name: String, word: String) {
    let word = world.fill(&word).holds();
    let engine = engine(world, &name);
    let heard = eventually(|| match engine.log() {
        log if log.contains(&word) => Ok(()),
        log => Err(format!("{name} has not heard of {word}: {log}")),
    });
    heard.holds();
}

/// Written beside and renamed, as a careful supervisor does.
#[given(regex = r"^the handoff file ([a-z.-]+) says$")]
#[when(regex = r"^the handoff file ([a-z.-]+) says$")]
fn hand_off(world: &mut World, name: String, #[step] step: &cucumber::gherkin::Step) {
    let text = step.docstring.as_deref().unwrap_or_default();
    let text = world.fill(text).holds();
    let folder = world.dir.path().join(".runtime/engines");
    fs::create_dir_all(&folder).holds();
    let draft = folder.join("draft");
    fs::write(&draft, text.trim()).holds();
    fs::rename(draft, folder.join(name)).holds();
}

#[when(regex = r"^the handoff file ([a-z.-]+) is removed$")]
fn take_back(world: &mut World, name: String) {
    fs::remove_file(world.dir.path().join(".runtime/engines").join(name)).holds();
}

fn engine<'w>(world: &'w mut World, name: &str) -> &'w mut Engine {
    let engine = world.engines.get_mut(name);
    engine
        .ok_or_else(|| format!("there is no engine called {name}"))
        .holds()
}
