//! What reaches a shard from other threads, and what it sends to other shards.
//!
//! Sending never fails and never blocks: messages for a neighbour whose mailbox is full stay in
//! the [`Outbox`] and are tried again after the next turn. What can stand there is bounded by what
//! it is about: each message belongs to one task (bounded by admission), one connection (bounded by
//! the file limit) or one of its streams (bounded by connection), and a shard is asked once at a time
//! to refill its runway of a pool.

use std::{collections::VecDeque, rc::Rc, sync::Arc};

use crossbeam::channel::Sender;
use futures_channel::oneshot;
use orchestratord_gpu::{SequenceKey, event::Event};
use orchestratord_sched::ShardId;
use uuid::Uuid;

use super::{
    Shard,
    connection::{self, Parcel},
    relay,
};
use crate::{
    api::{
        error::ApiError,
        task::list::{Listed, Position, Wanted},
    },
    panics::{Panicked, contain},
    shared::{
        Shared,
        snapshot::{Pool, PoolKey},
        stage::Stage,
    },
};

/// Messages that a shard's mailbox holds: a step of every sequence of some large replicas.
pub const MAILBOX_MAX: usize = 16 * 1024;
/// Messages handled before the shard's other tasks get a turn, so that a burst of tokens does not
/// starve its connections.
const TURN_MAX: usize = 1024;

/// A message to a shard.
pub enum Message {
    /// An engine said something about a sequence of this shard.
    Said {
        /// Which sequence.
        sequence: SequenceKey,
        /// What.
        event: Event,
    },
    /// The sender took this task from the runway: its home is there now.
    Stolen {
        /// The task.
        task: Uuid,
        /// Its pool.
        pool: Arc<Pool>,
    },
    /// On this shard's runway are not those whose turn it is.
    Refill {
        /// Of which pool.
        pool: Arc<Pool>,
    },
    /// The last reader of this task left while it was being stolen.
    Abandoned {
        /// The task.
        task: Uuid,
    },
    /// A replica of the pool came up: there may be slots.
    LookForWork {
        /// The pool.
        pool: Arc<Pool>,
    },
    /// The pool takes no new work: tasks that wait for it go elsewhere if they can.
    MoveTasks {
        /// The pool.
        pool: Arc<Pool>,
    },
    /// The end of this task is on the disk, or the disk has failed to take it.
    Kept {
        /// The task.
        task: Uuid,
        /// Whether it is there.
        is_on_disk: bool,
    },
    /// This task could not be written down when it was accepted.
    BreakPromise {
        /// The task.
        task: Uuid,
    },
    /// Every task of these pools ends with this error.
    EndTasks {
        /// Which pools.
        pools: Arc<[PoolKey]>,
        /// What their readers are told.
        error: Arc<ApiError>,
    },
    /// The sender wants to know when this shard has seen what was published before. Handlers look
    /// at the pools within one turn, so none holds an older view by then.
    Acknowledge(Sender<()>),
    /// This pool has no task any more, nor will it.
    ForgetPool(PoolKey),
    /// Somebody wants to know what tasks there are.
    ListTasks {
        /// Which.
        wanted: Arc<Wanted>,
        /// To whoever gathers them.
        answer: oneshot::Sender<Vec<(Position, Listed)>>,
    },
    /// A connection that goes on here.
    Adopt(Box<Parcel>),
    /// A request that was read by another shard, whose connection stays there.
    Relay(Box<relay::Parcel>),
    /// The daemon went a stage further down.
    StageChanged,
}

/// Messages to other shards, in order, until their mailboxes take them.
#[derive(Default)]
pub struct Outbox(VecDeque<(ShardId, Message)>);

impl Outbox {
    /// A message to send after this turn.
    pub fn send(&mut self, to: ShardId, message: Message) {
        self.0.push_back((to, message));
    }

    /// Sends what the mailboxes take. Whether anything is left.
    pub fn flush(&mut self, shared: &Shared) -> bool {
        for _ in 0..self.0.len() {
            let Some((to, message)) = self.0.pop_front() else {
                break;
            };
            let mailbox = &shared.mailboxes[to.0];
            if let Err(message) = mailbox.push(message) {
                self.0.push_back((to, message));
            }
            mailbox.ring();
        }
        !self.0.is_empty()
    }
}

/// Handles messages until the daemon is gone.
pub async fn serve(shard: &Rc<Shard>) {
    let mailbox = &shard.shared.mailboxes[shard.id.0];
    while shard.shared.stages.now() != Stage::Gone {
        mailbox.wait().await;
        for message in std::iter::from_fn(|| mailbox.pop()).take(TURN_MAX) {
            handle(shard, message);
        }
        shard.flush_outbox();
        glommio::executor().yield_if_needed().await;
    }
}

fn handle(shard: &Rc<Shard>, message: Message) {
    match message {
        Message::Said { sequence, event } => {
            let said = contain(|| shard.table.borrow_mut().said(sequence, event));
            said.unwrap_or_else(|Panicked| shard.table.borrow_mut().give_up(sequence));
        }
        Message::Stolen { task, pool } => shard.table.borrow_mut().stolen(task, &pool),
        Message::Refill { pool } => shard.table.borrow_mut().refill(&pool),
        Message::Abandoned { task } => shard.table.borrow_mut().abandoned_elsewhere(task),
        Message::LookForWork { pool } => shard.table.borrow_mut().look_for_work(&pool),
        Message::MoveTasks { pool } => shard.table.borrow_mut().move_away(&pool),
        Message::Kept { task, is_on_disk } => shard.table.borrow_mut().kept(task, is_on_disk),
        Message::BreakPromise { task } => shard.table.borrow_mut().break_promise(task),
        Message::EndTasks { pools, error } => shard.table.borrow_mut().end_tasks(&pools, &error),
        // Nobody waits any more: the daemon is stopping.
        Message::Acknowledge(seen) => drop(seen.send(())),
        Message::ForgetPool(pool) => shard.table.borrow_mut().forget_pool(pool),
        Message::ListTasks { wanted, answer } => {
            // Whoever asked may have gone away.
            let _ = answer.send(shard.table.borrow().list(&wanted));
        }
        Message::Adopt(parcel) => connection::adopt(shard, *parcel),
        Message::Relay(parcel) => relay::adopt(shard, *parcel),
        Message::StageChanged => shard.stage_changed(),
    }
}
