//! What stands in the store: the tables on the disk, and what of them is kept in memory.

use std::{cell::Cell, sync::Arc};

use redb::{
    Database, Key, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition, Value,
    WriteTransaction,
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{Fault, settings::StoreSettings};
use crate::{
    clock, logs,
    shared::catalog::{Catalog, Model},
};

/// Models by their ids, as JSON.
pub const MODELS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("models");
/// Artifacts by their ids and owners, as JSON.
pub const ARTIFACTS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("artifacts");
/// When each artifact was stored, its id, its owner and its bytes, in the order of storing.
pub const ARTIFACT_AGES: TableDefinition<'_, u64, (u64, &str, &str, u64)> =
    TableDefinition::new("artifact_ages");
/// Records that could not be read, by table and key, as they were found.
pub const QUARANTINE: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("quarantine");

/// How many artifacts there are, and how large they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Artifacts.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What of the store is kept in memory. Cheap to copy: each batch works on a copy, which takes the
/// place of the original when the batch is on the disk.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// All models.
    pub catalog: Arc<Catalog>,
    /// All artifacts.
    pub artifacts: Totals,
    /// Ended tasks whose outcome is kept.
    pub outcomes: u64,
    /// The number of the next promise.
    pub next_promise: u64,
    /// Tasks whose outcome was dropped in this batch.
    pub forgotten: Vec<Uuid>,
}

impl Ledger {
    /// Reads the store, and puts aside what can't be read.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn load(database: &Database, settings: &StoreSettings) -> Result<Self, Fault> {
        let transaction = database.begin_write()?;
        for (id, bytes) in prepare(&transaction)? {
            quarantine(&transaction, "models", &id, &bytes)?;
        }
        transaction.commit()?;
        let reading = database.begin_read()?;
        let mut catalog = Catalog::default();
        for entry in reading.open_table(MODELS)?.iter()? {
            let (_, bytes) = entry?;
            if let Ok(mut model) = serde_json::from_slice::<Model>(bytes.value()) {
                model.signed = super::catalog::is_signed(&model.spec, settings);
                catalog.put(Arc::new(model));
            }
        }
        let mut artifacts = Totals::default();
        for entry in reading.open_table(ARTIFACT_AGES)?.iter()? {
            let (_, age) = entry?;
            let (_, _, _, bytes) = age.value();
            artifacts.count += 1;
            artifacts.bytes += bytes;
        }
        Ok(Self {
            catalog: Arc::new(catalog),
            artifacts,
            outcomes: 0,
            next_promise: 0,
            forgotten: Vec::new(),
        })
    }
}

/// Makes the tables that are not there yet, and takes out the models that can't be read.
fn prepare(transaction: &WriteTransaction) -> Result<Vec<(String, Vec<u8>)>, Fault> {
    transaction.open_table(ARTIFACTS)?;
    transaction.open_table(ARTIFACT_AGES)?;
    let mut models = transaction.open_table(MODELS)?;
    let mut broken = Vec::new();
    for entry in models.iter()? {
        let (id, bytes) = entry?;
        if serde_json::from_slice::<Model>(bytes.value()).is_err() {
            broken.push((id.value().to_owned(), bytes.value().to_vec()));
        }
    }
    for (id, _) in &broken {
        models.remove(id.as_str())?;
    }
    Ok(broken)
}

fn quarantine(
    transaction: &WriteTransaction,
    table: &str,
    key: &str,
    bytes: &[u8],
) -> Result<(), Fault> {
    logs::record_quarantined(table, key);
    transaction
        .open_table(QUARANTINE)?
        .insert((table, key), bytes)?;
    Ok(())
}

/// The store within one transaction.
pub struct Books<'b> {
    transaction: &'b WriteTransaction,
    /// What of it is kept in memory.
    pub ledger: &'b mut Ledger,
    /// What it was told.
    pub settings: &'b StoreSettings,
    /// The calendar, in milliseconds since 1970.
    pub now_ms: u64,
    changed: Cell<bool>,
}

impl<'b> Books<'b> {
    /// What `transaction` sees.
    pub fn new(
        transaction: &'b WriteTransaction,
        ledger: &'b mut Ledger,
        settings: &'b StoreSettings,
    ) -> Self {
        Self {
            transaction,
            ledger,
            settings,
            now_ms: clock::unix_ms(),
            changed: Cell::new(false),
        }
    }

    /// A table to read.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn read<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<Table<'b, K, V>, Fault> {
        Ok(self.transaction.open_table(table)?)
    }

    /// A table to write.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn write<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<Table<'b, K, V>, Fault> {
        self.changed.set(true);
        self.read(table)
    }

    /// Whether anything was written.
    pub fn is_changed(&self) -> bool {
        self.changed.get()
    }

    /// A record, or nothing if it can't be read: then it is put aside, and the log says so.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn decode<T: DeserializeOwned>(
        &self,
        table: &str,
        key: &str,
        bytes: &[u8],
    ) -> Result<Option<T>, Fault> {
        if let Ok(record) = serde_json::from_slice(bytes) {
            return Ok(Some(record));
        }
        self.changed.set(true);
        quarantine(self.transaction, table, key, bytes)?;
        Ok(None)
    }
}
