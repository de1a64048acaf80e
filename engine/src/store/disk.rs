//! The store's file as redb writes it, and how a commit that has failed is taken back.
//!
//! When fsync fails nobody knows what is on the disk, and the next one may well succeed though the pages
//! never got there: the kernel has marked them clean (Rebello et al., "Can Applications Recover from
//! fsync Failures?", USENIX ATC 2020). So nothing that was written since the last fsync that succeeded is
//! built upon. What redb writes is found from the head of the file, and nothing that a head leads to is
//! overwritten before the next is on the disk. So the head of the last good fsync is kept in memory, and
//! written back when one has failed: the commit never was, as its callers are told.
//!
//! Within a commit the head is written last. A daemon that is killed then leaves a head that leads to pages
//! which are there, and one that doesn't tells of damage ([`super::salvage`]). Only where the machine
//! loses its power may the disk have had the head first.

use std::{
    fs::OpenOptions,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::{Builder, Database, DatabaseError, StorageBackend, backends::FileBackend};

/// Pages kept in memory; the catalog is in memory anyway, and artifacts are read rarely.
const CACHE_BYTES: usize = 16 << 20;

/// The head of the file, over all the times that it is opened.
#[derive(Debug, Default)]
pub struct Head(Mutex<Heads>);

#[derive(Debug, Default)]
struct Heads {
    /// To be written when all that it leads to is.
    next: Option<Vec<u8>>,
    /// As it was at the last fsync that succeeded.
    synced: Option<Vec<u8>>,
}

impl Head {
    fn lock(&self) -> MutexGuard<'_, Heads> {
        // A panic between two assignments is none of ours.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the store's file, and makes it if it is not there. What was written to it since the last fsync that succeeded
/// is taken back first.
///
/// # Errors
///
/// When the disk fails, or the file is none of redb's.
pub fn open(path: &Path, head: &Arc<Head>) -> Result<Database, DatabaseError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = FileBackend::new(options.open(path)?)?;
    open_in(file, head)
}

pub(super) fn open_in(
    file: impl StorageBackend,
    head: &Arc<Head>,
) -> Result<Database, DatabaseError> {
    let disk = Disk {
        file,
        head: Arc::clone(head),
    };
    disk.take_back()?;
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(disk)
}

#[derive(Debug)]
struct Disk<F> {
    file: F,
    head: Arc<Head>,
}

impl<F: StorageBackend> Disk<F> {
    /// Makes the commit undone that may or may not be on the disk.
    fn take_back(&self) -> io::Result<()> {
        let mut heads = self.head.lock();
        heads.next = None;
        let Some(synced) = &heads.synced else {
            return Ok(());
        };
        self.file.write(0, synced)?;
        self.file.sync_data()
    }

    /// Writes the head that was held back.
    fn lead(&self, heads: &Heads) -> io::Result<()> {
        heads
            .next
            .as_ref()
            .map_or(Ok(()), |next| self.file.write(0, next))
    }
}

impl<F: StorageBackend> StorageBackend for Disk<F> {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        // Asked for when the file is opened, and not within a commit.
        if offset == 0 {
            self.lead(&self.head.lock())?;
        }
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut heads = self.head.lock();
        let synced = self.lead(&heads).and_then(|()| self.file.sync_data());
        match (&synced, heads.next.take()) {
            (Ok(()), Some(next)) => heads.synced = Some(next),
            (Ok(()), None) => {}
            // At once, for a daemon that is killed now; if it fails, it is tried again.
            (Err(_), _) => drop(heads.synced.as_ref().map(|head| self.file.write(0, head))),
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset == 0 {
            self.head.lock().next = Some(data.to_vec());
            return Ok(());
        }
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[cfg(test)]
mod tests {
    use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("tales");

    /// A file with a page cache: a failed fsync leaves the cache as it is, and nothing on the disk.
    #[derive(Clone, Debug, Default)]
    struct Machine(Arc<Mutex<State>>);

    #[derive(Debug, Default)]
    struct State {
        cache: Vec<u8>,
        disk: Vec<u8>,
        dirty: Vec<(usize, usize)>,
        syncs_to_fail: u32,
    }

    impl Machine {
        fn state(&self) -> MutexGuard<'_, State> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn lose_power(&self) {
            let mut state = self.state();
            state.cache = state.disk.clone();
            state.dirty.clear();
        }
    }

    impl StorageBackend for Machine {
        fn len(&self) -> io::Result<u64> {
            Ok(self.state().cache.len() as u64)
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let offset = usize::try_from(offset).map_err(io::Error::other)?;
            out.copy_from_slice(&self.state().cache[offset..][..out.len()]);
            Ok(())
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            let len = usize::try_from(len).map_err(io::Error::other)?;
            let mut state = self.state();
            state.cache.resize(len, 0);
            state.disk.resize(len, 0);
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            let mut state = self.state();
            let dirty = std::mem::take(&mut state.dirty);
            if state.syncs_to_fail > 0 {
                state.syncs_to_fail -= 1;
                return Err(io::Error::other("EIO"));
            }
            let State { cache, disk, .. } = &mut *state;
            for (start, end) in dirty {
                disk[start..end].copy_from_slice(&cache[start..end]);
            }
            Ok(())
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let mut state = self.state();
            let end = start + data.len();
            state.cache[start..end].copy_from_slice(data);
            state.dirty.push((start, end));
            Ok(())
        }
    }

    fn put(database: &Database, number: u64) -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        let mut table = transaction.open_table(TABLE)?;
        table.insert(number, [7; 3000].as_slice())?;
        drop(table);
        Ok(transaction.commit()?)
    }

    fn numbers(database: &Database) -> Vec<u64> {
        let reading = database.begin_read().unwrap();
        let table = reading.open_table(TABLE).unwrap();
        let rows = table.iter().unwrap();
        rows.map(|row| row.unwrap().0.value()).collect()
    }

    #[test]
    fn nothing_is_built_upon_what_a_failed_fsync_has_left() {
        for failing in 1..=3 {
            let (machine, head) = (Machine::default(), Arc::default());
            let database = open_in(machine.clone(), &head).unwrap();
            put(&database, 1).unwrap();
            machine.state().syncs_to_fail = failing;
            put(&database, 2).unwrap_err();
            drop(database);
            let database = loop {
                if let Ok(database) = open_in(machine.clone(), &head) {
                    break database;
                }
            };
            assert_eq!(
                numbers(&database),
                [1],
                "its callers were told that 2 is not"
            );
            put(&database, 3).unwrap();
            machine.lose_power();
            std::mem::forget(database);
            let database = open_in(machine, &Arc::default()).unwrap();
            assert_eq!(numbers(&database), [1, 3]);
        }
    }

    #[test]
    fn a_head_leads_to_what_was_written_before_it() {
        let (machine, head) = (Machine::default(), Arc::default());
        let database = open_in(machine.clone(), &head).unwrap();
        put(&database, 1).unwrap();
        let written = machine.state().dirty.len();
        let disk = Disk {
            file: machine.clone(),
            head,
        };
        disk.write(0, b"head").unwrap();
        assert_eq!(machine.state().dirty.len(), written);
        disk.write(4096, b"page").unwrap();
        disk.sync_data().unwrap();
        assert_eq!(&machine.state().disk[..4], b"head");
        std::mem::forget(database);
    }
}
