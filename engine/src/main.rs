//! The daemon's command: parse, check, start, exit code.
//!
//! Exit codes: 0 stopped as asked, 1 a thread died, 2 it could not start.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use orchestratord::{
    api,
    cli::{CheckArguments, Cli, Command, KeysCommand, ServeArguments},
    control,
    daemon::Daemon,
    identity::NewKey,
    keeper, logs,
    plan::Plan,
    preflight,
    settings::{self, Settings, StartError, layers, schema},
};
use orchestratord_gpu::embedded;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let done = layers::read().and_then(run);
    done.unwrap_or_else(|error| {
        eprintln!("orchestratord can't start: {error}");
        ExitCode::from(2)
    })
}

fn run(cli: Cli) -> Result<ExitCode, StartError> {
    match cli.command {
        None => serve(cli.serve),
        Some(Command::Check(arguments)) => check(*arguments),
        Some(Command::KeepEngine { grace_ms, words }) => {
            match keeper::keep(&words, Duration::from_millis(grace_ms)) {
                Ok(status) => keeper::end_as(status),
                Err(error) => {
                    eprintln!("the engine can't be kept: {error}");
                    Ok(ExitCode::FAILURE)
                }
            }
        }
        Some(Command::BecomeEngine { parent, words }) => {
            let error = keeper::become_engine(parent, &words);
            eprintln!("the engine can't be started: {error}");
            Ok(ExitCode::FAILURE)
        }
        Some(Command::Models(command)) => command.run(),
        Some(Command::Keys(KeysCommand::New {
            name,
            scopes,
            requests_per_minute,
        })) => {
            let key = NewKey::make(&name, &scopes, requests_per_minute);
            println!("{}\n\n{}", key.secret, key.stanza);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn serve(arguments: ServeArguments) -> Result<ExitCode, StartError> {
    limit_compute_threads(&arguments);
    let settings = Settings::check(arguments)?;
    let _logs = logs::start(settings.fixed.log_format, settings.fixed.log);
    let pools = settings.load_pools()?;
    let machine = preflight::check(&settings.fixed)?;
    let (stops, renewals) = control::listen().map_err(|error| {
        StartError::new(
            format!("signals can't be heard: {error}"),
            "raise the limit of threads",
        )
    })?;
    let daemon = Daemon::start(settings, &pools, machine)?;
    Ok(if daemon.run(&stops, &renewals) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// The library that computes the embedded model takes this number from the environment only.
#[expect(
    unsafe_code,
    reason = "writing to the environment is unsafe once there are threads"
)]
fn limit_compute_threads(arguments: &ServeArguments) {
    let threads = settings::compute_threads(arguments).to_string();
    // SAFETY: this is the first thing that happens after the command line was read; no other
    // thread has been started that could read the environment at the same time.
    unsafe { std::env::set_var(embedded::THREADS_VARIABLE, threads) };
}

fn check(arguments: CheckArguments) -> Result<ExitCode, StartError> {
    if arguments.schema {
        // Whoever reads it may have read enough.
        let _ = writeln!(io::stdout(), "{:#}", schema::settings());
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::check(arguments.serve)?;
    let plan = Plan::of(&settings)?;
    let machine = preflight::check(&settings.fixed)?;
    if arguments.json {
        let _ = writeln!(io::stdout(), "{}", api::text(&plan));
        return plan.check().map(|()| ExitCode::SUCCESS);
    }
    println!("orchestratord would listen on http://{}", machine.addr);
    println!(
        "  {} shards on processors {:?}",
        settings.fixed.shards, machine.cpus
    );
    print!("{plan}");
    println!(
        "  at most {} connections at a time",
        machine.connections_max
    );
    println!("  data in {}", settings.fixed.data_dir.display());
    plan.check().map(|()| ExitCode::SUCCESS)
}
