//! Connections that say nothing, and requests that come a byte at a time, in their heads or in
//! their bodies.
//!
//! A connection that never began a request is closed without a word; whoever has begun one is told 408.
//! All of that happens at the timeouts, however many they are. Bodies that are long and never end are
//! kept until then, as many as there is memory for; the others are told 503.

use crate::Arguments;
use crate::books::Books;
use crate::footprint::Footprint;
use crate::hostile::{End, Hostile};
use crate::trial::Trial;
use orchestratord_bench::Failure;
use orchestratord_bench::daemon::Daemon;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// The daemon's timeouts.
const TIMEOUT: Duration = Duration::from_millis(2000);
/// How long after it the last is expected to be gone: a bound of liveness, and none of speed.
const PATIENCE: Duration = Duration::from_secs(20);
/// From each byte of a slow one to the next.
const DRIP: Duration = Duration::from_millis(100);
/// What the daemon may keep of long bodies, and how long each of them is.
const BODIES_BYTES: usize = 32 << 20;
const BODY_BYTES: usize = 1 << 20;
/// Connections with a long body: they would take eight times as much.
const LONG_BODIES: usize = 8 * BODIES_BYTES / BODY_BYTES;
/// Memory that may be used beside it: what is copied as bodies grow, and what clients take meanwhile.
const BESIDE_BYTES: u64 = 64 << 20;
/// Where the silence begins, in each way to be slow.
const WAYS: [Way; 3] = [
    Way {
        name: "silent",
        begins: "",
        status: None,
    },
    Way {
        name: "slow heads",
        begins: "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        status: Some(408),
    },
    Way {
        name: "slow bodies",
        begins: "POST /v2/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: 100000\r\n\r\n{\"prompt\": \"",
        status: Some(408),
    },
];

/// One of them.
struct Way {
    name: &'static str,
    /// What is sent at once.
    begins: &'static str,
    /// What they are told.
    status: Option<u16>,
}

/// Runs the scene.
pub(crate) fn run(arguments: &Arguments, books: &Books) -> Result<(), Failure> {
    let timeout_ms = TIMEOUT.as_millis();
    let daemon = Daemon::start(&[
        "--engine=mock".to_owned(),
        "--transcripts=off".to_owned(),
        format!("--head-timeout-ms={timeout_ms}"),
        format!("--body-timeout-ms={timeout_ms}"),
        format!("--idle-timeout-ms={timeout_ms}"),
        format!("--bodies-max-bytes={BODIES_BYTES}"),
    ])?;
    let trial = Trial::of(daemon, books)?;
    trial.attack(|addr| {
        let mut besiegers = connect(addr, arguments.connections)?;
        drip(&mut besiegers);
        for (way, of_it) in &besiegers {
            report(way, of_it, books);
        }
        drop(besiegers);
        long_bodies(&trial, books)
    })
}

/// Bodies that lack their last byte.
fn long_bodies(trial: &Trial<'_>, books: &Books) -> Result<(), Failure> {
    let before = Footprint::of(trial.process())?;
    let head = format!(
        "POST /v2/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {BODY_BYTES}\r\n\r\n"
    );
    let body = vec![b' '; BODY_BYTES - 1];
    let begin = |_| {
        let mut hostile = Hostile::connect(trial.addr())?;
        hostile.send_all(head.as_bytes(), PATIENCE)?;
        // Whoever is told 503 is read no further, and may be cut off before it hears of it.
        let _ = hostile.send_all(&body, PATIENCE);
        Ok(hostile)
    };
    let bodies = (0..LONG_BODIES).map(begin);
    let mut bodies = bodies.collect::<Result<Vec<_>, Failure>>()?;
    let kept = Footprint::of(trial.process())?.resident_bytes;
    let give_up = Instant::now() + TIMEOUT + PATIENCE;
    while bodies.iter().any(|it| it.ended.is_none()) && Instant::now() < give_up {
        bodies
            .iter_mut()
            .for_each(|hostile| hostile.take(usize::MAX));
        thread::sleep(DRIP);
    }
    let told = |status| {
        bodies
            .iter()
            .filter(|it| it.status() == Some(status))
            .count()
    };
    let (refused, slow) = (told(503), told(408));
    println!("  long bodies   {LONG_BODIES} connections, {refused} told 503, {slow} told 408");
    books.expect(
        refused + slow == LONG_BODIES && refused > 0 && slow > 0,
        || format!("of {LONG_BODIES} long bodies {refused} were told 503, {slow} 408"),
    );
    let bytes_max = before.resident_bytes + BODIES_BYTES as u64 + BESIDE_BYTES;
    books.expect(kept <= bytes_max, || {
        format!(
            "{} MiB are kept for long bodies",
            (kept - before.resident_bytes) >> 20
        )
    });
    Ok(())
}

type Besiegers = Vec<(&'static Way, Vec<Hostile>)>;

fn connect(addr: SocketAddr, count: usize) -> Result<Besiegers, Failure> {
    let begin = |way: &Way| {
        let mut hostile = Hostile::connect(addr)?;
        hostile.send_all(way.begins.as_bytes(), PATIENCE)?;
        Ok(hostile)
    };
    WAYS.iter()
        .map(|way| {
            Ok((
                way,
                (0..count).map(|_| begin(way)).collect::<Result<_, _>>()?,
            ))
        })
        .collect()
}

/// Sends a byte a while on each that has begun something, until all are cut off.
fn drip(besiegers: &mut Besiegers) {
    let give_up = Instant::now() + TIMEOUT + PATIENCE;
    let live = |besiegers: &Besiegers| {
        let mut all = besiegers.iter().flat_map(|(_, of_it)| of_it);
        all.any(|hostile| hostile.ended.is_none())
    };
    while live(besiegers) && Instant::now() < give_up {
        for (way, of_it) in &mut *besiegers {
            for hostile in of_it.iter_mut().filter(|hostile| hostile.ended.is_none()) {
                if !way.begins.is_empty() && hostile.status().is_none() {
                    hostile.send(b"x");
                }
                hostile.take(usize::MAX);
            }
        }
        thread::sleep(DRIP);
    }
}

fn report(way: &Way, of_it: &[Hostile], books: &Books) {
    let count = |is_it: &dyn Fn(&Hostile) -> bool| of_it.iter().filter(|it| is_it(it)).count();
    let told = count(&|it| it.status() == way.status);
    let closed = count(&|it| it.ended == Some(End::Closed));
    let expected = way.status.map_or("nothing".to_owned(), |it| it.to_string());
    println!(
        "  {:13} {} connections, {told} told {expected}, {closed} closed, {} reset",
        way.name,
        of_it.len(),
        count(&|it| it.ended == Some(End::Reset)),
    );
    books.expect(told == of_it.len(), || {
        format!(
            "of {} {} {told} were told {expected}",
            of_it.len(),
            way.name
        )
    });
    let open = count(&|it| it.ended.is_none());
    books.expect(open == 0, || format!("{open} {} are still open", way.name));
}
