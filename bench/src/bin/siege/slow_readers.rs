//! Clients that ask for long streams and read them slowly, or never, beside good ones whose delays must
//! not move.
//!
//! What a slow reader asks for is there, whole: whoever took it could have it at once. So each of them has
//! its socket full, which is the most that a slow reader can do. Half of them read a few bytes a second, which
//! makes the daemon write again and again; the others read nothing.

use crate::Arguments;
use crate::books::Books;
use crate::footprint::processor_time;
use crate::hostile::Hostile;
use crate::readers::{Delays, Readers};
use crate::trial::Trial;
use orchestratord_bench::Failure;
use orchestratord_bench::client::{Answer, Client};
use orchestratord_bench::daemon::{Daemon, Folder, program};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Long streams, each for as many slow readers as any other.
const BOOKS: usize = 16;
/// Their tokens: some 250 KB of events each, more than sockets hold.
const BOOK_TOKENS: usize = 4000;
/// How often a part of those who read something does so; each has its turn once a second. In few large parts
/// the attacker itself would be what good readers wait for, on a machine of few processors.
const TICK: Duration = Duration::from_millis(5);
const TURNS: usize = 200;
/// What is read in a turn.
const SIP_BYTES: usize = 64;
/// How long all of them may take to be answered: a bound of liveness, and none of speed.
const ANSWERED_IN: Duration = Duration::from_secs(60);
/// How long a lot of slow readers rests before its phase: until their sockets are full.
const REST: Duration = Duration::from_millis(1000);
/// How much the delays of the good may move.
const RATIO_MAX: f64 = 1.1;
/// Longer than any scene, so that nobody is cut off in it for being slow.
const WRITE_TIMEOUT_MS: u64 = 600_000;

/// Runs the scene.
pub(crate) fn run(arguments: &Arguments, books: &Books) -> Result<(), Failure> {
    let data = Folder::new();
    let daemon = start(data.path(), arguments.good_readers)?;
    let trial = Trial::of(daemon, books)?;
    let task = br#"{"model_ref":"mock","prompt":"Once upon a time","max_tokens":20}"#;
    let readers = Readers::new(trial.addr(), task.to_vec(), 2 * arguments.phases)?;
    let siege = Siege {
        arguments,
        books,
        trial: &trial,
        readers: &readers,
    };
    let phases =
        trial.watch(|| readers.beside(arguments.good_readers, books, || siege.phases()))?;
    compare(&phases, arguments, books);
    Ok(())
}

/// Two engines: one at the pace of a real one, and one that has written a book at once.
fn start(data: &Path, good_readers: usize) -> Result<Daemon, Failure> {
    let settings = format!(
        "[[pool]]\nid = \"paced\"\nengine = \"mock\"\nmodel = \"mock\"\nslots = {slots}\n\
         mock_first_token_ms = 50\nmock_tokens_per_s = 25\nadmission_capacity = {slots}\n\
         [[pool]]\nid = \"books\"\nengine = \"mock\"\nmodel = \"books\"\n\
         mock_first_token_ms = 0\nmock_tokens_per_s = 0\n",
        slots = good_readers + 4,
    );
    let file = data.with_extension("toml");
    fs::write(&file, settings).map_err(|error| Failure::new("writing settings", error))?;
    let arguments = [
        format!("--config={}", file.display()),
        format!("--write-timeout-ms={WRITE_TIMEOUT_MS}"),
        "--transcripts=off".to_owned(),
        // The disk is the same with and without them, and others use it.
        "--durability=off".to_owned(),
    ];
    let daemon = Daemon::start_in(data, &program()?, &arguments);
    let _ = fs::remove_file(&file);
    daemon
}

struct Siege<'a> {
    arguments: &'a Arguments,
    books: &'a Books,
    trial: &'a Trial<'a>,
    readers: &'a Readers,
}

/// What was measured in a phase.
struct Measured {
    besieged: bool,
    delays: Delays,
}

