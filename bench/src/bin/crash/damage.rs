//! A store's file that is damaged while no daemon runs.

use orchestratord_bench::Failure;
use orchestratord_bench::daemon::{Daemon, Folder};
use orchestratord_sched::prng::Prng;
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use crate::books::Books;
use crate::caller::Load;
use crate::told::Told;
use crate::{Fault, Plan, command};

/// How long the daemon works before it is killed.
const LIFE_MS: std::ops::RangeInclusive<u64> = 60..=400;
/// Bits that flip.
const BITS: std::ops::RangeInclusive<u64> = 1..=8;
/// redb's page, and the least that a store is recognised by.
const PAGE_BYTES: usize = 4096;

/// What came of the rounds.
#[derive(Default)]
struct Tally {
    noticed: u64,
    refused: u64,
}

/// In each round a daemon fills a new store and is killed, the file is damaged, and another daemon goes on with it.
pub(crate) fn run(fault: Fault, plan: &Plan) -> Result<Books, Failure> {
    let (mut books, mut tally) = (Books::default(), Tally::default());
    for round in 0..plan.rounds {
        let folder = Folder::new();
        let seed = plan.seed_of(round);
        let mut whim = Prng::new(seed, "damage");
        let load = fill(folder.path(), plan, seed, &mut whim)?;
        let mut one = load.into_books();
        let store = folder.path().join("store.redb");
        let damaged = damage(fault, &store, &mut whim)
            .map_err(|error| Failure::new("damaging the store", error))?;
        go_on(&mut one, &store, plan, damaged, &mut tally)?;
        one.name_breaches(&format!("seed {seed}, {damaged} bytes"));
        books.take(one);
    }
    println!(
        "damage   {} noticed, {} of them so great that the daemon refused to start",
        tally.noticed, tally.refused
    );
    Ok(books)
}

fn fill(data: &Path, plan: &Plan, seed: u64, whim: &mut Prng) -> Result<Load, Failure> {
    let load = Load::default();
    let daemon = Daemon::start_as(command(&plan.program), data)?;
    load.during(daemon.addr, seed, || {
        thread::sleep(Duration::from_millis(whim.within(LIFE_MS)));
        load.is_dying.store(true, Relaxed);
        daemon.kill()
    })?;
    Ok(load)
}

/// How long the file is then.
fn damage(fault: Fault, store: &Path, whim: &mut Prng) -> std::io::Result<usize> {
    let mut bytes = fs::read(store)?;
    let place = |whim: &mut Prng, below: usize| {
        usize::try_from(whim.within(0..=below as u64 - 1)).unwrap_or(0)
    };
    if fault == Fault::Truncated {
        bytes.truncate(place(whim, bytes.len()));
    } else {
        // Where nothing was ever written, nothing can be lost.
        let written: Vec<usize> = (0..bytes.len())
            .step_by(PAGE_BYTES)
            .filter(|page| bytes[*page..][..PAGE_BYTES].iter().any(|byte| *byte != 0))
            .collect();
        for _ in 0..whim.within(BITS) {
            let page = written[place(whim, written.len())];
            bytes[page + place(whim, PAGE_BYTES)] ^= 1 << whim.within(0..=7);
        }
    }
    fs::write(store, &bytes)?;
    Ok(bytes.len())
}

fn go_on(
    books: &mut Books,
    store: &Path,
    plan: &Plan,
    bytes: usize,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let data = store.parent().unwrap_or(store);
    let log = data.join("log");
    let failed = |error| Failure::new("writing a log", error);
    let start = || {
        let log = File::create(&log).map_err(failed)?;
        let mut command = command(&plan.program);
        command
            .args(["--log=info", "--log-format=json"])
            .stderr(log);
        Daemon::start_as(command, data)
    };
    let Ok(daemon) = start() else {
        tally.noticed += 1;
        tally.refused += 1;
        books.lose_all();
        let said = fs::read_to_string(&log).map_err(failed)?;
        if bytes >= PAGE_BYTES || !said.contains("--data-dir") {
            books.breach(format!("it does not start: {said}"));
        }
        // As it says.
        fs::remove_file(store).map_err(failed)?;
        return start().map(drop);
    };
    let views = books.look(daemon.addr)?;
    // Its log is whole when it has ended.
    drop(daemon);
    books.find_panics(&log)?;
    let told = Told::read(&log)?;
    tally.noticed += u64::from(told.damage());
    books.judge(&views, &told);
    Ok(())
}
