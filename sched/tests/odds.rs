//! Odds keep to common sense, whatever was observed before.

use orchestratord_sched::prng::Prng;
use orchestratord_sched::{Estimate, Load, Progress, Text};
use std::time::Duration;

const WORLDS: u64 = 300;

/// An estimator that has seen anything, or nothing.
fn estimate(draw: &mut Prng) -> Estimate {
    let mut estimate = Estimate::new();
    for _ in 0..draw.within(0..=100) {
        let ms = |draw: &mut Prng, max| Duration::from_millis(draw.within(0..=max));
        estimate.observe_first_token(ms(draw, 2000));
        estimate.observe_decode(ms(draw, 20_000), count(draw, 1000));
        estimate.observe_service(ms(draw, 20_000));
        estimate.observe_length(count(draw, 1000), count(draw, 1000));
    }
    estimate
}

fn count(draw: &mut Prng, max: u64) -> u32 {
    u32::try_from(draw.within(0..=max)).expect("it was asked to be small")
}

fn text(draw: &mut Prng) -> Text {
    let tokens_max = count(draw, 2000) + 1;
    Text {
        tokens_expected: count(draw, tokens_max.into()),
        tokens_max,
        tokens_out: count(draw, tokens_max.into()),
    }
}

fn load(draw: &mut Prng) -> Load {
    let slots_total = count(draw, 16);
    Load {
        tasks_ahead: count(draw, 100),
        slots_total,
        slots_free: count(draw, slots_total.into()),
    }
}

/// Anything that may be asked, of an estimator that has seen anything.
fn everywhere(claim: impl Fn(&Estimate, Progress, Text, Duration)) {
    for seed in 0..WORLDS {
        let mut draw = Prng::new(seed, "odds");
        let (estimate, text) = (estimate(&mut draw), text(&mut draw));
        let time_left = Duration::from_millis(draw.within(0..=60_000));
        for progress in [
            Progress::Queued(load(&mut draw)),
            Progress::Prefill,
            Progress::Decode,
        ] {
            claim(&estimate, progress, text, time_left);
        }
    }
}

#[test]
fn odds_lie_between_never_and_always() {
    everywhere(|estimate, progress, text, time_left| {
        let odds = estimate.on_time_probability(progress, text, time_left);
        assert!((0.0..=1.0).contains(&odds), "{odds}");
    });
}

#[test]
fn more_time_never_makes_it_less_likely() {
    everywhere(|estimate, progress, text, time_left| {
        let odds = |time| estimate.on_time_probability(progress, text, time);
        // As far as the formula of the normal distribution is exact.
        assert!(odds(time_left) <= odds(time_left * 2) + 1e-6);
    });
}

#[test]
fn nobody_starts_earlier_for_having_more_before_it() {
    everywhere(|estimate, progress, _, _| {
        if let Progress::Queued(load) = progress {
            let more = Load {
                tasks_ahead: load.tasks_ahead + 1,
                ..load
            };
            assert!(estimate.predicted_start(load) <= estimate.predicted_start(more));
        }
    });
}