impl Siege<'_> {
    /// Calm and siege in turns.
    fn phases(&self) -> Result<Vec<Measured>, Failure> {
        let mut measured = Vec::new();
        // Until all good ones read.
        thread::sleep(REST);
        for pair in 0..self.arguments.phases {
            measured.push(self.phase(2 * pair, None)?);
            let mut slow = self.connect()?;
            self.sip_for(&mut slow, REST);
            measured.push(self.phase(2 * pair + 1, Some(&mut slow))?);
            self.look_at(slow);
        }
        Ok(measured)
    }

    fn phase(&self, phase: usize, slow: Option<&mut Vec<Hostile>>) -> Result<Measured, Failure> {
        let lasts = Duration::from_millis(self.arguments.phase_ms);
        let besieged = slow.is_some();
        let (began, before) = (Instant::now(), processor_time(self.trial.process())?);
        let delays = self.readers.measure(phase, || match slow {
            Some(slow) => self.sip_for(slow, lasts),
            None => thread::sleep(lasts),
        });
        let used = processor_time(self.trial.process())?.saturating_sub(before);
        println!(
            "  {}  {delays}, processor {:.0} %",
            if besieged {
                "besieged    "
            } else {
                "calm        "
            },
            100.0 * used.as_secs_f64() / began.elapsed().as_secs_f64()
        );
        Ok(Measured { besieged, delays })
    }

    fn connect(&self) -> Result<Vec<Hostile>, Failure> {
        let addr = self.trial.addr();
        let (mut client, mut slow) = (Client::connect(addr)?, Vec::new());
        let readers_of_each = self.arguments.slow_readers.div_ceil(BOOKS);
        while slow.len() < self.arguments.slow_readers {
            // Just before it is read, for ended tasks are forgotten in time.
            let book = write_book(&mut client)?;
            let ask = format!("GET {book} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let left = self.arguments.slow_readers - slow.len();
            let mut of_it = (0..left.min(readers_of_each))
                .map(|_| {
                    let mut hostile = Hostile::connect_small(addr)?;
                    hostile.send_all(ask.as_bytes(), ANSWERED_IN)?;
                    Ok(hostile)
                })
                .collect::<Result<Vec<_>, Failure>>()?;
            Self::await_answers(&mut of_it);
            slow.append(&mut of_it);
        }
        Ok(slow)
    }

    /// So many come one after the other only.
    fn await_answers(slow: &mut [Hostile]) {
        let give_up = Instant::now() + ANSWERED_IN;
        for hostile in slow {
            hostile.take(SIP_BYTES);
            while hostile.status().is_none() && hostile.ended.is_none() && Instant::now() < give_up
            {
                thread::sleep(TICK);
                hostile.take(SIP_BYTES);
            }
        }
    }

    /// Half of them read a little, each once a second.
    fn sip_for(&self, slow: &mut [Hostile], lasts: Duration) {
        let until = Instant::now() + lasts;
        for turn in (0..TURNS).cycle() {
            if Instant::now() >= until {
                return;
            }
            let begins = Instant::now();
            for hostile in slow.iter_mut().skip(2 * turn).step_by(2 * TURNS) {
                hostile.take(SIP_BYTES);
            }
            thread::sleep(TICK.saturating_sub(begins.elapsed()));
        }
    }

    /// Whether all were answered and none was cut off; then they go.
    fn look_at(&self, mut slow: Vec<Hostile>) {
        for hostile in &mut slow {
            hostile.take(SIP_BYTES);
        }
        let count = |is_it: &dyn Fn(&Hostile) -> bool| slow.iter().filter(|it| is_it(it)).count();
        let answered = count(&|it| it.status() == Some(200));
        let cut = count(&|it| it.ended.is_some());
        println!(
            "  slow readers  {}, {answered} answered 200, {cut} cut off",
            slow.len()
        );
        self.books.expect(answered == slow.len() && cut == 0, || {
            format!(
                "{answered} of {} slow readers were answered, {cut} were cut off",
                slow.len()
            )
        });
        slow.into_iter().for_each(Hostile::reset);
    }
}

/// The path of a stream that has come to its end.
fn write_book(client: &mut Client) -> Result<String, Failure> {
    let task = format!(r#"{{"model_ref":"books","prompt":"Tell","max_tokens":{BOOK_TOKENS}}}"#);
    match client.submit(task.as_bytes())? {
        Answer::Admitted(events) => client.follow(&events).map(|_| events),
        Answer::ComeBack(_) => Err(Failure("there is room, and none was given".to_owned())),
    }
}

/// The delays besieged, over those in the calm.
fn compare(phases: &[Measured], arguments: &Arguments, books: &Books) {
    for (at, name) in Delays::NAMES.into_iter().enumerate() {
        let median_of = |besieged| {
            let kind = phases.iter().filter(|phase| phase.besieged == besieged);
            median(kind.map(|phase| phase.delays.0[at]).collect())
        };
        let (calm, besieged) = (median_of(false), median_of(true));
        let ratio = besieged / calm;
        println!("  {name}  {calm:.2} ms calm, {besieged:.2} ms besieged, ratio {ratio:.3}");
        books.expect(arguments.counts_only || ratio <= RATIO_MAX, || {
            format!("slow readers have moved the {name} of good ones by {ratio:.3}")
        });
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}
