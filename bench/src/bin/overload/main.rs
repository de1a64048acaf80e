//! Overload: without arguments, ten times as much is asked as can be done, for a minute, and numbers of what came of it.
//!
//! The promise under test: memory stays bounded, whoever is let in is served as at capacity, whoever is not is told so
//! at once and when to come back, and as much is done as before. A flood of one caller does no harm to another, and a
//! flood of batch none to anybody who goes before it.
//!
//! Two phases take turns on one daemon. *At capacity* the flooding caller has a task for each place that it can have,
//! and sends the next when one has ended: the slots are never idle and the queue is as full as it gets. That is
//! the fair comparison, since it is the queue's bound, chosen by the operator, that decides how long a
//! task waits which is let in; with a queue half empty it would wait less, and no daemon could help it. *Overloaded*,
//! the caller sends ten times as many as the engine can do, at random moments that no answer
//! delays, and each time is counted from the moment at which the request was to be sent. A modest caller sends a
//! fifth of the capacity, at random moments, all the while.
//!
//! Exit codes: 0 the promise held, 1 it was broken or nothing ran. Built for tests, it judges counts and
//! memory; times too when built for release.

mod crowd;
mod memory;
mod phase;
mod seen;
mod verdict;

use clap::Parser;
use orchestratord_bench::Failure;
use orchestratord_bench::daemon::{Daemon, Folder, program};
use phase::{Keys, Load, Phase};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;
use verdict::Verdict;

/// Slots of the daemon, places of its queue.
pub(crate) const SLOTS: u32 = 16;
pub(crate) const PLACES: u32 = 64;
/// The pace of the engine, and so how long a task has a slot: a quarter of a second, and some sixty tasks a second
/// in all. So two cores are enough for the daemon and for ten times as many callers.
const FIRST_TOKEN_MS: u64 = 50;
const TOKENS_PER_S: u32 = 80;
pub(crate) const TOKENS: u32 = 16;
/// How many times of what can be done is asked.
const TIMES: f64 = 10.0;

/// Asks ten times as much of a daemon as it can do, and compares what became of it with what becomes of as much as it
/// can do.
#[derive(Clone, Debug, Parser)]
#[command(name = "overload")]
struct Arguments {
    /// How long it is overloaded, in all; it is at capacity as long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How often the two take turns, half of them with a flood of each class.
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// What a full queue does: reject or drop-lru.
    #[arg(long, default_value = "reject")]
    policy: String,
    /// What the moments are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The class of a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Interactive,
    Batch,
}

impl Class {
    const ALL: [Self; 2] = [Self::Interactive, Self::Batch];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Batch => "batch",
        }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(verdict) => verdict.report(),
        Err(failure) => {
            eprintln!("overload: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Verdict, Failure> {
    let (program, data) = (program()?, Folder::new());
    fs::create_dir_all(data.path()).map_err(|error| Failure::new("making a folder", error))?;
    let file = data.path().join("keys.toml");
    let keys = Keys {
        flood: new_key(&program, &file, "flood")?,
        modest: new_key(&program, &file, "modest")?,
    };
    let daemon = Daemon::start_in(data.path(), &program, &settings(&file, &arguments.policy))?;
    let length = Duration::from_secs(arguments.seconds) / (2 * arguments.rounds);
    let mut verdict = Verdict::default();
    for round in 0..arguments.rounds {
        for class in Class::ALL {
            let mut phase = Phase {
                daemon: &daemon,
                keys: &keys,
                class,
                length,
                seed: arguments.seed ^ u64::from(round) << 8,
            };
            let capacity = phase.run(Load::Capacity)?;
            let per_s = TIMES * capacity_per_s();
            phase.seed ^= 1 << 63;
            let overload = phase.run(Load::Overload { per_s })?;
            verdict.add(class, capacity, overload);
        }
    }
    Ok(verdict)
}

/// Tasks a second that the engine can do, whatever the machine has time for.
fn capacity_per_s() -> f64 {
    let first_token_s = Duration::from_millis(FIRST_TOKEN_MS).as_secs_f64();
    let others_s = f64::from(TOKENS - 1) / f64::from(TOKENS_PER_S);
    f64::from(SLOTS) / (first_token_s + others_s)
}

fn settings(keys: &Path, policy: &str) -> Vec<String> {
    vec![
        "--engine=mock".to_owned(),
        format!("--keys={}", keys.display()),
        format!("--slots={SLOTS}"),
        format!("--admission-capacity={PLACES}"),
        format!("--admission-policy={policy}"),
        format!("--mock-first-token-ms={FIRST_TOKEN_MS}"),
        format!("--mock-tokens-per-s={TOKENS_PER_S}"),
        // Memory is to be compared, and not how much of it finished tasks have by then.
        "--finished-tasks-max=100".to_owned(),
        "--durability=off".to_owned(),
        "--transcripts=off".to_owned(),
    ]
}

/// Makes a key, adds it to the file, and says what it is.
fn new_key(program: &Path, file: &Path, name: &str) -> Result<String, Failure> {
    let made = Command::new(program).args(["keys", "new", name]).output();
    let made = made.map_err(|error| Failure::new("making a key", error))?;
    let printed = String::from_utf8_lossy(&made.stdout).into_owned();
    let Some((secret, stanza)) = printed.split_once("\n\n") else {
        return Err(Failure(format!("no key was made: {printed}")));
    };
    let before = fs::read_to_string(file).unwrap_or_default();
    fs::write(file, before + stanza).map_err(|error| Failure::new("writing keys", error))?;
    Ok(secret.to_owned())
}
