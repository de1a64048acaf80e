//! Making keys, the way an operator does, and laying out those that engines want.

use std::fs::{self, OpenOptions};
use std::io::Write;

use cucumber::{given, when};

use crate::claim::Claim;
use crate::program;
use crate::world::World;

/// The command prints the secret on a line of its own, and the stanza for the file of keys.
#[given(regex = r"^([A-Z][a-z]+) has a key for ([a-z,]+)(?: and (\d+) requests a minute)?$")]
fn make_key(world: &mut World, caller: String, scopes: String, requests: String) {
    let name = caller.to_lowercase();
    let made = program::command()
        .holds()
        .args(["keys", "new", &name, "--scopes", &scopes])
        .args((!requests.is_empty()).then(|| format!("--requests-per-minute={requests}")))
        .output()
        .holds();
    let printed = String::from_utf8_lossy(&made.stdout);
    assert!(
        made.status.success(),
        "keys new: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    let secret = printed
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("orchd-"));
    let secret = secret.ok_or("keys new prints no key").holds();
    let stanza = printed.lines().skip_while(|line| line.trim() != "[[key]]");
    let stanza: Vec<_> = stanza
        .take_while(|line| line.trim() == "[[key]]" || line.contains(" = "))
        .collect();
    assert!(!stanza.is_empty(), "keys new prints no stanza: {printed}");
    let file = world.dir.path().join("keys.toml");
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .holds();
    writeln!(file, "{}", stanza.join("\n")).holds();
    world.keys.insert(caller, secret.to_owned());
}

#[given(regex = r"^([A-Z][a-z]+) has made up a key$")]
fn make_up_key(world: &mut World, caller: String) {
    world
        .keys
        .insert(caller, "orchd-0123456789abcdef0123456789abcdef".to_owned());
}

#[given(regex = r"^a file ([a-z.]+) that holds the key (\S+)$")]
#[when(regex = r"^the file ([a-z.]+) comes to hold the key (\S+)$")]
fn lay_out_key(world: &mut World, file: String, key: String) {
    world.secrets.borrow_mut().plant(&key);
    fs::write(world.dir.path().join(file), key + "\n").holds();
}

#[given(regex = r"^the environment holds the key (\S+) as ([A-Z_]+)$")]
fn set_key(world: &mut World, key: String, variable: String) {
    world.secrets.borrow_mut().plant(&key);
    world.environment.push((variable, key));
}
