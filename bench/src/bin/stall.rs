//! A shard that stands still: without arguments, counts of what came of it.
//!
//! The promise under test: a shard that does not turn is told, it holds up nobody but those whom it serves, and
//! they go on when it does. One shard's thread is stopped as a debugger would stop it (ptrace(2)), while
//! tasks run on both and are read. Exit codes: 0 the promise held, 1 it was broken or nothing ran.

use clap::Parser;
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use orchestratord_bench::client::{Answer, Client};
use orchestratord_bench::daemon::{Daemon, Folder, program};
use orchestratord_bench::metrics::Metrics;
use orchestratord_bench::{Failure, breaches};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// Which shard is stopped, of two.
const STOPPED: usize = 1;
/// Connections and tasks: so many that each shard has some, but once in tens of thousands of runs.
const CALLERS: usize = 16;
/// Tokens of each task, and how fast they come: they last for as long as the shard stands still.
const TOKENS: u32 = 60;
const TOKENS_PER_S: u32 = 20;
/// What the kernel calls a thread that a debugger has stopped (proc(5)).
const STATE_STOPPED: &str = "t";
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a look is taken at what changes.
const PAUSE: Duration = Duration::from_millis(20);
/// The number of io_uring_enter(2), on every machine.
const IO_URING_ENTER: u32 = 426;

/// Stops one shard of a daemon, sees that this is told and who is held up by it, and lets it go.
#[derive(Clone, Copy, Debug, Parser)]
#[command(name = "stall")]
struct Arguments {
    /// The daemon's --shard-stall-ms.
    #[arg(long, default_value_t = 300)]
    shard_stall_ms: u64,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(breaches) => breaches::report(&breaches, true),
        Err(failure) => {
            eprintln!("stall: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<Vec<String>, Failure> {
    let data = Folder::new();
    let log = data.path().with_extension("log");
    let daemon = start(arguments, data.path(), &log)?;
    let addr = daemon.addr;
    let streams = callers(move || stream(addr));
    let thread = thread_of(daemon.pid(), STOPPED)?;
    let mut breaches = Vec::new();
    let stopped = Stopped::stop(daemon.pid(), thread)?;
    let began = Instant::now();
    let answers = callers(move || live(addr));
    let mut witness = first(&answers)?;
    let stalled = format!("shard_stalled{{shard=\"{STOPPED}\"}}");
    let told = until(&mut witness, |witness| {
        Ok(Metrics::of(witness)?.get(&stalled) == Some(1.0))
    })?;
    let dead = until(&mut witness, |witness| Ok(witness.text("/livez")?.0 == 503))?;
    let mut answered = 1 + answers.try_iter().filter(Result::is_ok).count();
    println!(
        "stopped  shard {STOPPED} of 2, told after {} ms, and by /livez after {} ms",
        told.as_millis(),
        dead.as_millis()
    );
    println!("served   {answered} of {CALLERS} new connections meanwhile");
    let stood = began.elapsed();
    drop(stopped);
    let again = until(&mut witness, |witness| {
        let (status, _) = witness.text("/livez")?;
        Ok(status == 200 && Metrics::of(witness)?.get(&stalled) == Some(0.0))
    })?;
    println!(
        "let go   after {} ms, told after {} ms",
        stood.as_millis(),
        again.as_millis()
    );
    for answer in answers {
        answer?;
        answered += 1;
    }
    let read = streams.into_iter().collect::<Result<Vec<_>, _>>()?;
    println!(
        "streams  {} of {CALLERS} read to their ends, {} tokens each",
        read.len(),
        TOKENS
    );
    if answered != CALLERS || read.len() != CALLERS {
        breaches.push(format!(
            "{answered} connections were answered, {} streams read",
            read.len()
        ));
    }
    let stalls = format!("shard_stalls_total{{shard=\"{STOPPED}\"}}");
    // More, where the machine itself has no time for it.
    if Metrics::of(&mut witness)?.get(&stalls) < Some(1.0) {
        breaches.push("the stall was not counted".to_owned());
    }
    drop(daemon);
    breaches.extend(unlogged(&log)?);
    let _ = fs::remove_file(log);
    Ok(breaches)
}

fn start(arguments: Arguments, data: &Path, log: &Path) -> Result<Daemon, Failure> {
    let file = File::create(log).map_err(|error| Failure::new("writing the log", error))?;
    let settings = [
        "--engine=mock".to_owned(),
        "--shards=2".to_owned(),
        format!("--slots={CALLERS}"),
        format!("--mock-tokens-per-s={TOKENS_PER_S}"),
        format!("--shard-stall-ms={}", arguments.shard_stall_ms),
    ];
    Daemon::start_logging(file, "json", data, &program()?, &settings)
}

/// Callers on threads of their own, which are not waited for, and what becomes of each.
fn callers<T: Send + 'static>(
    call: impl Fn() -> Result<T, Failure> + Clone + Send + 'static,
) -> Receiver<Result<T, Failure>> {
    let (told, outcomes) = mpsc::channel();
    for _ in 0..CALLERS {
        let (call, told) = (call.clone(), told.clone());
        thread::spawn(move || told.send(call()));
    }
    outcomes
}

/// A task, from its submission to its last event.
fn stream(addr: SocketAddr) -> Result<(), Failure> {
    let mut client = Client::connect(addr)?;
    let task = json!({"model_ref": "mock", "prompt": "Once upon a time", "max_tokens": TOKENS});
    let Answer::Admitted(events) = client.submit(task.to_string().as_bytes())? else {
        return Err(Failure(
            "a task was refused though there are slots".to_owned(),
        ));
    };
    match client.follow(&events)?.tokens {
        tokens if tokens == u64::from(TOKENS) => Ok(()),
        tokens => Err(Failure(format!("a stream had {tokens} tokens"))),
    }
}

/// A connection that is answered.
fn live(addr: SocketAddr) -> Result<Client, Failure> {
    let mut client = Client::connect(addr)?;
    client.text("/livez").map(|_| client)
}

fn first(answers: &Receiver<Result<Client, Failure>>) -> Result<Client, Failure> {
    let nobody = |_| Failure("nobody is answered while one shard stands still".to_owned());
    answers.recv_timeout(PATIENCE).map_err(nobody)?
}

/// Waits until this is so; how long that took.
fn until(
    witness: &mut Client,
    is_so: impl Fn(&mut Client) -> Result<bool, Failure>,
) -> Result<Duration, Failure> {
    let began = Instant::now();
    while !is_so(witness)? {
        if began.elapsed() > PATIENCE {
            return Err(Failure("a stall, or its end, was not told".to_owned()));
        }
        thread::sleep(PAUSE);
    }
    Ok(began.elapsed())
}

/// The thread of a shard, found by its name.
fn thread_of(process: u32, shard: usize) -> Result<Pid, Failure> {
    let failed = |error| Failure::new("looking at the daemon's threads", error);
    for entry in fs::read_dir(format!("/proc/{process}/task")).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.trim_end().starts_with(&format!("shard-{shard}"))
            && let Some(thread) = path.file_name().and_then(|id| id.to_str()?.parse().ok())
        {
            return Ok(Pid::from_raw(thread));
        }
    }
    Err(Failure(format!(
        "the daemon has no thread of shard {shard}"
    )))
}

