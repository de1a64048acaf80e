//! What an earlier life of the daemon has left in the journal.
//!
//! Tasks that were promised and have not ended are admitted again, unless their text had begun: somebody
//! may have read of it, and nobody knows how far. Those end here, with an error. A record that can't be
//! read is put aside, told in the log, and harms no other.

use std::collections::HashSet;

use dashmap::DashSet;
use redb::{Database, ReadableTable as _, TableHandle as _};
use uuid::Uuid;

use super::{
    Fault,
    books::{Books, Ledger},
    session,
    settings::StoreSettings,
    task::{self, BEGUN, OUTCOME_AGES, OUTCOMES, PROMISES, Promise},
};
use crate::{
    api::error::{ApiError, Code},
    logs,
};

/// What was found.
pub struct Found {
    /// Tasks to be admitted again, in the order in which they were promised.
    pub promises: Vec<Promise>,
    /// Tasks that have ended.
    pub outcomes: DashSet<Uuid>,
    /// Sessions that go on.
    pub sessions: Vec<session::Left>,
}

/// Looks through the journal, and ends the tasks that can't go on.
///
/// # Errors
///
/// When the disk fails.
pub fn look(
    database: &Database,
    ledger: &mut Ledger,
    settings: &StoreSettings,
) -> Result<Found, Fault> {
    let transaction = database.begin_write()?;
    let mut books = Books::new(&transaction, ledger, settings);
    books.ledger.outcomes = redb::ReadableTableMetadata::len(&books.read(OUTCOME_AGES)?)?;
    let mut promises = promises(&mut books)?;
    books.ledger.next_promise = promises.last().map_or(0, |newest| newest.number + 1);
    let begun = begun(&mut books)?;
    let (broken, whole): (Vec<_>, Vec<_>) = promises
        .drain(..)
        .partition(|promise| begun.contains(&promise.id.as_u128()));
    let message = "the daemon ended while the task ran; send it again";
    let cut_off = ApiError::new(Code::WorkerReset, message);
    for promise in &broken {
        task::give_up(&mut books, promise, &cut_off)?;
    }
    let outcomes = DashSet::new();
    for entry in books.read(OUTCOMES)?.iter()? {
        outcomes.insert(Uuid::from_u128(entry?.0.value()));
    }
    let sessions = session::left(&mut books, settings)?;
    transaction.commit()?;
    ledger.forgotten.clear();
    if !(broken.is_empty() && whole.is_empty()) {
        logs::recovered(whole.len(), broken.len());
    }
    Ok(Found {
        promises: whole,
        outcomes,
        sessions,
    })
}

/// All promises, the oldest first.
fn promises(books: &mut Books<'_>) -> Result<Vec<Promise>, Fault> {
    let mut rows = Vec::new();
    for entry in books.read(PROMISES)?.iter()? {
        let (id, bytes) = entry?;
        rows.push((id.value(), bytes.value().to_vec()));
    }
    let mut promises = Vec::new();
    for (id, bytes) in rows {
        let name = Uuid::from_u128(id).to_string();
        match books.decode(PROMISES.name(), &name, &bytes)? {
            Some(promise) => promises.push(promise),
            None => drop(books.write(PROMISES)?.remove(id)?),
        }
    }
    promises.sort_by_key(|promise: &Promise| promise.number);
    Ok(promises)
}

/// The tasks whose text has begun. Nothing of them is left here afterwards.
fn begun(books: &mut Books<'_>) -> Result<HashSet<u128>, Fault> {
    let mut table = books.write(BEGUN)?;
    let mut begun = HashSet::new();
    while let Some((id, ())) = table
        .pop_first()?
        .map(|(id, mark)| (id.value(), mark.value()))
    {
        begun.insert(id);
    }
    Ok(begun)
}
