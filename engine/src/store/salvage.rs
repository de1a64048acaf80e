//! What is done about a store's file that is damaged: what can be read goes on.
//!
//! A bit flips, a file is cut off, a disk loses its power within a write. redb then refuses the file, or falls back
//! in silence to the commit before, in which the last tasks had not been accepted and the last ends had not
//! come. So every page is looked at before redb opens the file, at every start ([`super::pages`]). If one is
//! wrong, a new store is made of the records that can be read: those of the last commit, and in place of lost
//! ones those of the commit before. The damaged file stays beside it under another name, for whoever wants to look.
//!
//! Nothing is begun twice for that. A promise goes on only if the last commit has it, and if that tells that its
//! text had not begun; otherwise it is marked as begun, and ends with an error ([`super::recovery`]). What is
//! lost is told in the log, by its id where another record names it.
//!
//! A file in which no commit can be recognised may be another program's, or of a newer format. That is the
//! operator's to judge: the daemon refuses to start and says what to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::Path,
    sync::Arc,
};

use redb::{Key, ReadableTable as _, TableDefinition, TableHandle as _, Value, WriteTransaction};
use uuid::Uuid;

use super::{
    Fault,
    books::{ARTIFACT_AGES, ARTIFACTS, MODELS, QUARANTINE},
    disk, listing,
    pages::{Pages, Rows, Tables},
    session::SESSIONS,
    task::{BEGUN, OUTCOME_AGES, OUTCOMES, PROMISES},
};
use crate::logs;

/// What the damaged file is called afterwards. The next one takes its place: one is enough to look at, and
/// disks are finite.
const DAMAGED: &str = "redb.damaged";
/// What a new file is called until it is whole.
const NEW: &str = "redb.new";

/// Sees to it that there is a store that redb opens.
///
/// # Errors
///
/// When the disk fails, another program has the file open, or it is not recognised as a store.
pub fn make_sound(path: &Path) -> Result<(), Fault> {
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return replace(path, |_| Ok(())),
        Err(error) => return Err(io_fault(error)),
    };
    // As redb locks it: what somebody writes to is not damaged, but unfinished.
    file.try_lock().map_err(|error| match error {
        fs::TryLockError::WouldBlock => redb::Error::DatabaseAlreadyOpen.into(),
        fs::TryLockError::Error(error) => io_fault(error),
    })?;
    let pages = Pages::of(&file).map_err(io_fault)?;
    let Some(head) = pages.head().map_err(io_fault)? else {
        let what = "nothing in it is known to this version".to_owned();
        return Err(redb::Error::Corrupted(what).into());
    };
    if pages.are_whole(&head).map_err(io_fault)? {
        return Ok(());
    }
    let wreck = Wreck {
        newest: pages.tables(head.newest).map_err(io_fault)?,
        older: pages.tables(head.older).map_err(io_fault)?,
        pages,
    };
    let damaged = path.with_extension(DAMAGED);
    logs::store_damaged(&damaged);
    replace(path, |transaction| wreck.salvage(transaction))?;
    Ok(())
}

/// A file that is whole or not there, whenever the daemon is killed: so one that is empty or cut off is
/// known to be damaged.
fn replace(
    path: &Path,
    fill: impl FnOnce(&WriteTransaction) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let (new, damaged) = (path.with_extension(NEW), path.with_extension(DAMAGED));
    remove(&new)?;
    let database = disk::open(&new, &Arc::default())?;
    let transaction = database.begin_write()?;
    fill(&transaction)?;
    transaction.commit()?;
    drop(database);
    if path.exists() {
        remove(&damaged)?;
        fs::hard_link(path, &damaged).map_err(io_fault)?;
    }
    fs::rename(&new, path).map_err(io_fault)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(io_fault)
}

fn remove(path: &Path) -> Result<(), Fault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_fault(error)),
        _ => Ok(()),
    }
}

fn io_fault(error: io::Error) -> Fault {
    redb::Error::Io(error).into()
}

/// A damaged file.
struct Wreck<'f> {
    pages: Pages<'f>,
    newest: Tables,
    older: Tables,
}

/// What of a table has come into the new store.
#[derive(Default)]
struct Saved {
    /// Keys that the last commit has.
    newest: BTreeSet<Vec<u8>>,
    /// Keys that only the one before has, and of which the last may have had no more.
    older: BTreeSet<Vec<u8>>,
    /// Whether the last commit's rows are all known.
    is_all: bool,
}

impl Saved {
    fn has(&self, key: &[u8]) -> bool {
        self.newest.contains(key) || self.older.contains(key)
    }
}

