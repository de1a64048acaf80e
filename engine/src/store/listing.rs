//! Ended tasks in the order of lists, so that a page of them is read and not looked for.
//!
//! Each stands twice: under its owner, and under nobody, where those look who may see all. Beside each stands
//! what may be asked of it, so that others are passed over without being read.

use std::sync::Arc;

use futures_channel::oneshot;
use redb::{ReadableTable as _, Table, TableDefinition, WriteTransaction};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Fault, Store,
    artifact::Viewer,
    books::Books,
    task::{self, OUTCOMES},
};
use crate::api::{
    error::ApiError,
    task::list::{Listed, Position, Wanted},
};

/// Owner, how long before the end of time the task was admitted, and its id: its state and pool.
pub const LISTED: TableDefinition<'_, (&str, u64, u128), (&str, &str)> =
    TableDefinition::new("task_outcomes_listed");

/// Under whom all tasks stand: no owner is written so.
const ANYBODY: &str = "";
/// Tasks that are looked at for one page: some milliseconds of the disk's thread.
pub const LOOKED_AT_MAX: usize = 10_000;

/// A task's place in the table, which is in the order of [`Position`].
fn place(position: Position) -> (u64, u128) {
    let newest_first = u64::MAX - position.admitted_unix_ms;
    (newest_first, position.task_id.as_u128())
}

fn position((newest_first, id): (u64, u128)) -> Position {
    Position {
        admitted_unix_ms: u64::MAX - newest_first,
        task_id: Uuid::from_u128(id),
    }
}

fn position_of(id: Uuid, view: &Value) -> Position {
    Position {
        admitted_unix_ms: view["timings"]["admitted_ms"].as_u64().unwrap_or_default(),
        task_id: id,
    }
}

/// A task has ended.
///
/// # Errors
///
/// When the disk fails.
pub fn add(books: &Books<'_>, owner: &str, id: Uuid, view: &Value) -> Result<(), Fault> {
    insert(&mut books.write(LISTED)?, owner, id, view)
}

/// Lists all outcomes anew: nothing stands in the list that does not stand there.
///
/// # Errors
///
/// When the disk fails.
pub fn rebuild(transaction: &WriteTransaction) -> Result<(), Fault> {
    let outcomes = transaction.open_table(OUTCOMES)?;
    let mut listed = transaction.open_table(LISTED)?;
    listed.retain(|_, _| false)?;
    for row in outcomes.iter()? {
        let (id, bytes) = row?;
        if let Some((owner, view)) = task::owner_and_view(bytes.value()) {
            insert(&mut listed, &owner, Uuid::from_u128(id.value()), &view)?;
        }
    }
    Ok(())
}

fn insert(
    listed: &mut Table<'_, (&str, u64, u128), (&str, &str)>,
    owner: &str,
    id: Uuid,
    view: &Value,
) -> Result<(), Fault> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (state, pool) = (text(&view["state"]), text(&view["placement"]["pool_id"]));
    let (newest_first, id) = place(position_of(id, view));
    for under in [owner, ANYBODY] {
        listed.insert((under, newest_first, id), (&*state, &*pool))?;
    }
    Ok(())
}

/// What became of a task is forgotten.
///
/// # Errors
///
/// When the disk fails.
pub fn remove(books: &Books<'_>, owner: &str, id: Uuid, view: &Value) -> Result<(), Fault> {
    let (newest_first, id) = place(position_of(id, view));
    let mut listed = books.write(LISTED)?;
    for under in [owner, ANYBODY] {
        listed.remove((under, newest_first, id))?;
    }
    Ok(())
}

/// Some ended tasks, the newest first.
#[derive(Debug, Default)]
pub struct Page {
    /// Where each stands, and what is told of it.
    pub tasks: Vec<(Position, Listed)>,
    /// How far was looked, if there may be more beyond that and it was too far already.
    pub looked_to: Option<Position>,
}

/// The wanted tasks, as far as they are found in one look.
///
/// # Errors
///
/// When the disk fails.
pub fn page(books: &Books<'_>, wanted: &Wanted) -> Result<Page, Fault> {
    let (found, looked_to) = look(books, wanted)?;
    let mut tasks = Vec::new();
    for position in found {
        // A record that could not be read was put aside.
        if let Some(view) = task::view(books, position.task_id)? {
            tasks.push((position, Listed::Kept(view)));
        }
    }
    Ok(Page { tasks, looked_to })
}

fn look(books: &Books<'_>, wanted: &Wanted) -> Result<(Vec<Position>, Option<Position>), Fault> {
    let viewer = Viewer::from(&wanted.caller);
    let under = viewer.only().unwrap_or(ANYBODY);
    let (age, id) = wanted.after.map_or((0, 0), place);
    let listed = books.read(LISTED)?;
    let mut found = Vec::new();
    let entries = listed.range((under, age, id)..=(under, u64::MAX, u128::MAX))?;
    for (looked_at, entry) in entries.enumerate() {
        let (key, told) = entry?;
        let (_, age, id) = key.value();
        let here = position((age, id));
        let (state, pool) = told.value();
        if wanted.after != Some(here) && wanted.has(state, pool) {
            found.push(here);
        }
        if found.len() >= wanted.limit {
            break;
        }
        if looked_at >= LOOKED_AT_MAX {
            return Ok((found, Some(here)));
        }
    }
    Ok((found, None))
}

impl Store {
    /// Has ended tasks looked for.
    ///
    /// # Errors
    ///
    /// When too much waits already, or the daemon is going.
    pub fn list(
        &self,
        wanted: Arc<Wanted>,
    ) -> Result<oneshot::Receiver<Result<Page, ApiError>>, ApiError> {
        self.ask(move |books| page(books, &wanted).map(Ok))
    }
}
