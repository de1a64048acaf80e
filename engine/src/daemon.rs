//! The daemon put together: pools, mailboxes, shards and engines introduced to each other.

use std::sync::{Arc, atomic::AtomicU64, mpsc};

use crossbeam::channel::{Receiver, Sender, bounded};
use orchestratord_gpu::{embedded, mock};
use orchestratord_sched::{self as sched, PoolOptions, ShardId};

use crate::{
    clock::Clock,
    compute::{BuildEngine, ORDERS_MAX, Worker},
    control::{self, StopRequests},
    metrics,
    preflight::Machine,
    settings::{EngineSettings, Settings, StartError},
    shard::{self, mailbox::MAILBOX_MAX},
    shared::{
        Shared,
        directory::Directory,
        ring::Ring,
        snapshot::{Order, Pool, Replica, Snapshot},
        stage::Stages,
    },
};

/// The id of the only pool of this version.
const POOL_ID: &str = "default";
/// The id of its only replica.
const REPLICA_ID: &str = "r0";

/// A daemon whose threads run.
pub struct Daemon {
    shared: Arc<Shared>,
    shards: Vec<shard::Running>,
    /// Held for what it holds.
    _machine: Machine,
}

impl Daemon {
    /// Starts every thread; returns when all shards listen.
    ///
    /// # Errors
    ///
    /// When a thread can't be started.
    pub fn start(settings: Settings, machine: Machine) -> Result<Self, StartError> {
        let (orders, inbox) = bounded(ORDERS_MAX);
        let pool = pool(&settings, orders);
        let shards = usize::from(settings.shards);
        let snapshot = Snapshot { pools: vec![pool] };
        let shared = Arc::new(Shared {
            addr: machine.addr,
            clock: Clock::start(),
            directory: Directory::default(),
            mailboxes: (0..shards)
                .map(|_| Arc::new(Ring::new(MAILBOX_MAX)))
                .collect(),
            metrics: metrics::counters(shards, &snapshot),
            stages: Stages::default(),
            snapshot: Arc::new(snapshot),
            settings,
        });
        let (listens, listening) = mpsc::channel();
        let running = (0..shards)
            .map(|index| {
                let cpu = machine.cpus[index % machine.cpus.len()];
                shard::start(&shared, ShardId(index), cpu, listens.clone())
            })
            .collect::<Result<Vec<_>, _>>()?;
        drop(listens);
        // The channel closes when every shard has told how its listening went.
        for listens in listening {
            listens?;
        }
        start_engine(&shared, inbox)?;
        Ok(Self {
            shared,
            shards: running,
            _machine: machine,
        })
    }

    /// Runs until the daemon was told to stop and has stopped, and prints what it serves once it
    /// does. Whether every shard lived so long.
    pub fn run(self, stops: &StopRequests) -> bool {
        control::run(&self.shared, stops, || print!("{}", banner(&self.shared)));
        self.shards
            .into_iter()
            .map(shard::Running::join)
            .all(|ended| ended.is_ok())
    }
}

fn pool(settings: &Settings, orders: Sender<Order>) -> Pool {
    let engine = &settings.engine;
    let scheduling = sched::Pool::new(PoolOptions {
        shards: usize::from(settings.shards),
        // None until its engine has answered a probe.
        replica_slots: vec![0],
        tasks_queued_max: settings.admission_capacity,
        tokens_queued_max: None,
    });
    Pool {
        id: POOL_ID.to_owned(),
        model: engine.model().to_owned(),
        model_aliases: engine.model_aliases(),
        engine: engine.name(),
        engine_version: env!("CARGO_PKG_VERSION"),
        ctx_max: engine.context_tokens(),
        admission_capacity: settings.admission_capacity,
        admission_policy: settings.admission_policy,
        replicas: vec![Replica {
            id: REPLICA_ID.to_owned(),
            slots_total: settings.slots,
            orders,
            condition: Arc::default(),
        }],
        tokens_per_s: AtomicU64::new(0),
        scheduling: Arc::new(scheduling),
    }
}

fn start_engine(shared: &Arc<Shared>, orders: Receiver<Order>) -> Result<(), StartError> {
    let failed = |error| {
        StartError::new(
            format!("the engine's thread can't be started: {error}"),
            "raise the limit of threads",
        )
    };
    let build: BuildEngine = match shared.settings.engine.clone() {
        EngineSettings::Mock(options) => Box::new(move || Box::new(mock::Engine::new(options))),
        EngineSettings::Embedded { model, options, .. } => {
            Box::new(move || Box::new(embedded::Engine::new(Arc::clone(&model), options)))
        }
    };
    let worker = Worker {
        condition: Arc::clone(&shared.snapshot.pools[0].replicas[0].condition),
        shared: Arc::clone(shared),
        pool: 0,
        replica: 0,
        orders,
        build,
    };
    worker.spawn().map_err(failed)
}

/// What is printed when the daemon serves: where, with what, and a line to paste.
fn banner(shared: &Shared) -> String {
    let pool = &shared.snapshot.pools[0];
    let addr = shared.addr;
    let (key, header) = if shared.settings.keys.required() {
        (
            "needed, in X-API-Key or as Authorization: Bearer",
            " -H \"X-API-Key: $KEY\"",
        )
    } else {
        ("not needed: only this machine can reach the address", "")
    };
    let state = match pool
        .replicas
        .iter()
        .find_map(|replica| replica.condition.last_error())
    {
        Some(error) => format!("        it is down: {error}; it is probed again and again\n"),
        None => String::new(),
    };
    format!(
        "orchestratord {version} listens on http://{addr}\n\
         shards  {shards}, each pinned to a core\n\
         pool    `{id}` serves the model `{model}` ({engine} engine, {slots} slots, {ctx} tokens of context)\n\
         {state}\
         key     {key}\n\
         try     curl -sN{header} http://{addr}$(curl -s{header} http://{addr}/v2/tasks \
         -H 'Content-Type: application/json' \
         -d '{{\"model_ref\":\"{model}\",\"prompt\":\"Once upon a time\",\"max_tokens\":120,\"temperature\":0.6}}' | \
         sed 's/.*\"sse\":\"\\([^\"]*\\).*/\\1/')\n",
        version = env!("CARGO_PKG_VERSION"),
        shards = shared.settings.shards,
        id = pool.id,
        model = pool.model,
        engine = pool.engine,
        slots = shared.settings.slots,
        ctx = pool.ctx_max,
    )
}
