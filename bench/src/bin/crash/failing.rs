//! A disk that fails while the daemon runs, and works again.

use clap::ValueEnum as _;
use orchestratord_bench::Failure;
use orchestratord_bench::client::Client;
use orchestratord_bench::daemon::{Daemon, Folder};
use orchestratord_sched::prng::Prng;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use crate::books::Books;
use crate::caller::Load;
use crate::injector::{Injector, Symptom};
use crate::tmpfs::Tmpfs;
use crate::told::Told;
use crate::{Fault, Plan, command};

/// Room for all that a run writes, and little enough to fill up in a moment.
const TMPFS_MEBIBYTES: u32 = 64;
/// Rounds of one store. One that has lived has room of its own within its file, and meets a full disk seldom.
const STORE_ROUNDS: usize = 3;
/// How long the daemon works before its disk fails.
const HEALTH_MS: std::ops::RangeInclusive<u64> = 10..=150;
/// How long the disk fails.
const FAULT_MS: std::ops::RangeInclusive<u64> = 100..=400;
/// How long the daemon goes on before it is killed.
const AFTERWARDS_MS: std::ops::RangeInclusive<u64> = 1..=100;
/// How long a daemon may take to find out how its disk is.
const NOTICE: Duration = Duration::from_secs(10);

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// What makes the disk fail.
enum Trouble {
    /// It is small, and full.
    Full(Tmpfs),
    /// Its calls fail, each time in one of these ways.
    Bad(Injector, Vec<Symptom>),
}

impl Trouble {
    fn prepare(fault: Fault, folder: &Path, data: &Path) -> Result<Self, Failure> {
        let all = |error| Symptom {
            error,
            percent: 100,
            calls: "wst",
        };
        let symptoms = match fault {
            Fault::Full => match Tmpfs::mount(data, TMPFS_MEBIBYTES) {
                Some(tmpfs) => return Ok(Self::Full(tmpfs)),
                None => vec![all(ENOSPC)],
            },
            // A disk that is mounted can't be made read-only under whoever writes to it, unless it breaks.
            Fault::ReadOnly => vec![all(EROFS)],
            _ => {
                let some = |percent, calls| Symptom {
                    percent,
                    calls,
                    ..all(EIO)
                };
                vec![all(EIO), some(100, "s"), some(30, "s"), some(10, "wst")]
            }
        };
        Ok(Self::Bad(Injector::build(folder)?, symptoms))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Full(_) => "a small tmpfs that is filled up",
            Self::Bad(..) => "the store's calls fail, by a preloaded library",
        }
    }

    /// Starts the daemon so that its disk can fail, which it will say.
    fn command(&self, program: &Path, log: &Path) -> Result<Command, Failure> {
        let log = File::options().create(true).append(true).open(log);
        let log = log.map_err(|error| Failure::new("making a log", error))?;
        let mut command = command(program);
        // A small disk has no room for more.
        command.arg("--artifacts-bytes-max=16777216");
        command.stderr(log);
        if let Self::Bad(injector, _) = self {
            command.envs(injector.environment());
        }
        Ok(command)
    }

    /// Whether nothing at all can be written from now on.
    fn begin(&self, whim: &mut Prng) -> Result<bool, Failure> {
        match self {
            // Pages that the store has already can still be written.
            Self::Full(tmpfs) => tmpfs.fill().map(|()| false),
            Self::Bad(injector, symptoms) => {
                let last = symptoms.len() as u64 - 1;
                let symptom = symptoms[usize::try_from(whim.within(0..=last)).unwrap_or(0)];
                injector.inject(symptom)?;
                Ok(symptom.percent == 100)
            }
        }
    }

    fn end(&self) -> Result<(), Failure> {
        match self {
            Self::Full(tmpfs) => tmpfs.make_room(),
            Self::Bad(injector, _) => injector.stop(),
        }
    }
}

