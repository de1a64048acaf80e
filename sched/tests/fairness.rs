//! Identities share a pool, told as stories about a flood and a guest.

use orchestratord_sched::{
    Admission, Class, Dispatched, Dispatcher, Flow, Instant, Pool, PoolOptions, ShardId, Share,
    Ticket, Urgency,
};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

const FLOOD: Flow = Flow(7);
const GUEST: Flow = Flow(8);

/// Two shards before one replica, and tasks that remember whose they are.
struct House {
    pool: Arc<Pool<Flow>>,
    shards: [Dispatcher<Flow>; 2],
    running: VecDeque<Dispatched<Flow>>,
    arrivals: u64,
}

impl House {
    fn new(slots: u32) -> Self {
        let pool = Arc::new(Pool::new(PoolOptions {
            shards: 2,
            replica_slots: vec![slots],
            tasks_queued_max: u32::MAX,
            tokens_queued_max: None,
        }));
        Self {
            shards: [0, 1].map(|shard| Dispatcher::new(ShardId(shard), Arc::clone(&pool))),
            pool,
            running: VecDeque::new(),
            arrivals: 0,
        }
    }

    /// A task comes, and runs if there is a slot.
    fn admit(&mut self, shard: usize, flow: Flow, class: Class, expected_tokens: u32) -> Ticket {
        self.arrivals += 1;
        let now = Instant::ZERO + Duration::from_micros(self.arrivals);
        let admission = Admission {
            share: Share::All,
            flow,
            urgency: Urgency::new(class, now, None),
            expected_tokens,
        };
        let admitted = self.shards[shard].admit(admission, flow);
        self.running
            .extend(std::iter::from_fn(|| self.shards[shard].dispatch()));
        admitted.expect("there is no bound").ticket
    }

    fn flood(&mut self, tasks: u32, expected_tokens: u32) {
        for _ in 0..tasks {
            self.admit(0, FLOOD, Class::Interactive, expected_tokens);
        }
    }

    fn guest(&mut self, shard: usize, expected_tokens: u32) {
        self.admit(shard, GUEST, Class::Interactive, expected_tokens);
    }

    /// The task that has run longest ends at this shard after so many tokens. Whose starts?
    fn end(&mut self, shard: usize, used: u64) -> Option<Flow> {
        let ended = self.running.pop_front().expect("a task runs");
        ended.bill.settle(used);
        let next = self.shards[shard].dispatch_with(ended.lease)?;
        let flow = next.task;
        self.running.push_back(next);
        Some(flow)
    }

    /// So many tasks end after so many tokens each. How many of the guest's start?
    fn guests_among(&mut self, ends: usize, used: impl Fn(Flow) -> u64) -> usize {
        let mut guests = 0;
        for _ in 0..ends {
            let used = used(self.running[0].task);
            guests += usize::from(self.end(0, used) == Some(GUEST));
            self.shards[1].refill();
        }
        guests
    }
}

#[test]
fn a_flood_of_ten_thousand_does_not_delay_a_newcomer_by_more_than_one_task() {
    let mut house = House::new(1);
    house.flood(10_000, 100);
    house.guest(0, 100);
    assert_eq!(house.end(0, 100), Some(GUEST));
    assert_eq!(house.end(0, 100), Some(FLOOD));
}

#[test]
fn nor_does_a_flood_on_another_shard() {
    for ends_at in [0, 1] {
        let mut house = House::new(1);
        house.flood(10_000, 100);
        house.guest(1, 100);
        assert_eq!(house.end(ends_at, 100), Some(GUEST));
    }
}

#[test]
fn nor_does_one_on_many_slots_whose_tasks_end_sooner_than_expected() {
    let mut house = House::new(8);
    house.flood(10_000, 256);
    for _ in 0..100 {
        house.end(0, 5);
    }
    for number in 0..100 {
        let newcomer = Flow(100 + number);
        house.admit(1, newcomer, Class::Interactive, 256);
        assert_eq!(house.end(1, 5), Some(newcomer));
    }
}

#[test]
fn a_flood_that_is_given_back_what_it_did_not_use_does_not_go_before_newcomers_for_it() {
    let mut house = House::new(8);
    house.flood(1_000, 1_000);
    // Others take the slots: what the flood was charged comes back, and charges nothing new.
    let others = (0..8).map(|number| Flow(100 + number));
    for other in others {
        house.admit(0, other, Class::Interactive, 1_000);
    }
    for _ in 0..8 {
        assert_ne!(house.end(0, 1), Some(FLOOD));
    }
    house.guest(1, 1_000);
    let passed = (0..).take_while(|_| house.end(0, 1) != Some(GUEST)).count();
    assert!(passed <= 1, "{passed} tasks passed the newcomer");
}

#[test]
fn batch_never_goes_before_interactive_however_long_its_identity_was_away() {
    let mut house = House::new(1);
    house.flood(100, 100);
    house.admit(1, GUEST, Class::Batch, 100);
    for _ in 0..99 {
        assert_eq!(house.end(0, 100), Some(FLOOD));
    }
    assert_eq!(house.end(0, 100), Some(GUEST));
}

#[test]
fn who_was_away_has_earned_nothing() {
    let mut house = House::new(1);
    house.flood(10_000, 100);
    house.guests_among(5_000, |_| 100);
    (0..100).for_each(|_| house.guest(0, 100));
    let guests = house.guests_among(20, |_| 100);
    assert!(
        (9..=11).contains(&guests),
        "{guests} of 20 were the guest's"
    );
}

