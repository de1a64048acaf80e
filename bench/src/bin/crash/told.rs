//! What a daemon says in its log of what a damaged store has lost.

use orchestratord_bench::Failure;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Nothing, if nothing was damaged.
#[derive(Debug, Default)]
pub(crate) struct Told(Vec<Value>);

impl Told {
    /// What the lines of a log tell, each of them JSON.
    pub(crate) fn read(log: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(log);
        let text = text.map_err(|error| Failure::new("reading the daemon's log", error))?;
        let lines = text.lines().map(serde_json::from_str);
        let lines = lines.collect::<Result<_, _>>();
        lines
            .map(Self)
            .map_err(|error| Failure::new(&format!("reading the log {text}"), error))
    }

    fn of(&self, event: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |line| line["event"] == event)
    }

    /// Whether the file was damaged.
    pub(crate) fn damage(&self) -> bool {
        self.of("store_damaged").next().is_some()
    }

    /// Whether a record of this task is said to be lost.
    pub(crate) fn names(&self, id: &str) -> bool {
        self.of("record_lost").any(|line| line["key"] == id)
    }

    /// Whether this task is said to have begun, perhaps.
    pub(crate) fn doubts(&self, id: &str) -> bool {
        self.of("task_doubted").any(|line| line["job_id"] == id)
    }

    /// Records of tasks that could not be read, and can't be named. Where their number is not known, any.
    pub(crate) fn unread(&self) -> u64 {
        let tables = ["task_promises", "task_outcomes"];
        self.of("table_damaged")
            .filter(|line| tables.iter().any(|table| line["table"] == *table))
            .map(|line| line["unread"].as_u64().unwrap_or(u64::from(u32::MAX)))
            .sum()
    }
}
