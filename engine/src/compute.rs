//! The threads that run the engines of this process.
//!
//! Each replica has one plain thread. It takes orders from a bounded queue, lets the engine step,
//! and sends what the engine said to the home shards: all events of a step first, then one ring a
//! shard. When there is nothing to do it sleeps on the order queue.
//!
//! A replica is `Starting` until its engine has answered a probe, and goes back to `Unready` when
//! the engine breaks or panics: every sequence it ran is told, the engine is built anew, and
//! it is probed again after a wait that doubles up to [`PROBE_WAIT_MAX`].

use std::{collections::HashMap, sync::Arc, time::Duration};

use crossbeam::channel::{Receiver, RecvTimeoutError, TryRecvError};
use orchestratord_gpu::{
    LocalEngine, SequenceKey, Step,
    event::{Event, Fault},
};
use orchestratord_sched::{ReplicaEvent, ReplicaIndex, ShardId};

use crate::{
    logs,
    panics::{self, Panicked, contain},
    shard::mailbox::Message,
    shared::{
        Shared, readiness,
        replica::{Order, Replica},
        snapshot::Pool,
    },
};

/// Orders that may wait for an engine's thread: it takes them between two steps, so a full queue
/// means a step that lasts longer than thousands of cancels.
pub const ORDERS_MAX: usize = 4096;
/// The first wait before a broken engine is probed again.
const PROBE_WAIT_MIN: Duration = Duration::from_millis(250);
/// The longest.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Builds a replica's engine, at start and after it broke.
pub type BuildEngine = Box<dyn Fn() -> Box<dyn LocalEngine> + Send>;

/// One replica's thread.
pub struct Worker {
    /// What every thread can reach.
    pub shared: Arc<Shared>,
    /// The pool.
    pub pool: Arc<Pool>,
    /// The replica.
    pub replica: Arc<Replica>,
    /// Where it stands in the pool.
    pub place: ReplicaIndex,
    /// What shards ask.
    pub orders: Receiver<Order>,
    /// How to build its engine.
    pub build: BuildEngine,
}

/// Why a life of the engine ended.
enum Ended {
    /// Nobody wants it any more.
    Retired,
    /// The engine broke; one sentence.
    Broken(String),
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the machine gives no more threads.
    pub fn spawn(self) -> std::io::Result<()> {
        let name = format!("compute-{}-{}", self.pool.id, self.replica.id);
        panics::spawn_vital(name, move || self.run()).map(drop)
    }

    fn run(self) {
        let mut wait = PROBE_WAIT_MIN;
        loop {
            let mut homes = Homes::default();
            let mut served = false;
            let ended = contain(|| Life::new(&self, &mut homes).live(&mut served));
            let reason = match ended {
                Ok(Ended::Retired) => return self.advance(ReplicaEvent::Stop, None),
                Ok(Ended::Broken(reason)) => reason,
                Err(Panicked) => "the engine panicked".to_owned(),
            };
            if served {
                wait = PROBE_WAIT_MIN;
            }
            self.fail_all(&mut homes, &reason);
            logs::replica_unready(&self.pool, &self.replica, &reason, wait);
            if !self.pause(wait, &reason) {
                return self.advance(ReplicaEvent::Stop, None);
            }
            wait = (wait * 2).min(PROBE_WAIT_MAX);
        }
    }

    /// Waits before the engine's next life; whether there is to be one. What was ordered before
    /// the replica turned unready is told that it is broken.
    fn pause(&self, wait: Duration, reason: &str) -> bool {
        let until = self.shared.clock.elapsed() + wait;
        loop {
            let left = until.saturating_sub(self.shared.clock.elapsed());
            match self.orders.recv_timeout(left) {
                Ok(Order::Start { home, sequence, .. }) => self.broken(home, sequence, reason),
                Ok(Order::Cancel { .. } | Order::Forget { .. }) => {}
                Ok(Order::Retire) | Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => return true,
            }
        }
    }

    /// Tells every home shard that its sequences ended here.
    fn fail_all(&self, homes: &mut Homes, reason: &str) {
        self.advance(ReplicaEvent::Broke, Some(reason.to_owned()));
        self.shared.sessions.kv_lost(&self.replica);
        for (sequence, home) in homes.drain() {
            self.broken(home, sequence, reason);
        }
    }

    /// Tells a home shard that its sequence ended here.
    fn broken(&self, home: ShardId, sequence: SequenceKey, reason: &str) {
        let event = Event::Fault(Fault::Broken(reason.into()));
        self.send(home.0, Message::Said { sequence, event });
        self.shared.mailboxes[home.0].ring();
    }

    fn advance(&self, event: ReplicaEvent, error: Option<String>) {
        readiness::advance(&self.shared, &self.pool, self.place, event, error);
    }

