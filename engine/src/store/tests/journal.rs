//! The journal: what is found after a daemon has ended, in whatever way.

use orchestratord_http::sse_log::Audience;
use serde_json::{Value, json};

use super::{
    super::task::{self, Answer, PROMISES, PoolName},
    *,
};

pub(super) fn a_promise(id: u128, prompt: &str) -> Promise {
    Promise {
        id: Uuid::from_u128(id),
        number: 0,
        owner: "key:ann".to_owned(),
        correlation_id: "c".to_owned(),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
        seed: 7,
        turn: None,
        pool: PoolName {
            id: "default".to_owned(),
            engine: "mock".to_owned(),
            model: "mock".to_owned(),
            slots: 1,
        },
        chosen_by: "auto".to_owned(),
        admitted_unix_ms: 1,
        deadline_unix_ms: None,
        answer: Answer {
            queue_position: 3,
            predicted_start_ms: 20,
            backoff_ms: 0,
        },
        body: json!({"model_ref": "mock", "prompt": prompt}).to_string(),
    }
}

pub(super) fn give(store: &Store, promise: Promise) {
    told(store.promise(promise, None).unwrap()).unwrap();
}

/// As a task ends that was read to its end.
pub(super) fn complete(store: &Store, id: u128) {
    let view = json!({"task_id": Uuid::from_u128(id), "state": "completed"});
    end(store, id, "key:ann", view);
}

pub(super) fn end(store: &Store, id: u128, owner: &'static str, view: Value) {
    let end = task::End {
        view,
        turn: None,
        events: None,
        is_cut: false,
    };
    let id = Uuid::from_u128(id);
    let ended = store.ask(move |books| task::end(books, id, owner, end).map(Ok));
    told(ended.unwrap()).unwrap();
}

pub(super) fn view(store: &Store, id: u128) -> Result<Value, ApiError> {
    let everybody = Keys::default().identify(None, Scope::Data).unwrap();
    let viewer = Viewer::from(&everybody);
    let asked = store.ask(move |books| task::find(books, Uuid::from_u128(id), &viewer));
    told(asked.unwrap())
}

/// What another life finds, and its store.
fn live_again(
    dir: &TempDir,
    (store, running): (Arc<Store>, Running),
) -> (Vec<u128>, Arc<Store>, Running) {
    running.close();
    drop(store);
    let (store, running, left) = start(dir.path(), settings()).unwrap();
    let found = left.promises;
    let ids = found.iter().map(|promise| promise.id.as_u128()).collect();
    (ids, store, running)
}

#[test]
fn what_was_promised_is_found_in_its_order_and_what_has_ended_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (store, running) = open_in(&dir);
    for id in [30, 10, 20] {
        give(&store, a_promise(id, "tale"));
    }
    complete(&store, 10);
    let (found, store, running) = live_again(&dir, (store, running));
    assert_eq!(found, [30, 20]);
    give(&store, a_promise(5, "tale"));
    let (found, _, running) = live_again(&dir, (store, running));
    assert_eq!(
        found,
        [30, 20, 5],
        "the youngest is last in the next life too"
    );
    running.close();
}

#[test]
fn a_task_that_somebody_may_have_read_of_is_not_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, running) = open_in(&dir);
    give(&store, a_promise(1, "tale"));
    store.begun(Uuid::from_u128(1));
    let (found, store, running) = live_again(&dir, (store, running));
    assert!(found.is_empty());
    assert!(store.has_outcome(Uuid::from_u128(1)));
    let view = view(&store, 1).unwrap();
    assert_eq!(view["state"], "failed");
    assert_eq!(view["error"], "WORKER_RESET");
    assert_eq!(view["queue_position"], 3);
    let everybody = Viewer::from(&Keys::default().identify(None, Scope::Data).unwrap());
    let asked = store.ask(move |books| replay::recall(books, Uuid::from_u128(1), &everybody));
    let recalled = told(asked.unwrap()).unwrap();
    assert!(recalled.is_cut, "its readers have seen more than is left");
    let events = String::from_utf8(recalled.log.to_vec(Audience::Plain)).unwrap();
    assert!(events.starts_with("id: 0\nevent: error\n"), "{events}");
    assert!(events.contains("WORKER_RESET"), "{events}");
    running.close();
}

#[test]
fn an_end_that_comes_before_its_promise_stands() {
    let dir = tempfile::tempdir().unwrap();
    let (store, running) = open_in(&dir);
    complete(&store, 1);
    give(&store, a_promise(1, "tale"));
    let (found, store, running) = live_again(&dir, (store, running));
    assert!(found.is_empty());
    assert_eq!(view(&store, 1).unwrap()["state"], "completed");
    let body = a_promise(1, "tale").body;
    let again = store.ask(move |books| {
        task::answered(books, Uuid::from_u128(1), "key:ann", body.as_bytes()).map(Ok)
    });
    let answer = told(again.unwrap())
        .unwrap()
        .expect("it is the same request");
    assert_eq!(answer.queue_position, 3);
    running.close();
}

#[test]
fn the_same_id_with_another_request_or_of_another_caller_is_not_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (store, running) = open_in(&dir);
    give(&store, a_promise(1, "tale"));
    complete(&store, 1);
    for (owner, prompt) in [("key:ann", "other"), ("key:ben", "tale")] {
        let body = a_promise(1, prompt).body;
        let asked = store.ask(move |books| {
            task::answered(books, Uuid::from_u128(1), owner, body.as_bytes()).map(Ok)
        });
        assert!(told(asked.unwrap()).unwrap().is_none(), "{owner} {prompt}");
    }
    running.close();
}

#[test]
fn the_oldest_outcomes_go_when_there_are_too_many() {
    let dir = tempfile::tempdir().unwrap();
    let (store, running) = open_in(&dir);
    for id in [3, 1, 2] {
        complete(&store, id);
    }
    assert_eq!(view(&store, 3).unwrap_err().code, Code::TaskNotFound);
    assert!(view(&store, 1).is_ok() && view(&store, 2).is_ok());
    let (_, store, running) = live_again(&dir, (store, running));
    let known = [1, 2, 3].map(|id| store.has_outcome(Uuid::from_u128(id)));
    assert_eq!(known, [true, true, false]);
    running.close();
}

#[test]
fn a_promise_that_can_t_be_read_is_put_aside_and_the_others_are_held() {
    let dir = tempfile::tempdir().unwrap();
    let (store, running) = open_in(&dir);
    give(&store, a_promise(1, "tale"));
    running.close();
    drop(store);
    let database = disk::open(&dir.path().join(FILE), &Arc::default()).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut promises = transaction.open_table(PROMISES).unwrap();
    promises.insert(2, b"{\"id\":".as_slice()).unwrap();
    drop(promises);
    transaction.commit().unwrap();
    drop(database);
    for _ in 0..2 {
        let (_, running, left) = start(dir.path(), settings()).unwrap();
        let found = left.promises;
        let ids: Vec<_> = found.iter().map(|promise| promise.id.as_u128()).collect();
        assert_eq!(ids, [1]);
        running.close();
    }
}
