//! Fuzzing: without arguments, a minute for each kind of bytes that is read from strangers.
//!
//! What is promised of them stands in `engine/fuzz`: no panic, one meaning, bounds. A fuzzer thinks up inputs and
//! goes on from those that reach something new. One target has a planted fault, which is found only by a
//! fuzzer that sees what it does: if that is not found, nothing that the others did not find means anything.
//! Exit codes: 0 all held and the planted fault was found, 1 otherwise.

mod coverage;
mod fuzzer;

use clap::Parser;
use fuzzer::{Fuzzer, Outcome, Until};
use orchestratord_bench::{Failure, breaches};
use std::collections::VecDeque;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// The target with the planted fault. It has no inputs to begin with.
const CANARY: &str = "canary";
/// What it says of itself.
const PLANTED: &str = "the planted fault";
/// Several times what it takes. What a fuzzer does with a seed is always the same.
const CANARY_UNTIL: Until = Until::Executions {
    seed: 1,
    count: 4_000_000,
};

/// Fuzzes what is read from strangers, and counts what was tried and what that reached.
#[derive(Clone, Debug, Parser)]
#[command(name = "fuzzers")]
struct Arguments {
    /// How long each target is worked on.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many are worked on at a time.
    #[arg(long, default_value_t = 2)]
    at_a_time: usize,
    /// Only these; else each that has a folder in `engine/fuzz/corpora`.
    #[arg(long)]
    target: Vec<String>,
    /// Afterwards, keep in that folder what reaches more, and leave out what is not needed for that.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    if let Err(error) = coverage::wrap_rustc() {
        eprintln!("fuzzers: the compiler did not start: {error}");
        return ExitCode::FAILURE;
    }
    run(Arguments::parse()).unwrap_or_else(|failure| {
        eprintln!("fuzzers: {failure}");
        ExitCode::FAILURE
    })
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let began = Instant::now();
    let fuzzer = Fuzzer {
        program: coverage::build(&root)?,
        kept: root.join("engine/fuzz"),
        found: root.join("target/fuzz"),
    };
    println!("built    in {:.0} s", began.elapsed().as_secs_f64());
    let targets = match arguments.target.is_empty() {
        true => targets(&fuzzer.kept.join("corpora"))?,
        false => arguments.target,
    };
    let until = Until::Time(Duration::from_secs(arguments.seconds));
    let work = targets.iter().map(|target| (target.as_str(), until));
    let work = [(CANARY, CANARY_UNTIL)].into_iter().chain(work).collect();
    let outcomes = work_off(&fuzzer, work, arguments.at_a_time)?;
    if arguments.keep {
        targets.iter().try_for_each(|target| fuzzer.keep(target))?;
    }
    println!("took     {:.0} s", began.elapsed().as_secs_f64());
    Ok(report(&outcomes))
}

/// Each target has a folder with what is known of it.
fn targets(corpora: &Path) -> Result<Vec<String>, Failure> {
    let folders = fs::read_dir(corpora).map_err(|error| Failure::new("no corpora", error))?;
    let names = folders.flatten().map(|folder| folder.file_name());
    let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
    names.sort();
    Ok(names)
}

type Work<'a> = VecDeque<(&'a str, Until)>;

/// Works on so many targets at a time, and tells of each as soon as it is done.
fn work_off(
    fuzzer: &Fuzzer,
    work: Work<'_>,
    at_a_time: usize,
) -> Result<Vec<(String, Outcome)>, Failure> {
    println!("{HEADINGS}");
    let (work, outcomes) = (Mutex::new(work), Mutex::new(Vec::new()));
    let next = || {
        work.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let one_by_one = || -> Result<(), Failure> {
        while let Some((target, until)) = next() {
            let outcome = fuzzer.run(target, until)?;
            println!("{}", row(target, &outcome));
            let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            outcomes.push((target.to_owned(), outcome));
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers = (0..at_a_time.max(1)).map(|_| scope.spawn(one_by_one));
        let workers: Vec<_> = workers.collect();
        let mut ends = workers.into_iter().map(|worker| worker.join());
        ends.try_for_each(|end| end.expect("a worker has no reason to panic"))
    })?;
    Ok(outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

const HEADINGS: &str =
    "target     executions    per s  inputs before → after  edges before → after  peak MB  faults";

fn row(target: &str, outcome: &Outcome) -> String {
    let Outcome {
        executions,
        executions_per_s,
        peak_rss_mb,
        before,
        after,
        fault,
    } = outcome;
    format!(
        "{target:<9} {executions:>11} {executions_per_s:>8} {:>14} → {:<5} {:>13} → {:<5} {peak_rss_mb:>7} {:>7}",
        before.inputs,
        after.inputs,
        before.edges,
        after.edges,
        u8::from(fault.is_some())
    )
}

fn report(outcomes: &[(String, Outcome)]) -> ExitCode {
    let breaches: Vec<String> = outcomes.iter().filter_map(breach).collect();
    let was_tested = outcomes.iter().all(|(_, outcome)| outcome.executions > 0);
    breaches::report(&breaches, was_tested && outcomes.len() > 1)
}

fn breach((target, outcome): &(String, Outcome)) -> Option<String> {
    match (target.as_str(), &outcome.fault) {
        (CANARY, Some(fault)) if fault.contains(PLANTED) => None,
        (CANARY, _) => Some("the planted fault was not found: the fuzzer is blind".to_owned()),
        (_, fault) => Some(format!("{target}: {}", fault.as_ref()?)),
    }
}
