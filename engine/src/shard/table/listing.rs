//! Listing the tasks that live here.

use uuid::Uuid;

use super::Table;
use crate::{
    api::task::{Position, TaskView},
    identity::Caller,
};

/// Which tasks are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Only those that this caller may see.
    pub caller: Caller,
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those of this pool.
    pub pool: Option<String>,
    /// Only those after this place, the newest being first.
    pub after: Option<Position>,
    /// At most so many.
    pub limit: usize,
}

impl Table {
    /// The wanted tasks of this shard, newest first.
    pub fn list(&self, wanted: &Wanted) -> Vec<(Position, TaskView)> {
        let mut found: Vec<(Position, Uuid)> = self
            .tasks
            .values()
            .filter_map(|task| {
                let task = task.borrow();
                let record = &task.record;
                let position = Position {
                    admitted_unix_ms: record.admitted_unix_ms,
                    task_id: record.id,
                };
                let is_wanted = wanted.caller.may_see(&record.owner)
                    && wanted.after.is_none_or(|after| position > after)
                    && wanted
                        .pool
                        .as_ref()
                        .is_none_or(|pool| *pool == record.pool.id)
                    && wanted
                        .state
                        .as_ref()
                        .is_none_or(|state| state == task.state());
                is_wanted.then_some((position, record.id))
            })
            .collect();
        found.sort_unstable();
        found.truncate(wanted.limit);
        let now = self.shared.clock.elapsed();
        found
            .into_iter()
            .filter_map(|(position, id)| Some((position, self.get(id)?.borrow().view(now))))
            .collect()
    }
}
