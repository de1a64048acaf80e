//! A disk that keeps what was synced, and of the rest what it likes.
//!
//! Whoever writes sees what was written at once, as over a page cache. At a crash each write since the last sync
//! has reached the disk, or half of it has, or none: the seed decides, write by write.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orchestratord_sched::prng::Prng;
use redb::StorageBackend;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// The disk; it outlives the daemons that use it.
#[derive(Clone, Debug)]
pub(super) struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug)]
struct Platter {
    /// As whoever reads sees it.
    bytes: Vec<u8>,
    /// What was there before each write since the last sync, the oldest first.
    unsynced: Vec<Write>,
    /// Daemons that have used it: what one that is gone still wants is not done.
    life: u64,
    is_failing: bool,
    syncs: u64,
    prng: Prng,
}

#[derive(Debug)]
struct Write {
    offset: usize,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            bytes: Vec::new(),
            unsynced: Vec::new(),
            life: 0,
            is_failing: false,
            syncs: 0,
            prng: Prng::new(seed, "disk"),
        })))
    }

    /// The disk as the present daemon has it open.
    pub(super) fn open(&self) -> OpenDisk {
        OpenDisk {
            life: self.lock().life,
            disk: self.clone(),
        }
    }

    /// Nothing can be written from now on, or can again.
    pub(super) fn fail(&self, is_failing: bool) {
        self.lock().is_failing = is_failing;
    }

    pub(super) fn is_failing(&self) -> bool {
        self.lock().is_failing
    }

    /// The daemon is gone, and with it what the disk had not yet kept.
    pub(super) fn crash(&self) {
        let mut platter = self.lock();
        platter.life += 1;
        let unsynced = std::mem::take(&mut platter.unsynced);
        for write in unsynced.iter().rev() {
            platter.put(write.offset, &write.before);
        }
        for write in &unsynced {
            let sectors = write.after.len().div_ceil(SECTOR_BYTES) as u64;
            let kept = match platter.prng.within(0..=2) {
                0 => 0,
                1 => platter.prng.within(0..=sectors),
                _ => sectors,
            };
            let kept = usize::try_from(kept).unwrap_or(0) * SECTOR_BYTES;
            platter.put(write.offset, &write.after[..kept.min(write.after.len())]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Platter {
    fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
}

/// The disk in the hands of one daemon.
#[derive(Debug)]
pub(super) struct OpenDisk {
    life: u64,
    disk: Disk,
}

impl OpenDisk {
    fn use_it<T>(&self, use_it: impl FnOnce(&mut Platter) -> T) -> io::Result<T> {
        let mut platter = self.disk.lock();
        match platter.life == self.life {
            true => Ok(use_it(&mut platter)),
            false => Err(io::Error::other("this daemon is gone")),
        }
    }

    fn change_it<T>(&self, change_it: impl FnOnce(&mut Platter) -> T) -> io::Result<T> {
        match self.disk.is_failing() {
            true => Err(io::Error::other("the disk is broken")),
            false => self.use_it(change_it),
        }
    }
}

/// Where a platter of these many bytes has this offset.
fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated disks are small")
}

impl StorageBackend for OpenDisk {
    fn len(&self) -> io::Result<u64> {
        self.use_it(|platter| platter.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = place(offset);
        self.use_it(|platter| out.copy_from_slice(&platter.bytes[start..start + out.len()]))
    }

    /// The length is kept at once: file systems journal it.
    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = place(len);
        self.change_it(|platter| {
            // What is cut off can't be undone; what stands there is nobody's.
            platter
                .unsynced
                .retain(|write| write.offset + write.after.len() <= len);
            platter.bytes.resize(len, 0);
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change_it(|platter| {
            platter.unsynced.clear();
            platter.syncs += 1;
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = place(offset);
        self.change_it(|platter| {
            let before = platter.bytes[offset..offset + data.len()].to_vec();
            platter.unsynced.push(Write {
                offset,
                before,
                after: data.to_vec(),
            });
            platter.put(offset, data);
        })
    }
}
