//! Sessions and budgets as callers see them.

use orchestratord_sched::budget::Allowance;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::whole_ms;
use crate::shared::sessions::SessionState;

/// What may still be spent; `null` where no budget is set.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct BudgetsRemaining {
    /// Tokens, of prompts and of texts.
    pub tokens_budget_remaining: Option<u64>,
    /// Time on slots, in milliseconds.
    pub time_budget_remaining_ms: Option<u64>,
    /// In the operator's currency.
    pub cost_budget_remaining: Option<f64>,
}

impl From<Allowance> for BudgetsRemaining {
    #[expect(
        clippy::cast_precision_loss,
        reason = "billions of the currency fit a double to the millionth"
    )]
    fn from(remaining: Allowance) -> Self {
        Self {
            tokens_budget_remaining: remaining.tokens,
            time_budget_remaining_ms: remaining.time.map(whole_ms),
            cost_budget_remaining: remaining.cost_micros.map(|micros| micros as f64 / 1e6),
        }
    }
}

/// The body of `GET /v2/sessions/{id}`.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct SessionView {
    /// Its id.
    pub session_id: Uuid,
    /// Until it is over if nothing happens.
    pub ttl_ms_remaining: u64,
    /// Turns that have begun.
    pub turns: u32,
    /// Bytes of its KV cache that are kept for its next turn.
    pub kv_bytes: u64,
    /// Whether any are, as 0 or 1.
    pub kv_warmth: f64,
    /// Its last turn ran on another replica than the one before.
    pub kv_migrated: bool,
    /// See [`BudgetsRemaining`].
    #[serde(flatten)]
    pub budgets: BudgetsRemaining,
}

impl SessionView {
    /// A session under its caller's id.
    pub fn new(session_id: Uuid, state: &SessionState) -> Self {
        Self {
            session_id,
            ttl_ms_remaining: whole_ms(state.time_to_live),
            turns: state.turns,
            kv_bytes: state.kv_bytes,
            kv_warmth: if state.kv_bytes > 0 { 1.0 } else { 0.0 },
            kv_migrated: state.kv_migrated,
            budgets: state.remaining.into(),
        }
    }
}
