//! A slot is free: which task runs?
//!
//! The most urgent one anywhere. A dispatcher with a slot in hand compares the heads of all
//! shards; its own goes first if it is as urgent as any, else the most urgent one is stolen from
//! its shard's runway. Not a random victim and not the longest queue, as is usual when threads
//! steal work to stay busy: here stealing is how the order of the whole pool is kept.
//!
//! ```text
//!            queue (sorted, private)              runway (4 places, anybody may take)
//!   admit ──►  … less urgent than   ──refill──►   [ ][ ][ ][ ]  ──► own slot, or a thief's
//!             ◄── displaced by a newcomer ──
//! ```
//!
//! Rules of this file:
//!
//! - What stands on the runway is at least as urgent as anything in the queue behind it. So a
//!   place is vacant only if the queue is empty.
//! - `standing` is what the owner laid out, and perhaps a thief has since taken. The owner finds
//!   out when it next reaches for that place, and at the latest when told to refill.
//! - A search takes the slot first (see [`shared`](crate::shared)).
//!
//! How far may the order slip? Let a less urgent task start before a more urgent one. Then the
//! latter was out of sight: it stood in another shard's queue, and thieves had taken all
//! [`RUNWAY_LEN`] tasks before it since that shard last refilled, so that messages about it are on
//! their way. (On real threads add what happens within one search: a task that appears behind the
//! searcher's back, or is moved between places while it reaches, waits for the next.)

use crate::admission::{Admission, Admitted, Refused};
use crate::queue::{Entry, Queue, Ticket};
use crate::shared::{Full, Lease, Pool, RUNWAY_LEN, ShardId, Tried};
use crate::urgency::{Class, Urgency};
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
    /// Where it waited.
    pub origin: Origin,
    /// The ticket it had there.
    pub ticket: Ticket,
}

