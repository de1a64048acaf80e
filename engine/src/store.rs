//! The disk thread's loop: batch, one transaction, one fsync, wake.
//!
//! Shards never touch a file. They hand this thread closures ([`Store::ask`]) and wait, like for any
//! other thread, for what is sent back. Whatever stands in the queue when the thread comes to it goes
//! into one transaction, so the disk is waited for once a batch, however many wait; and nobody is
//! answered before it has been. When the disk fails, the batch is undone ([`disk`]), whoever waits is told
//! `INTERNAL`, and the next batch opens the store anew: a disk that works again is used again. What
//! nobody waits for is owed to the disk until then.
//!
//! What admission needs to know of the catalog is published after each commit
//! ([`Store::catalog`]) and read without asking anybody.

pub mod artifact;
pub mod books;
pub mod catalog;
pub mod disk;
pub mod listing;
pub mod pages;
pub mod recovery;
pub mod replay;
pub mod salvage;
pub mod session;
pub mod settings;
#[cfg(test)]
pub mod stepped;
pub mod task;
pub mod transcript;
pub mod verification;

use std::{
    iter, mem,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use dashmap::DashSet;
use futures_channel::oneshot;
use redb::Database;
use signal_hook::{consts::SIGXFSZ, flag};
use uuid::Uuid;

use self::{
    books::{Books, Ledger},
    settings::StoreSettings,
    task::Promise,
    verification::Verification,
};
use crate::{
    api::error::{ApiError, Code},
    clock::Clock,
    logs,
    panics::{self, Panicked, contain},
    settings::StartError,
    shared::{bell::Bell, catalog::Catalog},
};

/// Jobs that may wait: each holds at most a request's body. Most are promises of tasks, of which there
/// are as many as are admitted.
pub const JOBS_MAX: usize = 4096;
/// Verifications that may wait: each reads a file of gigabytes.
const VERIFICATIONS_MAX: usize = 64;
/// Ends of tasks that may gather: each holds at most a task's log.
pub const GATHERED_MAX: usize = 4096;
/// How long they gather before they are written if nobody waits for one: the disk has other things to
/// do than to be waited for once a task.
const GATHER: Duration = Duration::from_millis(100);
/// When to ask again if the queue is full: by then a disk that works has done hundreds.
const BUSY_WAIT: Duration = Duration::from_secs(1);
/// How long a stopping daemon waits for its disk.
const CLOSING_MAX: Duration = Duration::from_secs(5);
/// How often an idle store looks for what has become too old.
const TICK: Duration = Duration::from_secs(60);
/// How often a disk that has failed is tried while nobody asks for it: soon, for what is owed to it ends with
/// the daemon.
const RETRY: Duration = Duration::from_millis(250);
/// The store's file in the data directory.
const FILE: &str = "store.redb";

/// What happened to the disk. It is logged; callers are told [`Code::Internal`].
#[derive(Debug)]
pub struct Fault(Box<redb::Error>);

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

/// Something to be done within a transaction, and whoever waits for it.
trait Work: Send {
    /// Does it; it counts only if the transaction is committed.
    fn carry_out(&mut self, books: &mut Books<'_>) -> Result<(), Fault>;
    /// Tells how it went. What still has to be written is given back.
    fn settle(self: Box<Self>, store: &Store, committed: bool) -> Option<Box<dyn Work>>;
}

enum Job {
    Work(Box<dyn Work>),
    /// Ends have begun to gather.
    Gathering,
    /// Somebody waits for one of them.
    Hurry,
    Close,
}

/// A job whose outcome somebody waits for.
struct Asked<T, F> {
    work: Option<F>,
    outcome: Option<Result<T, ApiError>>,
    answer: oneshot::Sender<Result<T, ApiError>>,
}

impl<T, F> Work for Asked<T, F>
where
    T: Send,
    F: FnOnce(&mut Books<'_>) -> Result<Result<T, ApiError>, Fault> + Send,
{
    fn carry_out(&mut self, books: &mut Books<'_>) -> Result<(), Fault> {
        if let Some(work) = self.work.take() {
            self.outcome = Some(work(books)?);
        }
        Ok(())
    }

    fn settle(self: Box<Self>, _store: &Store, committed: bool) -> Option<Box<dyn Work>> {
        let broken = || Err(ApiError::disk_failed());
        let outcome = self.outcome.filter(|_| committed).unwrap_or_else(broken);
        // Whoever asked may have hung up.
        let _ = self.answer.send(outcome);
        None
    }
}

/// What threads know of the store: its queue, and the catalog as published.
pub struct Store {
    /// What it was told.
    pub settings: StoreSettings,
    catalog: ArcSwap<Catalog>,
    /// Tasks that have ended, and of which it is kept how.
    outcomes: DashSet<Uuid>,
    jobs: Sender<Job>,
    gathered: Sender<Box<dyn Work>>,
    verifications: Sender<Verification>,
    /// Ends gather.
    gathering: Bell,
    /// Somebody waits for one of them.
    hurry: Bell,
    /// Ends that found the queue full, since the thread last looked.
    dropped: AtomicU64,
    /// Batches that the disk has failed to take since it last took one.
    failed: AtomicU64,
}

impl Store {
    /// The catalog as it is published now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// Whether the disk took what was last asked of it.
    pub fn works(&self) -> bool {
        self.failed.load(Relaxed) == 0
    }

    /// Has something done, and the outcome sent back once it is on the disk.
    ///
    /// # Errors
    ///
    /// When too much waits already, or the daemon is going.
    pub fn ask<T, F>(&self, work: F) -> Result<oneshot::Receiver<Result<T, ApiError>>, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Books<'_>) -> Result<Result<T, ApiError>, Fault> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            work: Some(work),
            outcome: None,
            answer,
        };
        enqueue(&self.jobs, Job::Work(Box::new(asked)))?;
        Ok(answered)
    }

    /// Has something done that nobody asked for: with the next batch, or when enough time has passed.
    /// If too much has gathered already, it is dropped, and the log counts it.
    fn gather(&self, work: Box<dyn Work>) {
        match self.gathered.try_send(work) {
            // The first to gather; if the store is too busy to hear of it, it will look anyway.
            Ok(()) if self.gathering.ring() => drop(self.jobs.try_send(Job::Gathering)),
            Ok(()) => {}
            Err(TrySendError::Full(work) | TrySendError::Disconnected(work)) => {
                self.drop_end(work.settle(self, false));
            }
        }
    }

    /// One that can't be written, and for which there is no room to wait.
    fn drop_end(&self, end: Option<Box<dyn Work>>) {
        self.dropped.fetch_add(u64::from(end.is_some()), Relaxed);
    }

    /// What has gathered is done now.
    fn hurry(&self) {
        if self.hurry.ring() {
            // Full: a batch is about to begin, and takes what has gathered along.
            let _ = self.jobs.try_send(Job::Hurry);
        }
    }

    /// Has a model's file looked at.
    ///
    /// # Errors
    ///
    /// When too many wait already.
    pub fn verify(&self, verification: Verification) -> Result<(), ApiError> {
        enqueue(&self.verifications, verification)
    }
}

fn enqueue<J>(queue: &Sender<J>, job: J) -> Result<(), ApiError> {
    let refusal = |code, message: &str| ApiError::new(code, message).after(BUSY_WAIT);
    queue.try_send(job).map_err(|error| match error {
        TrySendError::Full(_) => refusal(
            Code::PoolUnready,
            "the daemon's disk has too much to do; ask again",
        ),
        TrySendError::Disconnected(_) => refusal(Code::PoolDraining, "the daemon is shutting down"),
    })
}

/// The store's thread.
pub struct Running {
    store: Arc<Store>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
}

impl Running {
    /// Waits until everything that was handed in is on the disk; not for ever, because a disk may
    /// hang.
    pub fn close(self) {
        let told = self.store.jobs.send_timeout(Job::Close, CLOSING_MAX);
        if told.is_ok() {
            let _ = self.ended.recv_timeout(CLOSING_MAX);
        }
    }
}

/// What an earlier life of the daemon has left.
pub struct Left {
    /// What was promised and has not ended, the oldest first.
    pub promises: Vec<Promise>,
    /// Sessions that go on.
    pub sessions: Vec<session::Left>,
}

/// Opens the store in the data directory, which is this daemon's alone, and starts its threads. Also
/// what was left there.
///
/// # Errors
///
/// When the store can't be read, or the machine gives no thread.
pub fn start(
    data_dir: &Path,
    settings: StoreSettings,
) -> Result<(Arc<Store>, Running, Left), StartError> {
    limits_of_files_are_errors()?;
    let path = data_dir.join(FILE);
    let unreadable = |fault: Fault| unusable(&path, &fault);
    salvage::make_sound(&path).map_err(unreadable)?;
    let (head, file) = (Arc::default(), path.clone());
    let open = Box::new(move || Ok(disk::open(&file, &head)?));
    let Parts {
        keeper,
        queue,
        gathering,
        files,
        left,
    } = assemble(open, settings).map_err(unreadable)?;
    let store = Arc::clone(&keeper.store);
    let (ends, ended) = bounded(0);
    spawn("store", move || {
        let _ends = ends;
        keeper.serve(&queue, &gathering);
    })?;
    let verified = Arc::clone(&store);
    spawn("verify", move || verification::serve(&verified, &files))?;
    let running = Running {
        store: Arc::clone(&store),
        ended,
    };
    Ok((store, running, left))
}

/// How the database is opened, at the start and after a fault.
type Open = Box<dyn Fn() -> Result<Database, Fault> + Send>;

/// The store before its threads run.
struct Parts {
    keeper: Keeper,
    queue: Receiver<Job>,
    gathering: Receiver<Box<dyn Work>>,
    files: Receiver<Verification>,
    left: Left,
}

fn assemble(open: Open, settings: StoreSettings) -> Result<Parts, Fault> {
    let database = open()?;
    let mut ledger = Ledger::load(&database, &settings)?;
    let found = recovery::look(&database, &mut ledger, &settings)?;
    let (jobs, queue) = bounded(JOBS_MAX);
    let (gathered, gathering) = bounded(GATHERED_MAX);
    let (verifications, files) = bounded(VERIFICATIONS_MAX);
    let store = Arc::new(Store {
        catalog: ArcSwap::new(Arc::clone(&ledger.catalog)),
        outcomes: found.outcomes,
        jobs,
        gathered,
        verifications,
        gathering: Bell::new(),
        hurry: Bell::new(),
        dropped: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        settings,
    });
    let keeper = Keeper {
        store,
        open,
        database: Some(database),
        ledger,
        owed: Vec::new(),
        clock: Clock::start(),
    };
    Ok(Parts {
        keeper,
        queue,
        gathering,
        files,
        left: Left {
            promises: found.promises,
            sessions: found.sessions,
        },
    })
}

/// A limit on the size of files (RLIMIT_FSIZE) is told by a signal that kills, unless somebody
/// handles it; then the write fails with EFBIG, like on a full disk (setrlimit(2)).
fn limits_of_files_are_errors() -> Result<(), StartError> {
    let seen = Arc::new(AtomicBool::new(false));
    flag::register(SIGXFSZ, seen).map(drop).map_err(|error| {
        StartError::new(
            format!("signals can't be handled: {error}"),
            "start again; if it persists, look for what forbids signals to this process",
        )
    })
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    panics::spawn_vital(name, run).map(drop).map_err(|error| {
        StartError::new(
            format!("a thread can't be started: {error}"),
            "raise the limit of threads",
        )
    })
}

fn unusable(path: &Path, Fault(error): &Fault) -> StartError {
    let shown = path.display();
    let remedy = match **error {
        redb::Error::DatabaseAlreadyOpen => {
            "stop the program that has it open, or name another directory with --data-dir"
        }
        redb::Error::Io(_) => {
            "mend the owner and mode of the file or make room on its disk, or name another \
             directory with --data-dir"
        }
        _ => {
            "put a backup in its place, or move it away: the daemon then starts with no tasks, an \
             empty catalog and no artifacts; or name another directory with --data-dir"
        }
    };
    StartError::new(format!("the store {shown} can't be used: {error}"), remedy)
}

/// What the thread owns.
struct Keeper {
    store: Arc<Store>,
    open: Open,
    /// Given up after a fault and opened anew for the next batch.
    database: Option<Database>,
    /// As it stands on the disk.
    ledger: Ledger,
    /// What the disk has failed to take and must still be written, the oldest first.
    owed: Vec<Box<dyn Work>>,
    clock: Clock,
}

impl Keeper {
    /// What somebody waits for is begun at once; what gathers goes with it, or when it has gathered.
    fn serve(mut self, queue: &Receiver<Job>, gathering: &Receiver<Box<dyn Work>>) {
        let mut gathered_at = None;
        loop {
            let now = self.clock.elapsed();
            let idle = if self.store.works() { TICK } else { RETRY };
            let wait = gathered_at.map_or(idle, |at: Duration| at.saturating_sub(now));
            let jobs = match queue.recv_timeout(wait) {
                Ok(first) => iter::once(first)
                    .chain(queue.try_iter().take(JOBS_MAX - 1))
                    .collect(),
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let (is_idle, mut closing, mut hurried) = (jobs.is_empty(), false, false);
            let asked: Vec<_> = jobs
                .into_iter()
                .filter_map(|job| match job {
                    Job::Work(work) => Some(work),
                    Job::Gathering => None,
                    Job::Hurry => {
                        hurried = true;
                        None
                    }
                    Job::Close => {
                        closing = true;
                        None
                    }
                })
                .collect();
            if asked.is_empty() && !is_idle && !hurried && !closing {
                gathered_at = gathered_at.or(Some(self.clock.elapsed() + GATHER));
                continue;
            }
            gathered_at = None;
            self.carry_out_all(asked, gathering);
            if closing {
                return;
            }
        }
    }

    /// Carries out what is owed, what is asked and what has gathered.
    fn carry_out_all(&mut self, asked: Vec<Box<dyn Work>>, gathering: &Receiver<Box<dyn Work>>) {
        self.store.gathering.answer();
        self.store.hurry.answer();
        let mut batch = mem::take(&mut self.owed);
        batch.extend(asked);
        batch.extend(gathering.try_iter().take(GATHERED_MAX));
        self.carry_out(batch);
    }

    /// One transaction; the ledger moves on only if it is committed.
    fn carry_out(&mut self, mut batch: Vec<Box<dyn Work>>) {
        match contain(|| self.attempt(&mut batch)) {
            Ok(Ok(ledger)) => self.move_on(ledger, batch),
            Ok(Err(Fault(error))) => {
                if self.store.failed.fetch_add(1, Relaxed) == 0 {
                    logs::store_failed(&error, batch.len());
                }
                let mut owed = self.undo(batch).into_iter();
                self.owed = owed.by_ref().take(GATHERED_MAX).collect();
                owed.for_each(|end| self.store.drop_end(Some(end)));
            }
            // What brought it about is not tried again.
            Err(Panicked) => {
                for end in self.undo(batch) {
                    self.store.drop_end(Some(end));
                }
            }
        }
        let dropped = self.store.dropped.swap(0, Relaxed);
        if dropped > 0 {
            logs::ends_dropped(dropped);
        }
    }

    fn move_on(&mut self, mut ledger: Ledger, batch: Vec<Box<dyn Work>>) {
        let forgotten = mem::take(&mut ledger.forgotten);
        let store = &self.store;
        store.catalog.store(Arc::clone(&ledger.catalog));
        self.ledger = ledger;
        for work in batch {
            work.settle(store, true);
        }
        for id in forgotten {
            store.outcomes.remove(&id);
        }
        match store.failed.swap(0, Relaxed) {
            0 => {}
            failed => logs::store_works(failed),
        }
    }

    /// Whoever waits for the batch is told that it failed; what of it is owed.
    fn undo(&mut self, batch: Vec<Box<dyn Work>>) -> Vec<Box<dyn Work>> {
        self.database = None;
        let settle = |work: Box<dyn Work>| work.settle(&self.store, false);
        batch.into_iter().filter_map(settle).collect()
    }

    fn attempt(&mut self, batch: &mut [Box<dyn Work>]) -> Result<Ledger, Fault> {
        let database = match self.database.take() {
            Some(database) => database,
            None => (self.open)()?,
        };
        let mut ledger = self.ledger.clone();
        let transaction = database.begin_write()?;
        let mut books = Books::new(&transaction, &mut ledger, &self.store.settings);
        batch
            .iter_mut()
            .try_for_each(|work| work.carry_out(&mut books))?;
        artifact::forget_old(&mut books)?;

        // A batch that only read has nothing to wait for, unless it is to show that the disk works.
        if books.is_changed() || !self.store.works() {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        self.database = Some(database);
        Ok(ledger)
    }
}

#[cfg(test)]
mod tests;
