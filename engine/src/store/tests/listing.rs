//! Lists of ended tasks.

use serde_json::json;

use super::{
    super::listing::{LISTED, LOOKED_AT_MAX, Page},
    journal::end,
    *,
};
use crate::{api::task::list::Wanted, identity::Caller};

fn open_for(outcomes_max: u64) -> (TempDir, Arc<Store>, Running) {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        outcomes_max,
        ..settings()
    };
    let (store, running, _) = start(dir.path(), settings).unwrap();
    (dir, store, running)
}

/// Three tasks, the second as old as the first.
fn a_few(store: &Store) {
    for (id, owner, admitted_ms, state, pool) in [
        (2, "localhost", 10, "completed", "east"),
        (1, "localhost", 10, "failed", "east"),
        (3, "key:ann", 20, "completed", "west"),
    ] {
        let view = json!({
            "task_id": Uuid::from_u128(id),
            "state": state,
            "timings": {"admitted_ms": admitted_ms},
            "placement": {"pool_id": pool},
        });
        end(store, id, owner, view);
    }
}

/// Whoever calls where no key is needed: they may see all.
fn everybody() -> Caller {
    Keys::default().identify(None, Scope::Data).unwrap()
}

fn wanted(caller: Caller) -> Wanted {
    Wanted {
        caller,
        state: None,
        pool: None,
        after: None,
        limit: 10,
    }
}

fn page(store: &Store, wanted: Wanted) -> Page {
    told(store.list(Arc::new(wanted)).unwrap()).unwrap()
}

fn ids(page: &Page) -> Vec<u128> {
    let tasks = page.tasks.iter();
    tasks.map(|(at, _)| at.task_id.as_u128()).collect()
}

#[test]
fn a_list_has_the_newest_first_and_each_once() {
    let (_dir, store, running) = open_for(9);
    a_few(&store);
    assert_eq!(ids(&page(&store, wanted(everybody()))), [3, 1, 2]);
    let only = |state: Option<&str>, pool: Option<&str>| {
        let wanted = Wanted {
            state: state.map(str::to_owned),
            pool: pool.map(str::to_owned),
            ..wanted(everybody())
        };
        ids(&page(&store, wanted))
    };
    assert_eq!(only(Some("completed"), None), [3, 2]);
    assert_eq!(only(None, Some("east")), [1, 2]);
    assert_eq!(only(Some("completed"), Some("east")), [2]);
    running.close();
}

#[test]
fn a_list_goes_on_after_its_cursor() {
    let (_dir, store, running) = open_for(9);
    a_few(&store);
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let wanted = Wanted {
            after,
            limit: 1,
            ..wanted(everybody())
        };
        let page = page(&store, wanted);
        let Some((last, _)) = page.tasks.last() else {
            break;
        };
        after = Some(*last);
        seen.extend(ids(&page));
    }
    assert_eq!(seen, [3, 1, 2]);
    running.close();
}

#[test]
fn a_caller_sees_their_own_alone() {
    let (_dir, store, running) = open_for(9);
    a_few(&store);
    assert_eq!(ids(&page(&store, wanted(Caller::anonymous()))), [1, 2]);
    running.close();
}

#[test]
fn what_is_forgotten_is_listed_no_more() {
    let (_dir, store, running) = open_for(2);
    a_few(&store);
    assert_eq!(ids(&page(&store, wanted(everybody()))), [3, 1]);
    running.close();
}

#[test]
fn a_look_has_an_end_and_says_where() {
    let (_dir, store, running) = open_for(9);
    a_few(&store);
    let filled = store.ask(|books| {
        let mut listed = books.write(LISTED)?;
        for age in 0..=LOOKED_AT_MAX as u64 {
            listed.insert(("", age, 7), ("canceled", "east"))?;
        }
        Ok(Ok(()))
    });
    told(filled.unwrap()).unwrap();
    let first = page(
        &store,
        Wanted {
            state: Some("completed".to_owned()),
            ..wanted(everybody())
        },
    );
    assert_eq!(ids(&first), []);
    let looked_to = first.looked_to.unwrap();
    let oldest = u64::MAX - LOOKED_AT_MAX as u64;
    assert_eq!(looked_to.admitted_unix_ms, oldest);
    let next = Wanted {
        state: Some("completed".to_owned()),
        after: Some(looked_to),
        ..wanted(everybody())
    };
    assert_eq!(ids(&page(&store, next)), [3, 2]);
    running.close();
}
