//! Runs the behaviour features: `bdd-runner [--feature NAME] [--junit FILE]`.
//!
//! The last line counts scenarios; the exit code is 0 if all passed, 1 if one failed, 2 if none ran.

use std::process::ExitCode;

use orchestratord_bdd::{Options, run};

fn main() -> ExitCode {
    let verdict = options(std::env::args().skip(1))
        .and_then(|options| run(&options).map_err(|error| error.to_string()));
    match verdict {
        Ok(verdict) => {
            println!("{} passed, {} failed", verdict.passed, verdict.failed);
            if verdict.failed == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("bdd-runner: {error}");
            ExitCode::from(2)
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(flag) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{flag} needs a value"))
        };
        match flag.as_str() {
            "--feature" => options.feature = Some(value()?),
            "--junit" => options.junit = Some(value()?.into()),
            _ => {
                return Err(format!(
                    "{flag} is unknown; use [--feature NAME] [--junit FILE]"
                ));
            }
        }
    }
    Ok(options)
}
