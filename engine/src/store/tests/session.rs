//! Sessions: what is left of them after a daemon has ended, in whatever way.

use orchestratord_sched::{
    Instant,
    budget::{Allowance, Spending},
    session::SessionRules,
};
use serde_json::json;

use super::{super::task, journal::a_promise, *};
use crate::{
    identity::Identity,
    shared::sessions::{SessionSettings, Sessions, Turn},
};

const NOW: Instant = Instant::ZERO;

fn sessions() -> Sessions {
    Sessions::new(SessionSettings {
        rules: SessionRules {
            ttl: Duration::from_secs(600),
            turns_max: 8,
            allowance: Allowance {
                tokens: Some(100),
                ..Allowance::default()
            },
        },
        sessions_max: 8,
        cost_micros_per_1k_tokens: 0,
    })
}

fn ann() -> Identity {
    Identity::Key("ann".into())
}

fn begin(sessions: &Sessions) -> Turn {
    sessions.begin_turn(&ann(), Uuid::nil(), NOW, 10).unwrap()
}

fn promise(store: &Store, id: u128, turn: &Turn) {
    let promise = Promise {
        turn: Some(turn.into()),
        ..a_promise(id, "tale")
    };
    told(store.promise(promise, Some(turn.clone())).unwrap()).unwrap();
}

fn end(store: &Store, id: u128, turn: &Turn, tokens: u64) {
    let (id, turn) = (Uuid::from_u128(id), turn.clone());
    let spent = Spending {
        tokens,
        ..Spending::default()
    };
    let ended = store.ask(move |books| {
        let end = task::End {
            view: json!({}),
            turn: Some((&turn, spent)),
            events: None,
            is_cut: false,
        };
        task::end(books, id, "key:ann", end).map(Ok)
    });
    told(ended.unwrap()).unwrap();
}

/// Turns and tokens spent of the sessions that another life finds.
fn found_in(dir: &TempDir) -> Vec<(u32, u64)> {
    let (_, running, left) = start(dir.path(), settings()).unwrap();
    running.close();
    let rows = left.sessions.into_iter().map(|left| left.row);
    rows.map(|row| (row.turns, row.spent.tokens)).collect()
}

/// Each time what is done is all that a life does before it ends.
fn live(dir: &TempDir, life: impl FnOnce(&Store)) -> Vec<(u32, u64)> {
    let (store, running) = open_in(dir);
    life(&store);
    running.close();
    drop(store);
    found_in(dir)
}

#[test]
fn a_turn_counts_when_it_is_promised_and_is_paid_for_when_it_has_ended() {
    let (dir, sessions) = (tempfile::tempdir().unwrap(), sessions());
    let turn = begin(&sessions);
    assert_eq!(live(&dir, |store| promise(store, 1, &turn)), [(1, 0)]);
    assert_eq!(live(&dir, |store| end(store, 1, &turn, 30)), [(1, 30)]);
    let next = begin(&sessions);
    let both = live(&dir, |store| {
        promise(store, 2, &next);
        end(store, 2, &next, 5);
    });
    assert_eq!(both, [(2, 35)]);
}

#[test]
fn an_end_that_comes_before_its_promise_counts_the_turn_once() {
    let (dir, sessions) = (tempfile::tempdir().unwrap(), sessions());
    let turn = begin(&sessions);
    let found = live(&dir, |store| {
        end(store, 1, &turn, 30);
        promise(store, 1, &turn);
    });
    assert_eq!(found, [(1, 30)]);
}

#[test]
fn a_task_that_is_cut_off_by_a_crash_costs_its_turn_and_nothing_else() {
    let (dir, sessions) = (tempfile::tempdir().unwrap(), sessions());
    let turn = begin(&sessions);
    let found = live(&dir, |store| {
        promise(store, 1, &turn);
        store.begun(Uuid::from_u128(1));
    });
    assert_eq!(found, [(1, 0)]);
    assert_eq!(found_in(&dir), [(1, 0)], "it has ended, once");
}

#[test]
fn a_session_that_was_deleted_is_not_brought_back_by_what_was_under_way() {
    let (dir, sessions) = (tempfile::tempdir().unwrap(), sessions());
    let (first, second) = (begin(&sessions), begin(&sessions));
    let found = live(&dir, |store| {
        promise(store, 1, &first);
        let over = sessions.delete(&ann(), Uuid::nil()).unwrap();
        let owner = over.owner.to_string();
        let deleted = store.delete_session(owner, over.session_id, over.before());
        told(deleted.unwrap()).unwrap();
        promise(store, 2, &second);
        end(store, 1, &first, 30);
    });
    assert_eq!(found, []);
}

#[test]
fn a_deletion_that_a_crash_takes_back_has_spared_nobody_a_token() {
    let (dir, sessions) = (tempfile::tempdir().unwrap(), sessions());
    let turn = begin(&sessions);
    let found = live(&dir, |store| {
        promise(store, 1, &turn);
        // The store never hears of it.
        sessions.delete(&ann(), Uuid::nil()).unwrap();
        end(store, 1, &turn, 30);
    });
    assert_eq!(found, [(1, 30)]);
}

#[test]
fn a_session_that_is_made_anew_begins_anew_and_outlives_the_end_of_the_old_one() {
    let (dir, sessions) = (tempfile::tempdir().unwrap(), sessions());
    let old = begin(&sessions);
    let found = live(&dir, |store| {
        promise(store, 1, &old);
        let over = sessions.delete(&ann(), Uuid::nil()).unwrap();
        let new = begin(&sessions);
        promise(store, 2, &new);
        end(store, 1, &old, 30);
        end(store, 2, &new, 5);
        store.expired(vec![over]);
    });
    assert_eq!(found, [(1, 5)]);
}

#[test]
fn a_session_that_has_expired_is_off_the_disk_too() {
    let (dir, sessions) = (tempfile::tempdir().unwrap(), sessions());
    let turn = begin(&sessions);
    let found = live(&dir, |store| {
        promise(store, 1, &turn);
        end(store, 1, &turn, 30);
        sessions.end_turn(&ann(), &turn, NOW, Spending::default());
        store.expired(sessions.sweep(NOW + Duration::from_secs(600)));
    });
    assert_eq!(found, []);
}

#[test]
fn where_tasks_live_in_memory_sessions_do_too() {
    let (dir, sessions) = (tempfile::tempdir().unwrap(), sessions());
    let turn = begin(&sessions);
    assert_eq!(live(&dir, |store| promise(store, 1, &turn)), [(1, 0)]);
    let off = StoreSettings {
        durability: Durability::Off,
        ..settings()
    };
    let (_, running, left) = start(dir.path(), off).unwrap();
    running.close();
    assert!(left.sessions.is_empty());
    assert_eq!(found_in(&dir), []);
}
