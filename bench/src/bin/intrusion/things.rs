//! What one caller has, and others shall not know of.

use orchestratord_bench::Failure;
use serde_json::json;

use crate::caller::Caller;
use crate::request::bare;

/// An id that nobody has given to anything.
pub(crate) const ABSENT: &str = "7d444840-9dc0-41d1-b245-5ffdce74fad2";
pub(crate) const SESSION: &str = "9b2d6a70-6d3f-4d0e-8a0a-0c8f0c1a7e11";
/// Things that no caller has for themselves.
const SHARED: [&str; 3] = ["/v2/pools/{", "/v2/workers/{", "/v2/catalog/models/{"];

/// What Ann has.
pub(crate) struct Things {
    /// Tasks in every state, each with the word for it.
    pub(crate) tasks: Vec<(&'static str, String)>,
    /// The id of a transcript.
    pub(crate) artifact: String,
}

impl Things {
    pub(crate) fn of(ann: &Caller) -> Result<Self, Failure> {
        let short = json!({"model_ref": "mock", "prompt": "Ann's own", "max_tokens": 1, "session_id": SESSION});
        let forgotten = ann.enqueue(&short)?;
        ann.wait(&forgotten, "completed")?;
        let completed = ann.enqueue(&short)?;
        let view = ann.until(&completed, |view| {
            view["transcript_artifact_id"].is_string()
        })?;
        let artifact = view["transcript_artifact_id"].as_str().unwrap_or_default();
        let long = json!({"model_ref": "mock", "prompt": "Ann's own", "max_tokens": 20_000});
        let running = ann.enqueue(&long)?;
        ann.wait(&running, "running")?;
        let (canceled, queued) = (ann.enqueue(&long)?, ann.enqueue(&long)?);
        ann.ask(|key| bare("POST", &format!("/v2/tasks/{canceled}/cancel"), key))?;
        ann.wait(&canceled, "canceled")?;
        Ok(Self {
            tasks: vec![
                ("forgotten", forgotten),
                ("completed", completed),
                ("running", running),
                ("queued", queued),
                ("canceled", canceled),
            ],
            artifact: artifact.to_owned(),
        })
    }

    pub(crate) fn states(&self, ann: &Caller) -> Result<Vec<String>, Failure> {
        let mut states = Vec::new();
        for (_, task) in &self.tasks {
            states.push(ann.state(task)?["state"].to_string());
        }
        states.push(ann.get(&format!("/v2/sessions/{SESSION}"))?.json()["turns"].to_string());
        states.push(
            ann.get(&format!("/v2/artifacts/{}", self.artifact))?.json()["digest"].to_string(),
        );
        Ok(states)
    }

    /// What a route of this path could be asked about, and what is like it and absent. None, if nobody knows whose
    /// its things are.
    pub(crate) fn behind(&self, path: &str) -> Option<Vec<(&str, String)>> {
        let absent = "0".repeat(self.artifact.len());
        let of = |prefix: &str| path.starts_with(prefix);
        if of("/v2/tasks/{") {
            return Some(
                self.tasks
                    .iter()
                    .map(|(_, task)| (&**task, ABSENT.to_owned()))
                    .collect(),
            );
        }
        if of("/v2/sessions/{") {
            return Some(vec![(SESSION, ABSENT.to_owned())]);
        }
        if of("/v2/artifacts/{") {
            return Some(vec![(&self.artifact, absent)]);
        }
        SHARED.iter().any(|shared| of(shared)).then(Vec::new)
    }
}