    fn send(&self, shard: usize, message: Message) {
        readiness::tell(&self.shared, shard, message);
    }
}

/// Which shards are home to the sequences that run. What it says outlives an engine that breaks.
type Homes = HashMap<SequenceKey, ShardId>;

/// One life of an engine, from its building to its breaking.
struct Life<'w> {
    worker: &'w Worker,
    engine: Box<dyn LocalEngine>,
    homes: &'w mut Homes,
    said: Vec<(SequenceKey, Event)>,
    touched: Vec<bool>,
}

impl<'w> Life<'w> {
    fn new(worker: &'w Worker, homes: &'w mut Homes) -> Self {
        Self {
            engine: (worker.build)(),
            homes,
            said: Vec::new(),
            touched: vec![false; worker.shared.mailboxes.len()],
            worker,
        }
    }

    fn live(&mut self, served: &mut bool) -> Ended {
        if let Err(fault) = self.engine.probe() {
            return Ended::Broken(fault.to_string());
        }
        self.worker.advance(ReplicaEvent::ProbeAnswered, None);
        *served = true;
        loop {
            if let Err(ended) = self.take_orders() {
                return ended;
            }
            let step = self.step();
            self.tell_kept();
            if let Err(reason) = self.deliver() {
                return Ended::Broken(reason);
            }
            if let Err(ended) = self.rest(step) {
                return ended;
            }
        }
    }

    fn now(&self) -> Duration {
        self.worker.shared.clock.elapsed()
    }

    fn step(&mut self) -> Step {
        let (now, said) = (self.now(), &mut self.said);
        self.engine
            .step(now, &mut |sequence, event| said.push((sequence, event)))
    }

    fn take_orders(&mut self) -> Result<(), Ended> {
        loop {
            match self.worker.orders.try_recv() {
                Ok(order) => self.obey(order)?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Ended::Retired),
            }
        }
    }

    fn obey(&mut self, order: Order) -> Result<(), Ended> {
        match order {
            Order::Start {
                home,
                sequence,
                generation,
            } => {
                self.homes.insert(sequence, home);
                if let Err(fault) = self.engine.admit(self.now(), sequence, generation) {
                    self.said.push((sequence, Event::Fault(fault)));
                }
            }
            Order::Cancel { sequence } => {
                self.homes.remove(&sequence);
                self.engine.cancel(sequence);
            }
            Order::Forget { session } => self.engine.forget(session),
            Order::Retire => return Err(Ended::Retired),
        }
        Ok(())
    }

    /// Sessions learn what is kept of their KV caches.
    fn tell_kept(&mut self) {
        let usage = self.engine.kv_cache_usage();
        self.worker.replica.condition.kv_cache_usage.set(usage);
        let (sessions, replica) = (&self.worker.shared.sessions, &self.worker.replica);
        self.engine
            .kept(&mut |session, bytes| sessions.kv_kept(session, replica, bytes));
    }

    /// Sends what was said to the home shards.
    ///
    /// # Errors
    ///
    /// When one of the words was that the engine is broken; every shard has been told by then.
    fn deliver(&mut self) -> Result<(), String> {
        let mut broken = None;
        for (sequence, event) in self.said.drain(..) {
            if let Event::Fault(Fault::Broken(reason)) = &event {
                broken = Some(reason.to_string());
            }
            let home = match event {
                Event::End { .. } | Event::Fault(_) => self.homes.remove(&sequence),
                Event::Started { .. } | Event::Token { .. } => self.homes.get(&sequence).copied(),
            };
            // No home: canceled while the engine was speaking.
            if let Some(home) = home {
                self.touched[home.0] = true;
                self.worker.send(home.0, Message::Said { sequence, event });
            }
        }
        for (shard, touched) in self.touched.iter_mut().enumerate() {
            if std::mem::take(touched) {
                self.worker.shared.mailboxes[shard].ring();
            }
        }
        broken.map_or(Ok(()), Err)
    }

    /// Sleeps as long as the engine has nothing to do and nobody orders anything.
    fn rest(&mut self, step: Step) -> Result<(), Ended> {
        let order = match step {
            Step::Again => return Ok(()),
            Step::Idle => self.worker.orders.recv().map_err(|_| Ended::Retired)?,
            Step::At(when) => {
                match self
                    .worker
                    .orders
                    .recv_timeout(when.saturating_sub(self.now()))
                {
                    Ok(order) => order,
                    Err(RecvTimeoutError::Timeout) => return Ok(()),
                    Err(RecvTimeoutError::Disconnected) => return Err(Ended::Retired),
                }
            }
        };
        self.obey(order)
    }
}
