//! The page that a scraper gets: every family with its help, every series with its labels.
//!
//! The two formats are Prometheus text 0.0.4 and OpenMetrics 1.0, whose only differences here are the
//! content type, the counter's family name, how a bound is written and the closing `# EOF`.

mod catalog;
mod connections;
mod device;
mod key;
mod placement;

use std::{collections::HashMap, fmt::Write as _, sync::Arc};

use orchestratord_http::Fields;

use super::{
    CLASSES, CancelReason, Counter, DECODE_MS, FIRST_TOKEN_MS, Histogram, PerShard, PoolCounters,
    RejectReason, ShardCounters, total,
};
use crate::{
    panics,
    shared::{
        Shared,
        replica::{Condition, Gauge, Replica},
        snapshot::{Pool, Snapshot},
        turning::Turning,
    },
};

/// Which of the two text formats a scraper wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The media types of both, without parameters.
    pub const MEDIA_TYPES: [&str; 2] = ["text/plain", "application/openmetrics-text"];

    /// The one that a request's `Accept` wants more. Who takes anything gets what every scraper reads.
    pub fn accepted(fields: &Fields) -> Self {
        let [prometheus, open_metrics] = Self::MEDIA_TYPES.map(|one| fields.accepts(one));
        let names_it = fields
            .get_all("accept")
            .any(|accept| accept.contains(Self::MEDIA_TYPES[1]));
        if open_metrics > prometheus || (names_it && open_metrics == prometheus) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// Its media type, with what a scraper must know to read it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// A bucket's upper bound. To OpenMetrics each is a float and must look like one.
    fn bound(self, bound_ms: u64) -> String {
        match self {
            Self::Prometheus => format!("{bound_ms}"),
            Self::OpenMetrics => format!("{bound_ms}.0"),
        }
    }
}

/// One family of series. A series is printed once: what several pools or replicas say under the
/// same labels is added up.
struct Family {
    format: Format,
    samples: Vec<(String, f64)>,
    places: HashMap<String, usize>,
}

impl Family {
    fn sample(&mut self, series: String, value: f64) {
        match self.places.get(&series) {
            Some(place) => self.samples[*place].1 += value,
            None => {
                self.places.insert(series.clone(), self.samples.len());
                self.samples.push((series, value));
            }
        }
    }

    /// What can't be added up. Of a replica that was bound anew, the one that leaves and the one that
    /// came have the same labels for a while; one of them is told.
    fn state(&mut self, series: String, value: f64) {
        match self.places.get(&series) {
            Some(place) => self.samples[*place].1 = value,
            None => self.sample(series, value),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "the formats know doubles only; what is lost of a count beyond 2^53 is its last bit"
    )]
    fn count(&mut self, series: String, count: u64) {
        self.sample(series, count as f64);
    }
}

/// Writes the exposition family by family.
struct Page {
    text: String,
    format: Format,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str, fill: impl FnOnce(&mut Family)) {
        // OpenMetrics names a counter's family without the suffix of its samples.
        let heading = match self.format {
            Format::OpenMetrics if kind == "counter" => name.trim_end_matches("_total"),
            _ => name,
        };
        self.line(format_args!("# HELP {heading} {help}"));
        self.line(format_args!("# TYPE {heading} {kind}"));
        let mut family = Family {
            format: self.format,
            samples: Vec::new(),
            places: HashMap::new(),
        };
        fill(&mut family);
        for (series, value) in family.samples {
            self.line(format_args!("{series} {value}"));
        }
    }

    fn counter(&mut self, name: &str, help: &str, fill: impl FnOnce(&mut dyn FnMut(&str, u64))) {
        self.plain(name, "counter", help, fill);
    }

    fn gauge(&mut self, name: &str, help: &str, fill: impl FnOnce(&mut dyn FnMut(&str, u64))) {
        self.plain(name, "gauge", help, fill);
    }

    /// A family whose every series is `name{labels}`.
    fn plain(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        fill: impl FnOnce(&mut dyn FnMut(&str, u64)),
    ) {
        self.family(name, kind, help, |family| {
            fill(&mut |labels, count| family.count(format!("{name}{{{labels}}}"), count));
        });
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("writing into memory does not fail");
    }
}

