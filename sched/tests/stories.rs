//! What a scheduler does, told as small stories about two shards.

use orchestratord_sched::{
    Admission, Class, Dispatched, Dispatcher, Flow, Full, Instant, Origin, Pool, PoolOptions,
    ReplicaIndex, ShardId, Share, Ticket, Urgency,
};
use std::sync::Arc;
use std::time::Duration;

type Task = &'static str;

const HERE: ShardId = ShardId(0);
const THERE: ShardId = ShardId(1);

/// Two shards before one replica.
struct House {
    pool: Arc<Pool<Task>>,
    here: Dispatcher<Task>,
    there: Dispatcher<Task>,
    arrivals: u64,
}

impl House {
    fn new(slots: u32, tasks_queued_max: u32) -> Self {
        let pool = Arc::new(Pool::new(PoolOptions {
            shards: 2,
            replica_slots: vec![slots],
            tasks_queued_max,
            tokens_queued_max: None,
        }));
        Self {
            here: Dispatcher::new(HERE, Arc::clone(&pool)),
            there: Dispatcher::new(THERE, Arc::clone(&pool)),
            pool,
            arrivals: 0,
        }
    }

    /// The urgency of who comes now.
    fn urgency(&mut self, class: Class, deadline_ms: Option<u64>) -> Urgency {
        self.arrivals += 1;
        let now = Instant::ZERO + Duration::from_micros(self.arrivals);
        let deadline = deadline_ms.map(|ms| now + Duration::from_millis(ms));
        Urgency::new(class, now, deadline)
    }

    fn here(&mut self, class: Class, task: Task) -> Ticket {
        let urgency = self.urgency(class, None);
        admit(&mut self.here, urgency, task)
    }

    fn there(&mut self, class: Class, task: Task) -> Ticket {
        let urgency = self.urgency(class, None);
        admit(&mut self.there, urgency, task)
    }
}

fn admit(dispatcher: &mut Dispatcher<Task>, urgency: Urgency, task: Task) -> Ticket {
    let admission = Admission {
        share: Share::All,
        flow: Flow(0),
        urgency,
        expected_tokens: 0,
    };
    dispatcher
        .admit(admission, task)
        .expect("the queue has room")
        .ticket
}

fn start(dispatcher: &mut Dispatcher<Task>) -> Dispatched<Task> {
    dispatcher
        .dispatch()
        .expect("a slot is free and a task waits")
}

/// Runs one task after the other on this shard, in the slot of `running`.
fn run_all(dispatcher: &mut Dispatcher<Task>, running: Dispatched<Task>) -> Vec<Task> {
    let mut ran = Vec::new();
    let mut next = Some(running);
    while let Some(Dispatched { task, lease, .. }) = next {
        ran.push(task);
        next = dispatcher.dispatch_with(lease);
    }
    ran
}

#[test]
fn a_batch_task_steps_aside_for_an_interactive_one() {
    let mut house = House::new(1, 9);
    house.here(Class::Batch, "batch");
    house.here(Class::Interactive, "interactive");
    let first = start(&mut house.here);
    assert_eq!(run_all(&mut house.here, first), ["interactive", "batch"]);
}

#[test]
fn a_deadline_goes_before_patience_and_an_earlier_one_before_a_later() {
    let mut house = House::new(1, 9);
    house.here(Class::Interactive, "patient");
    for (ms, task) in [(5000, "late"), (50, "soon")] {
        let urgency = house.urgency(Class::Interactive, Some(ms));
        admit(&mut house.here, urgency, task);
    }
    let first = start(&mut house.here);
    assert_eq!(run_all(&mut house.here, first), ["soon", "late", "patient"]);
}

#[test]
fn whoever_is_equally_urgent_goes_first_come_first_served() {
    let mut house = House::new(1, 20);
    let tasks = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for task in tasks {
        house.here(Class::Batch, task);
    }
    let first = start(&mut house.here);
    assert_eq!(run_all(&mut house.here, first), tasks);
}

#[test]
fn a_bound_that_is_moved_holds_for_whoever_comes_next() {
    let mut house = House::new(1, 2);
    house.here(Class::Batch, "a");
    house.there(Class::Batch, "b");
    house.pool.set_tasks_queued_max(1);
    let urgency = house.urgency(Class::Batch, None);
    let admission = Admission {
        share: Share::All,
        flow: Flow(0),
        urgency,
        expected_tokens: 0,
    };
    let refused = house.here.admit(admission, "too many").unwrap_err();
    assert_eq!(refused.full, Full::Tasks);
    house.pool.set_tasks_queued_max(3);
    house.here(Class::Batch, "c");
    let first = start(&mut house.here);
    assert_eq!(run_all(&mut house.here, first), ["a", "b", "c"]);
}

