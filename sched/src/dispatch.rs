//! A slot is free: which task runs?
//!
//! The one whose turn it is, anywhere: of the highest class, of the [identity](crate::fairness) that
//! was served least, the most urgent. A dispatcher with a slot in hand compares the heads of all
//! shards; its own goes first if none comes before it, else the first is stolen from its shard's
//! runway. Not a random victim and not the longest queue, as is usual when threads steal work to stay
//! busy: here stealing is how the order of the whole pool is kept.
//!
//! ```text
//!            queue (sorted, private)              runway (4 places, anybody may take)
//!   admit ──►  … later turns than   ──refill──►   [ ][ ][ ][ ]  ──► own slot, or a thief's
//!             ◄── displaced by a newcomer ──
//! ```
//!
//! Rules of this file:
//!
//! - On the runway stand those of this shard whose turn it was when they were laid there, each
//!   identity being charged for those of its own that stand before. So a place is vacant only if the
//!   queue is empty, and no task stands behind a less urgent one of its identity.
//! - Tags move meanwhile, here and elsewhere. Before it searches, the owner lays out anew if the turn
//!   is of one behind. A thief can't; it asks the owner to, and takes the first in reach.
//! - `standing` is what the owner laid out, and perhaps a thief has since taken. The owner finds
//!   out when it next reaches for that place, and at the latest when told to refill.
//! - A search takes the slot first (see [`shared`](crate::shared)).
//!
//! How far may the order slip? Let a task start before one whose turn comes earlier. Then the latter
//! was out of reach, in another shard's queue, and a message to that shard is on its way: thieves have
//! taken from its runway since it last refilled, or it is asked to refill, by this search if by no
//! other. If all who wait there are of one identity, thieves had taken all [`RUNWAY_LEN`] before it.
//! (On real threads add what happens within one search: a task that appears behind the searcher's
//! back, or is moved between places while it reaches, waits for the next, and so does one whose
//! identity's tag moves.)

mod glance;

use crate::admission::{Admission, Admitted, Refused, Share};
use crate::fairness::{Flow, Rank, Tag};
use crate::queue::{Entry, Queue, Ticket};
use crate::shared::{AccountIndex, Bill, Full, Lease, Pool, Present, RUNWAY_LEN, ShardId, Tried};
use crate::urgency::{Class, Urgency};
use glance::Glance;
use std::sync::Arc;

/// Where a dispatched task had waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// At the shard that dispatches it.
    Own,
    /// At another shard, which must now be told to [`refill`](Dispatcher::refill).
    StolenFrom(ShardId),
}

/// A task and the slot that it runs in.
#[derive(Debug)]
#[must_use = "the task has left the queue: it runs now or is lost"]
pub struct Dispatched<T> {
    /// The task as it was admitted.
    pub task: T,
    /// Its slot, for as long as it runs.
    pub lease: Lease,
    /// What its identity was charged for it: to be settled when it ends.
    pub bill: Bill,
    /// Where it waited.
    pub origin: Origin,
    /// The ticket it had there.
    pub ticket: Ticket,
    /// Shards whose next task goes before this one and could not be reached. Each must be told to
    /// [`refill`](Dispatcher::refill).
    pub outdated: Vec<ShardId>,
}

/// What a search has found.
struct Found<T> {
    entry: Box<Entry<T>>,
    bill: Bill,
    origin: Origin,
    outdated: Vec<ShardId>,
}

/// What the owner laid on a place.
#[derive(Clone, Copy)]
struct Standing {
    ticket: Ticket,
    charge: u64,
}

/// One shard's side of one pool.
///
/// **After every [`admit`](Self::admit), [`readmit`](Self::readmit), [`restore`](Self::restore), [`remove`](Self::remove), [`drop_oldest`](Self::drop_oldest)
/// and [`refill`](Self::refill), call [`dispatch`](Self::dispatch) until it returns `None`.**
pub struct Dispatcher<T> {
    shard: ShardId,
    pool: Arc<Pool<T>>,
    queue: Queue<T>,
    /// By place: what this shard laid on its runway.
    standing: [Option<Standing>; RUNWAY_LEN],
    /// By shard: the places that the present search has tried. Kept to spare an allocation.
    tried: Box<[Tried]>,
    glance: Glance,
}

