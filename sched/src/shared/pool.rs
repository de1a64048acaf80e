//! A pool as all its shards share it.

use super::accounts::{AccountIndex, AccountSet, Accounts, Bill};
use super::atomic::AtomicU64;
use super::elders::Elders;
use super::heads::{Heads, Present};
use super::quota::{Full, Quota};
use super::runway::{Runway, Tried};
use super::slots::{Lease, ReplicaIndex, Slots};
use crate::admission::Share;
use crate::fairness::{self, Flow, Rank, Tag};
use crate::queue::Entry;
use crate::urgency::{Class, Urgency};
use core::cmp::Reverse;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
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
    accounts: Arc<Accounts>,
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
            accounts: Arc::new(Accounts::new()),
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

    /// Moves the bound of the tokens that those who wait may expect together, likewise.
    pub fn set_tokens_queued_max(&self, max: Option<u64>) {
        self.quota.set_tokens_queued_max(max);
    }

    /// How many waiting tasks go before the next that this identity brings in this class, counted
    /// from 0, over all shards: for a batch task those of the interactive class; its own identity's
    /// in its class; and of each other identity's as many as get their turn before, if they are
    /// about as long as each other. Deadlines may still change the order.
    #[must_use]
    pub fn ahead_of(&self, flow: Flow, class: Class) -> u32 {
        let before: u32 = Class::ALL
            .into_iter()
            .filter(|other| *other < class)
            .map(|other| self.queued(other))
            .sum();
        let ahead = self.accounts.ahead_of(flow, class);
        before.saturating_add(u32::try_from(ahead).unwrap_or(u32::MAX))
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

    /// Takes room for one task, and opens an account for it.
    ///
    /// How many an identity has waiting is read before: shards that admit tasks of one identity at the same
    /// time may exceed its share by one each. The bound of the pool holds.
    pub(crate) fn try_admit(
        &self,
        flow: Flow,
        share: Share,
        class: Class,
        expected_tokens: u32,
    ) -> Result<AccountIndex, Full> {
        let waiting = self.accounts.queued(flow, class);
        let may = |places_left| share.allows(waiting, places_left);
        self.quota.try_admit(class, expected_tokens, may)?;
        let charge = fairness::charge(expected_tokens.into());
        Ok(self.accounts.enter(flow, class, charge))
    }

    /// Takes room for a task that was admitted before, and opens an account for it again.
    pub(crate) fn readmit(&self, flow: Flow, class: Class, expected_tokens: u32) -> AccountIndex {
        self.quota.readmit(class, expected_tokens);
        let charge = fairness::charge(expected_tokens.into());
        self.accounts.enter(flow, class, charge)
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

    /// A task that was admitted leaves without having run.
    pub(crate) fn withdraw(&self, account: AccountIndex, class: Class, expected_tokens: u32) {
        self.quota.release(class, expected_tokens);
        let charge = fairness::charge(expected_tokens.into());
        self.accounts.withdraw(account, class, charge);
    }

    /// A task has left the queue to run.
    pub(crate) fn charge(&self, entry: &Entry<T>) -> Bill {
        let class = entry.ticket.class();
        self.quota.release(class, entry.expected_tokens);
        self.accounts
            .charge(entry.ticket.account, class, entry.charge())
    }

    /// The account of an identity, if it has one.
    pub(crate) fn account_of(&self, flow: Flow) -> Option<AccountIndex> {
        self.accounts.account_of(flow)
    }

    /// How far an identity has been served.
    pub(crate) fn tag(&self, account: AccountIndex, class: Class) -> Tag {
        self.accounts.tag(account, class)
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

    /// The owner has changed its runway: says whose tasks are on it and behind it now.
    pub(crate) fn publish(&self, owner: ShardId, laid: Present, behind: Present) {
        self.heads.publish(owner.0, laid, behind);
        self.publications.fetch_add(1, SeqCst);
    }

    /// The owner has changed what is behind its runway.
    pub(crate) fn publish_behind(&self, owner: ShardId, laid: Present, behind: Present) {
        self.heads.publish(owner.0, laid, behind);
    }

    pub(crate) fn publications(&self) -> u64 {
        self.publications.load(SeqCst)
    }

    /// The rank of a victim's next task, as far as a thief that has tried some places can tell.
    pub(crate) fn first(
        &self,
        victim: ShardId,
        tried: Tried,
        rank: impl Fn(AccountIndex, Urgency) -> Rank,
    ) -> Option<Rank> {
        if tried.is_empty() && self.heads.is_empty(victim.0) {
            return None;
        }
        let (rank, _) = self.runways[victim.0].first(tried, rank)?;
        Some(rank)
    }

    /// Tries to take the victim's next task, and remembers what was tried.
    pub(crate) fn steal(
        &self,
        victim: ShardId,
        tried: &mut Tried,
        rank: impl Fn(AccountIndex, Urgency) -> Rank,
    ) -> Option<Box<Entry<T>>> {
        let runway = &self.runways[victim.0];
        let Some((_, place)) = runway.first(*tried, rank) else {
            tried.insert_all();
            return None;
        };
        tried.insert(place);
        runway.steal(place)
    }

    /// Whose tasks of this class a shard has out of the thieves' reach.
    pub(crate) fn hidden(&self, shard: ShardId, class: Class) -> AccountSet {
        self.heads.hidden(shard.0, class)
    }

    /// Whether the caller is the one to ask a shard for a refill.
    pub(crate) fn ask(&self, shard: ShardId) -> bool {
        self.heads.ask(shard.0)
    }

    /// The owner is about to refill.
    pub(crate) fn answer(&self, owner: ShardId) {
        self.heads.answer(owner.0);
    }
}