#[test]
fn a_thief_takes_the_most_urgent_task_anywhere_and_says_whose_it_was() {
    let mut house = House::new(1, 9);
    house.here(Class::Batch, "mine");
    house.there(Class::Interactive, "theirs");
    let stolen = start(&mut house.here);
    assert_eq!(stolen.task, "theirs");
    assert_eq!(stolen.origin, Origin::StolenFrom(THERE));
}

#[test]
fn nobody_steals_what_is_no_more_urgent_than_the_own() {
    let mut house = House::new(1, 9);
    let urgency = house.urgency(Class::Batch, None);
    admit(&mut house.there, urgency, "theirs");
    admit(&mut house.here, urgency, "mine");
    let own = start(&mut house.here);
    assert_eq!((own.task, own.origin), ("mine", Origin::Own));
}

#[test]
fn what_stands_behind_the_runway_comes_in_sight_when_the_victim_refills() {
    let mut house = House::new(6, 9);
    for task in ["a", "b", "c", "d", "hidden"] {
        house.there(Class::Batch, task);
    }
    let stolen: Vec<_> = std::iter::from_fn(|| house.here.dispatch()).collect();
    assert_eq!(
        stolen.iter().map(|next| next.task).collect::<Vec<_>>(),
        ["a", "b", "c", "d"]
    );
    house.there.refill();
    assert_eq!(start(&mut house.here).task, "hidden");
}

#[test]
fn a_task_that_waits_is_canceled_once_and_its_room_is_free_again() {
    let mut house = House::new(1, 1);
    let ticket = house.here(Class::Batch, "unwanted");
    assert_eq!(house.pool.queued(Class::Batch), 1);
    assert_eq!(house.here.remove(ticket), Some("unwanted"));
    assert_eq!(house.here.remove(ticket), None);
    assert_eq!(house.pool.queued(Class::Batch), 0);
    assert!(house.here.dispatch().is_none());
}

#[test]
fn a_task_that_a_thief_has_cannot_be_canceled_where_it_was() {
    let mut house = House::new(1, 9);
    let ticket = house.there(Class::Batch, "gone");
    let stolen = start(&mut house.here);
    assert_eq!(house.there.remove(ticket), None);
    assert_eq!(stolen.task, "gone");
}

#[test]
fn the_bound_is_the_pools_and_not_a_shards() {
    let mut house = House::new(0, 2);
    house.here(Class::Batch, "a");
    house.there(Class::Batch, "b");
    let urgency = house.urgency(Class::Interactive, None);
    let admission = Admission {
        share: Share::All,
        flow: Flow(0),
        urgency,
        expected_tokens: 0,
    };
    let refused = house.here.admit(admission, "c").expect_err("two wait");
    assert_eq!((refused.full, refused.task), (Full::Tasks, "c"));
}

#[test]
fn a_position_counts_who_goes_before() {
    let mut house = House::new(0, 9);
    house.there(Class::Batch, "batch");
    house.there(Class::Interactive, "interactive");
    let mut position = |class| {
        let urgency = house.urgency(class, None);
        let admission = Admission {
            share: Share::All,
            flow: Flow(0),
            urgency,
            expected_tokens: 0,
        };
        house
            .here
            .admit(admission, "asks")
            .expect("there is room")
            .position
    };
    assert_eq!(
        position(Class::Interactive),
        1,
        "the batch task does not count"
    );
    assert_eq!(position(Class::Batch), 3);
}

#[test]
fn the_oldest_of_the_same_class_or_a_lower_one_makes_room() {
    let mut house = House::new(0, 9);
    house.here(Class::Interactive, "somebody watches");
    house.here(Class::Batch, "older");
    house.here(Class::Batch, "newer");
    let mut drop = |class| house.here.drop_oldest(class).map(|(_, task)| task);
    assert_eq!(drop(Class::Batch), Some("older"));
    assert_eq!(drop(Class::Batch), Some("newer"));
    assert_eq!(drop(Class::Batch), None);
    assert_eq!(drop(Class::Interactive), Some("somebody watches"));
}

#[test]
fn room_is_made_where_the_oldest_waits_whichever_shard_that_is() {
    let mut house = House::new(0, 9);
    house.there(Class::Batch, "older");
    house.here(Class::Batch, "newer");
    house.there(Class::Interactive, "somebody watches");
    assert_eq!(house.here.oldest_at(Class::Batch), Some(THERE));
    assert!(house.there.drop_oldest(Class::Batch).is_some());
    assert_eq!(house.there.oldest_at(Class::Batch), Some(HERE));
    assert!(house.here.drop_oldest(Class::Batch).is_some());
    assert_eq!(house.here.oldest_at(Class::Batch), None);
    assert_eq!(house.here.oldest_at(Class::Interactive), Some(THERE));
}

#[test]
fn a_replica_that_goes_out_of_service_starts_nothing_and_finishes_what_runs() {
    let mut house = House::new(1, 9);
    house.here(Class::Batch, "runs");
    house.here(Class::Batch, "waits");
    let running = start(&mut house.here);
    house.pool.offer(ReplicaIndex(0), 0);
    assert!(!house.pool.ready(ReplicaIndex(0)));
    assert!(house.here.dispatch_with(running.lease).is_none());
    house.pool.offer(ReplicaIndex(0), 1);
    assert_eq!(start(&mut house.here).task, "waits");
}

