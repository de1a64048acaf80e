//! Whether the odds that the daemon tells are odds: `cargo calibration`.
//!
//! For several loads, ten bins of what was told and how often it happened, and the expected
//! calibration error of them. Exit codes: 0 each error is small enough, 1 one is not.

use clap::Parser;
use orchestratord_bench::calibration::{Bins, Options, simulate};
use std::process::ExitCode;

/// From half idle to more than can be served.
const LOADS: [f64; 4] = [0.5, 0.8, 0.95, 1.2];
/// The largest expected calibration error that passes.
const ERROR_MAX: f64 = 0.05;

/// Simulates tasks under several loads, and compares what the estimator said with what happened.
#[derive(Clone, Debug, Parser)]
#[command(name = "calibration")]
struct Arguments {
    /// Decides everything that is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds from there on; one run of each load for each.
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// Tasks of each run.
    #[arg(long, default_value_t = 20_000)]
    tasks: usize,
    /// Print the errors only, without their bins.
    #[arg(long)]
    brief: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let worst = LOADS
        .into_iter()
        .flat_map(|load| (0..arguments.seeds).map(move |nth| (load, nth)))
        .map(|(load, nth)| report(&arguments, load, arguments.seed.wrapping_add(nth)))
        .fold(0.0, f64::max);
    println!("worst    {worst:.4}   of at most {ERROR_MAX}");
    if worst <= ERROR_MAX {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn report(arguments: &Arguments, load: f64, seed: u64) -> f64 {
    let tasks = arguments.tasks;
    let outcome = simulate(Options { seed, load, tasks });
    let told = [("admission", &outcome.admission), ("later", &outcome.later)];
    told.into_iter()
        .map(|(when, bins)| {
            println!(
                "load {load:<4} seed {seed}   told at {when:<9}   {} predictions   error {:.4}",
                bins.total(),
                bins.error()
            );
            if !arguments.brief {
                table(bins);
            }
            bins.error()
        })
        .fold(0.0, f64::max)
}

fn table(bins: &Bins) {
    println!("    told  happened  count");
    for bin in bins.iter() {
        println!(
            "  {:>6.3}    {:>6.3}  {:>5}",
            bin.told(),
            bin.happened(),
            bin.len()
        );
    }
}
