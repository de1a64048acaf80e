//! What callers have besides tasks: sessions, artifacts and models; and what a daemon must still know of them
//! after crashes.
//!
//! A session's account can be told from outside, to the token: every turn is a task, whose id its caller has chosen,
//! and what a task came to stands in the list of all that have ended. So after any number of crashes the session has
//! had as many turns as there are tasks of it, and has spent what these have used together.

use crate::Failure;
use crate::client::Client;
use orchestratord_sched::prng::Prng;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Tokens that a session may spend: more than it ever will.
pub const TOKENS_BUDGET: u64 = 1_000_000;
/// Turns that it may have, likewise.
pub const TURNS_MAX: u64 = 1_000_000;
/// The largest page of a list.
const PAGE: usize = 1000;

/// What became of a session, as far as its caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// It goes on.
    Open,
    /// Its deletion was answered 204.
    Deleted,
    /// Its deletion was asked for, and the daemon was killed.
    Unsure,
}

/// The belongings of all callers.
#[derive(Debug, Default)]
pub struct Belongings {
    sessions: BTreeMap<String, Session>,
    /// Of each caller, the session that they are in.
    current: BTreeMap<u64, String>,
    /// Paths of what was answered 201.
    created: BTreeSet<String>,
}

/// A random id (RFC 9562 version 4).
#[must_use]
pub fn new_id(whim: &mut Prng) -> String {
    let mut digits = |bits: u32| whim.within(0..=(1 << bits) - 1);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        digits(32),
        digits(16),
        digits(12),
        digits(12),
        digits(48)
    )
}

impl Belongings {
    /// The session that the caller is in, or a new one.
    pub fn session(&mut self, caller: u64, whim: &mut Prng) -> String {
        let current = self.current.entry(caller).or_insert_with(|| new_id(whim));
        self.sessions
            .entry(current.clone())
            .or_insert(Session::Open);
        current.clone()
    }

    /// The caller leaves the session that they are in, to delete it.
    pub fn leave(&mut self, caller: u64) -> Option<String> {
        let left = self.current.remove(&caller)?;
        self.sessions.insert(left.clone(), Session::Unsure);
        Some(left)
    }

    /// The deletion of a session was answered.
    pub fn deleted(&mut self, session: String) {
        self.sessions.insert(session, Session::Deleted);
    }

    /// Something was answered 201, and is to be found there.
    pub fn created(&mut self, path: String) {
        self.created.insert(path);
    }

    /// How many there are.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |is: Session| self.sessions.values().filter(|it| **it == is).count();
        format!(
            "{} sessions that go on, {} deleted; {} artifacts and models",
            count(Session::Open),
            count(Session::Deleted),
            self.created.len()
        )
    }

    /// What the daemon says of them that contradicts what their callers know, with these tasks.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn contradictions(
        &self,
        client: &mut Client,
        tasks: &[Value],
    ) -> Result<Vec<String>, Failure> {
        let mut breaches = Vec::new();
        for path in &self.created {
            let (status, _) = client.get(path)?;
            if status != 200 {
                breaches.push(format!("{path} was answered 201, and is {status}"));
            }
        }
        let accounts = accounts(tasks);
        for (id, known) in &self.sessions {
            let (status, told) = client.get(&format!("/v2/sessions/{id}"))?;
            let account = accounts.get(id).copied().unwrap_or_default();
            let agrees = match known {
                Session::Open => account.agrees(status, &told),
                Session::Deleted => status == 404,
                Session::Unsure => status == 404 || account.agrees(status, &told),
            };
            if !agrees {
                breaches.push(format!(
                    "session {id} is {known:?}, its tasks came to {account:?}, and it is {status} {told}"
                ));
            }
        }
        Ok(breaches)
    }
}

/// What the tasks of a session came to.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    turns: u64,
    tokens: u64,
}

impl Account {
    fn agrees(self, status: u16, told: &Value) -> bool {
        // None of its tasks was ever accepted.
        if self.turns == 0 {
            return status == 404;
        }
        let remaining = TOKENS_BUDGET.saturating_sub(self.tokens);
        status == 200 && told["turns"] == self.turns && told["tokens_budget_remaining"] == remaining
    }
}

fn accounts(tasks: &[Value]) -> BTreeMap<String, Account> {
    let mut accounts = BTreeMap::<String, Account>::new();
    for task in tasks {
        if let Some(session) = task["session_id"].as_str() {
            let account = accounts.entry(session.to_owned()).or_default();
            account.turns += 1;
            let tokens = |field: &str| task[field].as_u64().unwrap_or_default();
            account.tokens += tokens("tokens_in") + tokens("tokens_out");
        }
    }
    accounts
}

/// All tasks that the daemon lists, page by page.
///
/// # Errors
/// If it does not answer with pages.
pub fn all_tasks(client: &mut Client) -> Result<Vec<Value>, Failure> {
    let mut all = Vec::new();
    let mut cursor = None::<String>;
    loop {
        let after = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let (status, page) = client.get(&format!("/v2/tasks?limit={PAGE}{after}"))?;
        let Some(tasks) = page["tasks"].as_array().filter(|_| status == 200) else {
            return Err(Failure(format!("a list was answered {status}: {page}")));
        };
        all.extend(tasks.iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(all),
        }
    }
}

/// Something small to be stored, no two alike: where, what, and where it is found if that is not told.
#[must_use]
pub fn something(whim: &mut Prng) -> (&'static str, Value, Option<String>) {
    let name = new_id(whim);
    if whim.chance(0.8) {
        let artifact = json!({"kind": "other", "content": name});
        return ("/v2/artifacts", artifact, None);
    }
    let path = format!("/v2/catalog/models/{name}");
    ("/v2/catalog/models", json!({ "id": name }), Some(path))
}
