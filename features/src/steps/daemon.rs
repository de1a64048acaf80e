//! Starting the daemon, failing to, and ending it.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;

use cucumber::gherkin::Step;
use cucumber::{given, then, when};

use crate::claim::{Claim, eventually};
use crate::client;
use crate::program::SHIPPED_MODEL;
use crate::sandbox;
use crate::world::World;

/// How its chat template begins.
const TEMPLATE: &[u8] = b"{{ messages";

#[given("a daemon")]
fn start_plain(world: &mut World) {
    start(world, String::new());
}

#[given(regex = r"^a daemon started with (--.+)$")]
fn start(world: &mut World, arguments: String) {
    world.start(&arguments).holds();
    world.daemon().holds();
}

/// In the same folder, where it finds what it has left.
#[when(regex = r"^the daemon is started again with (--.+)$")]
fn start_again(world: &mut World, arguments: String) {
    start(world, arguments);
}

#[when(regex = r"^someone starts a daemon with (--.+)$")]
fn try_to_start(world: &mut World, arguments: String) {
    world.start(&arguments).holds();
}

/// The filter holds for one thread and what it starts, so the thread is one of its own.
#[when("someone starts a daemon where io_uring is forbidden")]
fn try_to_start_without_io_uring(world: &mut World) {
    let started = thread::scope(|scope| {
        let start = scope.spawn(|| {
            sandbox::forbid_io_uring()?;
            world.start("")
        });
        start.join().map_err(|_| "the thread panicked")?
    });
    started.holds();
}

#[given(regex = r#"^a file ([a-z.]+) that holds "(.*)"$"#)]
fn write_file(world: &mut World, name: String, content: String) {
    fs::write(world.dir.path().join(name), content).holds();
}

#[given(regex = r"^a file ([a-z.]+) that says$")]
fn write_text(world: &mut World, name: String, step: &Step) {
    let text = step.docstring.as_deref().unwrap_or_default();
    let text = world.fill(text).holds();
    fs::write(world.dir.path().join(name), text).holds();
}

/// A header that promises one tensor and one entry, and neither (the GGUF specification, version 3).
#[given(regex = r"^a file ([a-z.]+) that holds the beginning of a model$")]
fn cut_model(world: &mut World, name: String) {
    let header = [
        b"GGUF".as_slice(),
        &3_u32.to_le_bytes(),
        &1_u64.to_le_bytes(),
        &1_u64.to_le_bytes(),
    ];
    fs::write(world.dir.path().join(name), header.concat()).holds();
}

/// The template begins an instruction where it began a value, and the file is as long as before.
#[given(
    regex = r"^a file ([a-z.]+) that holds the shipped model with a chat template that can't be read$"
)]
fn untalkative_model(world: &mut World, name: String) {
    let mut model = fs::read(SHIPPED_MODEL).holds();
    let mut places = model.windows(TEMPLATE.len());
    let place = places.position(|window| window == TEMPLATE);
    let place = place.ok_or("the shipped model has no template").holds();
    model[place + 1] = b'%';
    fs::write(world.dir.path().join(name), model).holds();
}

/// Its end is called by another number, which it never writes, and its context has room. Both are
/// numbers of four bytes after a key and a type (the GGUF specification, version 3).
#[given(regex = r"^a file ([a-z.]+) that holds the shipped model without an end$")]
fn endless_model(world: &mut World, name: String) {
    let mut model = fs::read(SHIPPED_MODEL).holds();
    for (key, value) in [
        ("llama.context_length", 65_536_u32),
        ("tokenizer.ggml.eos_token_id", 2),
    ] {
        let mut places = model.windows(key.len());
        let place = places.position(|window| window == key.as_bytes());
        let place = place.ok_or("the shipped model lacks a key").holds();
        let value_at = place + key.len() + size_of::<u32>();
        model[value_at..][..size_of::<u32>()].copy_from_slice(&value.to_le_bytes());
    }
    fs::write(world.dir.path().join(name), model).holds();
}

#[when(regex = r"^the file ([a-z.]+) is removed$")]
fn remove_file(world: &mut World, name: String) {
    fs::remove_file(world.dir.path().join(name)).holds();
}

#[given(regex = r"^the variable ([A-Z_]+) is (\S+)$")]
fn set_variable(world: &mut World, name: String, value: String) {
    world.environment.push((name, value));
}

