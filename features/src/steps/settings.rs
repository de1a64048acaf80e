//! The settings file.

use std::fs;

use cucumber::gherkin::Step;
use cucumber::{given, then, when};

use crate::claim::Claim;
use crate::daemon::Exit;
use crate::program;
use crate::world::World;

/// In the scenario's folder, where the daemon starts and looks for it. What nothing in the scenario is
/// called, as `{port}`, is left to the daemon.
#[given("the settings file says")]
#[when("the settings file says")]
fn write(world: &mut World, step: &Step) {
    let engine = program::engine().holds();
    let engine = engine.get_program().to_string_lossy().into_owned();
    world.words.insert("mock_engine".to_owned(), engine);
    let text = step.docstring.as_deref().unwrap_or_default();
    // A docstring begins with the end of its first line.
    let text = world.put_in(text.trim_start_matches('\n'));
    fs::write(world.dir.path().join("orchestratord.toml"), text).holds();
}

/// With variables before the program's name, as in a shell.
#[when(regex = r"^someone runs ((?:[A-Z_]+=\S+ )*)orchestratord (.+)$")]
fn run(world: &mut World, variables: String, arguments: String) {
    let arguments = world.fill(&arguments).holds();
    let variables = variables.split_whitespace();
    let ran = program::command()
        .holds()
        .envs(variables.filter_map(|variable| variable.split_once('=')))
        .args(arguments.split_whitespace())
        .current_dir(world.dir.path())
        .output()
        .holds();
    world.printed = String::from_utf8_lossy(&ran.stdout).into_owned();
    world.exit = Some(Exit {
        code: ran.status.code(),
        stderr: String::from_utf8_lossy(&ran.stderr).into_owned(),
    });
}

#[then(regex = r"^it prints (.+)$")]
fn prints(world: &mut World, words: String) {
    let words = world.put_in(&words);
    let printed = &world.printed;
    assert!(printed.contains(&words), "no {words} in: {printed}");
}
