//! Who asks what, and what came of it.
//!
//! Two loads, for the two things that a gateway may not do: add delay, and be the bottleneck. Both
//! are closed loops (the next request waits for the last answer), which is right for these two: a
//! delay without any queue, and the most that goes through.

use crate::Failure;
use crate::client::{Answer, Client};
use hdrhistogram::Histogram;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Longer delays count as this one: a minute.
const DELAY_MAX_NS: u64 = 60_000_000_000;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Where the daemon listens.
    pub addr: SocketAddr,
    /// Which model.
    pub model: String,
    /// Tokens of each task.
    pub tokens: u32,
    /// Bytes of each prompt.
    pub prompt_bytes: usize,
    /// How many tasks, over all connections.
    pub tasks: u64,
    /// How many connections.
    pub connections: usize,
    /// When no new task is begun any more.
    pub duration_max: Duration,
}

/// What the tasks added up to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Total {
    /// Tasks that were read to their end.
    pub tasks: u64,
    /// Tokens of all of them.
    pub tokens: u64,
    /// Times that a task was told to come back later.
    pub refusals: u64,
    /// From the first request to the last event.
    pub took: Duration,
}

impl Total {
    /// Tokens delivered a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of a run fit a double")]
    pub fn tokens_per_s(&self) -> f64 {
        self.tokens as f64 / self.took.as_secs_f64()
    }

    fn add(&mut self, other: &Self) {
        self.tasks += other.tasks;
        self.tokens += other.tokens;
        self.refusals += other.refusals;
    }
}

impl Workload {
    fn task(&self) -> Vec<u8> {
        let prompt: String = "once upon a time "
            .chars()
            .cycle()
            .take(self.prompt_bytes)
            .collect();
        let task = serde_json::json!({
            "model_ref": self.model,
            "prompt": prompt,
            "max_tokens": self.tokens,
            "temperature": 0.0,
        });
        task.to_string().into_bytes()
    }

    /// One task at a time: from the submission's last byte to the first token, in nanoseconds.
    ///
    /// # Errors
    /// Whatever breaks the contract.
    pub fn delays(&self) -> Result<Histogram<u64>, Failure> {
        let bounds = Histogram::new_with_bounds(1, DELAY_MAX_NS, 3);
        let mut delays = bounds.map_err(|error| Failure::new("counting", error))?;
        let mut client = Client::connect(self.addr)?;
        let task = self.task();
        let begun = Instant::now();
        for _ in 0..self.tasks {
            if begun.elapsed() > self.duration_max {
                break;
            }
            let submitted = Instant::now();
            let Answer::Admitted(events) = client.submit(&task)? else {
                return Err(Failure(
                    "a lone task was told to come back later".to_owned(),
                ));
            };
            let followed = client.follow(&events)?;
            let delay = followed.first_token.duration_since(submitted).as_nanos();
            delays.saturating_record(u64::try_from(delay).unwrap_or(u64::MAX));
        }
        Ok(delays)
    }

    /// All connections at once, each with one task after the other.
    ///
    /// # Errors
    /// The first breach of the contract on any of them.
    pub fn total(&self) -> Result<Total, Failure> {
        let left = AtomicU64::new(self.tasks);
        let begun = Instant::now();
        let outcomes = thread::scope(|scope| {
            let connection = |_| scope.spawn(|| self.connection(&left, begun));
            let threads: Vec<_> = (0..self.connections).map(connection).collect();
            threads
                .into_iter()
                .map(|thread| thread.join())
                .collect::<Vec<_>>()
        });
        let mut total = Total::default();
        for outcome in outcomes {
            total.add(&outcome.map_err(|_| Failure("a client broke".to_owned()))??);
        }
        total.took = begun.elapsed();
        Ok(total)
    }

    fn connection(&self, left: &AtomicU64, begun: Instant) -> Result<Total, Failure> {
        let mut total = Total::default();
        let mut client = Client::connect(self.addr)?;
        let task = self.task();
        let take = |left: u64| left.checked_sub(1);
        while begun.elapsed() < self.duration_max
            && left.fetch_update(Relaxed, Relaxed, take).is_ok()
        {
            let events = loop {
                match client.submit(&task)? {
                    Answer::Admitted(events) => break events,
                    Answer::ComeBack(wait) => {
                        total.refusals += 1;
                        thread::sleep(wait);
                    }
                }
            };
            total.tokens += client.follow(&events)?.tokens;
            total.tasks += 1;
        }
        Ok(total)
    }
}
