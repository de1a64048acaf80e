//! Which shard is home to which task.
//!
//! One concurrent map, touched when a task is created, attached to, stolen and forgotten; never
//! per token. A home may change between two looks (a steal), so an answer is a hint where to ask:
//! whoever is asked and does not have the task looks here again.

use dashmap::{DashMap, mapref::entry::Entry};
use orchestratord_sched::ShardId;
use uuid::Uuid;

/// Task ids to shards.
#[derive(Debug, Default)]
pub struct Directory(DashMap<Uuid, ShardId>);

impl Directory {
    /// Claims an unused id for `home`.
    ///
    /// # Errors
    ///
    /// The shard that has it already.
    pub fn claim(&self, task: Uuid, home: ShardId) -> Result<(), ShardId> {
        match self.0.entry(task) {
            Entry::Occupied(taken) => Err(*taken.get()),
            Entry::Vacant(free) => {
                free.insert(home);
                Ok(())
            }
        }
    }

    /// The task's home, if there is such a task.
    pub fn home(&self, task: Uuid) -> Option<ShardId> {
        self.0.get(&task).map(|home| *home)
    }

    /// A thief took the task home.
    pub fn moved(&self, task: Uuid, home: ShardId) {
        self.0.insert(task, home);
    }

    /// The task is forgotten; its id is free again.
    pub fn forget(&self, task: Uuid) {
        self.0.remove(&task);
    }
}
