//! Callers that submit tasks, read them, cancel them and leave them alone.

use orchestratord_bench::Failure;
use orchestratord_bench::belongings::{self, Belongings, new_id};
use orchestratord_bench::client::Client;
use orchestratord_sched::prng::Prng;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::books::{Books, Known, unix_ms};

/// Callers that submit side by side.
const CALLERS: u64 = 6;

/// Most prompts are short, and some take more than a page of the store. A store has room of its own for what comes and goes: that its
/// disk is full is met by what needs more.
fn length(whim: &mut Prng, is_full: bool) -> usize {
    let most = match whim.chance(0.2) {
        false => 10,
        true if is_full => 10_000,
        true => 1000,
    };
    usize::try_from(whim.within(1..=most)).unwrap_or(1)
}

/// What callers share.
#[derive(Debug, Default)]
pub(crate) struct Load {
    books: Mutex<Books>,
    /// Sessions, artifacts and models, where callers have them besides.
    belongings: Option<Mutex<Belongings>>,
    /// Whether the disk may be failing.
    pub(crate) is_faulty: AtomicBool,
    /// Whether a fault of the disk is that it is full.
    fills_up: bool,
    /// Whether the daemon is killed now.
    pub(crate) is_dying: AtomicBool,
}

impl Load {
    /// Callers who have sessions, and store artifacts and models.
    pub(crate) fn with_belongings() -> Self {
        Self {
            belongings: Some(Mutex::default()),
            ..Self::default()
        }
    }

    /// On a disk that fills up, or one that does not.
    pub(crate) fn on_a_disk(fills_up: bool) -> Self {
        Self {
            fills_up,
            ..Self::default()
        }
    }

    pub(crate) fn belongings(&self) -> Option<std::sync::MutexGuard<'_, Belongings>> {
        let belongings = self.belongings.as_ref()?;
        Some(
            belongings
                .lock()
                .unwrap_or_else(|broken| broken.into_inner()),
        )
    }

    pub(crate) fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
    }

    pub(crate) fn into_books(self) -> Books {
        self.books
            .into_inner()
            .unwrap_or_else(|broken| broken.into_inner())
    }

    /// Calls the daemon from all sides while `meanwhile` lasts, which kills it.
    pub(crate) fn during<T>(
        &self,
        addr: SocketAddr,
        seed: u64,
        meanwhile: impl FnOnce() -> T,
    ) -> T {
        self.is_dying.store(false, Relaxed);
        thread::scope(|scope| {
            for caller in 0..CALLERS {
                let whim = Prng::new(seed << 8 ^ caller, "callers");
                scope.spawn(move || self.call(addr, caller, whim));
            }
            meanwhile()
        })
    }

    /// One task after the other, until the daemon is gone.
    fn call(&self, addr: SocketAddr, caller: u64, mut whim: Prng) {
        let Err(failure) = self.every_task(addr, caller, &mut whim);
        if !self.is_dying.load(Relaxed) {
            self.books()
                .breach(format!("the daemon hung up: {failure}"));
        }
    }

    /// An error is the end of the daemon.
    fn every_task(
        &self,
        addr: SocketAddr,
        caller: u64,
        whim: &mut Prng,
    ) -> Result<Infallible, Failure> {
        let mut client = Client::connect(addr)?;
        loop {
            self.one_task(&mut client, caller, whim)?;
            self.one_belonging(&mut client, caller, whim)?;
        }
    }

    /// Now and then something is stored, or a session ended.
    fn one_belonging(
        &self,
        client: &mut Client,
        caller: u64,
        whim: &mut Prng,
    ) -> Result<(), Failure> {
        let Some(mut belongings) = self.belongings() else {
            return Ok(());
        };
        match whim.within(0..=9) {
            0 => {
                drop(belongings);
                let (route, body, path) = belongings::something(whim);
                let (status, answer) = client.post(route, body.to_string().as_bytes())?;
                let found = path.or_else(|| Some(format!("{route}/{}", answer["id"].as_str()?)));
                if let Some(path) = found.filter(|_| status == 201)
                    && let Some(mut belongings) = self.belongings()
                {
                    belongings.created(path);
                }
            }
            1 => {
                let left = belongings.leave(caller);
                drop(belongings);
                if let Some(session) = left
                    && client.delete(&format!("/v2/sessions/{session}"))? == 204
                    && let Some(mut belongings) = self.belongings()
                {
                    belongings.deleted(session);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a task is accepted before long. What is written before it, or was owed to the disk, is on the disk then: the
    /// last call that fails may have begun before the fault ended.
    pub(crate) fn comes_to_be_accepted(
        &self,
        addr: SocketAddr,
        before_long: Duration,
        whim: &mut Prng,
    ) -> Result<bool, Failure> {
        let mut client = Client::connect(addr)?;
        let give_up = Instant::now() + before_long;
        while Instant::now() < give_up {
            if self.submit(&mut client, 0, whim)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The id of a task that is accepted.
    fn submit(
        &self,
        client: &mut Client,
        caller: u64,
        whim: &mut Prng,
    ) -> Result<Option<String>, Failure> {
        let tokens = whim.within(1..=40);
        let was_faulty = self.is_faulty.load(Relaxed);
        let mut task = json!({
            "task_id": new_id(whim),
            "model_ref": "mock",
            "prompt": "Once upon a time. ".repeat(length(whim, was_faulty && self.fills_up)),
            "max_tokens": tokens,
            "priority": if whim.chance(0.3) { "batch" } else { "interactive" },
        });
        if whim.chance(0.5)
            && let Some(mut belongings) = self.belongings()
        {
            task["session_id"] = belongings.session(caller, whim).into();
        }
        let (status, answer) = client.post("/v2/tasks", task.to_string().as_bytes())?;
        let id = answer["task_id"].as_str().filter(|_| status == 202);
        match id {
            Some(id) => self.books().accept(id, tokens),
            None => {
                self.refused(status, &answer, was_faulty);
                thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(id.map(str::to_owned))
    }

    fn one_task(&self, client: &mut Client, caller: u64, whim: &mut Prng) -> Result<(), Failure> {
        let Some(id) = self.submit(client, caller, whim)? else {
            return Ok(());
        };
        let was_faulty = self.is_faulty.load(Relaxed);
        match whim.within(0..=9) {
            0..=1 => {
                let (status, answer) = client.post(&format!("/v2/tasks/{id}/cancel"), b"")?;
                match status {
                    204 => self.books().note(&id, Known::Canceled(unix_ms())),
                    _ => self.refused(status, &answer, was_faulty),
                }
            }
            2..=6 => {
                let (event, data) = client.last_event(&format!("/v2/tasks/{id}/events"))?;
                let error = (event == "error").then(|| data["code"].clone());
                self.books().note(&id, Known::Ended(error, unix_ms()));
            }
            _ => {}
        }
        Ok(())
    }

    /// A queue may be full, and a disk that fails is told as what it is.
    fn refused(&self, status: u16, answer: &Value, was_faulty: bool) {
        let message = answer["message"].as_str().unwrap_or_default();
        let is_faulty = was_faulty || self.is_faulty.load(Relaxed);
        match status {
            429 => {}
            500 | 503 if message.contains("disk") && is_faulty => self.books().refusals += 1,
            503 if !message.contains("disk") => {}
            _ => {
                let breach = format!("it was answered {status}: {answer}");
                self.books().breach(breach);
            }
        }
    }
}