impl<T> Dispatcher<T> {
    /// The part of `pool` that belongs to `shard`.
    ///
    /// # Panics
    /// If the pool has no such shard, or that shard's dispatcher was made before: two owners of
    /// one runway would undo each other's hints.
    #[must_use]
    pub fn new(shard: ShardId, pool: Arc<Pool<T>>) -> Self {
        assert!(shard.0 < pool.shards(), "the pool has no {shard:?}");
        assert!(pool.claim(shard), "{shard:?} has a dispatcher already");
        Self {
            shard,
            queue: Queue::new(),
            standing: [None; RUNWAY_LEN],
            tried: vec![Tried::default(); pool.shards()].into(),
            glance: Glance::new(),
            pool,
        }
    }

    /// Lets a task wait, if the pool has room.
    ///
    /// # Errors
    /// The task comes back when as many wait as may.
    pub fn admit(&mut self, admission: Admission, task: T) -> Result<Admitted, Refused<T>> {
        let Admission {
            flow,
            share,
            urgency,
            expected_tokens,
        } = admission;
        let class = urgency.class();
        let position = self.pool.ahead_of(flow, class);
        let account = match self.pool.try_admit(flow, share, class, expected_tokens) {
            Ok(account) => account,
            Err(full) => return Err(Refused { full, task }),
        };
        let ticket = self.line_up(account, urgency, expected_tokens, task);
        Ok(Admitted { ticket, position })
    }

    /// A task that was dispatched waits again, as urgent as it was: its engine broke before it had said
    /// anything. It was admitted once and is not refused now, so the bound may be exceeded by as many
    /// as there are slots. What its identity was charged is given back, before its turn is reckoned.
    pub fn readmit(&mut self, bill: &mut Bill, admission: Admission, task: T) -> Ticket {
        bill.refund();
        self.restore(admission, task)
    }

    /// A task that was admitted in an earlier life of the daemon waits again. It is not refused, whatever the
    /// bound is now.
    pub fn restore(&mut self, admission: Admission, task: T) -> Ticket {
        let Admission {
            flow,
            urgency,
            expected_tokens,
            ..
        } = admission;
        let account = self.pool.readmit(flow, urgency.class(), expected_tokens);
        self.line_up(account, urgency, expected_tokens, task)
    }

