//! The world: what happens next, again and again, until it comes to rest.

use std::{sync::Arc, time::Duration};

use orchestratord_sched::prng::Prng;

use super::{
    Number, Options, Report, Violation,
    callers::Callers,
    disk::Disk,
    life::Life,
    rules::{self, Breach, Rule},
    stream::Event,
};
use crate::{
    clock::hands::{self, Hands},
    shard::mailbox::Message,
    shared::{gate::Passage, stage::Stage},
};

/// When every world begins: some day of 2026.
const BIRTH_UNIX_MS: u64 = 1_780_000_000_000;
/// What passes between two steps, at most.
const STEP_MAX: Duration = Duration::from_millis(20);
/// How far the clock jumps, at most: a suspended machine, or a calendar that was wrong.
const JUMP_MAX_MS: u64 = 600_000;
/// Rounds that a world may take to come to rest once nobody disturbs it: all that is under way is short.
const REST_ROUNDS_MAX: u32 = 10_000;

/// Something that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Submit,
    Attach,
    Read,
    Leave,
    Cancel,
    /// A shard hears a message.
    Hear,
    /// An engine speaks.
    Speak,
    /// The store writes.
    Write,
    BreakDown,
    BringUp,
    /// A pool stops taking work, or takes it again.
    Drain,
    /// Running tasks are looked over.
    Sweep,
    JumpClock,
    /// The disk breaks, or works again.
    BreakDisk,
    Crash,
    Stop,
}

/// How often each happens, against the others.
const WEIGHTS: [(Step, u64); 16] = [
    (Step::Submit, 1200),
    (Step::Attach, 700),
    (Step::Read, 1600),
    (Step::Leave, 150),
    (Step::Cancel, 150),
    (Step::Hear, 2500),
    (Step::Speak, 3000),
    (Step::Write, 800),
    (Step::BreakDown, 40),
    (Step::BringUp, 100),
    (Step::Drain, 30),
    (Step::Sweep, 50),
    (Step::JumpClock, 10),
    (Step::BreakDisk, 20),
    (Step::Crash, 12),
    (Step::Stop, 6),
];

/// Without these nothing happens.
const VITAL: [Step; 5] = [
    Step::Submit,
    Step::Attach,
    Step::Hear,
    Step::Speak,
    Step::Write,
];

pub(super) struct World<'o> {
    seed: u64,
    options: &'o Options,
    weights: Vec<(Step, u64)>,
    steps: Prng,
    engines: Prng,
    time: Prng,
    hands: Hands,
    disk: Disk,
    life: Life,
    callers: Callers,
    report: Report,
}

impl<'o> World<'o> {
    pub(super) fn new(seed: u64, options: &'o Options) -> Self {
        let hands = Hands {
            elapsed: Duration::ZERO,
            unix_ms: BIRTH_UNIX_MS,
        };
        hands::hold(hands);
        let disk = Disk::new(seed);
        Self {
            seed,
            options,
            weights: weights(seed),
            steps: Prng::new(seed, "steps"),
            engines: Prng::new(seed, "engines"),
            time: Prng::new(seed, "time"),
            hands,
            life: Life::begin(options, &disk),
            disk,
            callers: Callers::new(seed),
            report: Report::default(),
        }
    }

    pub(super) fn run(mut self) -> Result<Report, Violation> {
        let lived = self.live();
        lived.map_err(|(rule, seen)| Violation {
            seed: self.seed,
            step: self.report.steps,
            rule,
            seen,
        })?;
        Ok(self.report)
    }

    fn live(&mut self) -> Result<(), Breach> {
        while self.report.steps < self.options.steps {
            let step = self.next();
            self.tick();
            self.take(step)?;
            self.look()?;
        }
        self.rest()?;
        self.crash()?;
        self.rest()
    }

    fn next(&mut self) -> Step {
        let all: u64 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut left = self.steps.next_u64() % all;
        let chosen = self.weights.iter().find(|(_, weight)| {
            let is_it = left < *weight;
            left = left.saturating_sub(*weight);
            is_it
        });
        chosen.map_or(Step::Hear, |(step, _)| *step)
    }

    fn tick(&mut self) {
        let most = u64::try_from(STEP_MAX.as_micros()).unwrap_or(u64::MAX);
        let passed_us = self.time.within(0..=most);
        self.pass(Duration::from_micros(passed_us));
    }

    fn pass(&mut self, time: Duration) {
        self.hands.elapsed += time;
        self.hands.unix_ms += u64::try_from(time.as_millis()).unwrap_or(0);
        hands::hold(self.hands);
    }

    /// Delivers what the step has sent, and looks whether every rule holds.
    fn look(&mut self) -> Result<(), Breach> {
        let begun = self.life.post();
        self.begin(begun)?;
        self.callers.hear_answers(&self.life, &mut self.report)?;
        self.report.steps += 1;
        rules::check(self.report.steps, &self.life, &mut self.callers)
    }

    fn begin(&mut self, tasks: Vec<Number>) -> Result<(), Breach> {
        for task in tasks {
            self.report.begun += 1;
            self.report.digest(task as u64);
            self.callers.begins(task)?;
        }
        Ok(())
    }

