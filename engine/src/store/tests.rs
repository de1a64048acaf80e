//! The store as its callers see it, over a real file.

mod damage;
mod journal;
mod listing;
mod session;

use std::{fs, sync::mpsc};

use futures_lite::future::block_on;
use tempfile::TempDir;

use super::{
    artifact::Viewer,
    books::{ARTIFACTS, MODELS},
    settings::{Durability, Retention, Transcripts},
    *,
};
use crate::{
    api::{
        artifact::{Artifact, ArtifactSpec},
        catalog::{ModelSpec, TrustPolicy},
    },
    identity::{Keys, Scope},
    trust::TrustedKeys,
};

fn settings() -> StoreSettings {
    StoreSettings {
        transcripts: Transcripts::Metadata,
        durability: Durability::Fsync,
        outcomes_max: 2,
        retention: Retention {
            count_max: 3,
            bytes_max: 4096,
            age_max: Duration::from_secs(3600),
        },
        trusted: TrustedKeys::default(),
    }
}

fn open_in(dir: &TempDir) -> (Arc<Store>, Running) {
    let (store, running, _) = start(dir.path(), settings()).unwrap();
    (store, running)
}

fn told<T>(answered: oneshot::Receiver<Result<T, ApiError>>) -> Result<T, ApiError> {
    block_on(answered).unwrap()
}

fn put(store: &Store, content: &str) -> Result<Artifact, ApiError> {
    let body = serde_json::json!({"kind": "other", "content": content}).to_string();
    let spec = ArtifactSpec::parse(body.as_bytes())?;
    told(store.ask(move |books| artifact::put(books, "key:ann", spec))?)
}

fn find(store: &Store, id: &str) -> Result<Artifact, ApiError> {
    let everybody = Keys::default().identify(None, Scope::Data).unwrap();
    let (id, viewer) = (id.to_owned(), Viewer::from(&everybody));
    told(store.ask(move |books| artifact::find(books, &id, &viewer))?)
}

fn register(store: &Store, id: &str) {
    let body = serde_json::json!({"id": id}).to_string();
    let spec = ModelSpec::parse(body.as_bytes()).unwrap();
    let asked = store.ask(|books| catalog::register(books, spec, TrustPolicy::BestEffort));
    told(asked.unwrap()).unwrap();
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, running) = open_in(&dir);
    register(&store, "tale");
    let artifact = put(&store, "a plan").unwrap();
    running.close();
    drop(store);
    let (store, running) = open_in(&dir);
    assert!(store.catalog().model("tale").is_some());
    assert_eq!(find(&store, &artifact.id).unwrap().digest, artifact.digest);
    running.close();
}

#[test]
fn the_oldest_artifacts_go_when_there_are_too_many_or_they_are_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let (store, running) = open_in(&dir);
    let ids: Vec<_> = (0..4)
        .map(|content| put(&store, &content.to_string()).unwrap().id)
        .collect();
    let there = |id: &String| find(&store, id).is_ok();
    let kept: Vec<_> = ids.iter().map(there).collect();
    assert_eq!(kept, [false, true, true, true]);
    // The same again is no newcomer.
    put(&store, "3").unwrap();
    assert!(there(&ids[1]));
    put(&store, &"x".repeat(3400)).unwrap();
    let kept: Vec<_> = ids.iter().map(there).collect();
    assert_eq!(kept, [false, false, false, true]);
    let too_large = put(&store, &"x".repeat(5000)).unwrap_err();
    assert_eq!(too_large.code, Code::InvalidParams);
    running.close();
}

#[test]
fn a_record_that_can_t_be_read_is_put_aside_and_the_rest_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let (store, running) = open_in(&dir);
    register(&store, "tale");
    let artifact = put(&store, "a plan").unwrap();
    running.close();
    drop(store);
    let database = disk::open(&dir.path().join(FILE), &Arc::default()).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut models = transaction.open_table(MODELS).unwrap();
    models.insert("broken", b"{".as_slice()).unwrap();
    drop(models);
    let mut artifacts = transaction.open_table(ARTIFACTS).unwrap();
    let key = (artifact.id.as_str(), "key:ann");
    artifacts.insert(key, b"{".as_slice()).unwrap();
    drop(artifacts);
    transaction.commit().unwrap();
    drop(database);
    let (store, running) = open_in(&dir);
    assert!(store.catalog().model("tale").is_some());
    assert!(store.catalog().model("broken").is_none());
    let gone = find(&store, &artifact.id).unwrap_err();
    assert_eq!(gone.code, Code::NotFound);
    // Its place is free.
    put(&store, "a plan").unwrap();
    running.close();
}

#[test]
fn a_file_that_is_no_store_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), "once upon a time".repeat(1000)).unwrap();
    let Err(error) = start(dir.path(), settings()) else {
        panic!("a tale was taken for a store");
    };
    assert!(error.problem.contains(FILE), "{error}");
    assert!(error.remedy.contains("--data-dir"), "{error}");
}

#[test]
fn a_bug_in_one_job_is_told_to_who_asked_and_the_store_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, running) = open_in(&dir);
    let kept = put(&store, "before").unwrap();
    let asked = store.ask(|_| -> Result<Result<(), ApiError>, Fault> { panic!("a bug") });
    assert_eq!(told(asked.unwrap()).unwrap_err().code, Code::Internal);
    assert!(find(&store, &kept.id).is_ok());
    running.close();
}

#[test]
fn a_full_queue_is_answered_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (store, running) = open_in(&dir);
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let slow = store.ask(move |_| {
        begun.send(()).unwrap();
        let _ = released.recv();
        Ok(Ok(()))
    });
    has_begun.recv().unwrap();
    let waiting: Vec<_> = (0..JOBS_MAX)
        .map(|_| store.ask(|_| Ok(Ok(()))).unwrap())
        .collect();
    let refused = store.ask(|_| Ok(Ok(()))).unwrap_err();
    assert_eq!(refused.code.status(), 503);
    assert!(refused.retry_after.is_some());
    drop(release);
    told(slow.unwrap()).unwrap();
    waiting.into_iter().for_each(|job| told(job).unwrap());
    running.close();
}
