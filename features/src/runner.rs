//! From the feature files to a verdict.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::rc::Rc;

use cucumber::event::ScenarioFinished;
use cucumber::writer::{Basic, Coloring, JUnit, Stats as _, Verbosity};
use cucumber::{World as _, WriterExt as _};

use crate::world::World;
use crate::{farewell, program};

/// Where the features lie: beside the manifest, the first thing that one sees of this crate.
pub const FEATURES: &str = env!("CARGO_MANIFEST_DIR");

/// What to run, and what to leave behind.
#[derive(Debug, Default)]
pub struct Options {
    /// The name of one feature's file without its ending; absent, all features run.
    pub feature: Option<String>,
    /// Where to write a report in JUnit's format; absent, there is none.
    pub junit: Option<PathBuf>,
}

/// How many scenarios held, and how many did not.
#[derive(Debug, Default, Clone, Copy)]
pub struct Verdict {
    /// Scenarios whose every step held, and whose daemon wrote no prompt, text or key into its log.
    pub passed: usize,
    /// All others; a feature that cannot be read counts as one.
    pub failed: usize,
}

/// Builds the daemon, then runs the features one scenario after the other, telling of each on stdout.
///
/// # Errors
///
/// When the daemon does not build, the feature does not exist or the report cannot be written.
pub fn run(options: &Options) -> io::Result<Verdict> {
    let path = match &options.feature {
        Some(feature) => PathBuf::from(FEATURES).join(format!("{feature}.feature")),
        None => PathBuf::from(FEATURES),
    };
    fs::metadata(&path)
        .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    let report: Box<dyn Write> = match &options.junit {
        Some(junit) => Box::new(File::create(junit)?),
        None => Box::new(io::sink()),
    };
    program::build()?;
    let verdict = futures_executor::block_on(judge(path, report));
    farewell::all_gone();
    Ok(verdict)
}

async fn judge(path: PathBuf, report: Box<dyn Write>) -> Verdict {
    // With the world shown, a failed step is followed by the last answer and the daemon's log.
    let writer = Basic::raw(io::stdout(), Coloring::Auto, Verbosity::ShowWorld)
        .summarized()
        .tee::<World, _>(JUnit::for_tee(report, Verbosity::ShowWorld))
        .normalized();
    let verdict = Rc::new(Cell::new(Verdict::default()));
    let counted = Rc::clone(&verdict);
    let done = World::cucumber()
        .with_writer(writer)
        .fail_on_skipped()
        .max_concurrent_scenarios(1)
        .after(move |_, _, scenario, finished, world| {
            let mut verdict = counted.get();
            let told = world.and_then(|world| world.told_secret());
            if let Some(line) = &told {
                println!("`{}` has a secret in its log: {line}", scenario.name);
            }
            match (finished, told) {
                (ScenarioFinished::StepPassed, None) => verdict.passed += 1,
                _ => verdict.failed += 1,
            }
            counted.set(verdict);
            Box::pin(async {})
        })
        .with_default_cli()
        .run(path)
        .await;
    let Verdict { passed, failed } = verdict.get();
    let failed = failed + done.parsing_errors();
    Verdict { passed, failed }
}
