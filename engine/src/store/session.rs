//! Sessions on the disk: what their turns have come to, so that they go on after a restart.
//!
//! A session is written in transactions that there are anyway: a turn counts in the one that holds its
//! task's promise, and is paid for in the one that holds what became of it. So wherever a crash comes
//! between, no turn that was promised is lost, and none counts or is paid for twice. What is set aside for
//! turns that have not ended is not written: their promises say it.
//!
//! Shards hand in what changes, not how things stand: two turns of a session may come in any order.

use std::time::Duration;

use futures_channel::oneshot;
use orchestratord_gpu::SessionKey;
use orchestratord_sched::budget::{Allowance, Spending};
use redb::{ReadableTable as _, TableDefinition, TableHandle as _};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Fault, Store, Work,
    books::Books,
    settings::{Durability, StoreSettings},
};
use crate::{
    api::{self, error::ApiError},
    shared::sessions::{Over, Turn},
};

/// Sessions by their owners and ids, as JSON.
pub const SESSIONS: TableDefinition<'_, (&str, u128), &[u8]> = TableDefinition::new("sessions");

/// Which session a promised task is a turn of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnOf {
    /// Its id.
    pub session_id: Uuid,
    /// What tells it from others that had the id before or have it later.
    pub key: u64,
}

impl From<&Turn> for TurnOf {
    fn from(turn: &Turn) -> Self {
        Self {
            session_id: turn.session_id,
            key: turn.life.key.0,
        }
    }
}

/// A session as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SessionRow {
    /// See [`TurnOf::key`].
    pub key: u64,
    /// Turns that have begun.
    pub turns: u32,
    /// When the last of them began or ended, in milliseconds since 1970.
    pub touched_unix_ms: u64,
    /// What it might spend when it began.
    #[serde(with = "AllowanceRow")]
    pub allowance: Allowance,
    /// What its turns that have ended have spent.
    #[serde(with = "SpendingRow")]
    pub spent: Spending,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Allowance")]
struct AllowanceRow {
    tokens: Option<u64>,
    time: Option<Duration>,
    cost_micros: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Spending")]
struct SpendingRow {
    tokens: u64,
    time: Duration,
    cost_micros: u64,
}

impl SessionRow {
    /// The session of a turn, before its first one counts.
    fn before(turn: &Turn) -> Self {
        Self {
            key: turn.life.key.0,
            turns: 0,
            touched_unix_ms: 0,
            allowance: turn.life.allowance,
            spent: Spending::default(),
        }
    }
}

/// What of a turn is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// Turns that have begun.
    pub turns: u32,
    /// What was spent.
    pub spent: Spending,
}

/// Writes down what a turn has changed about its session. Of one that is over only as long as it stands here: it is
/// paid for until it is forgotten, for a crash may come before that, and nothing brings it back afterwards.
///
/// # Errors
///
/// When the disk fails.
pub fn change(
    books: &mut Books<'_>,
    owner: &str,
    turn: &Turn,
    change: Change,
) -> Result<(), Fault> {
    let known = read(books, owner, turn.session_id)?;
    let same = known.filter(|row| row.key == turn.life.key.0);
    if same.is_none() && turn.life.is_over() {
        return Ok(());
    }
    let mut row = same.unwrap_or_else(|| SessionRow::before(turn));
    row.turns = row.turns.saturating_add(change.turns);
    row.spent = row.spent.plus(change.spent);
    write(books, owner, turn.session_id, row)
}

/// Writes down that a turn of an earlier life of the daemon has ended. Nobody knows what it has spent.
///
/// # Errors
///
/// When the disk fails.
pub fn end_lost(books: &mut Books<'_>, owner: &str, turn: TurnOf) -> Result<(), Fault> {
    let known = read(books, owner, turn.session_id)?;
    match known.filter(|row| row.key == turn.key) {
        Some(row) => write(books, owner, turn.session_id, row),
        None => Ok(()),
    }
}

