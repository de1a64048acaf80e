//! The events of tasks that have ended and are in no memory any more, as far as they are kept.
//!
//! A full transcript has them all. A stream that had nothing to tell but why there is no text stands with its
//! outcome. One that a crash has cut off is lost but for its end, which tells that.

use orchestratord_http::{sse, sse_log::Log};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Fault,
    artifact::{self, Viewer},
    books::Books,
    task::{self, Outcome},
};
use crate::api::{
    self,
    error::{ApiError, Code},
};

/// A stream that is over.
#[derive(Debug)]
pub struct Recalled {
    /// Its events, as plain readers have them.
    pub log: Log,
    /// Whose it is, as [`crate::identity::Identity`] is written.
    pub owner: String,
    /// The session that its task was a turn of.
    pub session_id: Option<Uuid>,
    /// Whether there were more, which are lost.
    pub is_cut: bool,
}

/// The stream of a task that has ended, for a caller who may know of it.
///
/// # Errors
///
/// When the disk fails; within, when there is no such task, or its events are not kept.
pub fn recall(
    books: &mut Books<'_>,
    id: Uuid,
    viewer: &Viewer,
) -> Result<Result<Recalled, ApiError>, Fault> {
    let outcome = task::outcome(books, id)?;
    let Some(outcome) = outcome.filter(|outcome| viewer.sees(&outcome.owner)) else {
        return Ok(Err(ApiError::task_not_found()));
    };
    let events = match &outcome.events {
        Some(events) => Some(events.clone()),
        None => of_transcript(books, &outcome)?,
    };
    let log = events.and_then(|events| log(&events));
    let session_id = outcome.view["session_id"].as_str();
    let recalled = log.map(|log| Recalled {
        log,
        session_id: session_id.and_then(|id| id.parse().ok()),
        owner: outcome.owner,
        is_cut: outcome.is_cut,
    });
    let message = "the task has ended, and its events are kept no longer; what became of it is \
                   still told (GET /v2/tasks/{id})";
    Ok(recalled.ok_or_else(|| ApiError::new(Code::NotFound, message)))
}

fn of_transcript(books: &Books<'_>, outcome: &Outcome) -> Result<Option<Vec<Value>>, Fault> {
    let Some(id) = outcome.view["transcript_artifact_id"].as_str() else {
        return Ok(None);
    };
    let transcript = artifact::get(books, id, &outcome.owner)?;
    let events =
        transcript.and_then(|transcript| Some(transcript.content["events"].as_array()?.clone()));
    Ok(events)
}

/// The events as they were appended; nothing, if they don't come to an end.
fn log(events: &[Value]) -> Option<Log> {
    let (last, rest) = events.split_last()?;
    let mut log = Log::new();
    for event in rest {
        log.append(event["event"].as_str()?, &api::json(&event["data"]));
    }
    let name = last["event"].as_str()?;
    log.close(name, &api::json(&last["data"]));
    matches!(name, "end" | "error").then_some(log)
}

/// The events of a stream, each as `{"id", "event", "data"}`.
pub fn read_back(mut stream: &[u8]) -> Vec<Value> {
    let mut decoder = sse::Decoder::new(stream.len());
    let mut events = Vec::new();
    // Nothing that we have written is longer than all that we have written.
    while let Ok(Some(event)) = decoder.decode(&mut stream) {
        events.push(json!({
            "id": String::from_utf8_lossy(event.id),
            "event": String::from_utf8_lossy(event.event),
            "data": serde_json::from_slice::<Value>(event.data).unwrap_or_default(),
        }));
    }
    events
}
