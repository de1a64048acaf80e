//! Decisions: which task runs next, where, and whether it may come in at all.
//!
//! Think of a bakery with several counters. Customers queue at the counter they happened to
//! enter by, there is one row of ovens behind all of them, and whoever sees an oven free calls
//! the customer whose turn it is in the house, not merely the first at the own counter. Whose turn
//! is it? Of who has had least so far, and among one's own errands, of the most urgent.
//!
//! | word | meaning |
//! | --- | --- |
//! | task | one unit of generation work; this crate carries it as an opaque `T` |
//! | pool | replicas that serve the same model; the unit of queueing |
//! | replica | one running engine instance that offers a number of slots |
//! | slot | room for one task at a time on a replica; whoever holds it holds a [`Lease`] |
//! | class | [`Class::Interactive`] goes before [`Class::Batch`] |
//! | flow | whose a task is: those who send tasks share the pool, see [`fairness`] |
//! | shard | one thread; it owns one [`Dispatcher`] for each pool |
//!
//! Four promises, which [`sim`] checks after every step of a seeded world:
//!
//! 1. *Work conservation*: no slot is idle while a task that may run on it waits.
//! 2. *Bounded priority inversion*: nothing waits behind a task whose turn comes later for longer
//!    than one dispatch, or one message to the shard where it waits.
//! 3. *Fair share*: within a class, identities get tokens alike while they wait; and whoever brings a
//!    first task is passed by at most one task of each other, however many those have queued.
//! 4. *Room for others*, where [shares](Share) are kept: whoever floods leaves places, and who has no task waiting
//!    in a class is let in while there is any.
//!
//! # Driving it
//!
//! A [`Pool`] is shared by all shards; each shard makes one [`Dispatcher`] of it. **After every
//! [`admit`](Dispatcher::admit), [`remove`](Dispatcher::remove) and
//! [`refill`](Dispatcher::refill), call [`dispatch`](Dispatcher::dispatch) until it returns
//! `None`**; after a task has ended, hand its lease to
//! [`dispatch_with`](Dispatcher::dispatch_with) first, and before that settle its [`Bill`]. When a
//! task came [from another shard](Origin::StolenFrom), tell that shard to refill, and likewise each
//! shard that a dispatch finds [outdated](Dispatched::outdated).
//!
//! ```
//! use orchestratord_sched::{
//!     Admission, Class, Dispatcher, Flow, Instant, Pool, PoolOptions, ShardId, Share, Urgency,
//! };
//! use std::sync::Arc;
//!
//! let pool = Arc::new(Pool::new(PoolOptions {
//!     shards: 1,
//!     replica_slots: vec![1],
//!     tasks_queued_max: 16,
//!     tokens_queued_max: None,
//! }));
//! let mut shard = Dispatcher::new(ShardId(0), Arc::clone(&pool));
//!
//! for prompt in ["first", "second"] {
//!     let urgency = Urgency::new(Class::Interactive, Instant::ZERO, None);
//!     let (flow, share) = (Flow(0), Share::All);
//!     let admission = Admission { flow, share, urgency, expected_tokens: 100 };
//!     shard.admit(admission, prompt).expect("sixteen may wait");
//! }
//!
//! let running = shard.dispatch().expect("a slot is free");
//! assert_eq!(running.task, "first");
//! assert!(shard.dispatch().is_none(), "the only slot is taken");
//!
//! running.bill.settle(120); // It used more tokens than expected.
//! let next = shard.dispatch_with(running.lease).expect("one task waits");
//! assert_eq!(next.task, "second");
//! ```
//!
//! # Not here
//!
//! No clock, no socket, no file, no thread, no entropy: time and seeds are arguments. No state
//! outside what a caller holds. Only [`shared`] knows that there are several threads; all else is
//! single-threaded `&mut self`.

pub mod admission;
pub mod breaker;
pub mod budget;
pub mod deadline;
pub mod device_mask;
pub mod dispatch;
pub mod estimate;
pub mod fairness;
pub mod lifecycle;
pub mod placement;
pub mod prng;
pub mod pulse;
mod queue;
pub mod session;
pub mod shared;
pub mod sim;
pub mod time;
pub mod urgency;

pub use admission::{Admission, Admitted, Policy, Refused, Share};
pub use deadline::Feasibility;
pub use device_mask::{BadDeviceMask, DeviceMask};
pub use dispatch::{Dispatched, Dispatcher, Origin};
pub use estimate::{Estimate, Load, Progress, Text};
pub use fairness::Flow;
pub use lifecycle::{ReplicaEvent, ReplicaState, TaskEvent, TaskState};
pub use queue::Ticket;
pub use shared::{Bill, Bucket, Full, Lease, Pool, PoolOptions, Rate, ReplicaIndex, ShardId};
pub use time::Instant;
pub use urgency::{Class, Urgency};
