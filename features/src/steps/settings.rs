//! The settings file.

use std::fs;

use cucumber::gherkin::Step;
use cucumber::given;

use crate::claim::Claim;
use crate::program;
use crate::world::World;

/// In the scenario's folder, where the daemon starts and looks for it. What nothing in the scenario is
/// called, as `{port}`, is left to the daemon.
#[given("the settings file says")]
fn write(world: &mut World, step: &Step) {
    let engine = program::engine().holds();
    let engine = engine.get_program().to_string_lossy().into_owned();
    world.words.insert("mock_engine".to_owned(), engine);
    let text = step.docstring.as_deref().unwrap_or_default();
    let text = world.put_in(text);
    fs::write(world.dir.path().join("orchestratord.toml"), text).holds();
}
