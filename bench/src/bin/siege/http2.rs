//! Floods of frames of HTTP/2, and streams whose client opens no window.
//!
//! Streams that are reset as soon as they begin (CVE-2023-44487) and heads that never end (CVE-2024-27316)
//! end the connection. PING and SETTINGS without an end, from a client that reads no answer to
//! them, are not read any more, and the connection ends when its time is up. A stream that is given no window
//! is reset when its time is up.

use crate::Arguments;
use crate::books::Books;
use crate::frames::{CANCEL, END_HEADERS, END_STREAM, Heard, Kind, get, preface, push};
use crate::hostile::Hostile;
use crate::trial::Trial;
use orchestratord_bench::Failure;
use orchestratord_bench::client::{Answer, Client};
use orchestratord_bench::daemon::Daemon;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Connections of each flood.
const EACH: usize = 16;
/// How long a flood lasts, unless it is cut off before.
const LASTS: Duration = Duration::from_secs(1);
/// The daemon's timeouts.
const IDLE_TIMEOUT_MS: u64 = 2000;
const WRITE_TIMEOUT_MS: u64 = 1000;
/// How long after a flood the last of its connections may be open: a bound of liveness, none of speed.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(5);
/// Frames, or pairs of them, that are sent at a time.
const BATCH: usize = 64;
/// Bytes of each part of a head without an end; the largest frame that anybody must take.
const PART_BYTES: usize = 16 * 1024;
/// Streams without a window: as many as a connection may have.
const STARVED: usize = 100;
/// The window of streams in the floods.
const WINDOW_BYTES: u32 = 65_535;

/// A flood of frames.
struct Flood {
    name: &'static str,
    /// What is sent first.
    begins: fn(&mut Vec<u8>),
    /// What is sent again and again; the number is one more each time.
    repeats: fn(&mut Vec<u8>, u32),
    /// Whether the daemon ends the connection over it, and not only in time.
    is_cut: bool,
}

const FLOODS: [Flood; 4] = [
    Flood {
        name: "rapid resets",
        begins: |_| {},
        repeats: |out, number| {
            let stream = 2 * number + 1;
            push(
                out,
                Kind::Headers,
                END_HEADERS | END_STREAM,
                stream,
                &get("/v2/pools"),
            );
            push(out, Kind::ResetStream, 0, stream, &CANCEL);
        },
        is_cut: true,
    },
    Flood {
        name: "endless heads",
        begins: |out| push(out, Kind::Headers, END_STREAM, 1, &get("/livez")),
        // Nothing but a field without a name, again and again (RFC 7541 §6.2.2).
        repeats: |out, _| push(out, Kind::Continuation, 0, 1, &[0; PART_BYTES]),
        is_cut: true,
    },
    Flood {
        name: "pings",
        begins: |_| {},
        repeats: |out, _| push(out, Kind::Ping, 0, 0, &[7; 8]),
        is_cut: false,
    },
    Flood {
        name: "settings",
        begins: |_| {},
        repeats: |out, _| push(out, Kind::Settings, 0, 0, &[0, 3, 0, 0, 0, 9]),
        is_cut: false,
    },
];

/// Runs the scene.
pub(crate) fn run(_: &Arguments, books: &Books) -> Result<(), Failure> {
    let daemon = Daemon::start(&[
        "--engine=mock".to_owned(),
        "--transcripts=off".to_owned(),
        format!("--idle-timeout-ms={IDLE_TIMEOUT_MS}"),
        format!("--write-timeout-ms={WRITE_TIMEOUT_MS}"),
    ])?;
    let trial = Trial::of(daemon, books)?;
    trial.attack(|addr| {
        for flood in &FLOODS {
            flood.run(addr, books)?;
        }
        starve(addr, books)
    })
}

