//! A caller who has a key, and does what callers do.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use orchestratord_bench::Failure;
use serde_json::Value;

use crate::findings::require;
use crate::request::{bare, json as with_json};
use crate::wire::{Answer, Wire};

/// How long a task that is to end may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Somebody with a key.
pub(crate) struct Caller {
    pub(crate) addr: SocketAddr,
    pub(crate) key: String,
}

impl Caller {
    pub(crate) fn ask(
        &self,
        request: impl Fn(&[(&str, &str)]) -> Vec<u8>,
    ) -> Result<Answer, Failure> {
        Wire::open(self.addr)?.ask(&request(&[("X-API-Key", &self.key)]))
    }

    pub(crate) fn get(&self, target: &str) -> Result<Answer, Failure> {
        self.ask(|key| bare("GET", target, key))
    }

    pub(crate) fn post(&self, target: &str, body: &Value) -> Result<Answer, Failure> {
        self.ask(|key| with_json("POST", target, key, body.to_string().as_bytes()))
    }

    pub(crate) fn enqueue(&self, task: &Value) -> Result<String, Failure> {
        let answer = self.post("/v2/tasks", task)?;
        let id = answer.json()["task_id"].as_str().map(str::to_owned);
        id.ok_or_else(|| {
            Failure(format!(
                "a task was answered {}: {}",
                answer.status,
                answer.json()
            ))
        })
    }

    pub(crate) fn sees(&self, target: &str) -> Result<(), Failure> {
        let status = self.get(target)?.status;
        require(status == 200, || format!("{target} was answered {status}"))
    }

    pub(crate) fn state(&self, task: &str) -> Result<Value, Failure> {
        Ok(self.get(&format!("/v2/tasks/{task}"))?.json())
    }

    /// Waits until the task is in this state.
    pub(crate) fn wait(&self, task: &str, state: &str) -> Result<(), Failure> {
        self.until(task, |view| view["state"] == state).map(drop)
    }

    /// Waits until the task is like this.
    pub(crate) fn until(
        &self,
        task: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let view = self.state(task)?;
            if is_so(&view) {
                return Ok(view);
            }
            let is_late = Instant::now() >= give_up;
            require(!is_late, || format!("a task does not get on: {view}"))?;
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
