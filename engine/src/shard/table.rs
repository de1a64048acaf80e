//! The tasks that live on this shard, and what happens to them.
//!
//! A task's home is the shard that admitted it, until another shard steals it; from the moment it
//! has a slot it never moves again. Only its home touches it.
//!
//! **Slots first.** Whoever has a free slot in hand gives it to the most urgent task anywhere
//! before it lets go of it; whoever makes a task visible looks for a slot afterwards. What decides
//! is `sched`; this file carries it out. How tasks come in, what engines say of them and how they
//! end is in the files below.

mod admission;
mod ending;
mod generation;
mod listing;
mod moving;
mod retry;

pub use admission::{Application, Rejected};
pub use ending::Cancel;

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::Arc,
};

use futures_channel::oneshot;
use orchestratord_gpu::SequenceKey;
use orchestratord_sched::{Dispatched, Dispatcher, Estimate, Instant, Lease, Origin, ShardId};
use uuid::Uuid;

use super::{
    mailbox::{Message, Outbox},
    task::{Phase, Run, Task},
    upstream::{Ask, Asks},
};
use crate::{
    api::error::{ApiError, Code},
    clock::Hashing,
    logs,
    metrics::{PoolCounters, RejectReason, ReplicaCounters, ShardCounters},
    shared::{
        Shared,
        record::TaskRecord,
        replica::{Order, Reach, Replica},
        snapshot::{Pool, PoolKey},
        stage::Stage,
    },
};

/// A task, handed out so that no borrow of the table outlives a look.
pub type Shown = Rc<RefCell<Task>>;

/// This shard's part of one pool.
struct Lane {
    queue: Dispatcher<Arc<TaskRecord>>,
    estimate: Estimate,
}

/// All tasks of one shard.
pub struct Table {
    /// Messages to other shards, sent after each turn.
    pub outbox: Outbox,
    me: ShardId,
    shared: Arc<Shared>,
    /// Made when the first task comes for the pool, so that pools may come while the shard runs.
    lanes: HashMap<PoolKey, Lane>,
    tasks: HashMap<Uuid, Shown, Hashing>,
    running: HashMap<SequenceKey, Shown, Hashing>,
    /// Ended tasks, oldest first; the oldest is forgotten when there are too many.
    ended: VecDeque<Uuid>,
    sequences: u64,
    /// Slots that tasks have just left, until [`Table::reuse_slots`] gives them on.
    slots_in_hand: Vec<(Arc<Pool>, Lease)>,
    /// Generations for servers.
    asks: Asks,
    scratch: Vec<u8>,
}

impl Table {
    /// No tasks yet.
    pub fn new(me: ShardId, shared: Arc<Shared>, asks: Asks) -> Self {
        Self {
            outbox: Outbox::default(),
            asks,
            me,
            lanes: HashMap::new(),
            tasks: HashMap::default(),
            running: HashMap::default(),
            ended: VecDeque::new(),
            sequences: 0,
            slots_in_hand: Vec::new(),
            scratch: Vec::new(),
            shared,
        }
    }

    /// The task, if this shard is its home.
    pub fn get(&self, id: Uuid) -> Option<Shown> {
        self.tasks.get(&id).cloned()
    }

    /// Every task that stands here.
    #[cfg(test)]
    pub fn all(&self) -> impl Iterator<Item = &Shown> {
        self.tasks.values()
    }

    /// A submission was turned away.
    pub fn count_rejected(&self, pool: &Pool, reason: RejectReason) {
        self.counters(pool).rejected(reason);
    }

