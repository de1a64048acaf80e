//! Crashes and broken disks under load: without arguments, counts of what became of every task.
//!
//! The promise under test: a 202 is not taken back by a crash, and neither is the end of a stream. The daemon
//! is killed (SIGKILL) at a random moment while tasks come, run and are canceled, and started again on what it has left;
//! and so on. In the end every task that was ever answered 202 has ended, once, as its readers were told, and is
//! listed once; sessions have had the turns and spent the tokens that these tasks came to; and artifacts and models that
//! were answered 201 are there.
//! With `--fault` the disk fails besides: it is full, read-only or broken while the daemon runs and works again
//! ([`failing`]), or the store's file is damaged between two lives ([`damage`]). What a damaged file has lost must have
//! been told. Exit codes: 0 the promise held, 1 it was broken or nothing ran.

mod books;
mod caller;
mod damage;
mod failing;
mod injector;
mod tmpfs;
mod told;

use books::Books;
use caller::Load;
use clap::{Parser, ValueEnum};
use orchestratord_bench::belongings::{TOKENS_BUDGET, TURNS_MAX, all_tasks};
use orchestratord_bench::client::Client;
use orchestratord_bench::daemon::{Daemon, Folder, program};
use orchestratord_bench::{Failure, breaches};
use orchestratord_sched::prng::Prng;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};
use told::Told;

/// How long after its start a daemon is killed.
const LIFE_MS: std::ops::RangeInclusive<u64> = 5..=250;

/// Kills a daemon again and again while tasks are submitted, read and canceled, and looks whether each
/// that it accepted ends once, and as was said.
#[derive(Clone, Debug, Parser)]
#[command(name = "crash")]
struct Arguments {
    /// How often it is killed.
    #[arg(long, default_value_t = 200)]
    rounds: u64,
    /// What decides when, and what is asked of it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How the disk fails in each round; several one after the other.
    #[arg(long, value_enum, value_delimiter = ',')]
    fault: Vec<Fault>,
}

/// What is wrong with the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fault {
    /// It has no room, for a while.
    Full,
    /// It can't be written to, for a while; and at a start.
    ReadOnly,
    /// Its calls fail, all of them or some, for a while.
    Eio,
    /// The store's file is cut off.
    Truncated,
    /// Bits of the store's file flip.
    Flipped,
}

/// What a run is to do.
struct Plan {
    rounds: u64,
    seed: u64,
    program: PathBuf,
}

impl Plan {
    /// Another one for each round.
    fn seed_of(&self, round: u64) -> u64 {
        self.seed << 16 | round
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(books) => {
            books.print();
            breaches::report(&books.breaches, !books.is_empty())
        }
        Err(failure) => {
            eprintln!("crash: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<Books, Failure> {
    let Arguments {
        rounds,
        seed,
        fault: faults,
    } = arguments;
    let program = program()?;
    let plan = Plan {
        rounds,
        seed,
        program,
    };
    if faults.is_empty() {
        return timed("killed", &plan, kills);
    }
    let mut books = Books::default();
    for fault in faults {
        books.take(timed(&fault.name(), &plan, |plan| match fault {
            Fault::Full | Fault::ReadOnly | Fault::Eio => failing::run(fault, plan),
            Fault::Truncated | Fault::Flipped => damage::run(fault, plan),
        })?);
    }
    Ok(books)
}

fn timed(
    name: &str,
    plan: &Plan,
    run: impl FnOnce(&Plan) -> Result<Books, Failure>,
) -> Result<Books, Failure> {
    println!("{name:8} {} times", plan.rounds);
    let began = Instant::now();
    let books = run(plan)?;
    let (refusals, told) = (books.refusals, books.told);
    if refusals + told > 0 {
        println!("told     {refusals} refusals because of the disk, {told} tasks lost or in doubt");
    }
    println!("took     {:.1} s", began.elapsed().as_secs_f64());
    Ok(books)
}

fn kills(plan: &Plan) -> Result<Books, Failure> {
    let (data, load) = (Folder::new(), Load::with_belongings());
    let mut when = Prng::new(plan.seed, "kills");
    for round in 0..plan.rounds {
        let daemon = Daemon::start_as(command(&plan.program), data.path())?;
        load.during(daemon.addr, plan.seed_of(round), || {
            thread::sleep(Duration::from_millis(when.within(LIFE_MS)));
            load.is_dying.store(true, Relaxed);
            daemon.kill()
        })?;
    }
    let daemon = Daemon::start_as(command(&plan.program), data.path())?;
    let views = load.books().look(daemon.addr)?;
    load.books().judge(&views, &Told::default());
    // Stopped in order, so that all of it is on the disk; what is told then comes from there alone.
    drop(daemon);
    let daemon = Daemon::start_as(command(&plan.program), data.path())?;
    take_stock(daemon.addr, &load)?;
    Ok(load.into_books())
}

/// What is left on the disk agrees with what callers know.
fn take_stock(addr: SocketAddr, load: &Load) -> Result<(), Failure> {
    let mut client = Client::connect(addr)?;
    let tasks = all_tasks(&mut client)?;
    println!("listed   {} tasks", tasks.len());
    load.books().compare(&tasks);
    if let Some(belongings) = load.belongings() {
        println!("besides  {}", belongings.summary());
        let breaches = belongings.contradictions(&mut client, &tasks)?;
        load.books().breaches.extend(breaches);
    }
    Ok(())
}

/// The daemon as all runs start it: with tasks that take a moment, and all that can be kept kept.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("ORCHD_LOG", "warn").args([
        "--engine=mock",
        "--slots=4",
        "--admission-capacity=64",
        "--mock-first-token-ms=3",
        "--mock-tokens-per-s=1000",
        "--outcomes-max=1000000",
        "--artifacts-max=1000000",
        "--transcripts=full",
    ]);
    command
        .arg(format!("--session-tokens-budget={TOKENS_BUDGET}"))
        .arg(format!("--session-turns-max={TURNS_MAX}"));
    command
}
