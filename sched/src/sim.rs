//! A seeded world that drives the real dispatchers, and rules that hold after every step of it.
//!
//! The shards, their dispatchers and the pool are the ones that the daemon runs. What is simulated
//! is everything around them: who arrives when ([`workload`]), how long engines take, which break before
//! they have said anything, who changes his mind, replicas that come and go, and messages between shards
//! that take their time. The clock
//! is virtual and there is one thread, so a seed decides everything, and a seed that broke a rule
//! breaks it again.
//!
//! After each step ([`rules`]):
//!
//! 1. *Work conservation.* While no message is under way, no slot is free beside a waiting task.
//! 2. *Bounded priority inversion.* A task is dispatched before one whose turn comes earlier (of a
//!    higher class, of an identity that was served less, or more urgent) only if that one stood behind
//!    another shard's runway, and a message about that was under way: of a theft there, or one that
//!    asks for a refill, if need be sent on this occasion. Where only one identity waits, thieves must
//!    have emptied all [`RUNWAY_LEN`](crate::shared::RUNWAY_LEN) places of the runway.
//! 3. *First in, first out.* Of tasks of one identity that wait at one shard in one class without a
//!    deadline, none overtakes one that arrived earlier.
//! 4. *Fair share.* The first task of an identity is passed by at most one task of each other identity
//!    of its class, but by those that were themselves overtaken. Of two identities that both wait,
//!    none is served much more than the other, by a bound in tasks a slot.
//! 5. *Room for others.* Where shares are kept, an identity has a place only if fewer of its tasks wait in the class
//!    than places are left, or none; and whoever has none is refused only by a queue that is full.
//! 6. *Exact accounting.* What the pool counts is what waits and what runs; each admitted task ends
//!    exactly once; a cancel finds every task that waits, and no other.
//!
//! ```
//! use orchestratord_sched::sim::{self, Options};
//!
//! let report = sim::run(42, &Options::drawn(42)).unwrap();
//! assert_eq!(report.admitted, report.finished + report.canceled + report.dropped);
//! ```

mod rules;
mod shares;
mod workload;
mod world;

pub use rules::Rule;

use crate::admission::{Policy, Share};
use crate::prng::Prng;
use core::fmt;
use core::time::Duration;
use world::World;

/// What a world is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many shards; at least 1.
    pub shards: usize,
    /// The slots of each replica; at least one replica.
    pub replica_slots: Vec<u32>,
    /// How many tasks arrive.
    pub tasks: u32,
    /// Whose tasks they are: so many identities; at least 1.
    pub identities: u32,
    /// The share of tasks that begin a flood: the next so many come at once, all of one identity.
    pub floods: f64,
    /// How many.
    pub flood_tasks: u32,
    /// How many may wait.
    pub tasks_queued_max: u32,
    /// What a full queue does.
    pub policy: Policy,
    /// How much of the queue one identity may have.
    pub share: Share,
    /// How much work arrives, as a share of what the slots can do.
    pub load: f64,
    /// The share of tasks of the batch class.
    pub batch: f64,
    /// The share of tasks with a deadline.
    pub deadlines: f64,
    /// The share of tasks that are canceled before they would have ended.
    pub cancels: f64,
    /// How often a replica stops offering its slots, per arrival.
    pub outages: f64,
    /// The share of tasks whose engine breaks before it has said anything, so that they wait again.
    pub breaks: f64,
    /// The longest that a message from shard to shard takes.
    pub message_delay_max: Duration,
}

impl Options {
    /// Some small world: one of those that this seed is for.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        let mut prng = Prng::new(seed, "options");
        let mut small = |range| u32::try_from(prng.within(range)).unwrap_or(u32::MAX);
        let (shards, replicas) = (small(1..=8), small(1..=3));
        let replica_slots = (0..replicas).map(|_| small(1..=4)).collect();
        let tasks_queued_max = small(1..=64);
        let (identities, flood_tasks) = (small(1..=6), small(0..=100));
        Self {
            shards: shards as usize,
            replica_slots,
            tasks: 300,
            identities,
            floods: prng.fraction() / 100.0,
            flood_tasks,
            tasks_queued_max,
            policy: if prng.chance(0.5) {
                Policy::Reject
            } else {
                Policy::DropLru
            },
            share: if prng.chance(0.5) {
                Share::All
            } else {
                Share::LeavesRoom
            },
            load: 0.3 + 1.2 * prng.fraction(),
            batch: prng.fraction(),
            deadlines: prng.fraction() / 2.0,
            cancels: prng.fraction() / 3.0,
            outages: prng.fraction() / 50.0,
            message_delay_max: Duration::from_micros(prng.within(1..=2_000_000)),
            breaks: prng.fraction() / 4.0,
        }
    }
}

/// What happened in a world without a breach. Counts of tasks, unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Let in.
    pub admitted: u64,
    /// Turned away.
    pub refused: u64,
    /// Started in a slot.
    pub dispatched: u64,
    /// Of these, taken from another shard.
    pub stolen: u64,
    /// Ended by themselves.
    pub finished: u64,
    /// Ended by a cancel, waiting or running.
    pub canceled: u64,
    /// Dropped from a full queue for a newcomer.
    pub dropped: u64,
    /// Had to wait again, because their engine broke.
    pub readmitted: u64,
    /// Tasks that were overtaken by one whose turn came later, as far as that is allowed.
    pub overtaken: u64,
    /// Requests to refill a runway whose turns had moved on.
    pub requests: u64,
    /// Steps of the world.
    pub steps: u64,
}

/// A rule was broken. It prints the seed, and how to see it happen again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The world's seed.
    pub seed: u64,
    /// After how many steps.
    pub step: u64,
    /// Which rule.
    pub rule: Rule,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            step,
            rule,
            seen,
        } = self;
        write!(
            f,
            "{rule:?} was broken in step {step} of seed {seed}: {seen}\n\
             again: ORCHD_SIM_SEED={seed} cargo test -p orchestratord-sched --test seeds"
        )
    }
}

impl core::error::Error for Violation {}

/// Runs the world of this seed until nothing is left to do.
///
/// # Errors
/// The first breach of a rule.
pub fn run(seed: u64, options: &Options) -> Result<Report, Violation> {
    World::new(seed, options).run()
}