/// One scrape.
pub fn expose(shared: &Shared, format: Format) -> String {
    let (snapshot, catalog) = (&*shared.pools(), &*shared.store.catalog());
    let (shards, devices) = (
        &shared.metrics,
        &*shared.devices.fresh(shared.clock.elapsed()),
    );
    let mut page = Page {
        text: String::with_capacity(8 * 1024),
        format,
    };
    tasks(&mut page, snapshot);
    refusals(&mut page, snapshot, shards);
    key::refusals(&mut page, shards);
    tokens(&mut page, snapshot);
    pools(&mut page, snapshot);
    engines(&mut page, snapshot);
    device::devices(&mut page, snapshot, devices);
    catalog::models(&mut page, snapshot, catalog);
    catalog::verifications(&mut page, catalog);
    latencies(&mut page, snapshot);
    placement::decisions(&mut page, shards);
    placement::candidates(&mut page, shards);
    steals(&mut page, shards);
    store(&mut page, shared.store.works());
    bugs(&mut page);
    stalls(&mut page, &shared.turning);
    connections::connections(&mut page, &shared.connections, shards);
    if format == Format::OpenMetrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

fn pool_labels(pool: &Pool) -> String {
    format!(
        "engine=\"{}\",engine_version=\"{}\",pool_id=\"{}\"",
        pool.engine,
        escaped(&pool.engine_version),
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

/// The labels of each replica, those of replaced pools among them.
fn each_replica(snapshot: &Snapshot) -> impl Iterator<Item = (String, Arc<Replica>)> {
    snapshot.all().flat_map(|pool| {
        pool.replicas.iter().map(|(_, replica)| {
            let labels = format!(
                "engine=\"{}\",engine_version=\"{}\",pool_id=\"{}\",replica_id=\"{}\"",
                pool.engine,
                escaped(replica.engine_version()),
                escaped(&pool.id),
                escaped(&replica.id)
            );
            (labels, replica)
        })
    })
}

fn tasks(page: &mut Page, snapshot: &Snapshot) {
    page.counter("tasks_enqueued_total", "Tasks admitted.", |sample| {
        for pool in &snapshot.pools {
            for (class, (_, priority)) in CLASSES.iter().enumerate() {
                let labels = pool_labels(pool);
                let labels = format!("{labels},replica_id=\"\",priority=\"{priority}\"");
                sample(&labels, total(&pool.counters, |pool| &pool.enqueued[class]));
            }
        }
    });
    page.counter("tasks_started_total", "Tasks that got a slot.", |sample| {
        for (labels, replica) in each_replica(snapshot) {
            for (class, (_, priority)) in CLASSES.iter().enumerate() {
                let labels = format!("{labels},priority=\"{priority}\"");
                sample(
                    &labels,
                    total(&replica.counters, |replica| &replica.started[class]),
                );
            }
        }
    });
    page.counter("tasks_canceled_total", "Tasks canceled.", |sample| {
        for reason in CancelReason::ALL {
            let (at, name) = (reason as usize, reason.name());
            for pool in &snapshot.pools {
                let labels = pool_labels(pool);
                let labels = format!("{labels},replica_id=\"\",reason=\"{name}\"");
                let count = total(&pool.counters, |pool| &pool.canceled_queued[at]);
                sample(&labels, count);
            }
            for (labels, replica) in each_replica(snapshot) {
                let labels = format!("{labels},reason=\"{name}\"");
                sample(
                    &labels,
                    total(&replica.counters, |replica| &replica.canceled[at]),
                );
            }
        }
    });
}

fn refusals(page: &mut Page, snapshot: &Snapshot, shards: &PerShard<ShardCounters>) {
    let help = "Submissions turned away.";
    page.counter("tasks_rejected_total", help, |sample| {
        for pool in &snapshot.pools {
            for reason in RejectReason::ALL {
                let (at, name) = (reason as usize, reason.name());
                let labels = format!("engine=\"{}\",reason=\"{name}\"", pool.engine);
                sample(&labels, total(&pool.counters, |pool| &pool.rejected[at]));
            }
        }
        let model_not_found = total(shards, |shard| &shard.model_not_found);
        sample("engine=\"\",reason=\"model_not_found\"", model_not_found);
    });
    let help = "Times the queue was full.";
    page.counter("admission_backpressure_events_total", help, |sample| {
        for pool in &snapshot.pools {
            let policy = pool.admission_policy().name();
            let labels = format!("engine=\"{}\",policy=\"{policy}\"", pool.engine);
            sample(&labels, total(&pool.counters, |pool| &pool.backpressure));
        }
    });
}

fn tokens(page: &mut Page, snapshot: &Snapshot) {
    page.counter("tokens_in_total", "Prompt tokens.", |sample| {
        for (labels, replica) in each_replica(snapshot) {
            sample(
                &labels,
                total(&replica.counters, |replica| &replica.tokens_in),
            );
        }
    });
    page.counter("tokens_out_total", "Generated tokens.", |sample| {
        for (labels, replica) in each_replica(snapshot) {
            sample(
                &labels,
                total(&replica.counters, |replica| &replica.tokens_out),
            );
        }
    });
}

/// What engines tell of themselves, those that do.
fn engines(page: &mut Page, snapshot: &Snapshot) {
    let mut told = |name: &str, help: &str, of: fn(&Condition) -> &Gauge| {
        page.family(name, "gauge", help, |family| {
            for (labels, replica) in each_replica(snapshot) {
                if let Some(value) = of(&replica.condition).get() {
                    family.state(format!("{name}{{{labels}}}"), value);
                }
            }
        });
    };
    let help = "How full the KV caches of a replica's slots are, from 0 to 1.";
    told("kv_cache_usage_ratio", help, |condition| {
        &condition.kv_cache_usage
    });
    let help = "Requests that an engine works on, whoever sent them.";
    told("engine_requests_running", help, |condition| {
        &condition.requests_running
    });
    let help = "Requests that wait inside of an engine.";
    told("engine_requests_waiting", help, |condition| {
        &condition.requests_waiting
    });
}

fn pools(page: &mut Page, snapshot: &Snapshot) {
    page.gauge("queue_depth", "Tasks waiting for a slot.", |sample| {
        for pool in snapshot.all() {
            for (class, priority) in CLASSES {
                let labels = format!("{},priority=\"{priority}\"", pool_labels(pool));
                sample(&labels, pool.scheduling.queued(class).into());
            }
        }
    });
    let help = "1 when the pool takes new work.";
    page.gauge("pool_ready", help, |sample| {
        for pool in &snapshot.pools {
            let labels = format!("pool_id=\"{}\"", escaped(&pool.id));
            sample(&labels, pool.takes_work().into());
        }
    });
    page.gauge("active_leases", "Slots in use.", |sample| {
        for pool in snapshot.all() {
            let labels = format!("pool_id=\"{}\"", escaped(&pool.id));
            sample(&labels, pool.scheduling.leases().into());
        }
    });
}

fn latencies(page: &mut Page, snapshot: &Snapshot) {
    let help = "From admission to the first token.";
    page.family("latency_first_token_ms", "histogram", help, |family| {
        let name = "latency_first_token_ms";
        for pool in &snapshot.pools {
            histogram(family, name, pool, &FIRST_TOKEN_MS, |pool, class| {
                &pool.first_token[class]
            });
        }
    });
    let help = "From the first token to the last.";
    page.family("latency_decode_ms", "histogram", help, |family| {
        let name = "latency_decode_ms";
        for pool in &snapshot.pools {
            histogram(family, name, pool, &DECODE_MS, |pool, class| {
                &pool.decode[class]
            });
        }
    });
}

fn histogram<const N: usize>(
    family: &mut Family,
    name: &str,
    pool: &Pool,
    bounds_ms: &[u64; N],
    of: impl Fn(&PoolCounters, usize) -> &Histogram<N>,
) {
    for (class, (_, priority)) in CLASSES.iter().enumerate() {
        let labels = format!("{},priority=\"{priority}\"", pool_labels(pool));
        let sum = |part: &dyn Fn(&Histogram<N>) -> &Counter| -> u64 {
            total(&pool.counters, |shard| part(of(shard, class)))
        };
        let mut count = 0;
        for (at, bound) in bounds_ms.iter().enumerate() {
            count += sum(&|histogram| &histogram.counts[at]);
            let bound = family.format.bound(*bound);
            family.count(format!("{name}_bucket{{{labels},le=\"{bound}\"}}"), count);
        }
        count += sum(&|histogram| &histogram.above);
        family.count(format!("{name}_bucket{{{labels},le=\"+Inf\"}}"), count);
        let sum_ms = sum(&|histogram| &histogram.sum_ms);
        family.count(format!("{name}_sum{{{labels}}}"), sum_ms);
        family.count(format!("{name}_count{{{labels}}}"), count);
    }
}

fn store(page: &mut Page, works: bool) {
    let help = "1 if the disk took what was last asked of it, 0 while it fails.";
    page.family("store_ready", "gauge", help, |family| {
        family.count("store_ready".to_owned(), works.into());
    });
}

fn stalls(page: &mut Page, shards: &PerShard<Turning>) {
    let each = |sample: &mut dyn FnMut(&str, u64), of: fn(&Turning) -> u64| {
        for (id, shard) in shards.iter().enumerate() {
            sample(&format!("shard=\"{id}\""), of(shard));
        }
    };
    let help = "1 while a shard stands still for too long.";
    page.gauge("shard_stalled", help, |sample| {
        each(sample, |shard| shard.stalled_for().is_some().into());
    });
    let help = "Times that a shard stood still for too long.";
    page.counter("shard_stalls_total", help, |sample| {
        each(sample, |shard| shard.stalls.get());
    });
}

fn bugs(page: &mut Page) {
    let help = "Bugs of the daemon that its threads have run into.";
    page.family("panics_total", "counter", help, |family| {
        family.count("panics_total".to_owned(), panics::count());
    });
}

fn steals(page: &mut Page, shards: &PerShard<ShardCounters>) {
    let help = "Tasks taken from another core's queue.";
    page.counter("steals_total", help, |sample| {
        for (thief, shard) in shards.iter().enumerate() {
            for (victim, count) in shard.stolen_from.iter().enumerate() {
                if thief != victim {
                    let labels = format!("from_core=\"{victim}\",to_core=\"{thief}\"");
                    sample(&labels, count.get());
                }
            }
        }
    });
}
