//! Engines beside the daemon: how they come, what they hear, how they go.

use std::fs;

use cucumber::gherkin::Step;
use cucumber::{given, then, when};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::certificate;
use crate::claim::{Claim, eventually};
use crate::engine::Engine;
use crate::world::World;

/// Its address is called by its name.
#[given(regex = r"^an engine called ([a-z]+)(?: started with (--.+))?$")]
fn start(world: &mut World, name: String, arguments: String) {
    let arguments = world.fill(&arguments).holds();
    let engine = Engine::start(world.dir.path(), &name, &arguments).holds();
    world.words.insert(name.clone(), engine.url.clone());
    world.engines.insert(name, engine);
}

/// Who vouches for it stands in a file of its name, as `alpha-ca.pem`.
#[given(
    regex = r"^an engine called ([a-z]+) at https with a certificate for (\S+)(?: started with (--.+))?$"
)]
fn start_at_https(world: &mut World, name: String, host: String, arguments: String) {
    certificate::write(world.dir.path(), &name, &host).holds();
    let shown = format!("--tls-cert {{dir}}/{name}.pem --tls-key {{dir}}/{name}.key {arguments}");
    start(world, name, shown);
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
fn hand_off(world: &mut World, name: String, #[step] step: &Step) {
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

/// Engines that the daemon starts write their process ids into a file; the last one is meant.
#[when(regex = r"^the process of the file ([a-z]+) is killed$")]
fn kill_process_of(world: &mut World, file: String) {
    let pids = pids(world, &file).holds();
    kill_process(pids[pids.len() - 1], Signal::KILL).holds();
}

#[then(regex = r"^the process of the file ([a-z]+) comes to be gone$")]
fn is_gone(world: &mut World, file: String) {
    let pids = pids(world, &file).holds();
    await_gone(pids[pids.len() - 1]).holds();
}

#[then(regex = r"^the first (\d+) process(?:es)? of the file ([a-z]+) comes? to be gone$")]
fn are_gone(world: &mut World, count: usize, file: String) {
    let pids = pids(world, &file).holds();
    assert!(pids.len() >= count, "the file has only {pids:?}");
    for pid in &pids[..count] {
        await_gone(*pid).holds();
    }
}

#[then(regex = r"^the file ([a-z0-9]+) holds the lines$")]
fn has_these_lines(world: &mut World, file: String, #[step] step: &Step) {
    let text = fs::read_to_string(world.dir.path().join(file)).holds();
    let table = step.table.as_ref().ok_or("the step needs lines").holds();
    for line in table.rows.iter().flatten() {
        assert!(text.lines().any(|its| its == line), "no {line} in {text}");
    }
}

#[then(regex = r"^the file ([a-z0-9]+) never mentions (\S+)$")]
fn never_mentions(world: &mut World, file: String, word: String) {
    let text = fs::read_to_string(world.dir.path().join(file)).holds();
    assert!(!text.contains(&word), "there is {word} in {text}");
}

#[then(regex = r"^the file (\S+) comes to have (\d+) lines?$")]
fn has_lines(world: &mut World, file: String, count: usize) {
    let path = world.dir.path().join(file);
    let found = eventually(|| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        match text.lines().count() {
            lines if lines == count => Ok(()),
            _ => Err(format!("it holds {text:?}")),
        }
    });
    found.holds();
}

fn await_gone(pid: Pid) -> Result<(), String> {
    eventually(|| match test_kill_process(pid) {
        Ok(()) => Err(format!("the process {pid:?} is still there")),
        Err(_) => Ok(()),
    })
}

/// The process ids in the file, a line each.
fn pids(world: &World, file: &str) -> Result<Vec<Pid>, String> {
    let text = fs::read_to_string(world.dir.path().join(file));
    let text = text.map_err(|error| error.to_string())?;
    let pid = |line: &str| line.parse().ok().and_then(Pid::from_raw);
    let pids: Option<Vec<Pid>> = text.lines().map(pid).collect();
    pids.filter(|pids| !pids.is_empty())
        .ok_or_else(|| format!("{file} holds no process ids: {text:?}"))
}

fn engine<'w>(world: &'w mut World, name: &str) -> &'w mut Engine {
    let engine = world.engines.get_mut(name);
    engine
        .ok_or_else(|| format!("there is no engine called {name}"))
        .holds()
}
