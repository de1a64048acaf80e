//! Good readers whose delays are measured, phase by phase, all of them in one run.
//!
//! Each reads one stream after the other. What counts is what a client sees: from the submission to the first
//! token, and from each token to the next. Machines change from minute to minute, so phases of the two kinds
//! take turns, and what is compared is their medians.

use crate::books::Books;
use hdrhistogram::Histogram;
use orchestratord_bench::Failure;
use orchestratord_bench::client::{Answer, Client};
use orchestratord_bench::transcript::Transcript;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The readers, while they read.
pub(crate) struct Readers {
    addr: SocketAddr,
    task: Vec<u8>,
    /// The phase that is measured now, one of [`phases`](Self::phases) or none of them.
    now: AtomicUsize,
    phases: Vec<Phase>,
    over: AtomicBool,
    asked: AtomicU64,
    served: AtomicU64,
}

/// Longer delays count as this one: a minute.
const DELAY_MAX_US: u64 = 60_000_000;
/// From the first stream of a reader to that of the next: they must not all ask at once, again and again.
const APART: Duration = Duration::from_millis(9);
/// No phase: what happens now is not measured.
const BETWEEN: usize = usize::MAX;

/// What was seen in a phase.
#[derive(Debug)]
pub(crate) struct Phase {
    first_token_us: Mutex<Histogram<u64>>,
    gap_us: Mutex<Histogram<u64>>,
}

/// The delays of a phase in milliseconds, in the order of their [names](Self::NAMES).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delays(pub(crate) [f64; 4]);

impl Delays {
    pub(crate) const NAMES: [&str; 4] = [
        "first token p50",
        "first token p99",
        "next token p50",
        "next token p99",
    ];
}

impl fmt::Display for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first_p50, first_p99, next_p50, next_p99] = self.0;
        write!(
            f,
            "first token {first_p50:.2} ms p50, {first_p99:.2} p99; next token {next_p50:.2} p50, {next_p99:.2} p99"
        )
    }
}

impl Phase {
    fn new() -> Result<Self, Failure> {
        let histogram = || {
            let made = Histogram::new_with_bounds(1, DELAY_MAX_US, 3).map(Mutex::new);
            made.map_err(|error| Failure::new("counting", error))
        };
        Ok(Self {
            first_token_us: histogram()?,
            gap_us: histogram()?,
        })
    }

    pub(crate) fn delays(&self) -> Delays {
        let ms = |of: &Mutex<Histogram<u64>>, quantile| {
            let us = lock(of).value_at_quantile(quantile);
            Duration::from_micros(us).as_secs_f64() * 1e3
        };
        Delays([
            ms(&self.first_token_us, 0.5),
            ms(&self.first_token_us, 0.99),
            ms(&self.gap_us, 0.5),
            ms(&self.gap_us, 0.99),
        ])
    }
}

impl Readers {
    /// For so many phases, with this task each time.
    pub(crate) fn new(addr: SocketAddr, task: Vec<u8>, phases: usize) -> Result<Self, Failure> {
        Ok(Self {
            addr,
            task,
            now: AtomicUsize::new(BETWEEN),
            phases: (0..phases)
                .map(|_| Phase::new())
                .collect::<Result<_, _>>()?,
            over: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            served: AtomicU64::new(0),
        })
    }

    /// Runs the attack while so many of them read.
    pub(crate) fn beside<T>(
        &self,
        readers: usize,
        books: &Books,
        attack: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let came = thread::scope(|scope| {
            for reader in 0..readers {
                let begins_in = APART * u32::try_from(reader).unwrap_or(u32::MAX);
                scope.spawn(move || {
                    thread::sleep(begins_in);
                    if let Err(failure) = self.read_on() {
                        books.breach(format!("a good reader was not served: {failure}"));
                    }
                });
            }
            let came = attack();
            self.over.store(true, Relaxed);
            came
        })?;
        let (served, asked) = (self.served.load(Relaxed), self.asked.load(Relaxed));
        println!("  good readers  {readers}, {served} of {asked} streams read to their ends");
        Ok(came)
    }

    /// Measures what they see while this runs, and says what it was.
    pub(crate) fn measure(&self, phase: usize, during: impl FnOnce()) -> Delays {
        self.now.store(phase, Relaxed);
        during();
        self.now.store(BETWEEN, Relaxed);
        self.phases[phase].delays()
    }

    fn read_on(&self) -> Result<(), Failure> {
        let mut client = Client::connect(self.addr)?;
        while !self.over.load(Relaxed) {
            self.asked.fetch_add(1, Relaxed);
            self.read_one(&mut client)?;
            self.served.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn read_one(&self, client: &mut Client) -> Result<(), Failure> {
        let mut last = Moment::now(self);
        let Answer::Admitted(events) = client.submit(&self.task)? else {
            return Err(Failure("there is room, and none was given".to_owned()));
        };
        let mut transcript = Transcript::default();
        let status = client.read_events(&events, |id, event, data| {
            let is_first = transcript.take(id, event, data)?;
            if event == b"token" {
                let moment = Moment::now(self);
                self.note(is_first, last, moment);
                last = moment;
            }
            Ok(())
        })?;
        let finished = transcript.finish();
        let told = |fault| Failure(format!("{events} was answered {status}, and {fault}"));
        finished.map(drop).map_err(told)
    }

    /// What began in one phase and ended in another belongs to none.
    fn note(&self, is_first: bool, from: Moment, to: Moment) {
        if let Some(phase) = self.phases.get(to.phase).filter(|_| from.phase == to.phase) {
            let us = to.at.duration_since(from.at).as_micros();
            let of = if is_first {
                &phase.first_token_us
            } else {
                &phase.gap_us
            };
            lock(of).saturating_record(u64::try_from(us).unwrap_or(u64::MAX));
        }
    }
}

#[derive(Clone, Copy)]
struct Moment {
    phase: usize,
    at: Instant,
}

impl Moment {
    fn now(readers: &Readers) -> Self {
        Self {
            phase: readers.now.load(Relaxed),
            at: Instant::now(),
        }
    }
}

fn lock<T>(it: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    it.lock().unwrap_or_else(|broken| broken.into_inner())
}
