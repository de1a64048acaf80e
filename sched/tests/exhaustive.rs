//! All there is: every pair of the two tables, every order of a few urgencies, every small quota.

use orchestratord_sched::{
    Admission, Class, Dispatcher, Flow, Instant, Pool, PoolOptions, ReplicaEvent, ReplicaState,
    ShardId, Share, TaskEvent, TaskState, Urgency,
};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_task_starts_before_it_ends_and_ends_once() {
    use TaskEvent::{Cancel, Fail, Finish, Return, Start};
    use TaskState::{Canceled, Completed, Failed, Queued, Running};
    let expected = |state, event| match (state, event) {
        (Queued, Start) => Some(Running),
        (Running, Return) => Some(Queued),
        (Running, Finish) => Some(Completed),
        (Queued | Running, Cancel) => Some(Canceled),
        (Queued | Running, Fail) => Some(Failed),
        _ => None,
    };
    for state in [Queued, Running, Completed, Canceled, Failed] {
        for event in [Start, Return, Finish, Cancel, Fail] {
            assert_eq!(
                state.next(event),
                expected(state, event),
                "{state:?}, {event:?}"
            );
        }
        assert_eq!(state.is_final(), !matches!(state, Queued | Running));
    }
}

#[test]
fn a_replica_is_used_only_after_it_answered() {
    use ReplicaEvent::{Broke, Drain, ProbeAnswered, Stop, Undrain};
    use ReplicaState::{Draining, Gone, Ready, Starting, Unready};
    let expected = |state, event| match (state, event) {
        (Gone, _) => None,
        (_, Stop) => Some(Gone),
        (Draining, Undrain) => Some(Starting),
        (Draining, _) | (_, Undrain) => None,
        (_, Drain) => Some(Draining),
        (_, ProbeAnswered) => Some(Ready),
        (_, Broke) => Some(Unready),
    };
    for state in [Starting, Ready, Unready, Draining, Gone] {
        for event in [ProbeAnswered, Broke, Drain, Undrain, Stop] {
            assert_eq!(
                state.next(event),
                expected(state, event),
                "{state:?}, {event:?}"
            );
        }
    }
}

#[test]
fn a_replica_without_its_device_is_never_used() {
    use ReplicaState::{Draining, Gone, Ready, Starting, Unready};
    for state in [Starting, Ready, Unready, Draining, Gone] {
        let is_leaving = matches!(state, Draining | Gone);
        let expected = if is_leaving { state } else { Unready };
        assert_eq!(state.without_its_device(), expected, "{state:?}");
    }
}

#[test]
fn class_comes_before_due_time_and_due_time_before_nothing() {
    let moments = [0, 1, 600_000_000_000, u64::MAX].map(Instant::from_nanos);
    let mut all = Vec::new();
    for class in Class::ALL {
        for deadline in moments {
            all.push((
                class,
                deadline,
                Urgency::new(class, Instant::ZERO, Some(deadline)),
            ));
        }
    }
    for (class, deadline, urgency) in &all {
        assert_eq!(urgency.class(), *class);
        for (other_class, other_deadline, other) in &all {
            let goes_first = (class, deadline) < (other_class, other_deadline);
            assert_eq!(
                urgency < other,
                goes_first,
                "{class:?} {deadline} {other_class:?} {other_deadline}"
            );
        }
    }
}

#[test]
fn without_a_deadline_it_is_due_when_patience_ends() {
    let arrival = Instant::ZERO + Duration::from_secs(7);
    let due = Urgency::new(Class::Batch, arrival, None).due();
    assert_eq!(due, arrival + Duration::from_secs(600));
}

/// Every bound on tasks and tokens up to four, filled with every length of task.
#[test]
fn no_bound_is_exceeded_and_no_room_is_wasted() {
    for tasks_max in 0..=4 {
        for tokens_max in 0..=4 {
            for expected_tokens in 0..=3 {
                let admitted = fill(tasks_max, tokens_max, expected_tokens);
                // The first comes in whatever it expects, or it never could.
                let by_tokens = (tokens_max / expected_tokens.max(1)).max(1);
                let by_tokens = if expected_tokens == 0 {
                    u32::MAX
                } else {
                    by_tokens
                };
                assert_eq!(
                    admitted,
                    tasks_max.min(by_tokens),
                    "{tasks_max} tasks, {tokens_max} tokens, {expected_tokens} each"
                );
            }
        }
    }
}

fn fill(tasks_queued_max: u32, tokens_max: u32, expected_tokens: u32) -> u32 {
    let pool = Arc::new(Pool::new(PoolOptions {
        shards: 1,
        replica_slots: vec![0],
        tasks_queued_max,
        tokens_queued_max: Some(tokens_max.into()),
    }));
    let mut shard = Dispatcher::new(ShardId(0), pool);
    let urgency = Urgency::new(Class::Batch, Instant::ZERO, None);
    let admission = Admission {
        share: Share::All,
        flow: Flow(0),
        urgency,
        expected_tokens,
    };
    (0..100)
        .take_while(|task| shard.admit(admission, *task).is_ok())
        .count()
        .try_into()
        .unwrap_or(0)
}
