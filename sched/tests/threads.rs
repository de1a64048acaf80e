//! The shared part under real threads: nothing is lost, nothing is taken twice, nothing is left.

use orchestratord_sched::{
    Admission, Class, Dispatched, Dispatcher, Flow, Instant, Origin, Pool, PoolOptions,
    ReplicaIndex, ShardId, Share, Urgency,
};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};

const SHARDS: usize = 4;
/// An interpreter is a thousand times slower, and looks a thousand times closer.
const TASKS_EACH: u32 = if cfg!(miri) { 5 } else { 5_000 };
const SLOTS: [u32; 2] = [2, 1];

/// What one shard's thread shares with the others.
struct World {
    pool: Arc<Pool<usize>>,
    /// By task: how often it ran.
    runs: Vec<AtomicU32>,
    running: AtomicU32,
    begin: Barrier,
}

/// A message: a thief took from you; or: it is another's turn than yours who are laid out.
struct LookAgain;

#[test]
fn every_task_of_every_thread_runs_exactly_once() {
    let tasks = SHARDS * TASKS_EACH as usize;
    let world = Arc::new(World {
        pool: Arc::new(Pool::new(PoolOptions {
            shards: SHARDS,
            replica_slots: SLOTS.to_vec(),
            tasks_queued_max: u32::MAX,
            tokens_queued_max: None,
        })),
        runs: (0..tasks).map(|_| AtomicU32::new(0)).collect(),
        running: AtomicU32::new(0),
        begin: Barrier::new(SHARDS),
    });
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..SHARDS).map(|_| mpsc::channel()).unzip();
    std::thread::scope(|scope| {
        for (index, messages) in receivers.into_iter().enumerate() {
            let (world, senders) = (Arc::clone(&world), senders.clone());
            scope.spawn(move || Shard::new(index, world, senders, messages).live());
        }
        drop(senders);
    });
    let wrong = world
        .runs
        .iter()
        .filter(|runs| runs.load(SeqCst) != 1)
        .count();
    assert_eq!(wrong, 0, "tasks that did not run exactly once");
    assert_eq!(Class::ALL.map(|class| world.pool.queued(class)), [0, 0]);
    assert_eq!(world.pool.leases(), 0);
    let free = [0, 1].map(|replica| world.pool.replica_slots_free(ReplicaIndex(replica)));
    assert_eq!(free, SLOTS);
}

struct Shard {
    index: usize,
    world: Arc<World>,
    dispatcher: Dispatcher<usize>,
    neighbours: Vec<mpsc::Sender<LookAgain>>,
    messages: mpsc::Receiver<LookAgain>,
}

impl Shard {
    fn new(
        index: usize,
        world: Arc<World>,
        neighbours: Vec<mpsc::Sender<LookAgain>>,
        messages: mpsc::Receiver<LookAgain>,
    ) -> Self {
        Self {
            dispatcher: Dispatcher::new(ShardId(index), Arc::clone(&world.pool)),
            index,
            world,
            neighbours,
            messages,
        }
    }

    /// Brings its tasks, works as long as there is work, and ends when all tasks have run.
    fn live(mut self) {
        self.world.begin.wait();
        for number in 0..TASKS_EACH {
            let task = self.index * TASKS_EACH as usize + number as usize;
            let class = Class::ALL[number as usize % 2];
            let arrival = Instant::from_nanos(number.into());
            let urgency = Urgency::new(class, arrival, None);
            let admission = Admission {
                share: Share::All,
                flow: Flow(number % 3),
                urgency,
                expected_tokens: 1,
            };
            self.dispatcher
                .admit(admission, task)
                .expect("there is no bound");
            self.work();
        }
        while self.world.runs.iter().any(|runs| runs.load(SeqCst) == 0) {
            if self.messages.try_recv().is_ok() {
                self.dispatcher.refill();
                self.work();
            }
            std::thread::yield_now();
        }
    }

    fn work(&mut self) {
        while let Some(next) = self.dispatcher.dispatch() {
            let mut next = Some(next);
            while let Some(dispatched) = next {
                next = self.run(dispatched);
            }
        }
    }

    fn run(&mut self, dispatched: Dispatched<usize>) -> Option<Dispatched<usize>> {
        let running = self.world.running.fetch_add(1, SeqCst) + 1;
        assert!(
            running <= SLOTS.iter().sum(),
            "more run than there are slots"
        );
        self.world.runs[dispatched.task].fetch_add(1, SeqCst);
        if let Origin::StolenFrom(victim) = dispatched.origin {
            // A victim that has left had nothing more to do.
            let _ = self.neighbours[victim.0].send(LookAgain);
        }
        self.world.running.fetch_sub(1, SeqCst);
        for ShardId(asked) in dispatched.outdated {
            let _ = self.neighbours[asked].send(LookAgain);
        }
        dispatched.bill.settle(2);
        self.dispatcher.dispatch_with(dispatched.lease)
    }
}