/// One shard's side of one pool.
///
/// **After every [`admit`](Self::admit), [`remove`](Self::remove), [`drop_oldest`](Self::drop_oldest)
/// and [`refill`](Self::refill), call [`dispatch`](Self::dispatch) until it returns `None`.**
pub struct Dispatcher<T> {
    shard: ShardId,
    pool: Arc<Pool<T>>,
    queue: Queue<T>,
    /// By place: what this shard laid on its runway.
    standing: [Option<Ticket>; RUNWAY_LEN],
    /// By shard: the places that the present search has tried. Kept to spare an allocation.
    tried: Box<[Tried]>,
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
            pool,
        }
    }

    /// Lets a task wait, if the pool has room.
    ///
    /// # Errors
    /// The task comes back when as many wait as may.
    pub fn admit(&mut self, admission: Admission, task: T) -> Result<Admitted, Refused<T>> {
        let Admission {
            urgency,
            expected_tokens,
        } = admission;
        let position = match self.pool.try_admit(urgency.class(), expected_tokens) {
            Ok(position) => position,
            Err(full) => return Err(Refused { full, task }),
        };
        let ticket = Ticket {
            urgency,
            sequence: self.pool.next_admission(),
        };
        self.enqueue(Box::new(Entry {
            ticket,
            expected_tokens,
            task,
        }));
        self.publish_oldest();
        Ok(Admitted { ticket, position })
    }

    /// Takes a waiting task out again. `None` if it no longer waits here: it was dispatched, by
    /// this shard or by a thief, or removed before.
    pub fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let entry = self.take_out(ticket)?;
        Some(entry.task)
    }

    /// Takes over a task that waits for another pool at the same shard; it waits here from then on, as
    /// urgent as before, and `adapt` makes of it what it is to be here. `None` if it no longer waits
    /// there, as for [`remove`](Self::remove).
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
        expected_tokens: u32,
        adapt: impl FnOnce(T) -> T,
    ) -> Result<Option<Admitted>, Full> {
        let urgency = ticket.urgency;
        let position = self.pool.try_admit(urgency.class(), expected_tokens)?;
        let Some(entry) = other.take_out(ticket) else {
            self.pool.give_up(urgency.class(), expected_tokens);
            return Ok(None);
        };
        debug_assert_eq!(entry.expected_tokens, expected_tokens);
        let ticket = Ticket {
            urgency,
            sequence: self.pool.next_admission(),
        };
        self.enqueue(Box::new(Entry {
            ticket,
            expected_tokens,
            task: adapt(entry.task),
        }));
        self.publish_oldest();
        Ok(Some(Admitted { ticket, position }))
    }

    fn take_out(&mut self, ticket: Ticket) -> Option<Box<Entry<T>>> {
        let entry = match self.place_of(ticket) {
            Some(place) => self.take_place(place),
            None => self.queue.remove(ticket),
        };
        self.publish_oldest();
        let entry = entry?;
        self.pool.release(&entry);
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

    /// Fills the gaps that thieves left on the runway.
    pub fn refill(&mut self) {
        for place in 0..RUNWAY_LEN {
            let stood = self.pool.recall(self.shard, place);
            let entry = stood.or_else(|| self.queue.pop());
            self.lay(place, entry);
        }
        self.publish();
        self.publish_oldest();
    }

    /// Starts the most urgent task anywhere, if a slot is free.
    pub fn dispatch(&mut self) -> Option<Dispatched<T>> {
        let lease = self.pool.take_slot()?;
        self.dispatch_with(lease)
    }

    /// A task has ended: starts the most urgent one anywhere in its slot.
    ///
    /// The slot stays in hand while work waits, and goes back to the pool when none does, or when
    /// its replica no longer offers it. Call [`dispatch`](Self::dispatch) afterwards all the same.
    pub fn dispatch_with(&mut self, lease: Lease) -> Option<Dispatched<T>> {
        let mut lease = self.exchange_surplus(lease)?;
        loop {
            let publications = self.pool.publications();
            if let Some((entry, origin)) = self.take_most_urgent() {
                return Some(self.start(*entry, origin, lease));
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
    fn take_most_urgent(&mut self) -> Option<(Box<Entry<T>>, Origin)> {
        self.tried.fill(Tried::default());
        // Each round takes a task, or learns that one is gone: from a victim's few places, or from
        // the own runway, whose gaps are filled as they are found.
        loop {
            let shard = self.most_urgent_shard()?;
            let (entry, origin) = if shard == self.shard {
                (self.take_own(), Origin::Own)
            } else {
                let tried = &mut self.tried[shard.0];
                (self.pool.steal(shard, tried), Origin::StolenFrom(shard))
            };
            if let Some(entry) = entry {
                return Some((entry, origin));
            }
        }
    }

    /// Ties go to this shard first, which spares a theft, then to its next neighbour, so that
    /// thieves with equal choices do not all crowd upon shard 0.
    fn most_urgent_shard(&self) -> Option<ShardId> {
        let shards = self.pool.shards();
        (0..shards)
            .map(|distance| ShardId((self.shard.0 + distance) % shards))
            .filter_map(|shard| Some((self.head(shard)?, shard)))
            .min_by_key(|(urgency, _)| *urgency)
            .map(|(_, shard)| shard)
    }

    fn head(&self, shard: ShardId) -> Option<Urgency> {
        if shard == self.shard {
            self.own_head()
        } else {
            self.pool.head(shard, self.tried[shard.0])
        }
    }

    fn take_own(&mut self) -> Option<Box<Entry<T>>> {
        let head = self.standing.iter().flatten().min()?;
        let place = self.place_of(*head)?;
        let entry = self.take_place(place);
        self.publish_oldest();
        entry
    }

    fn start(&self, entry: Entry<T>, origin: Origin, lease: Lease) -> Dispatched<T> {
        self.pool.release(&entry);
        Dispatched {
            task: entry.task,
            lease,
            origin,
            ticket: entry.ticket,
        }
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
    /// Lays the task on the runway if it is more urgent than the last there, else queues it.
    fn enqueue(&mut self, entry: Box<Entry<T>>) {
        let last = (0..RUNWAY_LEN).max_by_key(|place| self.rank(*place));
        match last.filter(|place| self.rank(*place) > (false, Some(entry.ticket))) {
            Some(place) => {
                self.lay(place, Some(entry));
                self.publish();
            }
            None => self.queue.push(entry),
        }
    }

    /// Sorts places by what stands there, the vacant ones last.
    fn rank(&self, place: usize) -> (bool, Option<Ticket>) {
        let ticket = self.standing[place];
        (ticket.is_none(), ticket)
    }

    fn place_of(&self, ticket: Ticket) -> Option<usize> {
        self.standing.iter().position(|held| *held == Some(ticket))
    }

    /// Takes what stands on a place, if anything still does, and fills the place again.
    fn take_place(&mut self, place: usize) -> Option<Box<Entry<T>>> {
        let entry = self.pool.recall(self.shard, place);
        let next = self.queue.pop();
        self.lay(place, next);
        self.publish();
        entry
    }

    /// Lays a task on a place, or leaves it vacant; what it displaces goes back to the queue.
    fn lay(&mut self, place: usize, entry: Option<Box<Entry<T>>>) {
        self.standing[place] = entry.as_ref().map(|entry| entry.ticket);
        let displaced = entry.and_then(|entry| self.pool.lay(self.shard, place, entry));
        if let Some(displaced) = displaced {
            self.queue.push(displaced);
        }
    }

    fn publish(&self) {
        self.pool.publish(self.shard, self.own_head());
    }

    fn own_head(&self) -> Option<Urgency> {
        let head = self.standing.iter().flatten().min()?;
        Some(head.urgency)
    }

    fn publish_oldest(&self) {
        for class in Class::ALL {
            let oldest = self.oldest(class).map(|ticket| ticket.sequence);
            self.pool.publish_oldest(self.shard, class, oldest);
        }
    }

    /// The oldest task here of this class.
    fn oldest(&self, class: Class) -> Option<Ticket> {
        let standing = self.standing.iter().flatten().copied();
        self.queue
            .oldest(class)
            .into_iter()
            .chain(standing.filter(|ticket| ticket.urgency.class() == class))
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
