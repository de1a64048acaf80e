//! A pool as all its shards share it.

use super::elders::Elders;
use super::heads::Heads;
use super::quota::{Full, Quota};
use super::runway::{Runway, Tried};
use super::slots::{Lease, ReplicaIndex, Slots};
use crate::queue::Entry;
use crate::urgency::{Class, Urgency};
use core::cmp::Reverse;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use crossbeam_utils::CachePadded;
use std::sync::Arc;

/// Which of the daemon's shards, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub usize);

/// What a pool is made of.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// How many shards have a part of its queue.
    pub shards: usize,
    /// What each replica offers at first: its slots when ready, 0 while it is not, or while its
    /// place is kept for one that will be bound later.
    pub replica_slots: Vec<u32>,
    /// How many tasks may wait, over all shards. 0 admits none.
    pub tasks_queued_max: u32,
    /// How many tokens those who wait may expect together; `None` for no such bound.
    pub tokens_queued_max: Option<u64>,
}

/// The shared part of a pool: its slots, its bound, and each shard's runway.
///
/// Shards hold it in an [`Arc`] and act on it through their [`Dispatcher`](crate::Dispatcher);
/// anybody may look.
pub struct Pool<T> {
    replicas: Box<[Arc<Slots>]>,
    quota: Quota,
    heads: Heads,
    elders: Elders,
    runways: Box<[CachePadded<Runway<T>>]>,
    /// Counts how often a task was laid on any runway. Written by the shard that lays it, read by
    /// whoever is about to stop looking for work; sequentially consistent, because it is one half
    /// of the handshake in [`super`], whose other half is each replica's word of slots.
    publications: CachePadded<AtomicU64>,
    /// Counts admissions. Only its numbers matter, not what happened before them: `Relaxed`.
    admissions: CachePadded<AtomicU64>,
}