    /// Takes a waiting task out again. `None` if it no longer waits here: it was dispatched, by
    /// this shard or by a thief, or removed before.
    pub fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let entry = self.take_out(ticket)?;
        Some(entry.task)
    }

    /// Takes over a task that waits for another pool at the same shard; it waits here from then on, as
    /// urgent as before and as its identity's turn is here, and `adapt` makes of it what it is to be
    /// here. `None` if it no longer waits there, as for [`remove`](Self::remove).
    ///
    /// Room is made sure of first, so that no task is ever without a queue. **Afterwards both
    /// dispatchers are to [`dispatch`](Self::dispatch).**
    ///
    /// # Errors
    /// This pool has no room for a task that expects so many tokens. Nothing has changed.
    pub fn take_over(
        &mut self,
        other: &mut Self,
        ticket: Ticket,
        flow: Flow,
        expected_tokens: u32,
        adapt: impl FnOnce(T) -> T,
    ) -> Result<Option<Admitted>, Full> {
        let (urgency, class) = (ticket.urgency, ticket.class());
        let position = self.pool.ahead_of(flow, class);
        let account = self
            .pool
            .try_admit(flow, Share::All, class, expected_tokens)?;
        let Some(entry) = other.take_out(ticket) else {
            self.pool.withdraw(account, class, expected_tokens);
            return Ok(None);
        };
        debug_assert_eq!(entry.expected_tokens, expected_tokens);
        let ticket = self.line_up(account, urgency, expected_tokens, adapt(entry.task));
        Ok(Some(Admitted { ticket, position }))
    }

    /// A task that there is room for waits here from now on.
    fn line_up(
        &mut self,
        account: AccountIndex,
        urgency: Urgency,
        expected_tokens: u32,
        task: T,
    ) -> Ticket {
        let ticket = Ticket {
            urgency,
            sequence: self.pool.next_admission(),
            account,
        };
        self.enqueue(Box::new(Entry {
            ticket,
            expected_tokens,
            task,
        }));
        self.publish_oldest();
        ticket
    }

    fn take_out(&mut self, ticket: Ticket) -> Option<Box<Entry<T>>> {
        self.glance.forget();
        let entry = match self.place_of(ticket) {
            Some(place) => {
                let entry = self.recall(place);
                self.fill(place);
                entry
            }
            None => self.queue.remove(ticket),
        };
        self.publish();
        self.publish_oldest();
        let entry = entry?;
        let Ticket { account, .. } = ticket;
        self.pool
            .withdraw(account, ticket.class(), entry.expected_tokens);
        Some(entry)
    }

    /// The shard whose queue makes room for a newcomer of this class: where the task has waited
    /// longest that may go. `None` if none may.
    ///
    /// A hint, as far as thieves have been at work and shards have not refilled yet.
    #[must_use]
    pub fn oldest_at(&self, newcomer: Class) -> Option<ShardId> {
        self.pool.oldest_at(newcomer)
    }

    /// Takes out the task that has waited longest at this shard, of the newcomer's class or a
    /// lower one, to make room for it. Which shard to ask, [`oldest_at`](Self::oldest_at) says.
    pub fn drop_oldest(&mut self, newcomer: Class) -> Option<(Ticket, T)> {
        // What a thief has taken fails to be removed, but leaves `standing`: so this ends.
        loop {
            let ticket = self.displaceable(newcomer)?;
            if let Some(task) = self.remove(ticket) {
                return Some((ticket, task));
            }
        }
    }

    /// Takes out the task of this identity and class that has waited longest at this shard, to make room for
    /// another of its own.
    pub fn drop_oldest_of(&mut self, flow: Flow, class: Class) -> Option<(Ticket, T)> {
        let account = self.pool.account_of(flow)?;
        // As for whoever is the oldest of all.
        loop {
            let ticket = self.oldest_of(account, class)?;
            if let Some(task) = self.remove(ticket) {
                return Some((ticket, task));
            }
        }
    }

    /// Fills the gaps that thieves left on the runway, and lays out those whose turn it is now.
    pub fn refill(&mut self) {
        self.pool.answer(self.shard);
        self.glance.forget();
        self.lay_out();
        self.publish_oldest();
    }

    /// Starts the task whose turn it is, wherever it waits, if a slot is free.
    pub fn dispatch(&mut self) -> Option<Dispatched<T>> {
        let lease = self.pool.take_slot()?;
        self.dispatch_with(lease)
    }

    /// A task has ended: starts the one whose turn it is, wherever it waits, in its slot. Its
    /// [`Bill`] is to be settled before, so that it counts.
    ///
    /// The slot stays in hand while work waits, and goes back to the pool when none does, or when
    /// its replica no longer offers it. Call [`dispatch`](Self::dispatch) afterwards all the same.
    pub fn dispatch_with(&mut self, lease: Lease) -> Option<Dispatched<T>> {
        let mut lease = self.exchange_surplus(lease)?;
        loop {
            let publications = self.pool.publications();
            if let Some(found) = self.take_first() {
                return Some(Self::start(found, lease));
            }
            drop(lease);
            if self.pool.publications() == publications {
                return None;
            }
            lease = self.pool.take_slot()?;
        }
    }
}

/// The search.
impl<T> Dispatcher<T> {
    fn take_first(&mut self) -> Option<Found<T>> {
        self.glance.forget();
        self.tried.fill(Tried::default());
        self.lay_out_if_late();
        // Each round takes a task, or learns that one is gone: from a victim's few places, or from
        // the own runway, whose gaps are filled as they are found.
        loop {
            let shard = self.first_shard()?;
            let found = if shard == self.shard {
                self.take_own()
            } else {
                self.steal(shard)
            };
            if found.is_some() {
                return found;
            }
        }
    }

    /// Ties go to this shard first, which spares a theft, then to its next neighbour, so that
    /// thieves with equal choices do not all crowd upon shard 0.
    fn first_shard(&self) -> Option<ShardId> {
        let shards = self.pool.shards();
        (0..shards)
            .map(|distance| ShardId((self.shard.0 + distance) % shards))
            .filter_map(|shard| Some((self.head(shard)?, shard)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, shard)| shard)
    }

    fn head(&self, shard: ShardId) -> Option<Rank> {
        if shard == self.shard {
            let (rank, _, _) = self.own_head()?;
            return Some(rank);
        }
        let rank = |account, urgency| self.rank(account, urgency);
        self.pool.first(shard, self.tried[shard.0], rank)
    }

    /// The first of those that stand here, and its place.
    fn own_head(&self) -> Option<(Rank, Ticket, usize)> {
        let places = self.standing.iter().enumerate();
        places
            .filter_map(|(place, standing)| {
                let ticket = standing.as_ref()?.ticket;
                Some((self.rank(ticket.account, ticket.urgency), ticket, place))
            })
            .min()
    }