#[test]
fn tokens_are_shared_and_not_tasks() {
    let mut house = House::new(1);
    house.flood(1_000, 300);
    (0..1_000).for_each(|_| house.guest(1, 100));
    let guests = house.guests_among(400, |flow| if flow == FLOOD { 300 } else { 100 });
    assert!(
        (297..=303).contains(&guests),
        "{guests} of 400 were the guest's"
    );
}

#[test]
fn what_counts_is_what_was_used_and_not_what_was_expected() {
    let mut house = House::new(1);
    house.flood(1_000, 10);
    (0..1_000).for_each(|_| house.guest(1, 1_000));
    let guests = house.guests_among(400, |_| 10);
    assert!(
        (195..=205).contains(&guests),
        "{guests} of 400 were the guest's"
    );
}

#[test]
fn who_uses_more_than_was_expected_pays_for_it() {
    let mut house = House::new(1);
    house.flood(1_000, 1);
    (0..1_000).for_each(|_| house.guest(0, 100));
    let guests = house.guests_among(400, |_| 100);
    assert!(
        (195..=205).contains(&guests),
        "{guests} of 400 were the guest's"
    );
}

#[test]
fn what_is_canceled_while_it_waits_costs_nothing() {
    let mut house = House::new(1);
    house.flood(100, 100);
    let tickets: Vec<_> = (0..50)
        .map(|_| house.admit(0, GUEST, Class::Interactive, 1_000))
        .collect();
    for ticket in tickets {
        assert_eq!(house.shards[0].remove(ticket), Some(GUEST));
    }
    house.guest(0, 100);
    assert_eq!(house.end(0, 100), Some(GUEST));
}

#[test]
fn an_identity_alone_is_served_in_order_of_urgency_wherever_it_waits() {
    let mut house = House::new(1);
    house.flood(1, 500);
    for (shard, due_ms) in [(0, 40), (1, 30), (0, 10), (1, 20)] {
        let due = Instant::ZERO + Duration::from_millis(due_ms);
        let admission = Admission {
            share: Share::All,
            flow: FLOOD,
            urgency: Urgency::new(Class::Interactive, Instant::ZERO, Some(due)),
            expected_tokens: u32::try_from(due_ms).unwrap(),
        };
        house.shards[shard].admit(admission, FLOOD).unwrap();
    }
    let dues: Vec<_> = (0..4)
        .map(|_| {
            house.end(0, 3).expect("a task waits");
            let urgency = house.running[0].ticket.urgency();
            urgency.due().since(Instant::ZERO).as_millis()
        })
        .collect();
    assert_eq!(dues, [10, 20, 30, 40]);
}

#[test]
fn a_position_tells_a_newcomer_its_own_place_and_not_the_floods() {
    let mut house = House::new(1);
    house.flood(1_001, 100);
    let ahead = |house: &House, flow, class| house.pool.ahead_of(flow, class);
    assert_eq!(ahead(&house, FLOOD, Class::Interactive), 1_000);
    assert_eq!(ahead(&house, GUEST, Class::Interactive), 0);
    assert_eq!(ahead(&house, GUEST, Class::Batch), 1_000);
    for waiting in 0..10 {
        assert_eq!(
            ahead(&house, GUEST, Class::Interactive),
            2 * waiting,
            "its own {waiting}, and as many of the flood"
        );
        house.guest(1, 100);
    }
}

#[test]
fn more_identities_than_are_told_apart_are_all_served() {
    let mut house = House::new(1);
    let identities = 200;
    for number in 0..identities {
        house.admit(0, Flow(number), Class::Interactive, 10);
    }
    let served = (0..).take_while(|_| house.end(0, 10).is_some()).count();
    assert_eq!(served, identities as usize - 1);
}

#[test]
fn an_identity_that_is_forgotten_makes_room_for_another() {
    let mut house = House::new(1);
    for number in 0..1_000 {
        house.admit(0, Flow(number), Class::Interactive, 10);
        house.end(0, 10);
    }
    house.flood(100, 100);
    house.guest(0, 100);
    assert_eq!(house.end(0, 100), Some(GUEST));
}

proptest! {
    /// Two that both wait all the while, on one slot, whose tasks use what was expected: at no time
    /// has one had more than the other by more than a task of each.
    #[test]
    fn rivals_get_the_same_but_for_a_task_of_each(
        lengths in prop::collection::vec((1..500_u32, 1..500_u32), 20..100),
    ) {
        let mut house = House::new(1);
        house.admit(0, Flow(9), Class::Interactive, 1);
        for (flood, guest) in &lengths {
            house.admit(0, FLOOD, Class::Interactive, *flood);
            house.admit(0, GUEST, Class::Interactive, *guest);
        }
        house.end(0, 1);
        let mut queues = [
            lengths.iter().map(|both| u64::from(both.0)).collect::<VecDeque<_>>(),
            lengths.iter().map(|both| u64::from(both.1)).collect(),
        ];
        let longest = queues.each_ref().map(|queue| queue.iter().copied().max().unwrap_or(0));
        let mut served = [0_u64; 2];
        while !queues.iter().any(VecDeque::is_empty) {
            let who = usize::from(house.running[0].task == GUEST);
            let used = queues[who].pop_front().expect("as many start as came");
            served[who] += used;
            prop_assert!(served[0].abs_diff(served[1]) <= longest[0] + longest[1], "{served:?}");
            house.end(0, used);
        }
    }
}
