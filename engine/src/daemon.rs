//! The daemon put together: pools, mailboxes, shards and engines introduced to each other.

use std::sync::{Arc, mpsc};

use arc_swap::ArcSwap;
use crossbeam::channel::{Receiver, bounded};
use orchestratord_sched::ShardId;

use crate::{
    clock::Clock,
    control::{self, COMMANDS_MAX, Command, StopRequests},
    metrics,
    preflight::Machine,
    provision,
    settings::{Settings, StartError},
    shard::{self, mailbox::MAILBOX_MAX},
    shared::{
        Shared, directory::Directory, ring::Ring, sessions::Sessions, snapshot::Snapshot,
        stage::Stages,
    },
    store,
};

/// A daemon whose threads run.
pub struct Daemon {
    shared: Arc<Shared>,
    shards: Vec<shard::Running>,
    commands: Receiver<Command>,
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
        Ok(Self {
            shared,
            shards: running,
            commands,
            keeping,
            _machine: machine,
        })
    }

    /// Runs until the daemon was told to stop and has stopped, and prints what it serves once it
    /// does. Whether every shard lived so long.
    pub fn run(self, stops: &StopRequests) -> bool {
        let announce = || print!("{}", banner(&self.shared));
        control::run(&self.shared, stops, self.commands, announce);
        let lived = self
            .shards
            .into_iter()
            .map(shard::Running::join)
            .all(|ended| ended.is_ok());
        self.keeping.close();
        lived
    }
}

/// What is printed when the daemon serves: where, with what, and a line to paste.
fn banner(shared: &Shared) -> String {
    let pools = shared.pools();
    let pool = &pools.pools[0];
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
        slots = pool.slots_total(),
        ctx = pool.ctx_max,
    )
}
