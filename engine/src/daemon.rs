//! The daemon put together: pools, mailboxes, shards and engines introduced to each other.

use std::sync::{Arc, mpsc};

use arc_swap::ArcSwap;
use crossbeam::channel::{Receiver, bounded};
use orchestratord_sched::ShardId;

use crate::{
    clock::Clock,
    control::{
        self, COMMANDS_MAX, Command, RenewRequests, StopRequests,
        bind::{Bindings, Origin},
        device,
        engines::Engines,
        watchdog,
    },
    identity::guesses::Guesses,
    metrics,
    preflight::Machine,
    provision, recover,
    settings::{Settings, StartError, pool::PoolSettings},
    shard::{self, mailbox::MAILBOX_MAX},
    shared::{
        Shared,
        bodies::Bodies,
        connections::Connections,
        device::Devices,
        directory::Directory,
        ring::Ring,
        sessions::Sessions,
        snapshot::{Pool, Snapshot},
        stage::Stages,
    },
    store,
};

/// A daemon whose threads run.
pub struct Daemon {
    shared: Arc<Shared>,
    shards: Vec<shard::Running>,
    commands: Receiver<Command>,
    bindings: Bindings,
    engines: Engines,
    keeping: store::Running,
    /// Held for what it holds.
    _machine: Machine,
}

impl Daemon {
    /// Starts every thread; returns when all shards listen.
    ///
    /// # Errors
    ///
    /// When a thread can't be started.
    pub fn start(
        settings: Settings,
        pools: &[PoolSettings],
        machine: Machine,
    ) -> Result<Self, StartError> {
        let Settings { fixed, limits, .. } = settings;
        let shards = usize::from(fixed.shards);
        let (pools, inboxes): (Vec<_>, Vec<_>) = pools
            .iter()
            .map(|pool| provision::pool(pool.clone(), shards, None))
            .unzip();
        let (sender, commands) = bounded(COMMANDS_MAX);
        let (store, keeping, left) = store::start(&fixed.data_dir, fixed.store.clone())?;
        let shared = Arc::new(Shared {
            addr: machine.addr,
            clock: Clock::start(),
            bodies: Bodies::new(fixed.bodies_max_bytes),
            connections: Connections::new(machine.connections_max),
            directory: Directory::default(),
            sessions: Sessions::new(limits.sessions),
            guesses: Guesses::default(),
            mailboxes: (0..shards)
                .map(|_| Arc::new(Ring::new(MAILBOX_MAX)))
                .collect(),
            commands: sender,
            devices: Devices::default(),
            store,
            metrics: metrics::shard_counters(shards),
            turning: metrics::per_shard(shards),
            stages: Stages::default(),
            snapshot: ArcSwap::from_pointee(Snapshot::of(pools)),
            settings: fixed,
            limits: ArcSwap::from_pointee(limits),
        });
        let (listens, listening) = mpsc::channel();
        let running = recover::tasks(&shared, left)
            .into_iter()
            .enumerate()
            .map(|(index, tasks)| {
                let cpu = machine.cpus[index % machine.cpus.len()];
                shard::start(&shared, ShardId(index), cpu, tasks, listens.clone())
            })
            .collect::<Result<Vec<_>, _>>()?;
        drop(listens);
        // The channel closes when every shard has told how its listening went.
        for listens in listening {
            listens?;
        }
        for (pool, inboxes) in shared.pools().pools.iter().zip(inboxes) {
            provision::start(&shared, pool, inboxes)?;
        }
        let bindings = bindings(&shared)?;
        let engines = engines(&shared)?;
        watchdog::spawn(&shared).map_err(|error| {
            StartError::new(
                format!("the thread that watches the shards can't be started: {error}"),
                "raise the limit of threads",
            )
        })?;
        device::spawn(&shared).map_err(|error| {
            StartError::new(
                format!("the thread that looks at devices can't be started: {error}"),
                "raise the limit of threads",
            )
        })?;
        Ok(Self {
            shared,
            shards: running,
            commands,
            bindings,
            engines,
            keeping,
            _machine: machine,
        })
    }

    /// Runs until the daemon was told to stop and has stopped, and prints what it serves once it
    /// does. Whether every shard lived so long.
    pub fn run(self, stops: &StopRequests, renewals: &RenewRequests) -> bool {
        let announce = || print!("{}", banner(&self.shared));
        let engines = control::run(
            &self.shared,
            (stops, renewals),
            self.commands,
            (self.bindings, self.engines),
            announce,
        );
        let lived = self
            .shards
            .into_iter()
            .map(shard::Running::join)
            .all(|ended| ended.is_ok());
        engines.end();
        self.keeping.close();
        lived
    }
}

/// The servers that are known from the start, bound.
fn bindings(shared: &Arc<Shared>) -> Result<Bindings, StartError> {
    let mut bindings = Bindings::default();
    let pools = shared.pools();
    let of_pools = pools.pools.iter().flat_map(|pool| &pool.settings.servers);
    for candidate in of_pools.chain(&shared.settings.llamacpp) {
        bindings
            .bind(shared, candidate.clone(), Origin::Settings)
            .map_err(|error| {
                StartError::new(
                    format!(
                        "the replica {} of the pool {} can't be bound: {}",
                        candidate.replica_id, candidate.pool_id, error.message
                    ),
                    "mend its settings",
                )
            })?;
    }
    Ok(bindings)
}

fn engines(shared: &Arc<Shared>) -> Result<Engines, StartError> {
    let mut engines = Engines::default();
    for pool in &shared.pools().pools {
        engines.start(shared, pool).map_err(|error| {
            StartError::new(
                format!("an engine's supervisor can't be started: {error}"),
                "raise the limit of threads",
            )
        })?;
    }
    Ok(engines)
}

/// What is printed when the daemon serves: where, with what, and a line to paste.
fn banner(shared: &Shared) -> String {
    let pools = shared.pools();
    let addr = shared.addr;
    let (key, header) = if shared.limits().keys.required() {
        (
            "needed, in X-API-Key or as Authorization: Bearer",
            " -H \"X-API-Key: $KEY\"",
        )
    } else {
        ("not needed: only this machine can reach the address", "")
    };
    let lines: String = pools.pools.iter().map(|pool| line(pool)).collect();
    // There is always a pool: the settings describe at least one.
    let model = pools.pools.first().map_or("", |pool| &pool.model);
    format!(
        "orchestratord {version} listens on http://{addr}\n\
         shards  {shards}, each pinned to a core\n\
         {lines}\
         key     {key}\n\
         try     curl -sN{header} http://{addr}$(curl -s{header} http://{addr}/v2/tasks \
         -H 'Content-Type: application/json' \
         -d '{{\"model_ref\":\"{model}\",\"prompt\":\"Once upon a time\",\"max_tokens\":120,\"temperature\":0.6}}' | \
         sed 's/.*\"sse\":\"\\([^\"]*\\).*/\\1/')\n",
        version = env!("CARGO_PKG_VERSION"),
        shards = shared.settings.shards,
    )
}

/// What the banner says of a pool.
fn line(pool: &Pool) -> String {
    let state = match pool.last_error() {
        Some(error) => format!("        it is down: {error}; it is tried again and again\n"),
        None => String::new(),
    };
    format!("pool    {}\n{state}", pool.settings.describe())
}
