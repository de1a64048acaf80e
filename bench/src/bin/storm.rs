//! A storm of drains and reloads over steady streams: without arguments, counts of what came of it.
//!
//! The promise under test: a drain refuses newcomers and nobody else, and a reload, whether it succeeds
//! or fails, is seen by no caller. The daemon runs the embedded engine; every second reload names a model
//! file that is cut short. Exit codes: 0 the promise held, 1 it was broken or nothing ran.

use clap::Parser;
use orchestratord_bench::client::Client;
use orchestratord_bench::daemon::Daemon;
use orchestratord_bench::{Failure, breaches};
use orchestratord_gpu::embedded::SHIPPED;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any stream of the storm: no drain's deadline passes.
const DRAIN_DEADLINE_MS: u64 = 600_000;
/// How long a pool stays drained, and then open.
const DRAIN_PERIOD: Duration = Duration::from_millis(20);
/// How soon a task that was refused is sent again. The advice is to wait longer; a storm is impatient.
const IMPATIENCE: Duration = Duration::from_millis(5);

/// Drains and reloads a pool while streams are read from it, and counts what came of it.
///
/// It builds a daemon, starts it with the embedded engine on a free port, and keeps streams running.
/// Every stream is checked; one that is dropped, or a request that fails otherwise than the contract
/// says, ends the run with code 1.
#[derive(Clone, Copy, Debug, Parser)]
#[command(name = "storm")]
struct Arguments {
    /// Streams that are read at a time.
    #[arg(long, default_value_t = 50)]
    streams: usize,
    /// Drains, each taken back.
    #[arg(long, default_value_t = 100)]
    drains: u64,
    /// Reloads, every second one to a model that fails.
    #[arg(long, default_value_t = 100)]
    reloads: u64,
    /// Tokens of each stream.
    #[arg(long, default_value_t = 24)]
    tokens: u32,
    /// Slots of the daemon.
    #[arg(long, default_value_t = 8)]
    slots: u32,
}

/// What came of it.
#[derive(Debug, Default)]
struct Counts {
    streams: AtomicU64,
    tokens: AtomicU64,
    refused_draining: AtomicU64,
    refused_full: AtomicU64,
    drains: AtomicU64,
    reloads_done: AtomicU64,
    reloads_failed: AtomicU64,
    breaches: Mutex<Vec<String>>,
}

impl Counts {
    fn breach(&self, what: String) {
        let mut breaches = self
            .breaches
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        breaches.push(what);
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(counts) => report(&counts),
        Err(failure) => {
            eprintln!("storm: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<Counts, Failure> {
    let daemon = Daemon::start(&[
        "--engine=embedded".to_owned(),
        format!("--slots={}", arguments.slots),
        format!("--admission-capacity={}", arguments.streams),
    ])?;
    let cut = CutModel::write()?;
    let storm = Storm {
        addr: daemon.addr,
        arguments,
        counts: Counts::default(),
        over: AtomicBool::new(false),
    };
    let began = Instant::now();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..arguments.streams)
            .map(|_| scope.spawn(|| storm.guard(|| storm.read_streams())))
            .collect();
        let drains = scope.spawn(|| storm.guard(|| storm.drain_and_undrain()));
        let reloads = scope.spawn(|| storm.guard(|| storm.reload(&cut.0)));
        for changes in [drains, reloads] {
            let _ = changes.join();
        }
        storm.over.store(true, Relaxed);
        for reader in readers {
            let _ = reader.join();
        }
    });
    println!("took     {:.1} s", began.elapsed().as_secs_f64());
    Ok(storm.counts)
}

/// A model file that ends in its middle.
struct CutModel(PathBuf);

impl CutModel {
    fn write() -> Result<Self, Failure> {
        let name = format!("orchestratord-storm-{}.gguf", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, &SHIPPED[..SHIPPED.len() / 2])
            .map_err(|error| Failure::new("writing a model that is cut short", error))?;
        Ok(Self(path))
    }
}

