//! Admitting, canceling and dispatching: the scheduler's part of every task, by how many wait and
//! by how many shards there are to compare with.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use orchestratord_sched::{
    Admission, Class, Dispatcher, Flow, Instant, Pool, PoolOptions, ShardId, Share, Urgency,
};
use std::hint::black_box;
use std::sync::Arc;

fn pool(shards: usize) -> Arc<Pool<u64>> {
    Arc::new(Pool::new(PoolOptions {
        shards,
        replica_slots: vec![1],
        tasks_queued_max: u32::MAX,
        tokens_queued_max: None,
    }))
}

fn admission(arrival_ns: u64) -> Admission {
    Admission {
        share: Share::All,
        flow: Flow(0),
        urgency: Urgency::new(Class::Interactive, Instant::from_nanos(arrival_ns), None),
        expected_tokens: 256,
    }
}

fn admit(shard: &mut Dispatcher<u64>, number: u64) -> orchestratord_sched::Ticket {
    let admitted = shard.admit(admission(number), number);
    admitted.expect("there is no bound").ticket
}

/// A shard with so many tasks waiting.
fn queue(depth: u64) -> Dispatcher<u64> {
    let mut shard = Dispatcher::new(ShardId(0), pool(1));
    for number in 0..depth {
        admit(&mut shard, number);
    }
    shard
}

fn queues(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    for depth in [10, 1_000, 100_000] {
        let mut shard = queue(depth);
        let mut number = depth;
        group.bench_function(format!("admit and cancel behind {depth}"), |bencher| {
            bencher.iter(|| {
                let ticket = admit(&mut shard, number);
                number += 1;
                black_box(shard.remove(ticket))
            });
        });
    }
    group.finish();
}

fn dispatches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dispatch");
    for shards in [1, 8, 64] {
        group.bench_function(format!("the own task among {shards} shards"), |bencher| {
            let mut shard = Dispatcher::new(ShardId(0), pool(shards));
            bencher.iter(|| {
                admit(&mut shard, 0);
                let next = shard.dispatch().expect("a slot is free");
                black_box(next.task)
            });
        });
    }
    for shards in [8, 64] {
        group.bench_function(format!("another's task among {shards} shards"), |bencher| {
            let pool = pool(shards);
            let mut thief = Dispatcher::new(ShardId(0), Arc::clone(&pool));
            let mut victim = Dispatcher::new(ShardId(shards / 2), pool);
            bencher.iter_batched(
                || {
                    victim.refill();
                    admit(&mut victim, 0);
                },
                |()| black_box(thief.dispatch().expect("a slot is free").task),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, queues, dispatches);
criterion_main!(benches);
