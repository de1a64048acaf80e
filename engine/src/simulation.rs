//! The daemon in a seeded world.
//!
//! Everything that decides is real: the tables of several shards over `sched`'s queues, the event logs, the directory,
//! the journal in its database, and recovery. What the seed plays is what lies around them: callers who submit, read, leave
//! and cancel ([`callers`]), engines ([`engines`]), the mail between threads and the turns of the store's ([`life`]), the
//! clock, whose hands are held and jump, a disk that forgets what was not synced ([`disk`]), and the end of the
//! daemon, in order or not ([`world`]). There is one thread, so a seed decides everything, and one that broke a
//! rule breaks it again.
//!
//! Each world draws how often each thing happens in it, and some things never do: faults hide behind other faults
//! (Groce et al., "Swarm testing", ISSTA 2012).
//!
//! After each step ([`rules`]):
//!
//! 1. *Nothing is lost.* A task that was answered 202 stands in a table, or the journal knows how it ended.
//! 2. *One home.* A task stands at one shard, which the directory names, and elsewhere only until its thief's message
//!    arrives.
//! 3. *Sound streams.* A stream is `started`, tokens without a gap, one end; readers of a stream read the same, and
//!    nothing after its end.
//! 4. *Nothing runs twice.* A task whose end was told, whose cancel was answered, or of which a word was read and the
//!    journal knows, does not run again, in this life or another, and its outcome stays what was told.
//! 5. *Counts agree.* What pools count is what waits and runs in the tables.
//! 6. *No idle slot.* When all mail is read, no slot is free beside a waiting task.

mod callers;
mod disk;
mod engines;
mod life;
mod rules;
mod stories;
mod stream;
mod world;

use std::{fmt, thread};

use orchestratord_sched::{Policy, prng::Prng};

use self::{rules::Rule, world::World};
use crate::{settings::pool::Admission, store::settings::Transcripts};

/// A task, by its number in the order of submission.
type Number = usize;

/// What a world is like.
#[derive(Clone, Debug)]
struct Options {
    shards: usize,
    /// Engines of the pool whose engines run in the process.
    replicas: u32,
    /// Of each engine.
    slots: u32,
    /// Of each pool.
    admission: Admission,
    finished_tasks_max: usize,
    transcripts: Transcripts,
    steps: u64,
}

impl Options {
    /// The world of this seed.
    fn drawn(seed: u64, steps: u64) -> Self {
        let mut prng = Prng::new(seed, "options");
        let mut small = |most| u32::try_from(prng.within(1..=most)).unwrap_or(1);
        let (shards, replicas, slots, capacity) = (small(4), small(2), small(3), small(12));
        let (finished_tasks_max, policy, transcripts) = (small(20), small(2), small(4));
        Self {
            shards: shards as usize,
            replicas,
            slots,
            admission: Admission {
                capacity,
                tokens_max: None,
                policy: if policy == 1 {
                    Policy::Reject
                } else {
                    Policy::DropLru
                },
            },
            finished_tasks_max: finished_tasks_max as usize,
            transcripts: if transcripts == 1 {
                Transcripts::Full
            } else {
                Transcripts::Off
            },
            steps,
        }
    }
}

/// What happened in worlds in which no rule was broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Report {
    steps: u64,
    submitted: u64,
    accepted: u64,
    begun: u64,
    stolen: u64,
    canceled: u64,
    /// Events that readers have read.
    read: u64,
    /// Streams that were read to their ends.
    read_to_the_end: u64,
    outages: u64,
    drains: u64,
    disk_failures: u64,
    clock_jumps: u64,
    crashes: u64,
    stops: u64,
    /// Tasks that waited again after a crash or a stop.
    recovered: u64,
    /// A digest of all that was said, in order.
    digest: u64,
}

impl Report {
    fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.steps, other.steps),
            (&mut self.submitted, other.submitted),
            (&mut self.accepted, other.accepted),
            (&mut self.begun, other.begun),
            (&mut self.stolen, other.stolen),
            (&mut self.canceled, other.canceled),
            (&mut self.read, other.read),
            (&mut self.read_to_the_end, other.read_to_the_end),
            (&mut self.outages, other.outages),
            (&mut self.drains, other.drains),
            (&mut self.disk_failures, other.disk_failures),
            (&mut self.clock_jumps, other.clock_jumps),
            (&mut self.crashes, other.crashes),
            (&mut self.stops, other.stops),
            (&mut self.recovered, other.recovered),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
        self.digest ^= other.digest;
    }
}

/// A rule was broken. It prints the seed, and how to see it happen again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Violation {
    seed: u64,
    step: u64,
    rule: Rule,
    seen: String,
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
            "{rule:?} was broken in step {step} of seed {seed}: {seen}\nagain: ORCHD_SIM_SEED={seed} cargo sim"
        )
    }
}

fn run(seed: u64, options: &Options) -> Result<Report, Violation> {
    World::new(seed, options).run()
}

/// Steps of one world, before it comes to rest.
const WORLD_STEPS: u64 = 2_000;
/// Steps of all worlds together, at least.
const STEPS: u64 = 1_000_000;

fn world(seed: u64) -> Report {
    let world = run(seed, &Options::drawn(seed, WORLD_STEPS));
    world.unwrap_or_else(|violation| panic!("{violation}"))
}

/// Many worlds, on every core.
fn worlds(count: u64) -> Report {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let run_every = |first: usize| {
        let mut all = Report::default();
        for seed in (first as u64..count).step_by(cores) {
            all.add(&world(seed));
        }
        all
    };
    thread::scope(|scope| {
        let cores: Vec<_> = (0..cores)
            .map(|core| scope.spawn(move || run_every(core)))
            .collect();
        let mut all = Report::default();
        for core in cores {
            all.add(&core.join().expect("a breach is told above"));
        }
        all
    })
}

/// A number that whoever runs the tests has said.
fn said(variable: &str) -> Option<u64> {
    let said = std::env::var(variable).ok()?;
    Some(said.parse().expect("seeds and steps are whole numbers"))
}

#[test]
fn no_seed_breaks_a_rule() {
    if let Some(seed) = said("ORCHD_SIM_SEED") {
        println!("{:#?}", world(seed));
        return;
    }
    let count = said("ORCHD_SIM_STEPS")
        .unwrap_or(STEPS)
        .div_ceil(WORLD_STEPS);
    let all = worlds(count);
    println!("{count} worlds, and no rule was broken: {all:#?}");
    // The worlds would show nothing if these never happened.
    let happened = [
        all.accepted,
        all.stolen,
        all.canceled,
        all.read_to_the_end,
        all.outages,
        all.drains,
        all.disk_failures,
        all.clock_jumps,
        all.crashes,
        all.stops,
        all.recovered,
    ];
    assert!(happened.iter().all(|count| *count > 9), "{all:?}");
}

#[test]
fn a_seed_is_a_world() {
    assert_eq!(world(7), world(7));
    assert_ne!(world(7), world(8));
}
