//! What must still happen before a pool can serve, as callers see it.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::shared::{provisioning::Step, snapshot::Pool};

/// What must be provisioned first; empty when nothing is left to do.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Preparation {
    /// The next step of each replica that can't be used yet.
    pub steps: Vec<PreparationStep>,
}

impl Preparation {
    /// What is left to do for each of the pool's replicas, at this time of the daemon's clock.
    pub fn of(pool: &Pool, now: Duration) -> Self {
        let steps = pool
            .preparing()
            .map(|(engine, step)| PreparationStep::of(&engine.replica_id, &step, now));
        Self {
            steps: steps.collect(),
        }
    }

    /// What must be done before a task of the pool can start.
    pub fn before_tasks(pool: &Pool, now: Duration) -> Self {
        if pool.is_ready() {
            return Self::default();
        }
        Self::of(pool, now)
    }
}

/// What must happen to a replica next.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PreparationStep {
    /// The replica.
    pub replica_id: String,
    /// `download` `start` `await_ready` `bind` `wait` `give_up`.
    pub step: &'static str,
    /// The same, as a sentence.
    pub human: String,
    /// Bytes that have come, of a download.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_bytes: Option<u64>,
    /// All of them, if that was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// How long the engine has been loading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// How long until it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again_in_ms: Option<u64>,
}

impl PreparationStep {
    fn of(replica_id: &str, step: &Step, now: Duration) -> Self {
        let (mut bytes, mut since_ms, mut again_in_ms) = ((None, None), None, None);
        let human = match step {
            Step::Download {
                what,
                done_bytes,
                total_bytes,
            } => {
                bytes = (Some(*done_bytes), *total_bytes);
                format!("The model {what} is being fetched.")
            }
            Step::Start => "The engine is being started.".to_owned(),
            Step::AwaitReady { since } => {
                since_ms = Some(super::whole_ms(now.saturating_sub(*since)));
                "The engine was started and loads its model.".to_owned()
            }
            Step::Bind => "The engine is ready and gets its place.".to_owned(),
            Step::Wait { until, because } => {
                again_in_ms = Some(super::whole_ms(until.saturating_sub(now)));
                format!("The engine is started again after a while, because {because}.")
            }
            Step::GiveUp { because } => {
                format!("The engine is not started again, because {because}.")
            }
        };
        let (done_bytes, total_bytes) = bytes;
        Self {
            replica_id: replica_id.to_owned(),
            step: step.name(),
            human,
            done_bytes,
            total_bytes,
            since_ms,
            again_in_ms,
        }
    }
}
