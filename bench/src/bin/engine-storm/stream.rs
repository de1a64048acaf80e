//! One task from its submission to its last event.

use crate::request::Request;
use crate::{Storm, pool::REPLICAS};
use orchestratord_bench::Failure;
use orchestratord_bench::client::{Answer, Client};
use orchestratord_bench::transcript::Transcript;
use serde_json::Value;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Instant;

/// What came of a task.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What was asked.
    pub(crate) request: Request,
    /// Its id.
    pub(crate) task_id: String,
    /// The engine that spoke, if one did.
    pub(crate) replica: Option<usize>,
    /// All that was said.
    pub(crate) text: String,
    /// The code of its error, unless it ended well.
    pub(crate) error: Option<String>,
    /// When it was submitted, and when its last event was read.
    pub(crate) lasted: (Instant, Instant),
}

/// Submits it and reads its stream.
///
/// # Errors
/// If a task is not let in, or its stream breaks the contract.
pub(crate) fn read(
    client: &mut Client,
    request: Request,
    storm: &Storm,
) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    let events = loop {
        match client.submit(request.task().to_string().as_bytes())? {
            Answer::Admitted(events) => break events,
            Answer::ComeBack(wait) => thread::sleep(wait),
        }
    };
    let mut reading = Reading::new(storm);
    let target = format!("{events}?verbose=true");
    let status = client.read_events(&target, |id, event, data| reading.take(id, event, data))?;
    if status != 200 || !reading.transcript.has_ended() {
        return Err(Failure(format!(
            "{target} was answered {status}, and its last event never came"
        )));
    }
    Ok(Outcome {
        request,
        task_id: events.split('/').nth(3).unwrap_or_default().to_owned(),
        replica: reading.replica,
        text: std::mem::take(&mut reading.text),
        error: reading.error.take(),
        lasted: (begun, Instant::now()),
    })
}

/// A stream so far. As long as it is read, the storm knows on which engine it runs.
struct Reading<'a> {
    storm: &'a Storm,
    transcript: Transcript,
    replica: Option<usize>,
    text: String,
    error: Option<String>,
}

impl<'a> Reading<'a> {
    fn new(storm: &'a Storm) -> Self {
        Self {
            storm,
            transcript: Transcript::default(),
            replica: None,
            text: String::new(),
            error: None,
        }
    }

    fn take(&mut self, id: &[u8], event: &[u8], data: &[u8]) -> Result<(), String> {
        self.transcript.take(id, event, data)?;
        let data: Value = serde_json::from_slice(data).map_err(|error| error.to_string())?;
        match event {
            b"started" => self.begin(&data)?,
            b"token" => self.text.push_str(data["t"].as_str().unwrap_or_default()),
            b"error" => self.error = Some(data["code"].as_str().unwrap_or_default().to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// Replicas are called `r0`, `r1`.
    fn begin(&mut self, data: &Value) -> Result<(), String> {
        let name = data["replica_id"].as_str().unwrap_or_default();
        let replica = (0..REPLICAS).find(|replica| name == format!("r{replica}"));
        let replica = replica.ok_or_else(|| format!("it runs on nobody's engine: {data}"))?;
        self.storm.running[replica].fetch_add(1, Relaxed);
        self.replica = Some(replica);
        Ok(())
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(replica) = self.replica {
            self.storm.running[replica].fetch_sub(1, Relaxed);
        }
    }
}
