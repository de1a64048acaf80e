//! Listing the tasks that live here.

use uuid::Uuid;

use super::Table;
use crate::api::task::list::{Listed, Position, Wanted};

impl Table {
    /// The wanted tasks of this shard, newest first.
    pub fn list(&self, wanted: &Wanted) -> Vec<(Position, Listed)> {
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
                    && wanted.has(task.state(), &record.pool.id);
                is_wanted.then_some((position, record.id))
            })
            .collect();
        found.sort_unstable();
        found.truncate(wanted.limit);
        let now = self.shared.clock.elapsed();
        let told = |(position, id)| {
            let view = self.get(id)?.borrow().view(now);
            Some((position, Listed::AtHome(Box::new(view))))
        };
        found.into_iter().filter_map(told).collect()
    }
}
