//! Reading the daemon's log.

use cucumber::gherkin::Step;
use cucumber::then;
use serde_json::Value;

use crate::claim::{Claim, eventually};
use crate::world::World;

/// Some one line meets the whole table; which line says it is the daemon's business.
#[then("a line of the log comes to hold")]
fn line_holds(world: &mut World, step: &Step) {
    let expected = world.expectations(step).holds();
    let daemon = world.daemon().holds();
    let found = eventually(|| {
        let log = daemon.log();
        let mut lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if lines.any(|line| expected.check(&line).is_ok()) {
            Ok(())
        } else {
            Err("no such line".to_owned())
        }
    });
    found.holds();
}

/// There must be at least one such line.
#[then(regex = r"^every line of the log about (.+) holds$")]
fn every_line_holds(world: &mut World, task: String, #[step] step: &Step) {
    let (task, expected) = (world.fill(&task).holds(), world.expectations(step).holds());
    let log = world.daemon().holds().log();
    let mut about = log.lines().filter(|line| line.contains(&task)).peekable();
    assert!(about.peek().is_some(), "the log tells nothing of {task}");
    for line in about {
        let line: Value = serde_json::from_str(line)
            .map_err(|error| error.to_string())
            .holds();
        expected.check(&line).holds();
    }
}

#[then("every line of the log is a JSON object")]
fn every_line_is_json(world: &mut World) {
    let log = world.daemon().holds().log();
    assert!(!log.is_empty(), "the log is empty");
    for line in log.lines() {
        let object = serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object());
        assert!(object, "not a JSON object: {line}");
    }
}

#[then(regex = r#"^the log never mentions "(.+)"$"#)]
fn never_mentions(world: &mut World, secret: String) {
    let log = world.daemon().holds().log();
    let told = log.lines().find(|line| line.contains(&secret));
    assert_eq!(told, None);
}

/// Lines of this event that mention a word.
#[then(regex = r#"^the log tells (\d+) times? of "(\w+)" for (\S+)$"#)]
fn tells(world: &mut World, times: usize, event: String, word: String) {
    let log = world.daemon().holds().log();
    let told =
        |line: &&str| line.contains(&format!("\"event\":\"{event}\"")) && line.contains(&word);
    assert_eq!(log.lines().filter(told).count(), times, "{log}");
}
