//! What seeds have found, told step by step.

use std::time::Duration;

use orchestratord_sched::prng::Prng;
use serde_json::json;
use uuid::Uuid;

use super::{
    Options,
    callers::admit,
    disk::Disk,
    life::{Life, MODEL},
};
use crate::{
    api::task::Submission,
    clock::hands::{self, Hands},
    identity::Identity,
};

/// The servers, after the engine of this process.
const SERVERS: [usize; 2] = [1, 2];

/// A daemon of two shards whose engines have one slot each.
fn daemon(finished_tasks_max: usize) -> Life {
    hands::hold(Hands {
        elapsed: Duration::ZERO,
        unix_ms: 0,
    });
    let options = Options {
        shards: 2,
        replicas: 1,
        slots: 1,
        finished_tasks_max,
        ..Options::drawn(0, 0)
    };
    let mut life = Life::begin(&options, &Disk::new(0));
    hear_all(&mut life);
    life
}

/// A task of one word comes to this shard, for the servers.
fn submit(life: &mut Life, shard: usize, number: u128) -> Uuid {
    let id = Uuid::from_u128(number);
    let body = json!({
        "model_ref": MODEL,
        "prompt": number.to_string(),
        "max_tokens": 1,
        "placement": {"mode": "pin", "pin_pool_id": "servers"},
    });
    let submission = Submission::parse(body.to_string().as_bytes()).expect("it is well asked");
    let admitted = admit(life, shard, (id, Identity::Localhost), submission);
    assert_eq!(admitted, Ok(shard));
    let record = life.tables[shard].get(id).expect("it waits or runs");
    let promise = record.borrow().record.promise(body.to_string().as_bytes());
    drop(life.shared.store.promise(promise, None));
    life.post();
    id
}

fn hear(life: &mut Life, shard: usize) {
    while !life.mail[shard].is_empty() {
        life.hear(shard);
        life.post();
    }
}

fn hear_all(life: &mut Life) {
    life.post();
    while !life.is_quiet() {
        (0..life.tables.len()).for_each(|shard| hear(life, shard));
    }
}

/// The server says all that it has to say.
fn finish(life: &mut Life, server: usize) {
    let mut prng = Prng::new(1, "stories");
    for _ in ["started", "token", "end"] {
        life.engine_turn(server, &mut prng);
        life.post();
    }
}

fn state(life: &Life, shard: usize, id: Uuid) -> Option<&'static str> {
    let task = life.tables[shard].get(id);
    task.filter(|_| life.home(id) == Some(shard))
        .map(|task| task.borrow().state())
}

#[test]
fn a_task_that_is_stolen_back_before_the_theft_is_heard_of_stays() {
    let mut life = daemon(9);
    let [a, b] = SERVERS;
    submit(&mut life, 1, 1);
    submit(&mut life, 0, 2);
    let task = submit(&mut life, 0, 3);
    assert_eq!(
        state(&life, 0, task),
        Some("queued"),
        "both servers are busy"
    );
    finish(&mut life, a);
    assert_eq!(state(&life, 1, task), Some("running"), "it was stolen");
    let reader = life.tables[0]
        .get(task)
        .expect("shard 0 has not heard of it");
    life.break_down(a);
    life.post();
    assert_eq!(
        state(&life, 1, task),
        Some("queued"),
        "it may run on the other server"
    );
    finish(&mut life, b);
    assert_eq!(state(&life, 0, task), Some("running"), "it was stolen back");
    assert!(reader.borrow().has_moved(), "readers look where it is now");
    hear_all(&mut life);
    assert_eq!(
        state(&life, 0, task),
        Some("running"),
        "old news do no harm"
    );
}

#[test]
fn a_task_that_has_ended_is_known_until_the_journal_knows_how() {
    let mut life = daemon(1);
    let tasks = [1, 2, 3].map(|number| submit(&mut life, 0, number));
    for server in [SERVERS[0], SERVERS[1], SERVERS[0]] {
        finish(&mut life, server);
    }
    for task in tasks {
        assert_eq!(state(&life, 0, task), Some("completed"));
    }
    assert!(life.keeping.turn());
    hear_all(&mut life);
    let known = tasks.map(|task| state(&life, 0, task).is_some());
    assert_eq!(known, [false, false, true], "one is kept in memory");
    assert!(
        tasks
            .iter()
            .all(|task| life.shared.store.has_outcome(*task))
    );
}