/// A thread that is held by us, until this is dropped.
struct Stopped {
    process: u32,
    thread: Pid,
}

impl Stopped {
    /// Stops it where it waits for its ring. In the middle of its work it may have a lock of a library in hand, if
    /// only that of a channel whose receiver it wakes, and then it would not be one shard that stands still.
    fn stop(process: u32, thread: Pid) -> Result<Self, Failure> {
        let began = Instant::now();
        loop {
            let stop = || {
                ptrace::seize(thread, ptrace::Options::empty())?;
                ptrace::interrupt(thread)?;
                waitpid(thread, Some(WaitPidFlag::__WALL))
            };
            stop().map_err(|error| Failure::new("stopping a thread, as debuggers do", error))?;
            let stopped = Self { process, thread };
            if stopped.waits_for_its_ring() {
                return Ok(stopped);
            }
            if began.elapsed() > PATIENCE {
                return Err(Failure("the shard is never at rest".to_owned()));
            }
            drop(stopped);
            thread::sleep(PAUSE);
        }
    }

    fn waits_for_its_ring(&self) -> bool {
        let path = format!("/proc/{}/task/{}/syscall", self.process, self.thread);
        let call = fs::read_to_string(path).unwrap_or_default();
        call.split(' ').next() == Some(&IO_URING_ENTER.to_string())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // If the thread has ended there is nothing to let go.
        let _ = ptrace::detach(self.thread, None);
    }
}

/// What the log should tell and does not.
fn unlogged(log: &Path) -> Result<Vec<String>, Failure> {
    let text = fs::read_to_string(log).map_err(|error| Failure::new("reading the log", error))?;
    let lines: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let is_told = |event: &str, state: Option<&str>| {
        lines.iter().any(|line| {
            line["event"] == event && line["shard"] == STOPPED && line["state"].as_str() == state
        })
    };
    let mut breaches = Vec::new();
    if !is_told("shard_stalled", Some(STATE_STOPPED)) {
        breaches.push("the log does not say that the shard's thread was stopped".to_owned());
    }
    if !is_told("shard_turns", None) {
        breaches.push("the log does not say that the shard turns again".to_owned());
    }
    Ok(breaches)
}
