//! Hostile use of resources: without arguments, every scene at full size, with counts of what came of it.
//!
//! The promise under test: whoever is slow, floods or resets costs little, is cut off when its time is up
//! and leaves nothing behind, and good clients beside it are served. Each scene starts a daemon with the
//! mock engine, attacks it, and looks what it holds afterwards. Exit codes: 0 the promise held, 1 it was
//! broken or nothing ran.

mod books;
mod connections;
mod footprint;
mod frames;
mod good;
mod hostile;
mod http2;
mod pipelines;
mod readers;
mod resets;
mod slow_readers;
mod slow_requests;
mod trial;

use books::Books;
use clap::{Parser, ValueEnum};
use orchestratord_bench::{Failure, breaches};
use std::process::ExitCode;

/// Besieges a daemon, scene by scene, and counts what was sent, answered and cut.
#[derive(Clone, Debug, Parser)]
#[command(name = "siege")]
struct Arguments {
    /// One scene alone.
    #[arg(long, value_enum)]
    scene: Option<Scene>,
    /// Connections of each attack that is made of connections.
    #[arg(long, default_value_t = 2000)]
    connections: usize,
    /// Slow readers at a time.
    #[arg(long, default_value_t = 10_000)]
    slow_readers: usize,
    /// Good readers beside them.
    #[arg(long, default_value_t = 100)]
    good_readers: usize,
    /// Phases of the slow readers, and as many without them.
    #[arg(long, default_value_t = 4)]
    phases: usize,
    /// How long a phase lasts.
    #[arg(long, default_value_t = 8000)]
    phase_ms: u64,
    /// Judge no delay: for machines that have something else to do.
    #[arg(long)]
    counts_only: bool,
}

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scene {
    /// Requests that come a byte at a time.
    SlowRequests,
    /// Streams that are read slowly, or not at all.
    SlowReaders,
    /// More connections than the daemon may have open files.
    Connections,
    /// Requests without an end on one connection.
    Pipelines,
    /// Connections that are reset.
    Resets,
    /// Floods of frames of HTTP/2, and streams without a window.
    Http2,
}

impl Scene {
    fn run(self, arguments: &Arguments, books: &Books) -> Result<(), Failure> {
        match self {
            Self::SlowRequests => slow_requests::run(arguments, books),
            Self::SlowReaders => slow_readers::run(arguments, books),
            Self::Connections => connections::run(arguments, books),
            Self::Pipelines => pipelines::run(arguments, books),
            Self::Resets => resets::run(arguments, books),
            Self::Http2 => http2::run(arguments, books),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let books = Books::default();
    let scenes = match arguments.scene {
        Some(scene) => vec![scene],
        None => Scene::value_variants().to_vec(),
    };
    for scene in &scenes {
        let name = scene.to_possible_value();
        println!("{}", name.as_ref().map_or("", |name| name.get_name()));
        if let Err(failure) = scene.run(&arguments, &books) {
            books.breach(format!(
                "{scene:?} could not be played to its end: {failure}"
            ));
        }
    }
    breaches::report(&books.into_breaches(), !scenes.is_empty())
}
