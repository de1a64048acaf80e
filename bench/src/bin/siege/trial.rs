//! One scene: a daemon, an attack beside good clients, and what the daemon holds afterwards.

use crate::books::Books;
use crate::footprint::Footprint;
use crate::good::Good;
use orchestratord_bench::Failure;
use orchestratord_bench::daemon::Daemon;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Good clients beside an attack.
pub(crate) const GOOD_CLIENTS: u64 = 4;
/// How long they are served before the attack, so that what a daemon sets up once is set up.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long after an attack everything may take to be given back. More than the daemon lingers
/// over a connection, and than its allocator keeps memory for.
const SETTLES_IN: Duration = Duration::from_secs(15);
/// Memory that may stay: the last thousand tasks of each shard, which are kept for who asks for them, and what
/// an allocator keeps in hand.
const MEMORY_MARGIN_BYTES: u64 = 64 << 20;
/// How often is looked.
const LOOK: Duration = Duration::from_millis(50);

/// A daemon that runs, and those who look at it.
pub(crate) struct Trial<'b> {
    daemon: Daemon,
    books: &'b Books,
    before: Footprint,
}

impl<'b> Trial<'b> {
    /// Lets a daemon serve for a moment, and notes what it holds then.
    ///
    /// # Errors
    /// If it serves nobody.
    pub(crate) fn of(daemon: Daemon, books: &'b Books) -> Result<Self, Failure> {
        Good::default().beside(daemon.addr, GOOD_CLIENTS, books, || {
            thread::sleep(WARM_UP);
            Ok(())
        })?;
        let before = at_rest(daemon.pid())?;
        Ok(Self {
            daemon,
            books,
            before,
        })
    }

    /// Where the daemon listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.daemon.addr
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.daemon.pid()
    }

    /// Runs an attack beside good clients, and waits until the daemon is as it was before.
    ///
    /// # Errors
    /// Those of the attack, and if the daemon ends.
    pub(crate) fn attack<T>(
        &self,
        attack: impl FnOnce(SocketAddr) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (addr, good) = (self.addr(), Good::default());
        let came = self.watch(|| good.beside(addr, GOOD_CLIENTS, self.books, || attack(addr)));
        good.report();
        came
    }

    /// Runs a scene, and waits until the daemon is as it was before.
    ///
    /// # Errors
    /// Those of the scene, and if the daemon ends.
    pub(crate) fn watch<T>(
        &self,
        scene: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let over = AtomicBool::new(false);
        let (came, most) = thread::scope(|scope| {
            let most = scope.spawn(|| self.most(&over));
            let came = scene();
            over.store(true, Relaxed);
            let most = most.join().expect("looking at a process does not panic");
            (came, most)
        });
        let came = came?;
        println!("  before        {}", self.before);
        println!("  at most       {}", most?);
        println!("  after         {}", self.settle()?);
        Ok(came)
    }

    fn most(&self, over: &AtomicBool) -> Result<Footprint, Failure> {
        let mut most = self.before;
        while !over.load(Relaxed) {
            most = most.max(Footprint::of(self.process())?);
            thread::sleep(LOOK);
        }
        Ok(most)
    }

    /// What is held once everything was given back, or when it should have been.
    fn settle(&self) -> Result<Footprint, Failure> {
        let files_max = self.before.files;
        let bytes_max = self.before.resident_bytes + MEMORY_MARGIN_BYTES;
        let give_up = Instant::now() + SETTLES_IN;
        loop {
            // An allocator gives memory back when it is asked for some.
            Good::default().beside(self.addr(), 1, self.books, || Ok(()))?;
            let after = Footprint::of(self.process())?;
            let is_back = after.files <= files_max && after.resident_bytes <= bytes_max;
            if is_back || Instant::now() > give_up {
                self.books.expect(is_back, || {
                    format!(
                        "the daemon does not give back: {} before, {after} after",
                        self.before
                    )
                });
                return Ok(after);
            }
            thread::sleep(LOOK);
        }
    }
}

/// What a process holds when its files don't change any more.
fn at_rest(process: u32) -> Result<Footprint, Failure> {
    let mut last = Footprint::of(process)?;
    loop {
        thread::sleep(4 * LOOK);
        let now = Footprint::of(process)?;
        if now.files == last.files {
            return Ok(now);
        }
        last = now;
    }
}
