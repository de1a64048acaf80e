//! A server breaks before it has said anything: the task runs elsewhere, and its reader never knows.
//!
//! After the first word it ends with an error instead: what was said can't be taken back, and another
//! engine would not go on as this one would have.

use std::sync::Arc;

use orchestratord_gpu::event::Fault;
use orchestratord_sched::ReplicaState;

use super::{Shown, Table};
use crate::{
    logs,
    shard::task::{Phase, Run, Task},
};

/// How often a task is tried: a pool in which it fails so often has more wrong than one engine.
const TRIES_MAX: usize = 4;

impl Table {
    /// Has the task wait again, if its engine broke before it had said anything and there is another that
    /// may do better. Whether it does.
    pub(super) fn retry(&mut self, task: &Shown, fault: &Fault) -> bool {
        let is_engines_fault = matches!(fault, Fault::Broken(_) | Fault::Busy);
        if !is_engines_fault || !self.may_run_elsewhere(&task.borrow()) {
            return false;
        }
        let record = Arc::clone(&task.borrow().record);
        let (admission, again) = (record.admission(), Arc::clone(&record));
        let ticket = {
            let Phase::Running(run) = &mut task.borrow_mut().phase else {
                return false;
            };
            // Before a thief may have it, who is to know where it has failed.
            record.tried.add(&run.replica);
            let queue = &mut self.lane(&record.pool).queue;
            queue.readmit(&mut run.bill, admission, again)
        };
        let Some(run) = task.borrow_mut().wait_again(ticket) else {
            return false;
        };
        let Run {
            lease,
            replica,
            sequence,
            ..
        } = run;
        logs::retried(&record, &replica);
        self.running.remove(&sequence);
        self.slots_in_hand.push((Arc::clone(&record.pool), lease));
        true
    }

    fn may_run_elsewhere(&self, task: &Task) -> bool {
        let Phase::Running(run) = &task.phase else {
            return false;
        };
        let record = &task.record;
        let is_late = record
            .deadline
            .is_some_and(|deadline| deadline <= self.now());
        let mut replicas = record.pool.replicas.iter();
        task.has_not_begun()
            && !is_late
            && record.tried.count() + 1 < TRIES_MAX
            && replicas.any(|(_, replica)| {
                !Arc::ptr_eq(&replica, &run.replica)
                    && replica.condition.state() == ReplicaState::Ready
            })
    }
}