    fn take(&mut self, step: Step) -> Result<(), Breach> {
        match step {
            Step::Submit => {
                self.report.submitted += 1;
                self.callers.submit(&mut self.life);
            }
            Step::Attach => self.callers.attach(&self.life),
            Step::Read => self.callers.read(&mut self.life, &mut self.report)?,
            Step::Leave => self.callers.leave(&mut self.life),
            Step::Cancel => self.callers.cancel(&mut self.life),
            Step::Hear => {
                let shard = self.index(self.life.tables.len());
                self.hear(shard);
            }
            Step::Speak => {
                let engine = self.index(self.life.engines.len());
                self.speak(engine)?;
            }
            Step::Write => self.write(),
            Step::BreakDown => {
                self.report.outages += 1;
                let engine = self.index(self.life.engines.len());
                let begun = self.life.break_down(engine);
                self.begin(begun)?;
            }
            Step::BringUp => {
                let engine = self.index(self.life.engines.len());
                self.life.bring_up(engine);
            }
            Step::Drain => self.drain(),
            Step::Sweep => {
                let shard = self.index(self.life.tables.len());
                self.life.tables[shard].end_overdue();
            }
            Step::JumpClock => self.jump_clock(),
            Step::BreakDisk => {
                let is_failing = !self.disk.is_failing();
                self.report.disk_failures += u64::from(is_failing);
                self.disk.fail(is_failing);
            }
            Step::Crash => {
                self.report.crashes += 1;
                self.crash()?;
            }
            Step::Stop => {
                self.report.stops += 1;
                self.stop()?;
            }
        }
        Ok(())
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.steps.next_u64() % length as u64).unwrap_or(0)
    }

    fn hear(&mut self, shard: usize) {
        let mail = self.life.mail[shard].front();
        self.report.stolen += u64::from(matches!(mail, Some(Message::Stolen { .. })));
        self.life.hear(shard);
    }

    fn speak(&mut self, engine: usize) -> Result<(), Breach> {
        let begun = self.life.engine_turn(engine, &mut self.engines);
        self.begin(begun)
    }

    fn write(&mut self) {
        if self.life.keeping.turn() {
            self.callers.journal_is_written(&self.life);
        }
    }

    fn drain(&mut self) {
        let pools = self.life.shared.pools();
        let pool = &pools.pools[self.index(pools.pools.len())];
        if !pool.gate.is_open() {
            return pool.gate.set(Passage::Open);
        }
        self.report.drains += 1;
        pool.gate.set(Passage::WITHOUT_DEADLINE);
        self.life.tell_all(|| Message::MoveTasks {
            pool: Arc::clone(pool),
        });
    }

    /// The machine slept, or somebody set the calendar.
    fn jump_clock(&mut self) {
        self.report.clock_jumps += 1;
        let jump_ms = self.time.within(1..=JUMP_MAX_MS);
        match self.time.within(0..=2) {
            0 => self.pass(Duration::from_millis(jump_ms)),
            1 => self.hands.unix_ms += jump_ms,
            _ => self.hands.unix_ms -= jump_ms,
        }
        hands::hold(self.hands);
    }

    /// The daemon dies at once, and another starts on what the disk has kept.
    fn crash(&mut self) -> Result<(), Breach> {
        self.disk.fail(false);
        self.disk.crash();
        self.callers.hang_up();
        self.hands.elapsed = Duration::ZERO;
        hands::hold(self.hands);
        self.life = Life::begin(self.options, &self.disk);
        self.report.recovered += self.life.restored as u64;
        self.callers.check_outcomes(&mut self.life)
    }

    /// The daemon stops in order, and another starts.
    fn stop(&mut self) -> Result<(), Breach> {
        self.disk.fail(false);
        for stage in [Stage::Draining, Stage::Ending] {
            self.life.shared.stages.step(stage);
            self.life.tell_all(|| Message::StageChanged);
            self.round()?;
        }
        while !self.life.is_quiet() {
            self.round()?;
        }
        if !self.life.shared.stages.live_tasks.is_zero() {
            let seen = "tasks live on in a daemon that has stopped".to_owned();
            return Err((Rule::CountsAgree, seen));
        }
        self.crash()
    }

    /// Everybody has a turn.
    fn round(&mut self) -> Result<(), Breach> {
        self.tick();
        for shard in 0..self.life.tables.len() {
            while !self.life.mail[shard].is_empty() {
                self.hear(shard);
                self.look()?;
            }
        }
        for engine in 0..self.life.engines.len() {
            self.speak(engine)?;
            self.look()?;
        }
        self.write();
        self.look()?;
        self.callers.read_all(&mut self.life, &mut self.report)?;
        self.look()
    }

    /// Nobody disturbs any more: whatever is under way comes to its end.
    fn rest(&mut self) -> Result<(), Breach> {
        self.disk.fail(false);
        for pool in &self.life.shared.pools().pools {
            pool.gate.set(Passage::Open);
        }
        for _ in 0..REST_ROUNDS_MAX {
            if !self.is_busy() {
                return self.callers.check_outcomes(&mut self.life);
            }
            for engine in 0..self.life.engines.len() {
                self.life.bring_up(engine);
            }
            self.pass(Duration::from_secs(1));
            self.round()?;
        }
        let seen = "something waits for ever".to_owned();
        Err((Rule::NothingLost, seen))
    }

    fn is_busy(&self) -> bool {
        let live = &self.life.shared.stages.live_tasks;
        !(live.is_zero() && self.life.is_quiet()) || self.callers.are_waiting()
    }
}

impl Report {
    /// Something was said.
    pub(super) fn note(&mut self, event: &Event) {
        self.read += 1;
        for byte in event.name.bytes().chain(event.data.bytes()) {
            self.digest(byte.into());
        }
    }

    /// FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>.
    fn digest(&mut self, word: u64) {
        self.digest = (self.digest ^ word).wrapping_mul(0x0100_0000_01b3);
    }
}

/// Some things never happen in a world, and others more often than elsewhere.
fn weights(seed: u64) -> Vec<(Step, u64)> {
    let mut prng = Prng::new(seed, "weights");
    let drawn = WEIGHTS.map(|(step, weight)| {
        let factor = match prng.within(0..=3) {
            0 if !VITAL.contains(&step) => 0,
            factor => factor.max(1),
        };
        (step, weight * factor)
    });
    drawn.into()
}
