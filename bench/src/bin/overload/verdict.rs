//! What was promised, held against what was seen.

use super::seen::{Crowd, Seen, Spread, until_end, until_first, until_refused};
use super::{Class, TOKENS};
use orchestratord_bench::breaches;
use std::process::ExitCode;
use std::time::Duration;

/// Whether this build is as fast as the one that is promised about.
const JUDGES_TIMES: bool = cfg!(not(debug_assertions));
/// How much longer than at capacity anything may take.
const LONGER: f64 = 1.1;
/// What a clock, a busy machine and the chance of some hundred tasks make of the same time.
const NOISE: Duration = Duration::from_millis(10);
/// How much less than at capacity may be done.
const LESS: f64 = 0.95;
/// How soon a refusal comes, but for one in a hundred.
const REFUSED_IN: Duration = Duration::from_millis(5);
/// Between which bounds half of the waits that were told are, of what it took.
const TOLD: std::ops::RangeInclusive<f64> = 0.5..=2.0;
/// How much more memory than at capacity it may have: an eighth of it, and what so many more connections and tasks
/// take.
const MORE: u64 = 8;
const MEMORY_KIB: u64 = 16 * 1024;

/// Floods of one class: at capacity and overloaded, in turns.
#[derive(Debug, Default)]
struct Scene {
    capacity: Vec<Seen>,
    overload: Vec<Seen>,
}

#[derive(Debug, Default)]
pub(crate) struct Verdict {
    interactive: Scene,
    batch: Scene,
}

impl Verdict {
    pub(crate) fn add(&mut self, class: Class, capacity: Seen, overload: Seen) {
        let scene = match class {
            Class::Interactive => &mut self.interactive,
            Class::Batch => &mut self.batch,
        };
        scene.capacity.push(capacity);
        scene.overload.push(overload);
    }

    pub(crate) fn report(&self) -> ExitCode {
        let mut breaches = Vec::new();
        for (class, scene) in [("interactive", &self.interactive), ("batch", &self.batch)] {
            for (name, phases) in [("capacity", &scene.capacity), ("overload", &scene.overload)] {
                println!("flood of {class}, {name}");
                Crowd::ALL.into_iter().for_each(|crowd| tell(crowd, phases));
                tell_daemon(phases);
            }
            let broken = scene.bounds().into_iter().chain(scene.times());
            breaches.extend(broken.map(|what| format!("under a flood of {class} {what}")));
        }
        if !JUDGES_TIMES {
            println!("times were not judged: this is no build for release");
        }
        breaches::report(&breaches, !self.interactive.overload.is_empty())
    }
}

fn tell(crowd: Crowd, phases: &[Seen]) {
    let [first, end, refusal] =
        [until_first, until_end, until_refused].map(|until| Spread::of(phases, crowd, until));
    let count = |count: fn(&Seen, Crowd) -> usize| -> usize {
        phases.iter().map(|seen| count(seen, crowd)).sum()
    };
    println!(
        "  {:<7} {:>6} sent, {:>6} refused, {:>6} dropped; first token {first}, end {end}; refused after {refusal}",
        crowd.name(),
        count(Seen::sent),
        count(Seen::refused),
        count(Seen::dropped),
    );
}

fn tell_daemon(phases: &[Seen]) {
    let rate = mean(phases, Seen::served_per_s);
    print!(
        "  daemon  {rate:.1} tasks/s, {:.0} tokens/s, at most {} KiB",
        rate * f64::from(TOKENS),
        memory_kib(phases),
    );
    match told_over_taken(phases) {
        Some(told) => println!("; told to wait {told:.2} times as long as it took"),
        None => println!(),
    }
}

fn memory_kib(phases: &[Seen]) -> u64 {
    let phases = phases.iter().map(|seen| seen.memory_kib);
    phases.max().unwrap_or_default()
}

fn mean(phases: &[Seen], what: fn(&Seen) -> f64) -> f64 {
    let count = u32::try_from(phases.len()).unwrap_or(u32::MAX);
    phases.iter().map(what).sum::<f64>() / f64::from(count)
}

/// In the middle.
fn told_over_taken(phases: &[Seen]) -> Option<f64> {
    let mut told: Vec<_> = phases.iter().flat_map(Seen::told_over_taken).collect();
    told.sort_by(f64::total_cmp);
    told.get(told.len() / 2).copied()
}

impl Scene {
    /// What is so at any speed, and was not.
    fn bounds(&self) -> Vec<&'static str> {
        let count = |phases: &[Seen], count: fn(&Seen, Crowd) -> usize, crowd| -> usize {
            phases.iter().map(|seen| count(seen, crowd)).sum()
        };
        let turned_away = |phases, crowd| {
            count(phases, Seen::refused, crowd) + count(phases, Seen::dropped, crowd)
        };
        let sent = count(&self.overload, Seen::sent, Crowd::Flood);
        // Of the first phase: what leaks would be in the next one at capacity too.
        let before = memory_kib(self.capacity.get(..1).unwrap_or_default());
        let promises = [
            (
                turned_away(&self.overload, Crowd::Flood) > sent / 2,
                "half of it was served: it was no flood",
            ),
            (
                turned_away(&self.capacity, Crowd::Modest) == 0
                    && turned_away(&self.overload, Crowd::Modest) == 0,
                "the modest caller was turned away",
            ),
            (
                memory_kib(&self.overload) <= before + before / MORE + MEMORY_KIB,
                "memory grew",
            ),
        ];
        broken(promises)
    }

    /// What is so where the machine is fast enough, and was not.
    fn times(&self) -> Vec<&'static str> {
        if !JUDGES_TIMES {
            return Vec::new();
        }
        let (capacity, overload) = (&self.capacity, &self.overload);
        let is_as_soon = |crowd, until| {
            let [before, now] = [capacity, overload].map(|phases| Spread::of(phases, crowd, until));
            now.is_within(before, LONGER, NOISE)
        };
        let told = told_over_taken(overload);
        let promises = [
            (
                mean(overload, Seen::served_per_s) >= LESS * mean(capacity, Seen::served_per_s),
                "less was done",
            ),
            (
                is_as_soon(Crowd::Flood, until_first) && is_as_soon(Crowd::Flood, until_end),
                "who was let in was served later",
            ),
            (
                is_as_soon(Crowd::Modest, until_first) && is_as_soon(Crowd::Modest, until_end),
                "the modest caller was served later",
            ),
            (
                Spread::of(overload, Crowd::Flood, until_refused).p99 <= REFUSED_IN,
                "refusals came late",
            ),
            (
                told.is_none_or(|told| TOLD.contains(&told)),
                "it was told to come back at another time than there was room",
            ),
        ];
        broken(promises)
    }
}

fn broken<const N: usize>(promises: [(bool, &'static str); N]) -> Vec<&'static str> {
    let broken = promises.into_iter().filter(|(holds, _)| !holds);
    broken.map(|(_, what)| what).collect()
}