impl Flood {
    fn run(&self, addr: SocketAddr, books: &Books) -> Result<(), Failure> {
        let connections = (0..EACH).map(|_| Flooding::begin(self, addr));
        let mut connections = connections.collect::<Result<Vec<_>, Failure>>()?;
        let live =
            |connections: &[Flooding]| connections.iter().any(|it| it.hostile.ended.is_none());
        let until = Instant::now() + LASTS;
        while live(&connections) && Instant::now() < until {
            let taken = connections.iter_mut().map(|it| it.go_on(self));
            if taken.sum::<usize>() == 0 {
                // Nobody is helped by an attacker that spins, and on a small machine it is the client.
                thread::sleep(LOOK);
            }
        }
        let cut = connections
            .iter()
            .filter(|it| it.hostile.ended.is_some())
            .count();
        while live(&connections) && Instant::now() < until + PATIENCE {
            connections
                .iter_mut()
                .for_each(|connection| connection.poke());
            thread::sleep(LOOK);
        }
        let ended = connections
            .iter()
            .filter(|it| it.hostile.ended.is_some())
            .count();
        let sent: u32 = connections.iter().map(|it| it.number).sum();
        println!(
            "  {:14}{EACH} connections, {sent} sent, {cut} cut off at once, {ended} in the end",
            self.name
        );
        books.expect(ended == EACH && (cut == EACH || !self.is_cut), || {
            format!(
                "of {EACH} connections with {} {cut} were cut off, {ended} ended",
                self.name
            )
        });
        Ok(())
    }
}

/// A connection with a flood on it.
struct Flooding {
    hostile: Hostile,
    /// What is to be sent next.
    out: Vec<u8>,
    /// How often the flood was repeated.
    number: u32,
}

impl Flooding {
    fn begin(flood: &Flood, addr: SocketAddr) -> Result<Self, Failure> {
        let mut out = preface(WINDOW_BYTES);
        (flood.begins)(&mut out);
        Ok(Self {
            hostile: Hostile::connect(addr)?,
            out,
            number: 0,
        })
    }

    /// Sends what the socket takes and says how much that was, and reads nothing.
    fn go_on(&mut self, flood: &Flood) -> usize {
        if self.hostile.ended.is_some() {
            return 0;
        }
        if self.out.is_empty() {
            for _ in 0..BATCH {
                (flood.repeats)(&mut self.out, self.number);
                self.number += 1;
            }
        }
        let count = self.hostile.send(&self.out);
        self.out.drain(..count);
        count
    }

    /// Finds out whether it was cut off.
    fn poke(&mut self) {
        if self.hostile.ended.is_none() {
            self.hostile.send(b"\0");
        }
    }
}

/// Streams that are asked for and given no window.
fn starve(addr: SocketAddr, books: &Books) -> Result<(), Failure> {
    const TASK: &[u8] = br#"{"model_ref":"mock","prompt":"On","max_tokens":50}"#;
    let Answer::Admitted(events) = Client::connect(addr)?.submit(TASK)? else {
        return Err(Failure("there is room, and none was given".to_owned()));
    };
    let mut out = preface(0);
    for number in 0..STARVED {
        let stream = u32::try_from(2 * number + 1).expect("they are few");
        push(
            &mut out,
            Kind::Headers,
            END_HEADERS | END_STREAM,
            stream,
            &get(&events),
        );
    }
    let mut hostile = Hostile::connect(addr)?;
    hostile.send_all(&out, PATIENCE)?;
    let (mut heard, give_up) = (Heard::default(), Instant::now() + PATIENCE);
    while hostile.ended.is_none() && Instant::now() < give_up {
        hostile.take_with(usize::MAX, |bytes| heard.take(bytes));
        thread::sleep(LOOK);
    }
    let [answered, reset] = [Kind::Headers, Kind::ResetStream].map(|kind| heard.count(kind));
    let farewells = heard.count(Kind::GoAway);
    println!(
        "  no window     {STARVED} streams, {answered} answered, {reset} reset, {farewells} farewell"
    );
    books.expect(
        answered == STARVED && reset == STARVED && farewells > 0,
        || format!("of {STARVED} streams without a window {answered} were answered, {reset} reset"),
    );
    Ok(())
}
