//! Engines as the world plays them: they take orders, say words, break and come back.
//!
//! One of this process hears orders and answers by mail; a server is asked by a shard and answers there. What
//! each says of a task is known beforehand ([`word`]), so that a reader can tell a wrong text.

use std::{collections::BTreeMap, sync::Arc};

use crossbeam::channel::Receiver;
use orchestratord_gpu::{
    Event, Fault, Generation, Input, SequenceKey,
    event::{Finish, Usage},
};
use orchestratord_sched::{ReplicaIndex, prng::Prng};

use super::Number;
use crate::{
    shard::upstream::HungUp,
    shared::{
        replica::{Order, Replica},
        snapshot::Pool,
    },
};

/// The `index`th token of a task's text.
pub(super) fn word(task: Number, index: u32) -> String {
    format!("{task}.{index} ")
}

/// One engine of a pool.
pub(super) struct Engine {
    pub(super) pool: Arc<Pool>,
    pub(super) place: ReplicaIndex,
    pub(super) replica: Arc<Replica>,
    /// Where it hears orders, if it runs in this process.
    orders: Option<Receiver<Order>>,
    runs: BTreeMap<SequenceKey, Run>,
    pub(super) is_up: bool,
}

struct Run {
    home: usize,
    task: Number,
    /// How long its text is.
    tokens: u32,
    has_started: bool,
    said: u32,
    /// Ready when nobody listens any more, if it is a server that speaks.
    line: Option<HungUp>,
}

/// Something that an engine says.
pub(super) struct Saying {
    pub(super) home: usize,
    pub(super) sequence: SequenceKey,
    pub(super) event: Event,
}

impl Engine {
    pub(super) fn new(
        pool: &Arc<Pool>,
        place: ReplicaIndex,
        orders: Option<Receiver<Order>>,
    ) -> Self {
        Self {
            pool: Arc::clone(pool),
            place,
            replica: pool.replica(place),
            orders,
            runs: BTreeMap::new(),
            is_up: false,
        }
    }

    pub(super) const fn is_server(&self) -> bool {
        self.orders.is_none()
    }

    /// A shard asks the server to generate.
    pub(super) fn ask(
        &mut self,
        home: usize,
        sequence: SequenceKey,
        generation: &Generation,
        line: HungUp,
    ) -> Number {
        self.run(home, sequence, generation, Some(line))
    }

    /// Hears its orders. The tasks that it begins.
    pub(super) fn take_orders(&mut self) -> Vec<Number> {
        let orders: Vec<Order> = self.orders.iter().flat_map(Receiver::try_iter).collect();
        let mut begun = BTreeMap::new();
        for order in orders {
            match order {
                Order::Start {
                    home,
                    sequence,
                    generation,
                } => {
                    begun.insert(sequence, self.run(home.0, sequence, &generation, None));
                }
                // What was called off meanwhile never begins.
                Order::Cancel { sequence } => {
                    begun.remove(&sequence);
                    self.runs.remove(&sequence);
                }
                Order::Forget { .. } | Order::Retire => {}
            }
        }
        begun.into_values().collect()
    }

    fn run(
        &mut self,
        home: usize,
        sequence: SequenceKey,
        generation: &Generation,
        line: Option<HungUp>,
    ) -> Number {
        let task = asked_for(generation);
        let run = Run {
            home,
            task,
            tokens: generation.max_tokens,
            has_started: false,
            said: 0,
            line,
        };
        self.runs.insert(sequence, run);
        task
    }

    /// Forgets the generations that nobody listens to.
    pub(super) fn hang_up(&mut self) {
        self.runs.retain(|_, run| {
            let line = run.line.as_mut();
            line.is_none_or(|line| line.try_recv().is_ok())
        });
    }

    /// What it says next of one of its generations; if it is down, that it is broken.
    pub(super) fn speak(&mut self, prng: &mut Prng) -> Option<Saying> {
        let last = self.runs.len().checked_sub(1)? as u64;
        let chosen = usize::try_from(prng.within(0..=last)).unwrap_or(0);
        let sequence = *self.runs.keys().nth(chosen)?;
        let run = self.runs.get_mut(&sequence)?;
        let home = run.home;
        let event = match self.is_up {
            false => broken(),
            true => run.next(prng),
        };
        if matches!(event, Event::End { .. } | Event::Fault(_)) {
            self.runs.remove(&sequence);
        }
        Some(Saying {
            home,
            sequence,
            event,
        })
    }

    /// Breaks down. What is left unsaid of each of its generations.
    pub(super) fn break_down(&mut self) -> Vec<Saying> {
        self.is_up = false;
        let runs = std::mem::take(&mut self.runs).into_iter();
        runs.map(|(sequence, run)| Saying {
            home: run.home,
            sequence,
            event: broken(),
        })
        .collect()
    }
}

impl Run {
    fn next(&mut self, prng: &mut Prng) -> Event {
        if !self.has_started {
            self.has_started = true;
            if self.line.is_some() && prng.chance(0.1) {
                return Event::Fault(Fault::Busy);
            }
            return Event::Started {
                prompt_tokens: Some(1),
                cached_tokens: None,
            };
        }
        if self.said < self.tokens {
            self.said += 1;
            return Event::Token {
                text: word(self.task, self.said - 1).into(),
            };
        }
        Event::End {
            finish: Finish::Length,
            usage: Usage {
                prompt_tokens: Some(1),
                cached_tokens: None,
                completion_tokens: self.tokens,
            },
        }
    }
}

fn broken() -> Event {
    Event::Fault(Fault::Broken("the engine broke".into()))
}

/// Which task it is: its prompt says so.
fn asked_for(generation: &Generation) -> Number {
    let Input::Prompt(prompt) = &generation.input else {
        panic!("every task of the world is a completion");
    };
    prompt.parse().expect("every prompt is a task's number")
}
