//! More connections than the daemon may have open files, all at once, that ask for something and stay.
//!
//! Those who were there are served: their streams move between shards, which takes files, and files are
//! what is short. Of the flood as many are answered as there is room for; the others are told 503 or wait. The
//! daemon does not spend its time on those who wait, and takes new clients as soon as the flood is gone.

use crate::Arguments;
use crate::books::Books;
use crate::footprint::processor_time;
use crate::hostile::{End, Hostile};
use crate::trial::Trial;
use orchestratord_bench::Failure;
use orchestratord_bench::daemon::Daemon;
use std::thread;
use std::time::{Duration, Instant};

/// The daemon's limit of open files.
const FILES_MAX: u32 = 512;
/// How long the flood stays.
const STAYS: Duration = Duration::from_secs(2);
/// How often it looks for answers.
const LOOK: Duration = Duration::from_millis(100);
/// Of all processors' time, what a daemon may use that has nothing to do but to serve a few clients and to
/// refuse some: a loop that spins takes a whole one.
const PROCESSORS_MAX: f64 = 0.8;

/// Runs the scene.
pub(crate) fn run(arguments: &Arguments, books: &Books) -> Result<(), Failure> {
    let daemon = Daemon::start_with_files(
        FILES_MAX,
        &["--engine=mock".to_owned(), "--transcripts=off".to_owned()],
    )?;
    let trial = Trial::of(daemon, books)?;
    trial.attack(|addr| {
        let flood = arguments.connections.max(2 * FILES_MAX as usize);
        let mut flood = (0..flood)
            .map(|_| Hostile::connect(addr))
            .collect::<Result<Vec<_>, Failure>>()?;
        for hostile in &mut flood {
            hostile.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        stay(&mut flood, &trial, books)?;
        report(&flood, books);
        flood.into_iter().for_each(Hostile::reset);
        Ok(())
    })
}

fn stay(flood: &mut [Hostile], trial: &Trial<'_>, books: &Books) -> Result<(), Failure> {
    let (began, before) = (Instant::now(), processor_time(trial.process())?);
    while began.elapsed() < STAYS {
        for hostile in &mut *flood {
            hostile.take(usize::MAX);
        }
        thread::sleep(LOOK);
    }
    let used = processor_time(trial.process())?.saturating_sub(before);
    let processors = used.as_secs_f64() / began.elapsed().as_secs_f64();
    println!(
        "  processor     {:.0} % of one while they stay",
        100.0 * processors
    );
    books.expect(processors < PROCESSORS_MAX, || {
        format!("{processors:.2} processors are used on those who wait")
    });
    Ok(())
}

fn report(flood: &[Hostile], books: &Books) {
    let count = |is_it: &dyn Fn(&Hostile) -> bool| flood.iter().filter(|it| is_it(it)).count();
    let [served, refused] = [200, 503].map(|status| count(&|it| it.status() == Some(status)));
    let reset = count(&|it| it.ended == Some(End::Reset));
    let wait = count(&|it| it.status().is_none() && it.ended.is_none());
    println!(
        "  flood         {} connections, {served} served, {refused} told 503, {wait} wait, {reset} reset",
        flood.len()
    );
    books.expect(served + refused + wait == flood.len(), || {
        format!(
            "of {} connections {served} were served, {refused} refused, {wait} wait",
            flood.len()
        )
    });
    books.expect(served > 0 && refused > 0, || {
        "the flood was too small to be refused".to_owned()
    });
}
