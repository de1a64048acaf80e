//! Hostile clients: without arguments, how many tricks were tried and how many worked.
//!
//! The promises under test: bytes have one reading, everything has a bound, what callers say can't forge an
//! answer, a log line or an event, keys can't be guessed, and what is another's is as if it were not there. Each
//! scene starts a daemon of its own and speaks to its socket.
//! Exit codes: 0 every promise held, 1 one was broken or nothing was tried.

mod caller;
mod findings;
mod giant;
mod giants;
mod guessing;
mod hostile_engine;
mod http2;
mod http2_tricks;
mod injection;
mod request;
mod smuggling;
mod stage;
mod strangers;
mod things;
mod tricks;
mod wire;
mod witness;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use orchestratord_bench::{Failure, breaches};

use findings::Findings;
use stage::Stage;

/// Attacks a daemon the way hostile clients do, and looks whether it holds.
#[derive(Clone, Copy, Debug, Parser)]
#[command(name = "intrusion")]
struct Arguments {
    /// Which scene to play; all of them, if none is named.
    #[arg(long, value_enum)]
    scene: Option<Scene>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scene {
    /// Heads and bodies beyond every limit.
    Giant,
    /// Bytes that two programs read in two ways.
    Smuggling,
    /// Texts that would forge answers, log lines, series and events.
    Injection,
    /// Keys that are guessed.
    Guessing,
    /// Things of another caller.
    Strangers,
}

impl Scene {
    fn play(self, stage: &Stage, findings: &mut Findings) -> Result<(), Failure> {
        match self {
            Self::Giant => giant::play(stage, findings),
            Self::Smuggling => smuggling::play(stage, findings),
            Self::Injection => injection::play(stage, findings),
            Self::Guessing => guessing::play(stage, findings),
            Self::Strangers => strangers::play(stage, findings),
        }
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(findings) => breaches::report(&findings.breaches, findings.tried > 0),
        Err(failure) => {
            eprintln!("intrusion: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { scene }: Arguments) -> Result<Findings, Failure> {
    let (stage, mut all) = (Stage::new()?, Findings::default());
    for &each in Scene::value_variants() {
        if scene.is_some_and(|wanted| wanted != each) {
            continue;
        }
        let (began, mut findings) = (Instant::now(), Findings::default());
        each.play(&stage, &mut findings)?;
        let name = each.to_possible_value();
        println!(
            "{:<11}{:>5} tried, {} breaches, {:.1} s",
            name.as_ref().map_or("", |name| name.get_name()),
            findings.tried,
            findings.breaches.len(),
            began.elapsed().as_secs_f64()
        );
        all.add(findings);
    }
    Ok(all)
}
