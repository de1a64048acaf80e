//! A storm of kills over real engines: without arguments, counts of what came of it.
//!
//! The promise under test: an engine that dies costs nobody a word that they were not told of. A daemon starts
//! two of llama.cpp's own servers as processes of one pool; streams are kept going over both, and one of them
//! is killed with SIGKILL while it has streams, again and again. Every text is greedy, so that an engine which
//! nobody disturbs says what each has to be. Exit codes: 0 the promise held, 1 it was broken or nothing ran.

mod pool;
mod request;
mod stream;
mod verdict;

use clap::Parser;
use orchestratord_bench::Failure;
use orchestratord_bench::client::Client;
use orchestratord_sched::prng::Prng;
use pool::{Pool, REPLICAS};
use request::Request;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};
use stream::Outcome;
use verdict::Verdict;

/// Longer than any task of the storm takes on a machine that is busy with other things.
const HANG: Duration = Duration::from_secs(120);
/// How often a look is taken at what changes.
pub(crate) const PAUSE: Duration = Duration::from_millis(2);

/// Kills real engines under streams, and holds every text against an engine that nobody disturbs.
///
/// It builds a daemon, which starts two llama.cpp servers (`.ci/llamacpp` installs them), and keeps streams
/// running. More tasks than asked for are sent if the kills are not done by then.
#[derive(Clone, Copy, Debug, Parser)]
#[command(name = "engine-storm")]
struct Arguments {
    /// Tasks at least.
    #[arg(long, default_value_t = 400)]
    tasks: u64,
    /// Streams that are read at a time.
    #[arg(long, default_value_t = 32)]
    streams: usize,
    /// Engines that are killed, one after the other.
    #[arg(long, default_value_t = 5)]
    kills: u64,
    /// Slots of each engine.
    #[arg(long, default_value_t = 8)]
    slots: u32,
    /// What the requests, the moments and the victims are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// An engine's violent end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    /// Which of the pool's.
    pub(crate) replica: usize,
    /// When it was sent.
    pub(crate) at: Instant,
}

/// What the readers and the killer share.
#[derive(Debug)]
pub(crate) struct Storm {
    addr: SocketAddr,
    arguments: Arguments,
    /// The next task.
    next: AtomicU64,
    /// Tasks that have come to an end.
    finished: AtomicU64,
    /// Streams of each engine that have begun and not ended.
    pub(crate) running: [AtomicUsize; REPLICAS],
    /// Whether no kill is left.
    is_calm: AtomicBool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(verdict) => verdict.report(),
        Err(failure) => {
            eprintln!("engine-storm: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<Verdict, Failure> {
    let mut pool = Pool::start(arguments.slots, arguments.streams)?;
    pool.await_ready()?;
    let storm = Arc::new(Storm {
        addr: pool.addr(),
        arguments,
        next: AtomicU64::new(0),
        finished: AtomicU64::new(0),
        running: Default::default(),
        is_calm: AtomicBool::new(false),
    });
    let began = Instant::now();
    let outcomes = storm.send_readers();
    let kills = storm.rage(&pool);
    storm.is_calm.store(true, Relaxed);
    let (outcomes, kills) = (storm.gather(&outcomes)?, kills?);
    let took = began.elapsed();
    pool.await_rest()?;
    let mut verdict = Verdict::new(took, kills, pool.retried()?);
    for outcome in outcomes {
        verdict.judge(&outcome, &pool.undisturbed_text(outcome.request)?);
    }
    verdict.survivors(&pool.stop());
    Ok(verdict)
}

impl Storm {
    /// One thread a stream. They are not waited for: who hangs would have us hang too.
    fn send_readers(self: &Arc<Self>) -> Receiver<Result<Outcome, Failure>> {
        let (told, outcomes) = mpsc::channel();
        for _ in 0..self.arguments.streams {
            let (storm, told) = (Arc::clone(self), told.clone());
            thread::spawn(move || {
                if let Err(failure) = storm.read_streams(&told) {
                    // Without a listener the run is over.
                    let _ = told.send(Err(failure));
                }
            });
        }
        outcomes
    }

    /// One stream after the other until the storm is over.
    fn read_streams(&self, told: &Sender<Result<Outcome, Failure>>) -> Result<(), Failure> {
        let mut client = Client::connect(self.addr)?;
        loop {
            let task = self.next.fetch_add(1, Relaxed);
            if task >= self.arguments.tasks && self.is_calm.load(Relaxed) {
                return Ok(());
            }
            let request = Request::draw(self.arguments.seed, task);
            let outcome = stream::read(&mut client, request, self)?;
            self.finished.fetch_add(1, Relaxed);
            if told.send(Ok(outcome)).is_err() {
                return Ok(());
            }
        }
    }

    /// Kills, each when about its share of the tasks is done and its victim has streams.
    fn rage(&self, pool: &Pool) -> Result<Vec<Kill>, Failure> {
        let mut prng = Prng::new(self.arguments.seed, "kills");
        let share = (self.arguments.tasks / self.arguments.kills.max(1)).max(1);
        let mut kills = Vec::new();
        for turn in 0..self.arguments.kills {
            let moment = turn * share + prng.within(0..=share - 1);
            let replica = usize::from(prng.chance(0.5));
            self.until("no kill has its moment", || {
                self.finished.load(Relaxed) >= moment && self.running[replica].load(Relaxed) > 0
            })?;
            let lives = pool.lives(replica);
            let at = Instant::now();
            pool.kill(replica)?;
            kills.push(Kill { replica, at });
            self.until("a killed engine is not started again", || {
                pool.lives(replica) > lives
            })?;
            pool.await_ready()?;
        }
        Ok(kills)
    }

    /// What came of every task.
    fn gather(
        &self,
        outcomes: &Receiver<Result<Outcome, Failure>>,
    ) -> Result<Vec<Outcome>, Failure> {
        let mut gathered = Vec::new();
        loop {
            match outcomes.recv_timeout(HANG) {
                Ok(outcome) => gathered.push(outcome?),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(gathered),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(Failure("a task hangs: no end came".to_owned()));
                }
            }
        }
    }

    fn until(&self, otherwise: &str, mut holds: impl FnMut() -> bool) -> Result<(), Failure> {
        let hopeless = Instant::now() + HANG;
        while !holds() {
            if Instant::now() > hopeless {
                return Err(Failure(otherwise.to_owned()));
            }
            self.show_progress();
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn show_progress(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("{} tasks\r", self.finished.load(Relaxed));
            // A terminal that takes nothing misses nothing.
            let _ = std::io::stderr().flush();
        }
    }
}
