//! What callers were told of their tasks, and what in the end contradicts it.

use orchestratord_bench::Failure;
use orchestratord_bench::client::Client;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::told::Told;

/// Times are told in milliseconds, rounded up from two zeros.
const ROUNDING_MS: u64 = 3;
/// How long what is left may take in the end.
const LAST_LIFE: Duration = Duration::from_secs(60);

/// What the daemon says of each task: a status and a body.
pub(crate) type Views = BTreeMap<String, (u16, Value)>;

/// What a caller knows of a task of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It was answered 202.
    Accepted,
    /// Its stream ended, with this error if with one, and by this time in milliseconds since 1970.
    Ended(Option<Value>, u64),
    /// A cancel of it was answered 204 by then.
    Canceled(u64),
}

/// A task that was answered 202.
#[derive(Clone, Debug)]
struct Task {
    tokens_asked: u64,
    known: Known,
}

/// All that callers were told.
#[derive(Debug, Default)]
pub(crate) struct Books {
    tasks: BTreeMap<String, Task>,
    /// Refusals because of the disk.
    pub(crate) refusals: u64,
    /// Tasks that a damaged store has lost, or knows no more of than that they may have begun; and says so.
    pub(crate) told: u64,
    /// Where the promise was broken.
    pub(crate) breaches: Vec<String>,
}

impl Books {
    pub(crate) fn accept(&mut self, id: &str, tokens_asked: u64) {
        let known = Known::Accepted;
        let task = Task {
            tokens_asked,
            known,
        };
        self.tasks.insert(id.to_owned(), task);
    }

    pub(crate) fn note(&mut self, id: &str, known: Known) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.known = known;
        }
    }

    pub(crate) fn breach(&mut self, what: String) {
        self.breaches.push(what);
    }

    /// Adds what another run has come to.
    pub(crate) fn take(&mut self, other: Self) {
        self.tasks.extend(other.tasks);
        self.refusals += other.refusals;
        self.told += other.told;
        self.breaches.extend(other.breaches);
    }

    /// Whatever happens to a disk, a daemon does not panic.
    pub(crate) fn find_panics(&mut self, log: &Path) -> Result<(), Failure> {
        let log = fs::read_to_string(log);
        let log = log.map_err(|error| Failure::new("reading the daemon's log", error))?;
        let panics = log.lines().filter(|line| line.contains("a bug of ours"));
        self.breaches.extend(panics.map(str::to_owned));
        Ok(())
    }

    /// Adds to each breach what it takes to see it again.
    pub(crate) fn name_breaches(&mut self, how: &str) {
        for breach in &mut self.breaches {
            *breach = format!("{how}: {breach}");
        }
    }

    /// The daemon has told that it knows of none.
    pub(crate) fn lose_all(&mut self) {
        self.told += self.tasks.len() as u64;
    }

    /// How every task that was accepted has ended, or does now.
    pub(crate) fn look(&self, addr: SocketAddr) -> Result<Views, Failure> {
        let mut client = Client::connect(addr)?;
        let give_up = Instant::now() + LAST_LIFE;
        let ids = self.tasks.keys();
        ids.map(|id| Ok((id.clone(), last_view(&mut client, id, give_up)?)))
            .collect()
    }

    /// Each as its caller was told, or the daemon has told that the store knows it no more.
    pub(crate) fn judge(&mut self, views: &Views, told: &Told) {
        let mut unnamed = 0;
        for (id, task) in &self.tasks {
            let Some((status, view)) = views.get(id) else {
                continue;
            };
            let is_doubted = told.doubts(id) && view["error"] == "WORKER_RESET";
            let is_unnamed = *status == 404 && !told.names(id);
            unnamed += u64::from(is_unnamed);
            let is_lost = *status == 404 && (!is_unnamed || unnamed <= told.unread());
            if is_doubted || is_lost {
                self.told += 1;
            } else if let Some(breach) = task.contradiction(*status, view) {
                self.breaches.push(format!("{id}: {breach}"));
            }
        }
    }

    /// Each task that was accepted is listed, and none is listed twice.
    pub(crate) fn compare(&mut self, listed: &[Value]) {
        let mut times = BTreeMap::<&str, usize>::new();
        for task in listed {
            let id = task["task_id"].as_str().unwrap_or_default();
            *times.entry(id).or_default() += 1;
        }
        let lost = self
            .tasks
            .keys()
            .filter(|id| !times.contains_key(id.as_str()));
        let lost = lost.map(|id| format!("{id} was accepted, and is not listed"));
        let twice = times.iter().filter(|(_, times)| **times > 1);
        let twice = twice.map(|(id, times)| format!("{id} is listed {times} times"));
        self.breaches.extend(lost.chain(twice));
    }

    pub(crate) fn print(&self) {
        let known = || self.tasks.values().map(|task| &task.known);
        println!(
            "tasks    {} accepted: {} read to their ends, {} canceled, {} left alone or cut off",
            self.tasks.len(),
            known().filter(|it| matches!(it, Known::Ended(..))).count(),
            known()
                .filter(|it| matches!(it, Known::Canceled(_)))
                .count(),
            known().filter(|it| **it == Known::Accepted).count()
        );
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

/// How a task has ended, or stands when there is no time left.
fn last_view(client: &mut Client, id: &str, give_up: Instant) -> Result<(u16, Value), Failure> {
    loop {
        let (status, view) = client.get(&format!("/v2/tasks/{id}"))?;
        match view["state"].as_str() {
            Some("queued" | "running") if Instant::now() < give_up => {
                thread::sleep(Duration::from_millis(5));
            }
            _ => return Ok((status, view)),
        }
    }
}

impl Task {
    /// What the daemon says of the task that contradicts what its caller was told.
    fn contradiction(&self, status: u16, view: &Value) -> Option<String> {
        let state = view["state"].as_str().unwrap_or_default();
        // If it ended later than it was read to, it has run to its end twice.
        let had_ended = |by: &u64| view["timings"]["ended_ms"].as_u64() <= Some(by + ROUNDING_MS);
        let is_whole = state != "completed" || view["tokens_out"] == self.tokens_asked;
        let agrees = status == 200
            && is_whole
            && match &self.known {
                Known::Accepted => matches!(state, "completed" | "failed" | "canceled"),
                Known::Ended(None, by) => state == "completed" && had_ended(by),
                Known::Ended(Some(code), by) => view["error"] == *code && had_ended(by),
                // It may have ended before.
                Known::Canceled(by) => matches!(state, "canceled" | "completed") && had_ended(by),
            };
        (!agrees).then(|| format!("its caller knows {self:?}, and it is {status} {view}"))
    }
}

pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
