//! Who arrives when, and with what: drawn from the seed before anything is decided.
//!
//! Arrivals are random and independent (their gaps are exponential); lengths have a heavy tail
//! (Pareto, shape 1.5), because a few long answers among many short ones are what queues in front
//! of language models look like. Now and then somebody floods: many tasks at once, all at one shard.

use super::Options;
use crate::fairness::Flow;
use crate::prng::Prng;
use crate::time::Instant;
use crate::urgency::Class;
use core::time::Duration;

/// The least time that a task keeps its slot; the mean is three times that.
const SERVICE_MIN: Duration = Duration::from_millis(100);
const SERVICE_MEAN: Duration = Duration::from_millis(300);
/// The longest, so that a world ends.
const SERVICE_MAX: Duration = Duration::from_secs(60);
/// Deadlines are drawn up to here: some can't be met, most can.
const DEADLINE_MAX_MS: u64 = 5_000;

/// One task as it arrives.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) at: Instant,
    pub(super) shard: usize,
    pub(super) flow: Flow,
    pub(super) class: Class,
    pub(super) deadline: Option<Instant>,
    pub(super) expected_tokens: u32,
    /// What it will have used when it ends.
    pub(super) tokens_used: u64,
    /// How long it will keep its slot.
    pub(super) service: Duration,
    /// How long after its first start its engine will break, if it does.
    pub(super) breaks_after: Option<Duration>,
    /// When it will be canceled, whether it waits or runs then.
    pub(super) cancel_at: Option<Instant>,
    /// A replica that goes out of service at this moment, and for how long.
    pub(super) outage: Option<(usize, Duration)>,
}

/// All of a world's arrivals, in order of time, no two at the same moment.
pub(super) fn arrivals(seed: u64, options: &Options) -> Vec<Arrival> {
    let slots: u32 = options.replica_slots.iter().sum();
    let gap_mean = SERVICE_MEAN.div_f64(f64::from(slots) * options.load);
    let mut when = Prng::new(seed, "arrivals");
    let mut what = Prng::new(seed, "tasks");
    let mut whims = Prng::new(seed, "whims");
    let mut who = Prng::new(seed, "identities");
    let mut luck = Prng::new(seed, "breaks");
    let (mut flood, mut flood_left) = ((Flow(0), 0), 0);
    let mut now = Instant::ZERO;
    let mut arrival = || {
        let gap = gap_mean.mul_f64(-(1.0 - when.fraction()).ln());
        let flow = Flow(u32::try_from(who.next_u64() % u64::from(options.identities)).unwrap_or(0));
        let here = (flow, index(&mut what, options.shards));
        if flood_left == 0 && who.chance(options.floods) {
            (flood, flood_left) = (here, options.flood_tasks);
        }
        let is_flood = flood_left > 0;
        flood_left = flood_left.saturating_sub(1);
        let ((flow, shard), gap) = if is_flood {
            (flood, Duration::ZERO)
        } else {
            (here, gap)
        };
        now = now + gap + Duration::from_nanos(1);
        let service = service(&mut what);
        let deadline_ms = what.within(1..=DEADLINE_MAX_MS);
        Arrival {
            at: now,
            shard,
            flow,
            class: if what.chance(options.batch) {
                Class::Batch
            } else {
                Class::Interactive
            },
            deadline: what
                .chance(options.deadlines)
                .then(|| now + Duration::from_millis(deadline_ms)),
            expected_tokens: u32::try_from(what.within(0..=1000)).unwrap_or(0),
            tokens_used: what.within(0..=2000),
            service,
            breaks_after: luck
                .chance(options.breaks)
                .then(|| SERVICE_MIN.mul_f64(luck.fraction())),
            cancel_at: whims
                .chance(options.cancels)
                .then(|| now + service.mul_f64(3.0 * whims.fraction())),
            outage: whims.chance(options.outages).then(|| {
                let replica = index(&mut whims, options.replica_slots.len());
                (replica, Duration::from_millis(whims.within(1..=2000)))
            }),
        }
    };
    (0..options.tasks).map(|_| arrival()).collect()
}

fn service(prng: &mut Prng) -> Duration {
    let stretch = (1.0 - prng.fraction()).powf(-1.0 / 1.5);
    SERVICE_MIN.mul_f64(stretch).min(SERVICE_MAX)
}

fn index(prng: &mut Prng, length: usize) -> usize {
    usize::try_from(prng.next_u64() % length as u64).unwrap_or(0)
}