    /// As this search sees it.
    fn rank(&self, account: AccountIndex, urgency: Urgency) -> Rank {
        self.glance.rank(&self.pool, account, urgency)
    }

    /// The turn may be of one behind the runway, since tags have moved.
    fn lay_out_if_late(&mut self) {
        let tag = |class, account| self.glance.tag(&self.pool, account, class);
        let Some(behind) = self.queue.first(tag) else {
            return;
        };
        let head = self.own_head();
        if head.is_none_or(|(rank, ticket, _)| behind < (rank, ticket)) {
            self.lay_out();
        }
    }

    fn take_own(&mut self) -> Option<Found<T>> {
        let (_, _, place) = self.own_head()?;
        let entry = self.recall(place);
        let found = entry.map(|entry| self.found(entry, Origin::Own));
        // Its identity has been charged: what is laid out next must know.
        self.glance.forget();
        self.fill(place);
        self.publish();
        self.publish_oldest();
        found
    }

    fn steal(&mut self, victim: ShardId) -> Option<Found<T>> {
        let rank = |account, urgency| self.glance.rank(&self.pool, account, urgency);
        let tried = &mut self.tried[victim.0];
        let entry = self.pool.steal(victim, tried, rank)?;
        Some(self.found(entry, Origin::StolenFrom(victim)))
    }

    fn found(&self, entry: Box<Entry<T>>, origin: Origin) -> Found<T> {
        let rank = self.rank(entry.ticket.account, entry.ticket.urgency);
        Found {
            outdated: self.ask_for_refills(rank, origin),
            bill: self.pool.charge(&entry),
            entry,
            origin,
        }
    }

    fn start(found: Found<T>, lease: Lease) -> Dispatched<T> {
        let Found {
            entry,
            bill,
            origin,
            outdated,
        } = found;
        Dispatched {
            ticket: entry.ticket,
            task: entry.task,
            lease,
            bill,
            origin,
            outdated,
        }
    }

    /// The shards that keep an earlier turn out of reach, and were not asked yet. A victim will be
    /// told to refill anyway.
    fn ask_for_refills(&self, rank: Rank, origin: Origin) -> Vec<ShardId> {
        (0..self.pool.shards())
            .map(ShardId)
            .filter(|shard| *shard != self.shard && origin != Origin::StolenFrom(*shard))
            .filter(|shard| self.hides_earlier(*shard, rank) && self.pool.ask(*shard))
            .collect()
    }

    fn hides_earlier(&self, shard: ShardId, rank: Rank) -> bool {
        Class::ALL.into_iter().any(|class| {
            let mut hidden = self.pool.hidden(shard, class).iter();
            hidden.any(|account| rank.yields_to(class, self.glance.tag(&self.pool, account, class)))
        })
    }

    /// A slot beyond what its replica still offers goes back, and another takes its place.
    fn exchange_surplus(&self, lease: Lease) -> Option<Lease> {
        if !lease.is_surplus() {
            return Some(lease);
        }
        drop(lease);
        self.pool.take_slot()
    }
}

/// The runway, as its owner keeps it.
impl<T> Dispatcher<T> {
    /// Lays the task on the runway if its turn comes before the last there, else queues it.
    fn enqueue(&mut self, entry: Box<Entry<T>>) {
        self.glance.forget();
        match self.place_for(entry.ticket) {
            Some(place) => {
                self.lay(place, entry);
                self.publish();
            }
            None => {
                self.queue.push(entry);
                self.publish_behind();
            }
        }
    }

    /// The place that a newcomer takes, if any. None while more urgent ones of its identity queue.
    fn place_for(&self, newcomer: Ticket) -> Option<usize> {
        let turn = (false, Some(self.turn(newcomer)));
        let last = (0..RUNWAY_LEN).max_by_key(|place| self.turn_of_place(*place))?;
        let is_earlier = turn < self.turn_of_place(last);
        (is_earlier && self.queue.leads(newcomer)).then_some(last)
    }

    /// Sorts places by whose turn comes first there, the vacant ones last.
    fn turn_of_place(&self, place: usize) -> (bool, Option<(Rank, Ticket)>) {
        let standing = self.standing[place];
        let turn = standing.map(|standing| self.turn(standing.ticket));
        (turn.is_none(), turn)
    }