#[given("a port that somebody else listens on")]
fn take_port(world: &mut World) {
    let listener = TcpListener::bind("127.0.0.1:0").holds();
    let port = listener.local_addr().holds().port();
    world.words.insert("port".to_owned(), port.to_string());
    world.neighbour = Some(listener);
}

/// Room for the log and for a few small records, and none for a large one.
const FULL_DISK_BYTES: u64 = 64 * 1024;

#[when("the daemon's disk is full")]
fn fill_disk(world: &mut World) {
    let daemon = world.daemon().holds();
    daemon.limit_files(Some(FULL_DISK_BYTES)).holds();
}

/// Not even a line of the log.
#[when("the daemon's disk takes nothing")]
fn stop_disk(world: &mut World) {
    world.daemon().holds().limit_files(Some(0)).holds();
}

#[when("the daemon's disk has room again")]
fn empty_disk(world: &mut World) {
    world.daemon().holds().limit_files(None).holds();
}

fn store(world: &World) -> PathBuf {
    world.dir.path().join("data/store.redb")
}

#[when(regex = r"^a bit flips wherever the store's file tells of (.+)$")]
fn flip_bits(world: &mut World, word: String) {
    let word = world.fill(&word).holds().into_bytes();
    let mut file = fs::read(store(world)).holds();
    let mut from = 0;
    let mut next = |file: &[u8]| {
        let place = file[from..].windows(word.len()).position(|it| it == word)?;
        from += place + word.len();
        Some(from - 1)
    };
    let mut flips = 0;
    while let Some(at) = next(&file) {
        file[at] ^= 1;
        flips += 1;
    }
    (flips > 0).then_some(()).ok_or("it tells of none").holds();
    fs::write(store(world), file).holds();
}

#[when(regex = r"^the store's file is cut off after (\d+) bytes$")]
fn cut_store(world: &mut World, bytes: u64) {
    let file = fs::File::options().write(true).open(store(world)).holds();
    file.set_len(bytes).holds();
}

#[when("the daemon receives SIGTERM")]
fn terminate(world: &mut World) {
    world.daemon().holds().terminate().holds();
}

/// It reads them in its own time, and says in its log what came of it.
#[when(regex = r"^the daemon receives SIGHUP and (renews|refuses) its settings$")]
fn renew(world: &mut World, outcome: String) {
    let event = match outcome.as_str() {
        "renews" => "settings_renewed",
        _ => "settings_refused",
    };
    let daemon = world.daemon().holds();
    let told = |log: &str| log.matches(&format!("\"event\":\"{event}\"")).count();
    let before = told(&daemon.log());
    daemon.hang_up().holds();
    let renewed = eventually(|| match daemon.log() {
        log if told(&log) > before => Ok(()),
        _ => Err(format!("the log tells no {event}")),
    });
    renewed.holds();
}

#[when("the daemon is killed")]
fn kill(world: &mut World) {
    world.daemon().holds().kill().holds();
}

#[then(regex = r"^the daemon exits with code (\d+)$")]
fn exits(world: &mut World, code: i32) {
    let exit = world.daemon().holds().end().holds();
    assert_eq!(exit.code, Some(code), "{}", exit.stderr);
}

#[then(regex = r"^it refuses with exit code (\d+) and a remedy that mentions (.+)$")]
fn refuses(world: &mut World, code: i32, remedy: String) {
    let remedy = world.fill(&remedy).holds();
    let exit = world
        .exit
        .as_ref()
        .ok_or("the daemon has started all the same")
        .holds();
    assert_eq!(exit.code, Some(code), "{}", exit.stderr);
    assert!(
        exit.stderr.contains(&remedy),
        "nothing about {remedy} in: {}",
        exit.stderr
    );
}

/// A refusal is a 503, or nobody there to give one. The signal takes effect in its own time, so a
/// few newcomers may still be let in.
#[then("new work comes to be refused")]
fn refuses_work(world: &mut World, step: &Step) {
    let addr = world.addr().holds();
    let request = world.compose_task("the client", step).holds();
    let refused = eventually(|| match client::send(addr, &request) {
        Ok(answer) if answer.status != 503 => {
            Err(format!("a new task is answered {}", answer.status))
        }
        Ok(_) | Err(_) => Ok(()),
    });
    refused.holds();
}