impl Drop for CutModel {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

struct Storm {
    addr: SocketAddr,
    arguments: Arguments,
    counts: Counts,
    over: AtomicBool,
}

impl Storm {
    /// A failure of a part is a breach, and the rest goes on.
    fn guard(&self, part: impl FnOnce() -> Result<(), Failure>) {
        if let Err(failure) = part() {
            self.counts.breach(failure.to_string());
        }
    }

    /// One stream after the other until the storm is over.
    fn read_streams(&self) -> Result<(), Failure> {
        let task = json!({
            "model_ref": "tales",
            "prompt": "Once upon a time",
            "max_tokens": self.arguments.tokens,
        });
        let task = task.to_string().into_bytes();
        let mut client = Client::connect(self.addr)?;
        while !self.over.load(Relaxed) {
            let (status, answer) = client.post("/v2/tasks", &task)?;
            match (status, answer["code"].as_str()) {
                (202, _) => self.follow(&mut client, &answer)?,
                (503, Some("POOL_DRAINING")) => self.refused(&self.counts.refused_draining),
                (429, Some("ADMISSION_REJECT")) => self.refused(&self.counts.refused_full),
                _ => self
                    .counts
                    .breach(format!("a task was answered {status}: {answer}")),
            }
        }
        Ok(())
    }

    fn follow(&self, client: &mut Client, answer: &Value) -> Result<(), Failure> {
        let events = answer["streams"]["sse"].as_str();
        let events = events.ok_or_else(|| Failure(format!("no stream in {answer}")))?;
        let followed = client.follow(events)?;
        self.counts.streams.fetch_add(1, Relaxed);
        self.counts.tokens.fetch_add(followed.tokens, Relaxed);
        Ok(())
    }

    fn refused(&self, count: &AtomicU64) {
        count.fetch_add(1, Relaxed);
        thread::sleep(IMPATIENCE);
    }

    fn drain_and_undrain(&self) -> Result<(), Failure> {
        let mut client = Client::connect(self.addr)?;
        let deadline = json!({"deadline_ms": DRAIN_DEADLINE_MS}).to_string();
        for _ in 0..self.arguments.drains {
            for (change, body) in [("drain", deadline.as_bytes()), ("undrain", b"")] {
                let path = format!("/v2/pools/default/{change}");
                let (status, answer) = client.post(&path, body)?;
                if status != 202 {
                    self.counts
                        .breach(format!("{change} was answered {status}: {answer}"));
                }
                thread::sleep(DRAIN_PERIOD);
            }
            self.counts.drains.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn reload(&self, cut: &Path) -> Result<(), Failure> {
        let mut client = Client::connect(self.addr)?;
        let cut = format!("file:{}", cut.display());
        for reload in 0..self.arguments.reloads {
            let (model, count) = match reload % 2 {
                0 => ("tales", &self.counts.reloads_done),
                _ => (cut.as_str(), &self.counts.reloads_failed),
            };
            let body = json!({"new_model_ref": model}).to_string();
            let (status, answer) = client.post("/v2/pools/default/reload", body.as_bytes())?;
            match (reload % 2, status, answer["code"].as_str()) {
                (0, 200, _) | (1, 409, Some("RELOAD_FAILED")) => count.fetch_add(1, Relaxed),
                _ => {
                    self.counts
                        .breach(format!("a reload was answered {status}: {answer}"));
                    0
                }
            };
        }
        Ok(())
    }
}

fn report(counts: &Counts) -> ExitCode {
    let count = |count: &AtomicU64| count.load(Relaxed);
    println!(
        "streams  {} read to their end, {} tokens",
        count(&counts.streams),
        count(&counts.tokens)
    );
    println!(
        "refused  {} while draining, {} while the queue was full",
        count(&counts.refused_draining),
        count(&counts.refused_full)
    );
    println!("drains   {}, each taken back", count(&counts.drains));
    println!(
        "reloads  {} done, {} failed and rolled back",
        count(&counts.reloads_done),
        count(&counts.reloads_failed)
    );
    let breaches = counts
        .breaches
        .lock()
        .unwrap_or_else(|broken| broken.into_inner());
    breaches::report(&breaches, count(&counts.streams) > 0)
}
