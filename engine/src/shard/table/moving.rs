//! Tasks that wait for a pool that takes no new work, and go to another that does.

use std::{rc::Rc, sync::Arc};

use orchestratord_sched::Ticket;

use super::{Shown, Table};
use crate::{
    logs,
    shard::{
        placement::{self, Placed},
        task::Phase,
    },
    shared::{record::TaskRecord, snapshot::Pool},
};

impl Table {
    /// The pool is being taken out of service: what waits here for it goes where it would go if it came
    /// now. What finds no other pool, because it was pinned or the others are full, waits on and is
    /// served as long as the drain lasts.
    pub fn move_away(&mut self, pool: &Arc<Pool>) {
        for (_, task) in self.waiting_for(pool) {
            self.move_task(&task);
        }
        self.look_for_work(pool);
    }

    /// The tasks that wait here for the pool, the most urgent first.
    fn waiting_for(&self, pool: &Pool) -> Vec<(Ticket, Shown)> {
        let ticket = |shown: &Shown| {
            let task = shown.borrow();
            match task.phase {
                Phase::Queued(ticket) if task.record.pool.key == pool.key => Some(ticket),
                Phase::Queued(_) | Phase::Running(_) | Phase::Ended(_) => None,
            }
        };
        let tasks = self.tasks.values();
        let mut waiting: Vec<_> = tasks
            .filter_map(|task| Some((ticket(task)?, Rc::clone(task))))
            .collect();
        waiting.sort_unstable_by_key(|(ticket, _)| *ticket);
        waiting
    }

    fn move_task(&mut self, task: &Shown) {
        let record = Arc::clone(&task.borrow().record);
        let last = record.preferred_replica();
        let placed = placement::place(&self.shared, self.me, &record.submission, last.as_ref());
        // No other pool, or the drain was called off meanwhile.
        let Some(Placed { pool, basis }) = placed.ok().filter(|to| to.pool.key != record.pool.key)
        else {
            return;
        };
        let moved = Arc::new(TaskRecord {
            pool: Arc::clone(&pool),
            basis,
            ..TaskRecord::clone(&record)
        });
        if self.take_over(task, &moved) {
            let wish = &record.submission.placement;
            let counters = &self.shard_counters().placements;
            counters.decided(wish, basis.into());
            logs::moved(&moved, &record.pool);
            self.look_for_work(&pool);
        }
    }

    /// Whether the task waits for the record's pool now: not if that is full, or a thief has the task.
    fn take_over(&mut self, task: &Shown, moved: &Arc<TaskRecord>) -> bool {
        let mut task = task.borrow_mut();
        let Phase::Queued(ticket) = task.phase else {
            return false;
        };
        self.lane(&moved.pool);
        let lanes = [&task.record.pool.key, &moved.pool.key];
        let [Some(old), Some(new)] = self.lanes.get_disjoint_mut(lanes) else {
            return false;
        };
        let (flow, expected_tokens) = (moved.owner.flow(), moved.submission.expected_tokens);
        let adapt = |_| Arc::clone(moved);
        let taken = new
            .queue
            .take_over(&mut old.queue, ticket, flow, expected_tokens, adapt);
        let Ok(Some(admitted)) = taken else {
            return false;
        };
        task.record = Arc::clone(moved);
        task.phase = Phase::Queued(admitted.ticket);
        true
    }
}
