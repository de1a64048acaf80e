//! The page that a scraper gets: every family with its help, every series with its labels.
//!
//! The two formats are Prometheus text 0.0.4 and OpenMetrics 1.0, whose only differences here are the
//! content type, the counter's family name and the closing `# EOF`.

use std::fmt::Write as _;

use super::{
    CLASSES, CancelReason, Counter, DECODE_MS, FIRST_TOKEN_MS, Histogram, Metrics, PoolCounters,
    RejectReason, ReplicaCounters,
};
use crate::shared::snapshot::{Pool, Snapshot};

/// Which of the two text formats a scraper wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What an `Accept` field asks for.
    pub fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0; charset=utf-8",
        }
    }
}

/// Writes the exposition line by line.
struct Page {
    text: String,
    format: Format,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // OpenMetrics names a counter's family without the suffix of its samples.
        let family = match self.format {
            Format::OpenMetrics if kind == "counter" => name.trim_end_matches("_total"),
            _ => name,
        };
        self.line(format_args!("# HELP {family} {help}"));
        self.line(format_args!("# TYPE {family} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        self.line(format_args!("{name}{{{labels}}} {value}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("writing into memory does not fail");
    }
}

/// One scrape.
pub fn expose(snapshot: &Snapshot, metrics: &Metrics, format: Format) -> String {
    let mut page = Page {
        text: String::with_capacity(8 * 1024),
        format,
    };
    for table in [tasks, tokens, queues, pools, latencies] {
        table(&mut page, snapshot, metrics);
    }
    steals(&mut page, metrics);
    if format == Format::OpenMetrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

fn engine_labels(pool: &Pool) -> String {
    format!(
        "engine=\"{}\",engine_version=\"{}\",pool_id=\"{}\"",
        pool.engine,
        pool.engine_version,
        escaped(&pool.id)
    )
}

/// A label's value may hold anything but these three (Prometheus text format).
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// A pool with its index, its shared labels, and each shard's counters of it.
fn each_pool<'a>(
    snapshot: &'a Snapshot,
    metrics: &'a Metrics,
) -> impl Iterator<Item = (&'a Pool, String, Vec<&'a PoolCounters>)> {
    snapshot.pools.iter().enumerate().map(move |(index, pool)| {
        let counters = metrics.iter().map(|shard| &shard.pools[index]).collect();
        (pool, engine_labels(pool), counters)
    })
}

fn total<'a>(
    shards: &[&'a PoolCounters],
    counter: impl Fn(&'a PoolCounters) -> &'a Counter,
) -> u64 {
    shards.iter().map(|shard| counter(shard).get()).sum()
}

fn tasks(page: &mut Page, snapshot: &Snapshot, metrics: &Metrics) {
    page.family("tasks_enqueued_total", "counter", "Tasks admitted.");
    for (_, labels, shards) in each_pool(snapshot, metrics) {
        for (class, (_, priority)) in CLASSES.iter().enumerate() {
            let count = total(&shards, |shard| &shard.enqueued[class]);
            let labels = format!("{labels},replica_id=\"\",priority=\"{priority}\"");
            page.sample("tasks_enqueued_total", &labels, count);
        }
    }
    page.family("tasks_started_total", "counter", "Tasks that got a slot.");
    for (pool, labels, shards) in each_pool(snapshot, metrics) {
        for (index, replica) in pool.replicas.iter().enumerate() {
            for (class, (_, priority)) in CLASSES.iter().enumerate() {
                let count = total(&shards, |shard| &shard.replicas[index].started[class]);
                let id = escaped(&replica.id);
                let labels = format!("{labels},replica_id=\"{id}\",priority=\"{priority}\"");
                page.sample("tasks_started_total", &labels, count);
            }
        }
    }
    page.family("tasks_canceled_total", "counter", "Tasks canceled.");
    for (pool, labels, shards) in each_pool(snapshot, metrics) {
        for reason in CancelReason::ALL {
            let name = reason.name();
            let queued = total(&shards, |shard| &shard.canceled_queued[reason as usize]);
            let waiting = format!("{labels},replica_id=\"\",reason=\"{name}\"");
            page.sample("tasks_canceled_total", &waiting, queued);
            for (index, replica) in pool.replicas.iter().enumerate() {
                let count = total(&shards, |shard| {
                    &shard.replicas[index].canceled[reason as usize]
                });
                let id = escaped(&replica.id);
                let labels = format!("{labels},replica_id=\"{id}\",reason=\"{name}\"");
                page.sample("tasks_canceled_total", &labels, count);
            }
        }
    }
    page.family(
        "tasks_rejected_total",
        "counter",
        "Submissions turned away.",
    );
    for (pool, _, shards) in each_pool(snapshot, metrics) {
        for reason in RejectReason::ALL {
            let count = total(&shards, |shard| &shard.rejected[reason as usize]);
            let labels = format!("engine=\"{}\",reason=\"{}\"", pool.engine, reason.name());
            page.sample("tasks_rejected_total", &labels, count);
        }
    }
    let model_not_found = metrics
        .iter()
        .map(|shard| shard.model_not_found.get())
        .sum();
    let labels = "engine=\"\",reason=\"model_not_found\"";
    page.sample("tasks_rejected_total", labels, model_not_found);
    page.family(
        "admission_backpressure_events_total",
        "counter",
        "Times the queue was full.",
    );
    for (pool, _, shards) in each_pool(snapshot, metrics) {
        let count = total(&shards, |shard| &shard.backpressure);
        let labels = format!(
            "engine=\"{}\",policy=\"{}\"",
            pool.engine,
            pool.admission_policy.name()
        );
        page.sample("admission_backpressure_events_total", &labels, count);
    }
}

fn tokens(page: &mut Page, snapshot: &Snapshot, metrics: &Metrics) {
    page.family("tokens_in_total", "counter", "Prompt tokens.");
    by_replica(page, "tokens_in_total", (snapshot, metrics), |replica| {
        &replica.tokens_in
    });
    page.family("tokens_out_total", "counter", "Generated tokens.");
    by_replica(page, "tokens_out_total", (snapshot, metrics), |replica| {
        &replica.tokens_out
    });
}

fn by_replica(
    page: &mut Page,
    name: &str,
    (snapshot, metrics): (&Snapshot, &Metrics),
    counter: impl Fn(&ReplicaCounters) -> &Counter,
) {
    for (pool, labels, shards) in each_pool(snapshot, metrics) {
        for (index, replica) in pool.replicas.iter().enumerate() {
            let count = total(&shards, |shard| counter(&shard.replicas[index]));
            let labels = format!("{labels},replica_id=\"{}\"", escaped(&replica.id));
            page.sample(name, &labels, count);
        }
    }
}

fn queues(page: &mut Page, snapshot: &Snapshot, _: &Metrics) {
    page.family("queue_depth", "gauge", "Tasks waiting for a slot.");
    for pool in &snapshot.pools {
        for (class, priority) in CLASSES {
            let labels = format!("{},priority=\"{priority}\"", engine_labels(pool));
            let depth = pool.scheduling.queued(class);
            page.sample("queue_depth", &labels, depth.into());
        }
    }
}

fn pools(page: &mut Page, snapshot: &Snapshot, _: &Metrics) {
    page.family(
        "pool_ready",
        "gauge",
        "1 when a replica of the pool is ready.",
    );
    for pool in &snapshot.pools {
        let labels = format!("pool_id=\"{}\"", escaped(&pool.id));
        page.sample("pool_ready", &labels, pool.is_ready().into());
    }
    page.family("active_leases", "gauge", "Slots in use.");
    for pool in &snapshot.pools {
        let labels = format!("pool_id=\"{}\"", escaped(&pool.id));
        page.sample("active_leases", &labels, pool.scheduling.leases().into());
    }
    page.family(
        "model_state",
        "gauge",
        "1 for the state that the model is in.",
    );
    for pool in &snapshot.pools {
        let labels = format!("model_id=\"{}\",state=\"Active\"", escaped(&pool.model));
        page.sample("model_state", &labels, 1);
    }
}

fn latencies(page: &mut Page, snapshot: &Snapshot, metrics: &Metrics) {
    histogram(
        page,
        (
            "latency_first_token_ms",
            "From admission to the first token.",
        ),
        (snapshot, metrics),
        &FIRST_TOKEN_MS,
        |shard, class| &shard.first_token[class],
    );
    histogram(
        page,
        ("latency_decode_ms", "From the first token to the last."),
        (snapshot, metrics),
        &DECODE_MS,
        |shard, class| &shard.decode[class],
    );
}

fn histogram<const N: usize>(
    page: &mut Page,
    (name, help): (&str, &str),
    (snapshot, metrics): (&Snapshot, &Metrics),
    bounds_ms: &[u64; N],
    of: impl Fn(&PoolCounters, usize) -> &Histogram<N>,
) {
    page.family(name, "histogram", help);
    for (_, labels, shards) in each_pool(snapshot, metrics) {
        for (class, (_, priority)) in CLASSES.iter().enumerate() {
            let labels = format!("{labels},priority=\"{priority}\"");
            let sum = |part: &dyn Fn(&Histogram<N>) -> u64| -> u64 {
                shards.iter().map(|shard| part(of(shard, class))).sum()
            };
            let mut count = 0;
            for (at, bound) in bounds_ms.iter().enumerate() {
                count += sum(&|shard| shard.counts[at].get());
                let labels = format!("{labels},le=\"{bound}\"");
                page.sample(&format!("{name}_bucket"), &labels, count);
            }
            count += sum(&|shard| shard.above.get());
            page.sample(
                &format!("{name}_bucket"),
                &format!("{labels},le=\"+Inf\""),
                count,
            );
            page.sample(
                &format!("{name}_sum"),
                &labels,
                sum(&|shard| shard.sum_ms.get()),
            );
            page.sample(&format!("{name}_count"), &labels, count);
        }
    }
}

fn steals(page: &mut Page, metrics: &Metrics) {
    page.family(
        "steals_total",
        "counter",
        "Tasks taken from another core's queue.",
    );
    for (thief, shard) in metrics.iter().enumerate() {
        for (victim, count) in shard.stolen_from.iter().enumerate() {
            if thief != victim {
                let labels = format!("from_core=\"{victim}\",to_core=\"{thief}\"");
                page.sample("steals_total", &labels, count.get());
            }
        }
    }
}