    fn counters<'p>(&self, pool: &'p Pool) -> &'p PoolCounters {
        &pool.counters[self.me.0]
    }

    fn replica_counters<'r>(&self, replica: &'r Replica) -> &'r ReplicaCounters {
        &replica.counters[self.me.0]
    }

    /// This shard's part of the pool, made now if this is the first that it hears of it.
    fn lane(&mut self, pool: &Pool) -> &mut Lane {
        self.lanes.entry(pool.key).or_insert_with(|| Lane {
            queue: Dispatcher::new(self.me, Arc::clone(&pool.scheduling)),
            estimate: Estimate::default(),
        })
    }

    fn shard_counters(&self) -> &ShardCounters {
        &self.shared.metrics[self.me.0]
    }

    fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    fn put(&mut self, task: Task) -> Shown {
        let id = task.record.id;
        let task = Rc::new(RefCell::new(task));
        self.tasks.insert(id, Rc::clone(&task));
        task
    }

    /// Gives free slots of the pool to the most urgent tasks anywhere, until there is no slot or
    /// no task.
    pub fn look_for_work(&mut self, pool: &Arc<Pool>) {
        while self.may_start(pool)
            && let Some(lane) = self.lanes.get_mut(&pool.key)
            && let Some(dispatched) = lane.queue.dispatch()
        {
            self.start(pool, dispatched);
        }
        self.reuse_slots();
    }

    /// Each slot in hand goes to the most urgent task anywhere, or back to its replica. A loop and
    /// not a recursion: a task that fails as it starts leaves its slot in hand again.
    fn reuse_slots(&mut self) {
        while let Some((pool, lease)) = self.slots_in_hand.pop() {
            if !self.may_start(&pool) {
                drop(lease);
            } else if let Some(dispatched) = self.lane(&pool).queue.dispatch_with(lease) {
                self.start(&pool, dispatched);
            }
        }
    }

    /// Once tasks are being ended, none is started.
    fn may_start(&self, pool: &Pool) -> bool {
        self.shared.stages.now() < Stage::Ending && pool.may_start()
    }

    /// The pool has no task any more, nor will it: what was kept of it is let go.
    pub fn forget_pool(&mut self, pool: PoolKey) {
        self.lanes.remove(&pool);
    }

    fn start(&mut self, pool: &Arc<Pool>, dispatched: Dispatched<Arc<TaskRecord>>) {
        let Dispatched {
            task: record,
            lease,
            bill,
            origin,
            ticket,
            outdated,
        } = dispatched;
        for shard in outdated {
            let pool = Arc::clone(pool);
            self.outbox.send(shard, Message::Refill { pool });
        }
        let task = match origin {
            Origin::Own => self
                .get(record.id)
                .expect("a queued task stands in the table"),
            Origin::StolenFrom(victim) => {
                self.shared.directory.moved(record.id, self.me);
                self.shard_counters().stolen_from[victim.0].increment();
                self.outbox.send(
                    victim,
                    Message::Stolen {
                        task: record.id,
                        pool: Arc::clone(pool),
                    },
                );
                let before = self.get(record.id);
                let task = self.put(Task::new(Arc::clone(&record), Phase::Queued(ticket)));
                if let Some(before) = before {
                    // It comes back before this shard has heard that it was stolen, and failed elsewhere.
                    self.depart(&before);
                }
                task
            }
        };
        let lease = self.prefer(pool, &record, lease);
        let (place, replica) = (lease.replica(), pool.replica(lease.replica()));
        if let Some(turn) = &record.turn {
            self.shared.sessions.ran_on(&record.owner, turn, &replica);
        }
        self.replica_counters(&replica).started(record.class());
        logs::placed(&record, &replica);
        let sequence = self.next_sequence();
        let mut run = Run::new(lease, bill, Arc::clone(&replica), sequence, self.now());
        let generation = record.generation();
        let asked = match &replica.reach {
            Reach::Local(_) => replica.order(Order::Start {
                home: self.me,
                sequence,
                generation,
            }),
            Reach::Remote(_) => {
                let (line, hung_up) = oneshot::channel();
                run.line = Some(line);
                let ask = Ask {
                    sequence,
                    pool: Arc::clone(pool),
                    place,
                    replica,
                    generation,
                };
                self.asks.try_send((ask, hung_up)).is_ok()
            }
        };
        task.borrow_mut().start(run);
        self.running.insert(sequence, Rc::clone(&task));
        if !asked {
            let message = "the engine's queue of orders is full; send the task again";
            self.fail(&task, &ApiError::new(Code::ReplicaExhausted, message));
        }
    }

    /// A better slot for the task, if there is one free: away from where it has failed, or else where the
    /// last turn of its session ran, whose KV cache may be there. The other slot then goes on to the
    /// next task. None waits for it: a slot now is sooner than a better one later.
    fn prefer(&mut self, pool: &Arc<Pool>, record: &TaskRecord, lease: Lease) -> Lease {
        let better = if record.tried.count() > 0 {
            Self::untried(pool, record, &lease)
        } else {
            Self::where_last(pool, record, &lease)
        };
        match better {
            Some(better) => {
                self.slots_in_hand.push((Arc::clone(pool), lease));
                better
            }
            None => lease,
        }
    }

    fn untried(pool: &Pool, record: &TaskRecord, lease: &Lease) -> Option<Lease> {
        if !record.tried.has(&pool.replica(lease.replica())) {
            return None;
        }
        let replicas = pool.replicas.iter();
        let mut untried = replicas.filter(|(_, replica)| !record.tried.has(replica));
        untried.find_map(|(place, _)| pool.scheduling.take_slot_of(place))
    }

    fn where_last(pool: &Pool, record: &TaskRecord, lease: &Lease) -> Option<Lease> {
        let last = record.preferred_replica()?;
        let mut replicas = pool.replicas.iter();
        let (place, _) = replicas.find(|(_, replica)| Arc::ptr_eq(replica, &last))?;
        if place == lease.replica() {
            return None;
        }
        pool.scheduling.take_slot_of(place)
    }

    fn next_sequence(&mut self) -> SequenceKey {
        // The shard's number in the top bits keeps the shards' keys apart.
        let key = (self.me.0 as u64) << 48 | self.sequences;
        self.sequences += 1;
        SequenceKey(key)
    }

    /// A thief took one of our tasks: its readers follow it, and the runway is filled again.
    pub fn stolen(&mut self, id: Uuid, pool: &Arc<Pool>) {
        let is_back = self.shared.directory.home(id) == Some(self.me);
        if !is_back && let Some(task) = self.tasks.remove(&id) {
            self.depart(&task);
        }
        self.refill(pool);
    }

    /// The task lives elsewhere now, or here anew.
    fn depart(&mut self, task: &Shown) {
        let mut task = task.borrow_mut();
        task.leave();
        let id = task.record.id;
        if task.abandoned
            && let Some(home) = self.shared.directory.home(id)
        {
            self.outbox.send(home, Message::Abandoned { task: id });
        }
    }

    /// Lays out those whose turn it is, and looks for slots for them.
    pub fn refill(&mut self, pool: &Arc<Pool>) {
        if let Some(lane) = self.lanes.get_mut(&pool.key) {
            lane.queue.refill();
        }
        self.look_for_work(pool);
    }
}