#[test]
fn tasks_spread_over_replicas() {
    let pool = Arc::new(Pool::new(PoolOptions {
        shards: 1,
        replica_slots: vec![1, 2],
        tasks_queued_max: 9,
        tokens_queued_max: None,
    }));
    let mut shard = Dispatcher::new(HERE, pool);
    for task in ["a", "b", "c"] {
        let urgency = Urgency::new(Class::Batch, Instant::ZERO, None);
        admit(&mut shard, urgency, task);
    }
    let running: Vec<_> = std::iter::from_fn(|| shard.dispatch()).collect();
    let replicas: Vec<_> = running.iter().map(|next| next.lease.replica().0).collect();
    assert_eq!(
        replicas,
        [1, 0, 1],
        "where most slots are free, then the first"
    );
}

#[test]
fn a_task_whose_engine_broke_waits_again_before_those_who_came_after_it() {
    let mut house = House::new(1, 2);
    let urgency = house.urgency(Class::Interactive, None);
    admit(&mut house.here, urgency, "unlucky");
    let Dispatched {
        task,
        lease,
        mut bill,
        ..
    } = start(&mut house.here);
    house.there(Class::Interactive, "second");
    house.there(Class::Interactive, "third");

    // The queue is full, and it comes in all the same: it was let in before.
    let admission = Admission {
        share: Share::All,
        flow: Flow(0),
        urgency,
        expected_tokens: 0,
    };
    let ticket = house.here.readmit(&mut bill, admission, task);
    assert_eq!(house.pool.queued(Class::Interactive), 3);
    assert_eq!(ticket.urgency(), urgency);

    // Another shard's slot has it as soon as its own would.
    let next = house.there.dispatch_with(lease).expect("three wait");
    assert_eq!(
        (next.task, next.origin),
        ("unlucky", Origin::StolenFrom(HERE))
    );
    house.here.refill();
    let ran = run_all(&mut house.there, next);
    assert_eq!(ran, ["unlucky", "second", "third"]);
    assert_eq!(house.pool.queued(Class::Interactive), 0);
}

/// This identity brings one task.
fn bring(house: &mut House, flow: u32, class: Class) -> Result<(), Full> {
    let admission = Admission {
        flow: Flow(flow),
        share: Share::LeavesRoom,
        urgency: house.urgency(class, None),
        expected_tokens: 0,
    };
    let admitted = house.here.admit(admission, "a task");
    admitted.map(drop).map_err(|refused| refused.full)
}

/// How many of these tasks are let in before one is refused.
fn flood(house: &mut House, flow: u32, class: Class) -> usize {
    let bring = |_: &usize| bring(house, flow, class) == Ok(());
    (0..).take_while(bring).count()
}

#[test]
fn one_that_floods_leaves_half_of_the_queue_and_the_next_half_of_that() {
    let mut house = House::new(0, 16);
    assert_eq!(flood(&mut house, 1, Class::Interactive), 8);
    assert_eq!(bring(&mut house, 1, Class::Interactive), Err(Full::Share));
    assert_eq!(flood(&mut house, 2, Class::Interactive), 4);
    assert_eq!(flood(&mut house, 3, Class::Interactive), 2);
}

#[test]
fn a_flood_of_batch_keeps_out_nobody_who_goes_before_it() {
    let mut house = House::new(0, 16);
    assert_eq!(flood(&mut house, 1, Class::Batch), 8);
    assert_eq!(flood(&mut house, 1, Class::Interactive), 4);
}

#[test]
fn whoever_has_no_task_waiting_gets_the_last_place() {
    let mut house = House::new(0, 3);
    for flow in 1..=3 {
        assert_eq!(bring(&mut house, flow, Class::Batch), Ok(()));
    }
    assert_eq!(bring(&mut house, 4, Class::Batch), Err(Full::Tasks));
    assert_eq!(bring(&mut house, 1, Class::Batch), Err(Full::Share));
}

#[test]
fn a_share_that_is_used_makes_room_of_its_own_and_of_nobody_elses() {
    let mut house = House::new(0, 4);
    for (flow, task) in [(1, "another's"), (2, "first"), (2, "second")] {
        let admission = Admission {
            flow: Flow(flow),
            share: Share::All,
            urgency: house.urgency(Class::Batch, None),
            expected_tokens: 0,
        };
        house.here.admit(admission, task).expect("there is room");
    }
    let mut drop_oldest = || {
        let dropped = house.here.drop_oldest_of(Flow(2), Class::Batch);
        dropped.map(|(_, task)| task)
    };
    assert_eq!(drop_oldest(), Some("first"));
    assert_eq!(drop_oldest(), Some("second"));
    assert_eq!(drop_oldest(), None);
}
