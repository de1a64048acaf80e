//! Any sequence of calls, on two shards, against a plain list: what is canceled is canceled, what
//! runs runs once, and the counts are exact.

use orchestratord_sched::{
    Admission, Class, Dispatched, Dispatcher, Flow, Instant, Lease, Pool, PoolOptions, ShardId,
    Share, Ticket, Urgency,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Call {
    Admit {
        shard: usize,
        class: Class,
        flow: u32,
        due: u64,
    },
    /// Cancels one of the tasks so far, wherever it is.
    Remove {
        task: usize,
    },
    Dispatch {
        shard: usize,
    },
    /// Ends one of those that run.
    End {
        nth: usize,
        shard: usize,
    },
    Refill {
        shard: usize,
    },
}

fn call() -> impl Strategy<Value = Call> {
    let shard = 0..2_usize;
    let class = prop_oneof![Just(Class::Interactive), Just(Class::Batch)];
    prop_oneof![
        3 => (shard.clone(), class, 0..3_u32, 0..50_u64).prop_map(|(shard, class, flow, due)| Call::Admit { shard, class, flow, due }),
        1 => (0..40_usize).prop_map(|task| Call::Remove { task }),
        2 => shard.clone().prop_map(|shard| Call::Dispatch { shard }),
        1 => (0..4_usize, shard.clone()).prop_map(|(nth, shard)| Call::End { nth, shard }),
        1 => shard.prop_map(|shard| Call::Refill { shard }),
    ]
}

/// What the list says of a task.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Waits {
        shard: usize,
        class: Class,
        ticket: Ticket,
    },
    Runs,
    Over,
}

const TASKS_MAX: u32 = 12;
const SLOTS: u32 = 3;

struct World {
    pool: Arc<Pool<usize>>,
    shards: Vec<Dispatcher<usize>>,
    fates: Vec<Fate>,
    leases: BTreeMap<usize, Lease>,
}

impl World {
    fn new() -> Self {
        let pool = Arc::new(Pool::new(PoolOptions {
            shards: 2,
            replica_slots: vec![SLOTS],
            tasks_queued_max: TASKS_MAX,
            tokens_queued_max: None,
        }));
        let shard = |index| Dispatcher::new(ShardId(index), Arc::clone(&pool));
        Self {
            shards: vec![shard(0), shard(1)],
            pool,
            fates: Vec::new(),
            leases: BTreeMap::new(),
        }
    }

    fn waiting(&self, of: Class) -> u32 {
        let waits = |fate: &&Fate| matches!(fate, Fate::Waits { class, .. } if *class == of);
        u32::try_from(self.fates.iter().filter(waits).count()).unwrap_or(u32::MAX)
    }

    fn started(&mut self, next: Option<Dispatched<usize>>) {
        let Some(Dispatched { task, lease, .. }) = next else {
            return;
        };
        assert!(
            matches!(self.fates[task], Fate::Waits { .. }),
            "{:?}",
            self.fates[task]
        );
        self.fates[task] = Fate::Runs;
        self.leases.insert(task, lease);
    }

    fn call(&mut self, call: &Call) {
        match *call {
            Call::Admit {
                shard,
                class,
                flow,
                due,
            } => {
                let task = self.fates.len();
                let urgency = Urgency::new(class, Instant::ZERO, Some(Instant::from_nanos(due)));
                let is_full = Class::ALL
                    .iter()
                    .map(|class| self.waiting(*class))
                    .sum::<u32>()
                    == TASKS_MAX;
                match self.shards[shard].admit(
                    Admission {
                        share: Share::All,
                        flow: Flow(flow),
                        urgency,
                        expected_tokens: 2,
                    },
                    task,
                ) {
                    Ok(admitted) => {
                        let ticket = admitted.ticket;
                        self.fates.push(Fate::Waits {
                            shard,
                            class,
                            ticket,
                        });
                        assert!(!is_full);
                    }
                    Err(refused) => {
                        assert_eq!(refused.task, task);
                        assert!(is_full);
                    }
                }
            }
            Call::Remove { task } => {
                if let Some(Fate::Waits { shard, ticket, .. }) = self.fates.get(task).copied() {
                    assert_eq!(self.shards[shard].remove(ticket), Some(task));
                    assert_eq!(self.shards[shard].remove(ticket), None);
                    self.fates[task] = Fate::Over;
                }
            }
            Call::Dispatch { shard } => {
                let next = self.shards[shard].dispatch();
                self.started(next);
            }
            Call::End { nth, shard } => {
                let Some(task) = self.leases.keys().copied().nth(nth) else {
                    return;
                };
                self.fates[task] = Fate::Over;
                if let Some(lease) = self.leases.remove(&task) {
                    let next = self.shards[shard].dispatch_with(lease);
                    self.started(next);
                }
            }
            Call::Refill { shard } => self.shards[shard].refill(),
        }
    }

    fn check(&self) {
        for class in Class::ALL {
            assert_eq!(self.pool.queued(class), self.waiting(class));
        }
        let waiting: u32 = Class::ALL.iter().map(|class| self.waiting(*class)).sum();
        assert_eq!(self.pool.tokens_queued(), u64::from(2 * waiting));
        assert_eq!(self.pool.leases() as usize, self.leases.len());
        assert_eq!(
            self.pool.slots_free() as usize,
            SLOTS as usize - self.leases.len()
        );
    }
}

proptest! {
    #[test]
    fn the_books_are_exact_after_any_calls(calls in prop::collection::vec(call(), 1..80)) {
        let mut world = World::new();
        for call in &calls {
            world.call(call);
            world.check();
        }
    }
}
