//! The canonical load: without arguments, two numbers.
//!
//! The first is the delay that the daemon adds to a token, the second how many tokens it delivers.
//! Both are taken with the mock engine, which costs next to nothing, so that what is measured is the
//! daemon and not a model. Exit codes: 0 measured, 1 the contract was broken or nothing ran.

use clap::Parser;
use hdrhistogram::Histogram;
use orchestratord_bench::Failure;
use orchestratord_bench::daemon::Daemon;
use orchestratord_bench::workload::{Total, Workload};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

/// Loads a daemon and prints what it does: the delay that it adds, and the tokens that it delivers.
///
/// Without arguments it builds a daemon, starts it with the mock engine on a free port, and runs the
/// canonical load. Every stream is checked; a lost or misplaced event ends the run with code 1.
#[derive(Clone, Debug, Parser)]
#[command(name = "load")]
struct Arguments {
    /// A running daemon to load instead of starting one.
    #[arg(long, value_name = "IP:PORT")]
    addr: Option<SocketAddr>,
    /// The model to ask for.
    #[arg(long, default_value = "mock")]
    model: String,
    /// Shards of the daemon that is started; one a core unless told otherwise.
    #[arg(long)]
    shards: Option<u16>,
    /// What a 202 of the daemon that is started is worth: fsync, async, off. With off the disk is not measured.
    #[arg(long, default_value = "off")]
    durability: String,
    /// Tasks of the second number, over all connections.
    #[arg(long, default_value_t = 4000)]
    tasks: u64,
    /// Connections of the second number.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Tokens of each task.
    #[arg(long, default_value_t = 256)]
    tokens: u32,
    /// Bytes of each prompt.
    #[arg(long, default_value_t = 64)]
    prompt_bytes: usize,
    /// Seconds after which no new task is begun, for each number.
    #[arg(long, default_value_t = 20)]
    seconds_max: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("load: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let daemon = match arguments.addr {
        Some(_) => None,
        None => Some(Daemon::start(&daemon_arguments(arguments))?),
    };
    let addr = arguments.addr.or(daemon.as_ref().map(|daemon| daemon.addr));
    let workload = Workload {
        addr: addr.expect("one was given, or one was started"),
        model: arguments.model.clone(),
        tokens: arguments.tokens,
        prompt_bytes: arguments.prompt_bytes,
        tasks: arguments.tasks,
        connections: arguments.connections,
        duration_max: Duration::from_secs(arguments.seconds_max),
    };
    let alone = Workload {
        tokens: 1,
        ..workload.clone()
    };
    // A first look warms caches, pages and the branch predictor of everything involved.
    Workload {
        tasks: alone.tasks / 10,
        ..alone.clone()
    }
    .delays()?;
    report_delays(&alone.delays()?);
    report_total(&workload, &workload.total()?);
    Ok(())
}

fn daemon_arguments(arguments: &Arguments) -> Vec<String> {
    let fixed = [
        ("--engine", "mock"),
        ("--mock-first-token-ms", "0"),
        ("--mock-tokens-per-s", "0"),
        ("--admission-capacity", "1024"),
        ("--durability", &arguments.durability),
    ];
    let shards = arguments
        .shards
        .map(|shards| ["--shards".to_owned(), shards.to_string()]);
    fixed
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value.to_owned()])
        .chain(shards.into_iter().flatten())
        .collect()
}

fn report_delays(delays: &Histogram<u64>) {
    let us = |quantile| Duration::from_nanos(delays.value_at_quantile(quantile)).as_micros();
    println!(
        "delay    {} µs p50, {} µs p99   from submitting a task to its first token, {} tasks one after the other",
        us(0.50),
        us(0.99),
        delays.len()
    );
}

fn report_total(workload: &Workload, total: &Total) {
    println!(
        "through  {:.0} tokens/s   {} tasks of {} tokens over {} connections in {:.2} s, {} told to come back",
        total.tokens_per_s(),
        total.tasks,
        workload.tokens,
        workload.connections,
        total.took.as_secs_f64(),
        total.refusals
    );
}
