//! What engines say about the tasks that run here.

use std::{rc::Rc, time::Duration};

use orchestratord_gpu::{
    SequenceKey,
    event::{Event, Fault, Finish, Usage},
};
use orchestratord_sched::{Instant, Progress, budget::Allowance};

use super::{Shown, Table};
use crate::{
    api::{
        error::{ApiError, Code},
        event::Metrics,
    },
    logs,
    shard::task::{Phase, Task},
};

impl Table {
    /// An engine said something about one of our sequences.
    pub fn said(&mut self, sequence: SequenceKey, event: Event) {
        // No such sequence: it was canceled while the engine was speaking.
        let Some(task) = self.running.get(&sequence).map(Rc::clone) else {
            return;
        };
        match event {
            Event::Started {
                prompt_tokens,
                cached_tokens,
            } => self.prefilling(&task, prompt_tokens, cached_tokens),
            Event::Token { text } => self.token(&task, &text),
            Event::End { finish, usage } => self.finish(&task, finish, usage),
            Event::Fault(fault) => {
                told(&task, &fault);
                if !self.retry(&task, &fault) {
                    self.fail(&task, &explain(&fault));
                }
            }
        }
        self.reuse_slots();
    }

    fn prefilling(&mut self, task: &Shown, prompt_tokens: Option<u32>, cached_tokens: Option<u32>) {
        let mut task = task.borrow_mut();
        task.begin();
        task.tokens_in = prompt_tokens;
        task.tokens_cached = cached_tokens;
        let now = self.now();
        if let Phase::Running(run) = &mut task.phase {
            run.heard = now;
            let counters = self.replica_counters(&run.replica);
            counters
                .tokens_in
                .add(prompt_tokens.unwrap_or_default().into());
        }
    }

    fn token(&mut self, task: &Shown, text: &str) {
        let now = self.now();
        let mut task = task.borrow_mut();
        let Phase::Running(run) = &mut task.phase else {
            return;
        };
        run.heard = now;
        self.replica_counters(&run.replica).tokens_out.increment();
        let first = run
            .first_token
            .replace(run.first_token.unwrap_or(now))
            .is_none();
        let started = run.started;
        task.token(text, &mut self.scratch);
        if first {
            self.first_token(&task, now.since(started), now);
        }
        if task.metrics_due(now) {
            let metrics = self.metrics(&task, now);
            task.measure(metrics);
        }
    }

    fn first_token(&mut self, task: &Task, after_start: Duration, now: Instant) {
        let record = &task.record;
        let estimate = &mut self.lane(&record.pool).estimate;
        estimate.observe_first_token(after_start);
        let waited = now.since(record.admitted);
        self.counters(&record.pool)
            .first_token(record.class(), waited);
        if record.is_promised {
            self.shared.store.begun(record.id);
        }
        if let Phase::Running(run) = &task.phase {
            logs::stream_started(record, &run.replica, task.tokens_in);
        }
    }

    fn metrics(&mut self, task: &Task, now: Instant) -> Metrics {
        let record = &task.record;
        let remaining = record
            .turn
            .as_ref()
            .map_or_else(Allowance::default, |turn| {
                self.shared.sessions.remaining(&record.owner, turn)
            });
        let estimate = &self.lane(&record.pool).estimate;
        let text = record.submission.text(task.tokens_out);
        let time_left = record.deadline.map(|deadline| deadline.since(now));
        Metrics {
            queue_depth: record.pool.queue_depth(),
            on_time_probability: time_left.map_or(1.0, |time_left| {
                estimate.on_time_probability(Progress::Decode, text, time_left)
            }),
            kv_warmth: task.kv_warmth(),
            budgets: remaining.into(),
        }
    }

    fn finish(&mut self, task: &Shown, finish: Finish, usage: Usage) {
        let now = self.now();
        let mut ended = task.borrow_mut();
        let counted = ended.tokens_in.unwrap_or_default();
        let uncounted = usage
            .prompt_tokens
            .unwrap_or_default()
            .saturating_sub(counted);
        ended.tokens_in = usage.prompt_tokens.or(ended.tokens_in);
        ended.tokens_cached = usage.cached_tokens.or(ended.tokens_cached);
        // Some engines count the prompt only at the end. And a text that was held back comes with its next one: there may be more tokens than events.
        let unseen = usage.completion_tokens.saturating_sub(ended.tokens_out);
        ended.tokens_out += unseen;
        let run = ended.finish(finish, now);
        if let Some(run) = &run {
            let counters = self.replica_counters(&run.replica);
            counters.tokens_in.add(uncounted.into());
            counters.tokens_out.add(unseen.into());
        }
        let record = &ended.record;
        if record.submission.generates_text() {
            let estimate = &mut self.lane(&record.pool).estimate;
            estimate.observe_length(record.submission.expected_tokens, ended.tokens_out);
        }
        drop(ended);
        self.settle(task, run, None);
    }
}

/// Operators learn what was wrong with the engine; callers only that something was.
fn told(task: &Shown, fault: &Fault) {
    let task = task.borrow();
    if let (Phase::Running(run), Fault::Broken(reason)) = (&task.phase, fault) {
        logs::engine_failed(&task.record, &run.replica, reason);
    }
}

/// What a fault of an engine means to the caller.
fn explain(fault: &Fault) -> ApiError {
    match fault {
        Fault::ContextExceeded { .. } | Fault::Unsupported(_) | Fault::Refused(_) => {
            ApiError::invalid(fault.to_string())
        }
        Fault::Busy => ApiError::new(Code::ReplicaExhausted, "the engine has too much to do"),
        Fault::Broken(_) => ApiError::new(
            Code::WorkerReset,
            "the engine broke while it generated; send the task again",
        ),
    }
}
