//! A queue with several servers, in numbers: what the estimator said, against what happened.
//!
//! Tasks arrive at random (M), texts have log-normal lengths (G), and a pool has a few slots (k). The
//! estimator and the queue are the daemon's own; only the clock and the engine are numbers. At
//! admission, with the first token and as often as a stream tells it, each task asks how likely it ends
//! by a moment that is drawn widely; at its end it is known whether it did.

mod bins;
mod task;

pub use self::bins::{BINS, Bin, Bins};
use self::task::{Task, tasks};

use orchestratord_sched::prng::Prng;
use orchestratord_sched::{
    Admission, Class, Dispatched, Dispatcher, Estimate, Flow, Instant, Lease, Load, Pool,
    PoolOptions, Progress, ShardId, Share, Text, Urgency,
};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

/// `k`.
const SLOTS: u32 = 8;
/// What the queue holds; a load above 1 is steady only because of it.
const TASKS_QUEUED_MAX: u32 = 64;
/// Tasks during which the estimator learns and is not held to what it says.
const WARM_UP: usize = 500;

/// Moments asked about lie up to this factor before or after what is usual: so all odds are told.
const ASKED_FACTOR: f64 = 6.0;
/// What is usual for a task that has a slot.
const ASKED: Duration = Duration::from_millis(2500);

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Decides everything that is drawn.
    pub seed: u64,
    /// Work that arrives, against what the slots can do.
    pub load: f64,
    /// How many tasks arrive.
    pub tasks: usize,
}

/// What was told at admission, and what was told later.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Told to tasks that waited, or had just got a slot.
    pub admission: Bins,
    /// Told with the first token, and regularly while tokens came.
    pub later: Bins,
}

/// Simulates, and holds what was said to what happened.
#[must_use]
pub fn simulate(options: Options) -> Outcome {
    World::new(options).run()
}

/// What one was told: the odds that it would have ended by then.
#[derive(Clone, Copy)]
struct Told {
    is_later: bool,
    odds: f64,
    by: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    FirstToken,
    /// So many tokens have come.
    Told(u32),
    End,
}

struct World {
    options: Options,
    tasks: Vec<Task>,
    questions: Prng,
    shard: Dispatcher<usize>,
    pool: Arc<Pool<usize>>,
    estimate: Estimate,
    leases: Vec<Option<Lease>>,
    told: Vec<Vec<Told>>,
    events: BinaryHeap<Reverse<(Instant, Event, usize)>>,
    now: Instant,
    outcome: Outcome,
}

impl World {
    fn new(options: Options) -> Self {
        let tasks = tasks(options, SLOTS);
        let pool = Arc::new(Pool::new(PoolOptions {
            shards: 1,
            replica_slots: vec![SLOTS],
            tasks_queued_max: TASKS_QUEUED_MAX,
            tokens_queued_max: None,
        }));
        let arrival =
            |(number, task): (usize, &Task)| Reverse((task.arrival, Event::Arrival, number));
        Self {
            options,
            questions: Prng::new(options.seed, "questions"),
            shard: Dispatcher::new(ShardId(0), Arc::clone(&pool)),
            pool,
            estimate: Estimate::new(),
            leases: tasks.iter().map(|_| None).collect(),
            told: vec![Vec::new(); tasks.len()],
            events: tasks.iter().enumerate().map(arrival).collect(),
            tasks,
            now: Instant::ZERO,
            outcome: Outcome::default(),
        }
    }

    fn run(mut self) -> Outcome {
        while let Some(Reverse((when, event, number))) = self.events.pop() {
            self.now = when;
            match event {
                Event::Arrival => self.arrive(number),
                Event::FirstToken => self.first_token(number),
                Event::Told(tokens_out) => self.tell(number, Progress::Decode, tokens_out),
                Event::End => self.end(number),
            }
        }
        self.outcome
    }

    fn arrive(&mut self, number: usize) {
        let load = Load {
            tasks_ahead: self.pool.queued(Class::Interactive),
            slots_total: self.pool.slots_total(),
            slots_free: self.pool.slots_free(),
        };
        let admission = Admission {
            share: Share::All,
            flow: Flow(0),
            urgency: Urgency::new(Class::Interactive, self.now, None),
            expected_tokens: self.tasks[number].text.tokens_expected,
        };
        if self.shard.admit(admission, number).is_ok() {
            self.tell(number, Progress::Queued(load), 0);
        }
        while let Some(dispatched) = self.shard.dispatch() {
            self.start(dispatched);
        }
    }

    fn start(&mut self, dispatched: Dispatched<usize>) {
        let Dispatched {
            task: number,
            lease,
            ..
        } = dispatched;
        self.leases[number] = Some(lease);
        let first_token = self.now + self.tasks[number].first_token;
        self.events
            .push(Reverse((first_token, Event::FirstToken, number)));
    }

    fn first_token(&mut self, number: usize) {
        let task = self.tasks[number];
        self.estimate.observe_first_token(task.first_token);
        for (after, tokens_out) in task.told() {
            let told = (self.now + after, Event::Told(tokens_out), number);
            self.events.push(Reverse(told));
        }
        let end = (self.now + task.decode(), Event::End, number);
        self.events.push(Reverse(end));
    }

    fn end(&mut self, number: usize) {
        let task = self.tasks[number];
        self.estimate.observe_service(task.service());
        self.estimate.observe_decode(task.decode(), task.tokens);
        self.estimate
            .observe_length(task.text.tokens_expected, task.tokens);
        self.hold_to_account(number);
        let lease = self.leases[number].take().expect("who ends has run");
        if let Some(dispatched) = self.shard.dispatch_with(lease) {
            self.start(dispatched);
        }
    }

    fn tell(&mut self, number: usize, progress: Progress, tokens_out: u32) {
        let text = Text {
            tokens_out,
            ..self.tasks[number].text
        };
        let wait = match progress {
            Progress::Queued(load) => self.estimate.predicted_start(load),
            Progress::Prefill | Progress::Decode => Duration::ZERO,
        };
        let factor = ASKED_FACTOR.powf(2.0 * self.questions.fraction() - 1.0);
        let asked = (wait + ASKED).mul_f64(factor);
        self.told[number].push(Told {
            is_later: progress == Progress::Decode,
            odds: self.estimate.on_time_probability(progress, text, asked),
            by: self.now + asked,
        });
    }

    fn hold_to_account(&mut self, number: usize) {
        if number < WARM_UP.min(self.options.tasks / 2) {
            return;
        }
        for told in &self.told[number] {
            let bins = if told.is_later {
                &mut self.outcome.later
            } else {
                &mut self.outcome.admission
            };
            bins.count(told.odds, self.now <= told.by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_about_what_happens_under_any_load() {
        for load in [0.5, 0.95, 1.2] {
            let outcome = simulate(Options {
                seed: 7,
                load,
                tasks: 4000,
            });
            for bins in [&outcome.admission, &outcome.later] {
                assert!(bins.total() > 1000, "{load}: {bins:?}");
                assert!(bins.error() < 0.1, "{load}: {bins:?}");
            }
        }
    }

    #[test]
    fn a_run_is_its_seed() {
        let error = |seed| {
            let (load, tasks) = (0.8, 1000);
            simulate(Options { seed, load, tasks }).later.error()
        };
        assert!(error(1).to_bits() == error(1).to_bits());
        assert!(error(1).to_bits() != error(2).to_bits());
    }
}
