//! What several threads touch: the only atomics of this crate.
//!
//! Everything of a pool that shards share is here, one file for each kind of word:
//! `slots` (what replicas offer), `accounts` (what each identity has been served), `heads` (whose
//! tasks each shard has), `runway` (the next few tasks themselves, there to be stolen), `quota` (how
//! many may wait), `elders` (who has waited longest), and `pool`, which holds them together. There is
//! no lock and no `unsafe`.
//!
//! # Why no slot stays idle
//!
//! Two threads can miss each other. One brings a task and finds no slot; the other has just looked
//! for tasks, found none, and lays its slot down. If each acts before it sees the other, a slot
//! idles beside a waiting task until something else happens. This is the store-buffering test of
//! the memory-model books, and the remedy is theirs: each side writes its own word first and reads
//! the other's afterwards, all four sequentially consistent.
//!
//! ```text
//!   who brings a task                       who holds a slot
//!   ─────────────────                       ────────────────
//!                                           read publications
//!   lay the task on the runway              scan all heads: nobody
//!   count publications up        (W)        give the slot back           (W)
//!   take a slot: none free       (R)        read publications: the same  (R)
//! ```
//!
//! In the one order that all threads agree on, one of the two writes is first. If it is the
//! publication, the other's last read sees the count changed, and it scans again. If it is the
//! slot, the first takes it. So at least one of them stays with the task. Three things follow for
//! callers:
//!
//! - whoever publishes then calls `dispatch`, until it returns `None`;
//! - a slot is taken *before* the search for a task, never after;
//! - whoever [offers](Pool::offer) a replica's slots has some shard call `dispatch`.
//!
//! A task behind its shard's runway is out of the thieves' reach. Thieves may empty a runway
//! between two turns of its owner, which is why each thief tells the victim to refill; and it may
//! become the turn of an identity that has tasks behind a runway and none on it, which is why who
//! takes another's task meanwhile asks that shard to refill. Until the message arrives, the tasks
//! behind wait. That delay, one message, is the bound.

mod accounts;
mod atomic;
mod elders;
mod heads;
mod pool;
mod quota;
mod rate;
mod runway;
mod slots;

pub use accounts::{ACCOUNTS_MAX, Bill};
pub use pool::{Pool, PoolOptions, ShardId};
pub use quota::Full;
pub use rate::{Bucket, Rate};
pub use runway::RUNWAY_LEN;
pub use slots::{Lease, ReplicaIndex};

pub(crate) use accounts::AccountIndex;
pub(crate) use heads::Present;
pub(crate) use runway::Tried;