impl Wreck<'_> {
    fn salvage(&self, into: &WriteTransaction) -> Result<(), Fault> {
        self.copy(into, MODELS)?;
        self.copy(into, QUARANTINE)?;
        self.copy(into, ARTIFACTS)?;
        self.copy(into, ARTIFACT_AGES)?;
        age_artifacts(into)?;
        let promises = self.copy(into, PROMISES)?;
        let begun = self.copy(into, BEGUN)?;
        let outcomes = self.copy(into, OUTCOMES)?;
        self.copy(into, OUTCOME_AGES)?;
        age_outcomes(into)?;
        listing::rebuild(into)?;
        self.copy(into, SESSIONS)?;
        doubt(into, &promises, &begun, &outcomes)?;
        self.tell_unknown(into)
    }

    /// A table that this version does not know is not copied, for nobody can say what its rows mean; but it is told.
    fn tell_unknown(&self, into: &WriteTransaction) -> Result<(), Fault> {
        let known: BTreeSet<_> = into
            .list_tables()?
            .map(|table| table.name().to_owned())
            .collect();
        for (name, table) in &self.newest.found {
            if !known.contains(name) {
                logs::table_damaged(name, table.root.map(|root| root.rows), 0, 0);
            }
        }
        Ok(())
    }

    /// Copies a table as it was in the last commit, and what of that is lost as it was in the one before.
    fn copy<K: Key + 'static, V: Value + 'static>(
        &self,
        into: &WriteTransaction,
        table: TableDefinition<'static, K, V>,
    ) -> Result<Saved, Fault> {
        let name = table.name();
        let mut target = into.open_table(table)?;
        let newest = self.rows(&self.newest, name)?;
        let mut older = BTreeMap::new();
        if !newest.are_all {
            older = self.rows(&self.older, name)?.found;
            older.retain(|key, _| !newest.found.contains_key(key));
        }
        for (key, value) in newest.found.iter().chain(&older) {
            target.insert(K::from_bytes(key), V::from_bytes(value))?;
        }
        if !newest.are_all {
            let root = self.newest.found.get(name).and_then(|table| table.root);
            let had = root.map(|root| root.rows);
            logs::table_damaged(name, had, newest.found.len(), older.len());
        }
        Ok(Saved {
            is_all: newest.are_all,
            newest: newest.found.into_keys().collect(),
            older: older.into_keys().collect(),
        })
    }

    /// A table that is not there has never been made, if all tables are known.
    fn rows(&self, tables: &Tables, name: &str) -> Result<Rows, Fault> {
        let Some(table) = tables.found.get(name) else {
            return Ok(Rows {
                found: BTreeMap::new(),
                are_all: tables.are_all,
            });
        };
        self.pages.rows(table).map_err(io_fault)
    }
}

/// Ends tasks of which nobody knows whether they have begun, and forgets promises that have been kept.
fn doubt(
    into: &WriteTransaction,
    promises: &Saved,
    begun: &Saved,
    outcomes: &Saved,
) -> Result<(), Fault> {
    let (mut kept, mut marks) = (into.open_table(PROMISES)?, into.open_table(BEGUN)?);
    let mut doubt = |key: &[u8]| {
        let id = u128::from_bytes(key);
        logs::task_doubted(Uuid::from_u128(id));
        marks.insert(id, ()).map(drop)
    };
    for key in &promises.older {
        match outcomes.has(key) {
            true => drop(kept.remove(u128::from_bytes(key))?),
            // It may have begun since, or ended.
            false => doubt(key)?,
        }
    }
    if !begun.is_all {
        let unmarked = promises.newest.iter().filter(|key| !begun.has(key));
        unmarked.map(Vec::as_slice).try_for_each(doubt)?;
    }
    Ok(())
}

/// Outcomes and their ages belong together: an age alone names one that is lost, and one without an age gets one.
fn age_outcomes(into: &WriteTransaction) -> Result<(), Fault> {
    let (outcomes, mut ages) = (into.open_table(OUTCOMES)?, into.open_table(OUTCOME_AGES)?);
    let mut young: BTreeSet<u128> = BTreeSet::new();
    for row in outcomes.iter()? {
        young.insert(row?.0.value());
    }
    let mut lost = Vec::new();
    for row in ages.iter()? {
        let (number, id) = row?;
        if !young.remove(&id.value()) {
            lost.push((number.value(), id.value()));
        }
    }
    for (number, id) in lost {
        logs::record_lost(OUTCOMES.name(), &Uuid::from_u128(id).to_string());
        ages.remove(number)?;
    }
    let newest = ages.last()?.map_or(0, |(number, _)| number.value() + 1);
    for (number, id) in (newest..).zip(young) {
        ages.insert(number, id)?;
    }
    Ok(())
}

/// The same of artifacts.
fn age_artifacts(into: &WriteTransaction) -> Result<(), Fault> {
    let (artifacts, mut ages) = (into.open_table(ARTIFACTS)?, into.open_table(ARTIFACT_AGES)?);
    let mut young: BTreeMap<(String, String), u64> = BTreeMap::new();
    for row in artifacts.iter()? {
        let (key, bytes) = row?;
        let (id, owner) = key.value();
        let key = (id.to_owned(), owner.to_owned());
        young.insert(key, bytes.value().len() as u64);
    }
    let mut lost = Vec::new();
    let mut newest_ms = 0;
    for row in ages.iter()? {
        let (number, age) = row?;
        let (created_ms, id, owner, _) = age.value();
        newest_ms = created_ms;
        if young.remove(&(id.to_owned(), owner.to_owned())).is_none() {
            lost.push((number.value(), id.to_owned()));
        }
    }
    for (number, id) in lost {
        logs::record_lost(ARTIFACTS.name(), &id);
        ages.remove(number)?;
    }
    let newest = ages.last()?.map_or(0, |(number, _)| number.value() + 1);
    for (number, ((id, owner), bytes)) in (newest..).zip(young) {
        ages.insert(number, (newest_ms, id.as_str(), owner.as_str(), bytes))?;
    }
    Ok(())
}
