//! Those whom the daemon is there for: each has a connection, and one task after the other.

use crate::books::Books;
use orchestratord_bench::Failure;
use orchestratord_bench::client::{Answer, Client};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How soon they have all been served before anything happens to them.
const FIRST_SERVED: Duration = Duration::from_secs(20);
/// How long the attack's end is waited for between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// What became of their tasks.
#[derive(Debug, Default)]
pub(crate) struct Good {
    /// Tasks that were asked for.
    asked: AtomicU64,
    /// Those that were read to their end, and in order.
    served: AtomicU64,
    slowest_ms: AtomicU64,
}

impl Good {
    /// Runs the attack while so many of them are served, and lets them end what they have begun after it.
    ///
    /// # Errors
    /// Those of the attack, and if nobody is served before it.
    pub(crate) fn beside<T>(
        &self,
        addr: SocketAddr,
        clients: u64,
        books: &Books,
        attack: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| self.call(addr, &over, books));
            }
            let came = self.wait_for(clients).and_then(|()| attack());
            over.store(true, Relaxed);
            came
        })
    }

    /// Says what became of their tasks.
    pub(crate) fn report(&self) {
        println!(
            "  good clients  {} of {} tasks served, the slowest in {} ms",
            self.served.load(Relaxed),
            self.asked.load(Relaxed),
            self.slowest_ms.load(Relaxed)
        );
    }

    fn wait_for(&self, served: u64) -> Result<(), Failure> {
        let give_up = Instant::now() + FIRST_SERVED;
        while self.served.load(Relaxed) < served {
            if Instant::now() > give_up {
                return Err(Failure(
                    "nobody is served, and nothing else was tried".into(),
                ));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn call(&self, addr: SocketAddr, over: &AtomicBool, books: &Books) {
        let calls = || -> Result<(), Failure> {
            let mut client = Client::connect(addr)?;
            while !over.load(Relaxed) {
                self.one_task(&mut client)?;
            }
            Ok(())
        };
        if let Err(failure) = calls() {
            books.breach(format!("a good client was not served: {failure}"));
        }
    }

    fn one_task(&self, client: &mut Client) -> Result<(), Failure> {
        const TASK: &[u8] = br#"{"model_ref":"mock","prompt":"Once upon a time","max_tokens":8}"#;
        let began = Instant::now();
        self.asked.fetch_add(1, Relaxed);
        match client.submit(TASK)? {
            Answer::Admitted(events) => client.follow(&events)?,
            Answer::ComeBack(_) => return Err(Failure("there is room, and none was given".into())),
        };
        self.served.fetch_add(1, Relaxed);
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.slowest_ms.fetch_max(took, Relaxed);
        Ok(())
    }
}
