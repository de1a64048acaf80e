//! What arrives, drawn before the simulation begins.

use super::Options;
use orchestratord_sched::prng::Prng;
use orchestratord_sched::{Instant, Text};
use std::time::Duration;

const TOKENS_MEDIAN: f64 = 100.0;
/// The deviation of the logarithm of lengths.
const TOKENS_SHAPE: f64 = 0.8;
const TOKENS_MAX: u32 = 2048;
/// Callers are wrong about the length by a factor, and on the side of caution.
const EXPECTATION: f64 = 2.0;
const EXPECTATION_SHAPE: f64 = 0.4;
const FIRST_TOKEN: Duration = Duration::from_millis(150);
const FIRST_TOKEN_SHAPE: f64 = 0.3;
const TOKEN: Duration = Duration::from_millis(20);
const TOKEN_SHAPE: f64 = 0.15;
/// How often a task under way is told its odds: as often as streams tell them.
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// One task, as it was drawn.
#[derive(Clone, Copy)]
pub(super) struct Task {
    pub(super) arrival: Instant,
    pub(super) text: Text,
    /// How many tokens it will have.
    pub(super) tokens: u32,
    /// From its slot to its first token.
    pub(super) first_token: Duration,
    /// From token to token.
    pace: Duration,
}

impl Task {
    /// From its first token to its end.
    pub(super) fn decode(&self) -> Duration {
        self.pace * self.tokens
    }

    pub(super) fn service(&self) -> Duration {
        self.first_token + self.decode()
    }

    /// When after its first token its odds are told, and how many tokens it has by then.
    pub(super) fn told(self) -> impl Iterator<Item = (Duration, u32)> {
        let times = (0..).map(|nth| TOLD_EVERY * nth);
        let told = times.map(move |after| (after, 1 + whole(after.div_duration_f64(self.pace))));
        told.take_while(move |(_, tokens_out)| *tokens_out < self.tokens)
    }
}

/// All tasks of a run, in order of their arrival.
pub(super) fn tasks(options: Options, slots: u32) -> Vec<Task> {
    let mut when = Prng::new(options.seed, "arrivals");
    let mut what = Prng::new(options.seed, "texts");
    let mut drawn: Vec<Task> = (0..options.tasks).map(|_| task(&mut what)).collect();
    let work: Duration = drawn.iter().map(Task::service).sum();
    let tasks = u32::try_from(options.tasks).unwrap_or(u32::MAX);
    let gap_mean = (work / tasks).div_f64(f64::from(slots) * options.load);
    let mut now = Instant::ZERO;
    for task in &mut drawn {
        now = now + gap_mean.mul_f64(-(1.0 - when.fraction()).ln());
        task.arrival = now;
    }
    drawn
}

fn task(draw: &mut Prng) -> Task {
    let length = TOKENS_MEDIAN * (TOKENS_SHAPE * normal(draw)).exp();
    let expected = length * EXPECTATION * (EXPECTATION_SHAPE * normal(draw)).exp();
    Task {
        arrival: Instant::ZERO,
        text: Text {
            tokens_expected: whole(expected).clamp(1, TOKENS_MAX),
            tokens_max: TOKENS_MAX,
            tokens_out: 0,
        },
        tokens: whole(length).clamp(1, TOKENS_MAX),
        first_token: FIRST_TOKEN.mul_f64((FIRST_TOKEN_SHAPE * normal(draw)).exp()),
        pace: TOKEN.mul_f64((TOKEN_SHAPE * normal(draw)).exp()),
    }
}

/// By Box and Muller, "A note on the generation of random normal deviates" (1958).
fn normal(prng: &mut Prng) -> f64 {
    let radius = (-2.0 * (1.0 - prng.fraction()).ln()).sqrt();
    radius * (std::f64::consts::TAU * prng.fraction()).cos()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few thousand at most"
)]
const fn whole(tokens: f64) -> u32 {
    tokens as u32
}
