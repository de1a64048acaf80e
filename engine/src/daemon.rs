//! The daemon put together: pools, mailboxes, shards and engines introduced to each other.

use std::{
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use arc_swap::ArcSwap;
use crossbeam::channel::{Receiver, Sender, bounded};
use orchestratord_sched::ShardId;

use crate::{
    clock::Clock,
    control::{
        self, COMMANDS_MAX, Command, StopRequests,
        bind::{Bindings, Origin},
        process::Supervisor,
    },
    metrics,
    preflight::Machine,
    provision,
    settings::{Settings, StartError, engine::EngineSettings},
    shard::{self, mailbox::MAILBOX_MAX},
    shared::{
        Shared,
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
    pub fn start(settings: Settings, machine: Machine) -> Result<Self, StartError> {
        let shards = usize::from(settings.shards);
        let (pools, inboxes): (Vec<_>, Vec<_>) = settings
            .pools
            .iter()
            .map(|pool| provision::pool(pool.clone(), shards, None))
            .unzip();
        let (sender, commands) = bounded(COMMANDS_MAX);
        let (store, keeping) = store::start(&settings.data_dir, settings.store.clone())?;
        let shared = Arc::new(Shared {
            addr: machine.addr,
            clock: Clock::start(),
            directory: Directory::default(),
            sessions: Sessions::new(settings.sessions),
            mailboxes: (0..shards)
                .map(|_| Arc::new(Ring::new(MAILBOX_MAX)))
                .collect(),
            commands: sender,
            store,
            metrics: metrics::shard_counters(shards),
            stages: Stages::default(),
            snapshot: ArcSwap::from_pointee(Snapshot::of(pools)),
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
        for (pool, inboxes) in shared.pools().pools.iter().zip(inboxes) {
            provision::start(&shared, pool, inboxes)?;
        }
        let bindings = bindings(&shared)?;
        let engines = supervisors(&shared)?;
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
    pub fn run(self, stops: &StopRequests) -> bool {
        let announce = || print!("{}", banner(&self.shared));
        control::run(&self.shared, stops, self.commands, self.bindings, announce);
        let lived = self
            .shards
            .into_iter()
            .map(shard::Running::join)
            .all(|ended| ended.is_ok());
        self.engines.end();
        self.keeping.close();
        lived
    }
}

/// The servers that are known from the start, bound.
fn bindings(shared: &Arc<Shared>) -> Result<Bindings, StartError> {
    let mut bindings = Bindings::default();
    let of_pools = shared.settings.pools.iter().flat_map(|pool| &pool.servers);
    for candidate in of_pools.chain(&shared.settings.binding.llamacpp) {
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

/// The engines that the daemon starts as processes.
struct Engines {
    /// Dropped when they are to end.
    wanted: Sender<()>,
    supervisors: Vec<JoinHandle<()>>,
}

impl Engines {
    /// Ends them all, and waits until they have ended.
    fn end(self) {
        drop(self.wanted);
        for supervisor in self.supervisors {
            // One that panicked has let its engine fall into the kernel's hands.
            let _ = supervisor.join();
        }
    }
}

fn supervisors(shared: &Arc<Shared>) -> Result<Engines, StartError> {
    let (wanted, is_wanted) = bounded(0);
    let mut supervisors = Vec::new();
    for pool in &shared.pools().pools {
        let (
            Some(provisioning),
            EngineSettings::Remote {
                kind,
                process: Some(process),
                model,
                ..
            },
        ) = (&pool.provisioning, &pool.settings.engine)
        else {
            continue;
        };
        for replica in 0..pool.settings.replicas {
            let supervisor = Supervisor {
                shared: Arc::clone(shared),
                provisioning: Arc::clone(provisioning),
                pool_id: pool.id.clone(),
                replica_id: format!("r{replica}"),
                kind: *kind,
                model: model.clone(),
                slots: pool.settings.slots,
                device_mask: pool.settings.device_mask,
                process: process.clone(),
                wanted: is_wanted.clone(),
            };
            supervisors.push(supervisor.spawn().map_err(|error| {
                StartError::new(
                    format!("an engine's supervisor can't be started: {error}"),
                    "raise the limit of threads",
                )
            })?);
        }
    }
    Ok(Engines {
        wanted,
        supervisors,
    })
}

/// What is printed when the daemon serves: where, with what, and a line to paste.
fn banner(shared: &Shared) -> String {
    let pools = shared.pools();
    let addr = shared.addr;
    let (key, header) = if shared.settings.keys.required() {
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
