//! Responses: a status, the fields that belong to it, and a body that is known whole.

use orchestratord_sched::budget::Allowance;

use crate::api::{self, error::ApiError, session::BudgetsRemaining};

/// A response that is known whole.
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its body; may be empty.
    pub body: Vec<u8>,
    content_type: Option<&'static str>,
    extra: Vec<(&'static str, String)>,
}

impl Reply {
    /// JSON.
    pub fn json(status: u16, body: &impl serde::Serialize) -> Self {
        Self::bytes(status, "application/json", api::json(body))
    }

    /// Bytes of some type.
    pub fn bytes(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self {
            status,
            body,
            content_type: Some(content_type),
            extra: Vec::new(),
        }
    }

    /// Nothing to say but the status.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            body: Vec::new(),
            content_type: None,
            extra: Vec::new(),
        }
    }

    /// The head of an event stream.
    pub fn stream(remaining: Allowance) -> Self {
        Self {
            content_type: Some("text/event-stream"),
            ..Self::empty(200)
        }
        .with("Cache-Control", "no-store")
        .with("X-Accel-Buffering", "no")
        .with_budgets(remaining)
    }

    /// A refusal, with the fields that its code calls for.
    pub fn error(error: &ApiError, correlation_id: &str) -> Self {
        let status = error.code.status();
        let mut reply = Self::bytes(status, "application/json", error.body(correlation_id));
        if status == 401 {
            reply = reply.with("WWW-Authenticate", "Bearer realm=\"orchestratord\"");
        }
        if let Some(allow) = &error.allow {
            reply = reply.with("Allow", &**allow);
        }
        if let Some(wait) = error.wait() {
            let ms = api::whole_ms(wait);
            reply = reply
                .with("Retry-After", ms.div_ceil(1000).max(1).to_string())
                .with("X-Backoff-Ms", ms.to_string());
        }
        reply
    }

    /// One more field.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.extra.push((name, value.into()));
        self
    }

    /// What the task's session may still spend.
    pub fn with_budgets(self, remaining: Allowance) -> Self {
        let BudgetsRemaining {
            tokens_budget_remaining: tokens,
            time_budget_remaining_ms: time_ms,
            cost_budget_remaining: cost,
        } = remaining.into();
        self.with("X-Budget-Tokens-Remaining", or_unlimited(tokens))
            .with("X-Budget-Time-Remaining-Ms", or_unlimited(time_ms))
            .with("X-Budget-Cost-Remaining", or_unlimited(cost))
    }

    /// All its fields, in order.
    pub fn fields<'a>(&'a self, date: &'a str, correlation_id: &'a str) -> Vec<(&'a str, &'a str)> {
        let own = [("Date", date), ("X-Correlation-Id", correlation_id)];
        let content_type = self
            .content_type
            .map(|content_type| ("Content-Type", content_type));
        let extra = self
            .extra
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        own.into_iter().chain(content_type).chain(extra).collect()
    }
}

fn or_unlimited(left: Option<impl ToString>) -> String {
    left.map_or_else(|| "unlimited".to_owned(), |left| left.to_string())
}
