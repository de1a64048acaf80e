//! What one key's callers send when, each on a thread and a connection of its own.

use super::seen::{Outcome, Task};
use super::{Class, TOKENS};
use orchestratord_bench::Failure;
use orchestratord_bench::client::Client;
use orchestratord_bench::transcript::Transcript;
use orchestratord_sched::prng::Prng;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// How soon who was refused at capacity comes back: at once, but for the others.
const PAUSE: Duration = Duration::from_millis(10);
/// Far longer than any task waits and runs.
const DEADLINE_MS: u64 = 10_000;
/// What the stream of a task says that had to go for a newer one.
const DROPPED: &str = "QUEUE_FULL_DROP_LRU";

/// When tasks are sent.
pub(crate) enum Sending {
    /// The next when one has ended.
    OneAfterTheOther,
    /// At these moments, whatever becomes of others.
    At(Moments),
}

/// Moments of a phase, each for one task.
pub(crate) struct Moments {
    since_began: Vec<Duration>,
    next: AtomicUsize,
}

impl Moments {
    /// Random and independent, so many a second (their gaps are exponential).
    pub(crate) fn drawn(seed: u64, whose: &str, per_s: f64, length: Duration) -> Self {
        let mut prng = Prng::new(seed, whose);
        let gap = || {
            Some(Duration::from_secs_f64(
                -(1.0 - prng.fraction()).ln() / per_s,
            ))
        };
        let moments = std::iter::from_fn(gap).scan(Duration::ZERO, |at, gap| {
            *at += gap;
            Some(*at)
        });
        Self {
            since_began: moments.take_while(|at| *at < length).collect(),
            next: AtomicUsize::new(0),
        }
    }

    fn next(&self) -> Option<Duration> {
        let next = self.next.fetch_add(1, Relaxed);
        self.since_began.get(next).copied()
    }
}

/// The callers of one key.
pub(crate) struct Crowd<'k> {
    pub(crate) addr: SocketAddr,
    pub(crate) key: &'k str,
    pub(crate) class: Class,
    pub(crate) sending: Sending,
    pub(crate) began: Instant,
    pub(crate) length: Duration,
}

/// Callers that call.
pub(crate) struct Calling<'s>(Vec<ScopedJoinHandle<'s, Result<Vec<Task>, Failure>>>);

impl Calling<'_> {
    /// What became of all their tasks.
    pub(crate) fn gather(self) -> Result<Vec<Task>, Failure> {
        let mut tasks = Vec::new();
        for caller in self.0 {
            let called = caller.join();
            tasks.append(&mut called.map_err(|_| Failure("a caller broke".to_owned()))??);
        }
        Ok(tasks)
    }
}

impl Crowd<'_> {
    pub(crate) fn call<'s>(&'s self, scope: &'s Scope<'s, '_>, callers: u32) -> Calling<'s> {
        let caller = |_| scope.spawn(|| self.caller());
        Calling((0..callers).map(caller).collect())
    }

    fn caller(&self) -> Result<Vec<Task>, Failure> {
        let mut client = Client::connect(self.addr)?.with_key(self.key);
        let mut tasks = Vec::new();
        while let Some(at) = self.next() {
            thread::sleep(at.saturating_sub(self.began.elapsed()));
            let outcome = self.send(&mut client)?;
            let is_refused = matches!(outcome, Outcome::Refused { .. });
            tasks.push(Task { at, outcome });
            if is_refused && matches!(self.sending, Sending::OneAfterTheOther) {
                thread::sleep(PAUSE);
            }
        }
        Ok(tasks)
    }

    /// When the next is to be sent.
    fn next(&self) -> Option<Duration> {
        match &self.sending {
            Sending::At(moments) => moments.next(),
            Sending::OneAfterTheOther => {
                Some(self.began.elapsed()).filter(|now| *now < self.length)
            }
        }
    }

    fn send(&self, client: &mut Client) -> Result<Outcome, Failure> {
        let task = json!({
            "model_ref": "mock",
            "prompt": "Once upon a time",
            "max_tokens": TOKENS,
            "expected_tokens": TOKENS,
            "deadline_ms": DEADLINE_MS,
            "priority": self.class.name(),
        });
        let (status, answer) = client.post("/v2/tasks", task.to_string().as_bytes())?;
        let told = answer["retry_after_ms"].as_u64();
        match (status, answer["streams"]["sse"].as_str(), told) {
            (202, Some(events), _) => self.follow(client, events),
            (429, _, Some(told @ 1..)) if answer["policy_label"].is_string() => {
                Ok(Outcome::Refused {
                    answered: self.began.elapsed(),
                    told: Duration::from_millis(told),
                })
            }
            _ => Err(Failure(format!("a task was answered {status}: {answer}"))),
        }
    }

    fn follow(&self, client: &mut Client, events: &str) -> Result<Outcome, Failure> {
        let (mut transcript, mut first, mut last) = (Transcript::default(), None, Value::Null);
        let status = client.read_events(events, |id, event, data| {
            if transcript.take(id, event, data)? {
                first = Some(self.began.elapsed());
            }
            if event == b"error" {
                last = serde_json::from_slice(data).unwrap_or_default();
            }
            Ok(())
        })?;
        match (status, transcript.finish(), first) {
            (200, Ok(tokens), Some(first)) if tokens == u64::from(TOKENS) => Ok(Outcome::Served {
                first,
                ended: self.began.elapsed(),
            }),
            (200, Err(_), None) if last["code"] == DROPPED => Ok(Outcome::Dropped),
            (_, finished, _) => Err(Failure(format!(
                "{events} was {status}, {finished:?}: {last}"
            ))),
        }
    }
}