/// In each round the disk fails once, works again, and the daemon is killed.
pub(crate) fn run(fault: Fault, plan: &Plan) -> Result<Books, Failure> {
    let mut books = Books::default();
    for first in (0..plan.rounds).step_by(STORE_ROUNDS) {
        let last = plan.rounds.min(first + STORE_ROUNDS as u64);
        books.take(one_store(fault, plan, first..last)?);
    }
    Ok(books)
}

fn one_store(fault: Fault, plan: &Plan, rounds: Range<u64>) -> Result<Books, Failure> {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let made = fs::create_dir_all(&data);
    made.map_err(|error| Failure::new("making a folder", error))?;
    let trouble = Trouble::prepare(fault, folder.path(), &data)?;
    let log = folder.path().join("log");
    let load = Load::on_a_disk(fault == Fault::Full);
    if rounds.start == 0 {
        println!("by       {}", trouble.name());
        if fault == Fault::ReadOnly {
            start_read_only(&load, &plan.program, folder.path())?;
        }
    }
    for round in rounds {
        let mut whim = Prng::new(plan.seed_of(round), "faults");
        let daemon = Daemon::start_as(trouble.command(&plan.program, &log)?, &data)?;
        load.during(daemon.addr, plan.seed_of(round), || {
            live(daemon, &load, &trouble, &mut whim)
        })?;
    }
    let daemon = Daemon::start_as(command(&plan.program), &data)?;
    let mut books = load.into_books();
    let views = books.look(daemon.addr)?;
    books.judge(&views, &Told::default());
    books.find_panics(&log)?;
    Ok(books)
}

fn live(daemon: Daemon, load: &Load, trouble: &Trouble, whim: &mut Prng) -> Result<(), Failure> {
    thread::sleep(Duration::from_millis(whim.within(HEALTH_MS)));
    load.is_faulty.store(true, Relaxed);
    let is_total = trouble.begin(whim)?;
    thread::sleep(Duration::from_millis(whim.within(FAULT_MS)));
    let noticed = !is_total || comes_to_answer(daemon.addr, 503)?;
    trouble.end()?;
    let recovered =
        load.comes_to_be_accepted(daemon.addr, NOTICE, whim)? && comes_to_answer(daemon.addr, 200)?;
    load.is_faulty.store(false, Relaxed);
    if !noticed {
        load.books()
            .breach("/readyz does not tell that the disk fails".to_owned());
    }
    if !recovered {
        load.books()
            .breach("the daemon does not find that its disk works again".to_owned());
    }
    thread::sleep(Duration::from_millis(whim.within(AFTERWARDS_MS)));
    load.is_dying.store(true, Relaxed);
    daemon.kill()
}

/// Whether that is what /readyz says before long.
fn comes_to_answer(addr: SocketAddr, expected: u16) -> Result<bool, Failure> {
    let mut client = Client::connect(addr)?;
    let give_up = Instant::now() + NOTICE;
    while client.text("/readyz")?.0 != expected {
        if Instant::now() > give_up {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(true)
}

/// A daemon that can't write its folder says so and what to do, instead of serving.
fn start_read_only(load: &Load, program: &Path, folder: &Path) -> Result<(), Failure> {
    let data = folder.join("read-only");
    let made = fs::create_dir_all(&data);
    made.map_err(|error| Failure::new("making a folder", error))?;
    let Some(tmpfs) = Tmpfs::mount(&data, TMPFS_MEBIBYTES) else {
        println!("start    not tried: nothing can be mounted here");
        return Ok(());
    };
    tmpfs.set_writable(false)?;
    let output = command(program)
        .args(["--addr", "127.0.0.1:0", "--data-dir"])
        .arg(&data)
        .output()
        .map_err(|error| Failure::new("starting the daemon", error))?;
    let said = String::from_utf8_lossy(&output.stderr);
    println!(
        "start    {}",
        said.lines().next().unwrap_or("nothing was said")
    );
    if output.status.success() || !said.contains("--data-dir") {
        let breach = format!("on a read-only disk it ends with {}: {said}", output.status);
        load.books().breach(breach);
    }
    Ok(())
}

impl Fault {
    /// As it is asked for.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}