    /// When the task's turn comes among those that stand here: after the more urgent ones of its
    /// identity have been charged.
    fn turn(&self, ticket: Ticket) -> (Rank, Ticket) {
        let before = |other: Ticket| other < ticket;
        let tag = self.tag_after(ticket.class(), ticket.account, before);
        (Rank::new(tag, ticket.urgency), ticket)
    }

    /// Where an identity will stand when those of its tasks here that were chosen have started.
    fn tag_after(
        &self,
        class: Class,
        account: AccountIndex,
        chosen: impl Fn(Ticket) -> bool,
    ) -> Tag {
        let standing = self.standing.iter().flatten();
        let charges = standing
            .filter(|standing| {
                let ticket = standing.ticket;
                ticket.account == account && ticket.class() == class && chosen(ticket)
            })
            .map(|standing| standing.charge);
        let tag = self.glance.tag(&self.pool, account, class);
        tag.after(charges.sum())
    }

    fn place_of(&self, ticket: Ticket) -> Option<usize> {
        let is_it = |standing: &Standing| standing.ticket == ticket;
        let mut places = self.standing.iter();
        places.position(|standing| standing.as_ref().is_some_and(is_it))
    }

    /// Puts the whole runway into the order of now.
    fn lay_out(&mut self) {
        for place in 0..RUNWAY_LEN {
            if let Some(stood) = self.recall(place) {
                self.queue.push(stood);
            }
        }
        for place in 0..RUNWAY_LEN {
            self.fill(place);
        }
        self.publish();
    }

    /// Takes what stands on a place, if anything still does, and leaves the place vacant.
    fn recall(&mut self, place: usize) -> Option<Box<Entry<T>>> {
        self.standing[place] = None;
        self.pool.recall(self.shard, place)
    }

    /// Lays the next from the queue on a vacant place.
    fn fill(&mut self, place: usize) {
        let tag = |class, account| self.tag_after(class, account, |_| true);
        let next = self.queue.first(tag);
        if let Some(entry) = next.and_then(|(_, ticket)| self.queue.remove(ticket)) {
            self.lay(place, entry);
        }
    }

    /// Lays a task on a place; what it displaces goes back to the queue.
    fn lay(&mut self, place: usize, entry: Box<Entry<T>>) {
        self.standing[place] = Some(Standing {
            ticket: entry.ticket,
            charge: entry.charge(),
        });
        if let Some(displaced) = self.pool.lay(self.shard, place, entry) {
            self.queue.push(displaced);
        }
    }

    fn publish(&self) {
        self.pool
            .publish(self.shard, self.laid(), self.queue.present());
    }

    fn publish_behind(&self) {
        self.pool
            .publish_behind(self.shard, self.laid(), self.queue.present());
    }

    /// Whose tasks stand on the runway.
    fn laid(&self) -> Present {
        let mut laid = Present::default();
        for standing in self.standing.iter().flatten() {
            laid[standing.ticket.class() as usize].insert(standing.ticket.account);
        }
        laid
    }

    fn publish_oldest(&self) {
        for class in Class::ALL {
            let oldest = self.oldest(class).map(|ticket| ticket.sequence);
            self.pool.publish_oldest(self.shard, class, oldest);
        }
    }

    /// The oldest task here of this class.
    fn oldest(&self, class: Class) -> Option<Ticket> {
        self.oldest_where(class, |_| true)
    }

    /// The oldest that is this identity's.
    fn oldest_of(&self, account: AccountIndex, class: Class) -> Option<Ticket> {
        self.oldest_where(class, |ticket| ticket.account == account)
    }

    fn oldest_where(&self, class: Class, chosen: impl Fn(Ticket) -> bool) -> Option<Ticket> {
        let standing = self.standing.iter().flatten();
        let standing = standing.map(|standing| standing.ticket);
        let standing = standing.filter(|ticket| ticket.class() == class && chosen(*ticket));
        self.queue
            .oldest(class, &chosen)
            .into_iter()
            .chain(standing)
            .min_by_key(|ticket| ticket.sequence)
    }

    /// The oldest task here that a newcomer of this class may displace.
    fn displaceable(&self, newcomer: Class) -> Option<Ticket> {
        Class::ALL
            .into_iter()
            .filter(|class| *class >= newcomer)
            .filter_map(|class| self.oldest(class))
            .min_by_key(|ticket| ticket.sequence)
    }
}