/// Forgets a session, if its key is smaller than that.
///
/// # Errors
///
/// When the disk fails.
pub fn forget(
    books: &mut Books<'_>,
    owner: &str,
    session_id: Uuid,
    before: SessionKey,
) -> Result<(), Fault> {
    let known = read(books, owner, session_id)?;
    if known.is_some_and(|row| row.key < before.0) {
        let key = (owner, session_id.as_u128());
        books.write(SESSIONS)?.remove(key)?;
    }
    Ok(())
}

/// A session that an earlier life of the daemon has left.
#[derive(Clone, Debug)]
pub struct Left {
    /// Whose it is, as [`crate::identity::Identity`] is written.
    pub owner: String,
    /// Its id.
    pub session_id: Uuid,
    /// How it stands.
    pub row: SessionRow,
}

/// All sessions. Where tasks live in memory, sessions do too, and what is left of any is dropped.
///
/// # Errors
///
/// When the disk fails.
pub fn left(books: &mut Books<'_>, settings: &StoreSettings) -> Result<Vec<Left>, Fault> {
    if settings.durability == Durability::Off {
        books.write(SESSIONS)?.retain(|_, _| false)?;
    }
    let mut names = Vec::new();
    for entry in books.read(SESSIONS)?.iter()? {
        let (name, _) = entry?;
        let (owner, id) = name.value();
        names.push((owner.to_owned(), Uuid::from_u128(id)));
    }
    let mut all = Vec::new();
    for (owner, session_id) in names {
        if let Some(row) = read(books, &owner, session_id)? {
            all.push(Left {
                owner,
                session_id,
                row,
            });
        }
    }
    Ok(all)
}

/// Nothing, too, for a record that can't be read: it is put aside.
fn read(books: &Books<'_>, owner: &str, session_id: Uuid) -> Result<Option<SessionRow>, Fault> {
    let key = (owner, session_id.as_u128());
    let bytes = {
        let table = books.read(SESSIONS)?;
        let bytes = table.get(key)?;
        bytes.map(|bytes| bytes.value().to_vec())
    };
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    let row = books.decode(SESSIONS.name(), &format!("{owner} {session_id}"), &bytes)?;
    if row.is_none() {
        books.write(SESSIONS)?.remove(key)?;
    }
    Ok(row)
}

/// Somebody has spoken.
fn write(books: &Books<'_>, owner: &str, session_id: Uuid, row: SessionRow) -> Result<(), Fault> {
    let row = SessionRow {
        touched_unix_ms: books.now_ms,
        ..row
    };
    let bytes = api::json(&row);
    let key = (owner, session_id.as_u128());
    books.write(SESSIONS)?.insert(key, bytes.as_slice())?;
    Ok(())
}

/// Sessions in which nobody has spoken for too long, on their way off the disk.
struct Expired(Vec<Over>);

impl Work for Expired {
    fn carry_out(&mut self, books: &mut Books<'_>) -> Result<(), Fault> {
        self.0.iter().try_for_each(|over| {
            forget(
                books,
                &over.owner.to_string(),
                over.session_id,
                over.before(),
            )
        })
    }

    // What could not be forgotten is found at the next start, and has expired then, too.
    fn settle(self: Box<Self>, _store: &Store, _committed: bool) -> Option<Box<dyn Work>> {
        None
    }
}

impl Store {
    /// Has sessions forgotten, in its time, in which nobody has spoken for too long.
    pub fn expired(&self, over: Vec<Over>) {
        if !over.is_empty() && self.durability() != Durability::Off {
            self.gather(Box::new(Expired(over)));
        }
    }

    /// Has a caller's session forgotten, and told when it is off the disk.
    ///
    /// # Errors
    ///
    /// When too much waits already, or the daemon is going.
    pub fn delete_session(
        &self,
        owner: String,
        session_id: Uuid,
        before: SessionKey,
    ) -> Result<oneshot::Receiver<Result<(), ApiError>>, ApiError> {
        self.ask(move |books| forget(books, &owner, session_id, before).map(Ok))
    }
}
