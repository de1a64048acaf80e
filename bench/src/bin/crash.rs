//! Crashes under load: without arguments, counts of what became of every task.
//!
//! The promise under test: a 202 is not taken back by a crash, and neither is the end of a stream. The daemon
//! is killed (SIGKILL) at a random moment while tasks come, run and are canceled, and started again on what it has left;
//! and so on. In the end every task that was ever answered 202 has ended, once, as its readers were told.
//! Exit codes: 0 the promise held, 1 it was broken or nothing ran.

use clap::Parser;
use orchestratord_bench::client::Client;
use orchestratord_bench::daemon::{Daemon, Folder, program};
use orchestratord_bench::{Failure, breaches};
use orchestratord_sched::prng::Prng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Callers that submit side by side.
const CALLERS: u64 = 6;
/// How long after its start a daemon is killed.
const LIFE_MS: std::ops::RangeInclusive<u64> = 5..=250;
/// Times are told in milliseconds, rounded up from two zeros.
const ROUNDING_MS: u64 = 3;
/// How long what is left may take in the end.
const LAST_LIFE: Duration = Duration::from_secs(60);

/// Kills a daemon again and again while tasks are submitted, read and canceled, and looks whether each
/// that it accepted ends once, and as was said.
#[derive(Clone, Copy, Debug, Parser)]
#[command(name = "crash")]
struct Arguments {
    /// How often it is killed.
    #[arg(long, default_value_t = 200)]
    rounds: u64,
    /// What decides when, and what is asked of it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What a caller knows of a task of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// It was answered 202.
    Accepted,
    /// Its stream ended, with this error if with one, and by this time in milliseconds since 1970.
    Ended(Option<Value>, u64),
    /// A cancel of it was answered 204 by then.
    Canceled(u64),
}

#[derive(Default)]
struct Books {
    known: BTreeMap<String, Known>,
    breaches: Vec<String>,
}

struct Crash {
    seed: u64,
    books: Mutex<Books>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(books) => report(&books),
        Err(failure) => {
            eprintln!("crash: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { rounds, seed }: Arguments) -> Result<Books, Failure> {
    let (program, data) = (program()?, Folder::new());
    let crash = Crash {
        seed,
        books: Mutex::default(),
    };
    let mut when = Prng::new(seed, "kills");
    let began = Instant::now();
    for round in 0..rounds {
        let daemon = start(&program, data.path())?;
        thread::scope(|scope| {
            for caller in 0..CALLERS {
                let (crash, addr) = (&crash, daemon.addr);
                scope.spawn(move || crash.call(addr, round * CALLERS + caller));
            }
            thread::sleep(Duration::from_millis(when.within(LIFE_MS)));
            daemon.kill()
        })?;
    }
    let daemon = start(&program, data.path())?;
    crash.settle(daemon.addr)?;
    println!("took     {:.1} s", began.elapsed().as_secs_f64());
    println!("killed   {rounds} times");
    Ok(crash
        .books
        .into_inner()
        .unwrap_or_else(|broken| broken.into_inner()))
}

fn start(program: &Path, data: &Path) -> Result<Daemon, Failure> {
    let arguments = [
        "--engine=mock",
        "--slots=4",
        "--admission-capacity=64",
        "--mock-first-token-ms=3",
        "--mock-tokens-per-s=1000",
        "--outcomes-max=1000000",
        "--transcripts=full",
    ];
    Daemon::start_in(data, program, &arguments.map(str::to_owned))
}

impl Crash {
    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
    }

    /// One task after the other, until the daemon is gone.
    fn call(&self, addr: SocketAddr, stream: u64) {
        let mut whim = Prng::new(self.seed ^ stream << 8, "callers");
        let Ok(mut client) = Client::connect(addr) else {
            return;
        };
        while self.one_task(&mut client, &mut whim).is_ok() {}
    }

    /// An error is the end of the daemon.
    fn one_task(&self, client: &mut Client, whim: &mut Prng) -> Result<(), Failure> {
        let task = json!({
            "model_ref": "mock",
            "prompt": "Once upon a time",
            "max_tokens": whim.within(1..=40),
            "priority": if whim.chance(0.3) { "batch" } else { "interactive" },
        });
        let (status, answer) = client.post("/v2/tasks", task.to_string().as_bytes())?;
        let Some(id) = answer["task_id"].as_str().filter(|_| status == 202) else {
            if !matches!(status, 429 | 503) {
                let breach = format!("a task was answered {status}: {answer}");
                self.books().breaches.push(breach);
            }
            thread::sleep(Duration::from_millis(2));
            return Ok(());
        };
        self.note(id, Known::Accepted);
        match whim.within(0..=9) {
            0..=1 => {
                let (status, answer) = client.post(&format!("/v2/tasks/{id}/cancel"), b"")?;
                if status == 204 {
                    self.note(id, Known::Canceled(unix_ms()));
                } else {
                    let breach = format!("a cancel was answered {status}: {answer}");
                    self.books().breaches.push(breach);
                }
            }
            2..=6 => {
                let (event, data) = client.last_event(&format!("/v2/tasks/{id}/events"))?;
                let error = (event == "error").then(|| data["code"].clone());
                self.note(id, Known::Ended(error, unix_ms()));
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&self, id: &str, known: Known) {
        self.books().known.insert(id.to_owned(), known);
    }

    /// Every task that was accepted has ended, or does now.
    fn settle(&self, addr: SocketAddr) -> Result<(), Failure> {
        let mut client = Client::connect(addr)?;
        let known = self.books().known.clone();
        let give_up = Instant::now() + LAST_LIFE;
        for (id, known) in known {
            let breach = loop {
                let (status, view) = client.get(&format!("/v2/tasks/{id}"))?;
                let state = view["state"].as_str().unwrap_or_default();
                match state {
                    "queued" | "running" if Instant::now() < give_up => {
                        thread::sleep(Duration::from_millis(5));
                    }
                    _ => break contradiction(&known, status, &view),
                }
            };
            if let Some(breach) = breach {
                self.books().breaches.push(format!("{id}: {breach}"));
            }
        }
        Ok(())
    }
}

/// What the daemon says of a task that contradicts what its caller was told.
fn contradiction(known: &Known, status: u16, view: &Value) -> Option<String> {
    let state = view["state"].as_str().unwrap_or_default();
    // If it ended later than it was read to, it has run to its end twice.
    let had_ended = |by: &u64| view["timings"]["ended_ms"].as_u64() <= Some(by + ROUNDING_MS);
    let agrees = status == 200
        && match known {
            Known::Accepted => matches!(state, "completed" | "failed" | "canceled"),
            Known::Ended(None, by) => state == "completed" && had_ended(by),
            Known::Ended(Some(code), by) => view["error"] == *code && had_ended(by),
            // It may have ended before.
            Known::Canceled(by) => matches!(state, "canceled" | "completed") && had_ended(by),
        };
    (!agrees).then(|| format!("its caller knows {known:?}, and it is {status} {view}"))
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

fn report(books: &Books) -> ExitCode {
    let count = |is_it: fn(&Known) -> bool| books.known.values().filter(|it| is_it(it)).count();
    println!(
        "tasks    {} accepted: {} read to their ends, {} canceled, {} left alone or cut off",
        books.known.len(),
        count(|known| matches!(known, Known::Ended(..))),
        count(|known| matches!(known, Known::Canceled(_))),
        count(|known| *known == Known::Accepted)
    );
    breaches::report(&books.breaches, !books.known.is_empty())
}
