//! The handoff folder: what supervisors have started is bound, what they have stopped is let go.
//!
//! The folder is read again and again: as soon as something changes in it, where the kernel tells
//! ([`super::folder`]), and at an interval, for where it does not. Its files are small and few, so each is
//! read whole and compared with what was there before: times of change lie on some file systems, contents
//! don't. A file that can't be used is told once and passed over until it changes.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use orchestratord_gpu::handoff::{self, Handoff};
use orchestratord_sched::BadDeviceMask;

use super::bind::{Bindings, Candidate, Origin};
use crate::{logs, shared::Shared};

/// Files that are looked at; more is a mistaken folder.
const FILES_MAX: usize = 1024;

/// What was found in the folder.
#[derive(Default)]
pub struct Handoffs {
    files: HashMap<PathBuf, Found>,
    looked: Option<Duration>,
}

/// One file as it was seen last.
struct Found {
    content: Vec<u8>,
    /// The pool and the replica that it bound.
    bound: Option<(String, String)>,
}

impl Handoffs {
    /// How long until the folder is to be looked at again.
    pub fn next(&self, shared: &Shared) -> Duration {
        let interval = shared.limits().binding.handoff_interval;
        let since = |looked| shared.clock.elapsed().saturating_sub(looked);
        self.looked.map_or(Duration::ZERO, |looked| {
            interval.saturating_sub(since(looked))
        })
    }

    /// Something may have changed: the next look is due.
    pub fn look_now(&mut self) {
        self.looked = None;
    }

    /// What was bound to this pool is bound anew.
    pub fn forget(&mut self, pool_id: &str) {
        for found in self.files.values_mut() {
            found.bound.take_if(|(bound, _)| bound == pool_id);
        }
    }

    /// Looks at the folder if it is time.
    pub fn follow(&mut self, shared: &Arc<Shared>, bindings: &mut Bindings) {
        if !self.next(shared).is_zero() {
            return;
        }
        self.looked = Some(shared.clock.elapsed());
        let paths = files(&shared.settings.runtime_dir);
        self.files.retain(|path, found| {
            let stays = paths.contains(path);
            if !stays && let Some((pool_id, replica_id)) = found.bound.take() {
                bindings.unbind(shared, &pool_id, &replica_id);
            }
            stays
        });
        for path in paths {
            self.look_at(shared, bindings, path);
        }
    }

    fn look_at(&mut self, shared: &Arc<Shared>, bindings: &mut Bindings, path: PathBuf) {
        let content = match read(&path) {
            Ok(content) => content,
            // It has gone since the folder was read; the next look will miss it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => format!("unreadable: {error}").into_bytes(),
        };
        let before = self.files.get(&path);
        let is_known = before.is_some_and(|found| found.content == content);
        let before = before.and_then(|found| found.bound.clone());
        if is_known && before.is_some() {
            return;
        }
        // What could not be bound is tried again: there may be a place now.
        let bound = bind(shared, bindings, &content)
            .inspect_err(|reason| {
                if !is_known {
                    logs::handoff_skipped(&path, reason);
                }
            })
            .ok();
        if let Some((pool_id, replica_id)) = &before
            && before != bound
        {
            bindings.unbind(shared, pool_id, replica_id);
        }
        self.files.insert(path, Found { content, bound });
    }
}

/// The files of the folder that may be handoffs. A folder that does not exist has none.
fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .take(FILES_MAX)
        .collect()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?
        .take(handoff::BYTES_MAX + 1)
        .read_to_end(&mut content)?;
    Ok(content)
}

/// Binds what the file says; the pool and the replica.
fn bind(
    shared: &Arc<Shared>,
    bindings: &mut Bindings,
    content: &[u8],
) -> Result<(String, String), String> {
    let (kind, handoff) = Handoff::parse(content).map_err(|error| error.to_string())?;
    let id = (handoff.pool_id.clone(), handoff.replica_id.clone());
    let device_mask = handoff.device_mask.as_deref().map(str::parse).transpose();
    let candidate = Candidate {
        pool_id: handoff.pool_id,
        replica_id: handoff.replica_id,
        kind,
        url: handoff.url,
        slots: handoff.slots,
        engine_version: handoff.engine_version,
        device_mask: device_mask
            .map_err(|bad: BadDeviceMask| format!("its `device_mask`: {bad}"))?,
        model: handoff.model.id,
    };
    candidate
        .check()
        .and_then(|candidate| bindings.bind(shared, candidate, Origin::Handoff))
        .map_err(|error| error.message)?;
    Ok(id)
}