/// For anybody: look, and say what replicas offer.
impl<T> Pool<T> {
    /// A pool with nobody waiting and nothing running.
    #[must_use]
    pub fn new(options: PoolOptions) -> Self {
        let slots = |offered| Arc::new(Slots::new(offered));
        let runway = || CachePadded::new(Runway::new());
        Self {
            replicas: options.replica_slots.into_iter().map(slots).collect(),
            quota: Quota::new(options.tasks_queued_max, options.tokens_queued_max),
            heads: Heads::new(options.shards),
            elders: Elders::new(options.shards),
            runways: core::iter::repeat_with(runway)
                .take(options.shards)
                .collect(),
            publications: CachePadded::new(AtomicU64::new(0)),
            admissions: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// How many tasks of this class wait, over all shards.
    #[must_use]
    pub fn queued(&self, class: Class) -> u32 {
        self.quota.queued(class)
    }

    /// How many tasks may wait, over all shards.
    #[must_use]
    pub fn tasks_queued_max(&self) -> u32 {
        self.quota.tasks_queued_max()
    }

    /// Moves that bound. Where more wait already, they go on waiting; no newcomer joins them.
    pub fn set_tasks_queued_max(&self, max: u32) {
        self.quota.set_tasks_queued_max(max);
    }

    /// How many tokens the waiting tasks expect together.
    #[must_use]
    pub fn tokens_queued(&self) -> u64 {
        self.quota.tokens_queued()
    }

    /// Whether this replica gives out slots: it offers any.
    ///
    /// # Panics
    /// If the pool has no such replica.
    #[must_use]
    pub fn ready(&self, replica: ReplicaIndex) -> bool {
        self.replicas[replica.0].offered() > 0
    }

    /// How many tasks may start on this replica now.
    ///
    /// # Panics
    /// If the pool has no such replica.
    #[must_use]
    pub fn replica_slots_free(&self, replica: ReplicaIndex) -> u32 {
        self.replicas[replica.0].free()
    }

    /// How many tasks run on this replica.
    ///
    /// # Panics
    /// If the pool has no such replica.
    #[must_use]
    pub fn replica_leases(&self, replica: ReplicaIndex) -> u32 {
        self.replicas[replica.0].taken()
    }

    /// How many slots this replica offers.
    ///
    /// # Panics
    /// If the pool has no such replica.
    #[must_use]
    pub fn replica_slots_offered(&self, replica: ReplicaIndex) -> u32 {
        self.replicas[replica.0].offered()
    }

    /// How many slots the replicas offer together.
    #[must_use]
    pub fn slots_total(&self) -> u32 {
        self.replicas.iter().map(|slots| slots.offered()).sum()
    }

    /// How many of the offered slots are free.
    #[must_use]
    pub fn slots_free(&self) -> u32 {
        self.replicas.iter().map(|slots| slots.free()).sum()
    }

    /// How many tasks run.
    #[must_use]
    pub fn leases(&self) -> u32 {
        self.replicas.iter().map(|slots| slots.taken()).sum()
    }

    /// Takes a slot of just this replica, for a task that has one already and would rather run here.
    /// The other lease then goes to [`dispatch_with`](crate::Dispatcher::dispatch_with).
    ///
    /// # Panics
    /// If the pool has no such replica.
    #[must_use]
    pub fn take_slot_of(&self, replica: ReplicaIndex) -> Option<Lease> {
        self.replicas[replica.0].try_take(replica)
    }

    /// Says how many slots a replica offers from now on: its number when it becomes ready, 0 when
    /// it stops being so. What runs there goes on.
    ///
    /// **Then have some shard call [`dispatch`](crate::Dispatcher::dispatch) until it returns
    /// `None`**: tasks may be waiting for just these slots.
    ///
    /// # Panics
    /// If the pool has no such replica.
    pub fn offer(&self, replica: ReplicaIndex, slots: u32) {
        self.replicas[replica.0].offer(slots);
    }
}

/// For dispatchers: slots.
impl<T> Pool<T> {
    /// Takes a slot where most are free, on the first such replica.
    ///
    /// Spreading over replicas leaves each task more of its engine than filling one after the
    /// other would.
    pub(crate) fn take_slot(&self) -> Option<Lease> {
        loop {
            let (replica, slots) = self.most_free()?;
            // Somebody else may have been quicker; then others may still be free.
            if let Some(lease) = slots.try_take(replica) {
                return Some(lease);
            }
        }
    }

    fn most_free(&self) -> Option<(ReplicaIndex, &Arc<Slots>)> {
        let replicas = self.replicas.iter().enumerate();
        let (index, slots, _) = replicas
            .map(|(index, slots)| (index, slots, slots.free()))
            .filter(|(_, _, free)| *free > 0)
            .min_by_key(|(index, _, free)| (Reverse(*free), *index))?;
        Some((ReplicaIndex(index), slots))
    }
}

/// For dispatchers: tasks.
impl<T> Pool<T> {
    pub(crate) fn shards(&self) -> usize {
        self.runways.len()
    }

    pub(crate) fn claim(&self, shard: ShardId) -> bool {
        self.runways[shard.0].claim()
    }

    pub(crate) fn try_admit(&self, class: Class, expected_tokens: u32) -> Result<u32, Full> {
        self.quota.try_admit(class, expected_tokens)
    }

    /// The number of the next admission: smaller is older, across all shards.
    pub(crate) fn next_admission(&self) -> u64 {
        self.admissions.fetch_add(1, Relaxed)
    }

    /// The owner says which of its waiting tasks of this class is the oldest.
    pub(crate) fn publish_oldest(&self, owner: ShardId, class: Class, oldest: Option<u64>) {
        self.elders.publish(owner.0, class, oldest);
    }

    /// Where the oldest task waits that a newcomer of this class may displace.
    pub(crate) fn oldest_at(&self, newcomer: Class) -> Option<ShardId> {
        (0..self.shards())
            .filter_map(|shard| Some((self.elders.read(shard, newcomer)?, shard)))
            .min()
            .map(|(_, shard)| ShardId(shard))
    }

    /// A task has left the queue, to run or for good.
    pub(crate) fn release(&self, entry: &Entry<T>) {
        let class = entry.ticket.urgency.class();
        self.give_up(class, entry.expected_tokens);
    }

    /// A task that was admitted does not wait here after all.
    pub(crate) fn give_up(&self, class: Class, expected_tokens: u32) {
        self.quota.release(class, expected_tokens);
    }

    pub(crate) fn lay(
        &self,
        owner: ShardId,
        place: usize,
        entry: Box<Entry<T>>,
    ) -> Option<Box<Entry<T>>> {
        self.runways[owner.0].lay(place, entry)
    }

    pub(crate) fn recall(&self, owner: ShardId, place: usize) -> Option<Box<Entry<T>>> {
        self.runways[owner.0].recall(place)
    }

    /// The owner has changed its runway: says how urgent its next task is now.
    pub(crate) fn publish(&self, owner: ShardId, head: Option<Urgency>) {
        self.heads.publish(owner.0, head);
        self.publications.fetch_add(1, SeqCst);
    }

    pub(crate) fn publications(&self) -> u64 {
        self.publications.load(SeqCst)
    }

    /// How urgent a victim's next task is, as far as a thief that has tried some places can tell.
    pub(crate) fn head(&self, victim: ShardId, tried: Tried) -> Option<Urgency> {
        if tried.is_empty() {
            return self.heads.read(victim.0);
        }
        let (urgency, _) = self.runways[victim.0].most_urgent(tried)?;
        Some(urgency)
    }

    /// Tries to take the victim's most urgent task, and remembers what was tried.
    pub(crate) fn steal(&self, victim: ShardId, tried: &mut Tried) -> Option<Box<Entry<T>>> {
        let runway = &self.runways[victim.0];
        let Some((_, place)) = runway.most_urgent(*tried) else {
            tried.insert_all();
            return None;
        };
        tried.insert(place);
        runway.steal(place)
    }
}
