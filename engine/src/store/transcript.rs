//! What a stream leaves behind when it has ended: a `transcript` artifact, its task's owner's.
//!
//! The shard hands over what it has at hand ([`super::task::Ended`]); reading the events back, hashing
//! and writing is the disk thread's work.

use serde::Serialize;
use serde_json::Value;

use super::{Fault, Store, artifact, books::Books, replay::read_back, settings::Transcripts};
use crate::{
    api::{
        artifact::{ArtifactSpec, Kind},
        task::{Placement, TaskView, Timings, input::Asked},
    },
    shared::record::TaskRecord,
};

/// What a transcript says.
#[derive(Serialize)]
struct Content<'t> {
    task_id: uuid::Uuid,
    session_id: Option<uuid::Uuid>,
    model_ref: &'t str,
    engine: &'t str,
    engine_version: &'t str,
    state: &'t str,
    error: Option<&'t str>,
    seed: u64,
    tokens_in: Option<u32>,
    tokens_out: u32,
    queue_position: u32,
    predicted_start_ms: u64,
    timings: &'t Timings,
    placement: &'t Placement,
    workload: &'static str,
    #[serde(flatten)]
    asked: Option<Asked<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<Value>>,
}

/// Files what the stream of an ended task amounted to, if that is kept; the artifact's id.
///
/// # Errors
///
/// When the disk fails.
pub(super) fn file(
    books: &mut Books<'_>,
    record: &TaskRecord,
    view: &TaskView,
    events: Option<&[u8]>,
) -> Result<Option<String>, Fault> {
    if books.settings.transcripts == Transcripts::Off {
        return Ok(None);
    }
    let owner = record.owner.to_string();
    // One that is too large is no reason to fail: nobody asked for it.
    let filed = artifact::put(books, &owner, spec(record, view, events))?;
    Ok(filed.ok().map(|artifact| artifact.id))
}

fn spec(record: &TaskRecord, view: &TaskView, events: Option<&[u8]>) -> ArtifactSpec {
    let content = Content {
        task_id: view.task_id,
        session_id: view.session_id,
        model_ref: &record.submission.model_ref,
        engine: record.pool.engine,
        engine_version: &record.pool.engine_version,
        state: view.state,
        error: view.error,
        seed: record.seed,
        tokens_in: view.tokens_in,
        tokens_out: view.tokens_out,
        queue_position: view.queue_position,
        predicted_start_ms: view.predicted_start_ms,
        timings: &view.timings,
        placement: &view.placement,
        workload: record.submission.input.workload().name(),
        asked: events
            .is_some()
            .then(|| Asked::from(&record.submission.input)),
        events: events.map(read_back),
    };
    let session = view.session_id.map(|id| format!("session:{id}"));
    ArtifactSpec {
        kind: Kind::Transcript,
        content: serde_json::to_value(content)
            .expect("our own types have string keys and serialize infallibly"),
        tags: [format!("task:{}", view.task_id)]
            .into_iter()
            .chain(session)
            .collect(),
        parent: None,
        metadata: None,
    }
}

impl Store {
    /// Whether ended tasks leave a transcript, and whether it has their events.
    pub fn transcripts(&self) -> Transcripts {
        self.settings.transcripts
    }
}
