//! One life of the daemon: what its threads share, its tables, and the mail between them.

use std::{
    collections::VecDeque,
    future::Future as _,
    pin::pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, Waker},
};

use arc_swap::ArcSwap;
use clap::Parser as _;
use crossbeam::channel::bounded;
use glommio::channels::local_channel::{self, LocalReceiver};
use orchestratord_gpu::EngineKind;
use orchestratord_sched::{ReplicaEvent, ShardId, prng::Prng};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Number, Options,
    disk::Disk,
    engines::{Engine, Saying},
};
use crate::{
    cli::Cli,
    clock::Clock,
    endpoint::{Endpoint, Networks},
    identity::{Keys, Scope, guesses::Guesses},
    metrics, provision, recover,
    settings::{Fixed, Limits, Settings, engine::EngineSettings, pool::PoolSettings},
    shard::{
        mailbox::Message,
        table::Table,
        upstream::{Ask, HungUp},
    },
    shared::{
        Shared,
        bodies::Bodies,
        connections::Connections,
        device::Devices,
        directory::Directory,
        readiness,
        replica::{Condition, Reach, Remote, Replica},
        ring::Ring,
        sessions::Sessions,
        snapshot::{Pool, Snapshot},
        stage::{Stage, Stages},
    },
    store::{artifact::Viewer, stepped::Stepped, task},
};

/// The model that both pools serve.
pub(super) const MODEL: &str = "mock";
/// Messages under way between two looks; a table sends a few at a time.
const MAILBOX_MAX: usize = 1024;
/// Servers of the pool that has servers.
const SERVERS: usize = 2;

/// A daemon from its start to its crash.
pub(super) struct Life {
    pub(super) shared: Arc<Shared>,
    pub(super) tables: Vec<Table>,
    pub(super) keeping: Stepped,
    pub(super) engines: Vec<Engine>,
    /// By shard: what it has not heard yet, in the order in which it was said.
    pub(super) mail: Vec<VecDeque<Message>>,
    /// By shard: what it asks of servers.
    asked: Vec<LocalReceiver<(Ask, HungUp)>>,
    /// Tasks of an earlier life that wait again in this one.
    pub(super) restored: usize,
}

impl Life {
    /// Starts on what the disk has.
    pub(super) fn begin(options: &Options, disk: &Disk) -> Self {
        let (fixed, limits, local) = settings(options);
        let servers = server_pool(local.clone(), options);
        let (local, inboxes) = provision::pool(local, options.shards, None);
        let opened = {
            let disk = disk.clone();
            Stepped::open(move || disk.open(), fixed.store.clone())
        };
        let (keeping, left) = opened.expect("a disk that works again can be read");
        let mut orders = inboxes.into_iter();
        let engines = [&local, &servers].into_iter().flat_map(|pool| {
            let places: Vec<_> = pool.replicas.iter().map(|(place, _)| place).collect();
            places.into_iter().map(move |place| (pool, place))
        });
        let engines = engines.map(|(pool, place)| Engine::new(pool, place, orders.next()));
        let engines = engines.collect();
        let shared = Arc::new(Shared {
            addr: fixed.addr,
            clock: Clock::start(),
            connections: Connections::new(0),
            bodies: Bodies::new(0),
            guesses: Guesses::default(),
            directory: Directory::default(),
            sessions: Sessions::new(limits.sessions),
            mailboxes: (0..options.shards)
                .map(|_| Arc::new(Ring::new(MAILBOX_MAX)))
                .collect(),
            commands: bounded(1).0,
            devices: Devices::default(),
            store: Arc::clone(keeping.store()),
            metrics: metrics::shard_counters(options.shards),
            turning: metrics::per_shard(options.shards),
            stages: Stages::default(),
            snapshot: ArcSwap::from_pointee(Snapshot::of(vec![local, servers])),
            settings: fixed,
            limits: ArcSwap::from_pointee(limits),
        });
        let (tables, asked) = (0..options.shards)
            .map(|shard| {
                let (asks, asked) = local_channel::new_unbounded();
                (Table::new(ShardId(shard), Arc::clone(&shared), asks), asked)
            })
            .unzip();
        let mut life = Self {
            mail: vec![(); options.shards]
                .into_iter()
                .map(|()| VecDeque::new())
                .collect(),
            restored: left.promises.len(),
            shared,
            tables,
            keeping,
            engines,
            asked,
        };
        for (shard, tasks) in recover::tasks(&life.shared, left).into_iter().enumerate() {
            for task in tasks {
                life.tables[shard].restore(task);
            }
        }
        for engine in 0..life.engines.len() {
            life.bring_up(engine);
        }
        life
    }

    /// The task that stands at its home.
    pub(super) fn home(&self, id: Uuid) -> Option<usize> {
        Some(self.shared.directory.home(id)?.0)
    }

    /// Whether every message has been heard.
    pub(super) fn is_quiet(&self) -> bool {
        self.mail.iter().all(VecDeque::is_empty)
    }

    /// The shard hears the oldest message that it has not heard.
    pub(super) fn hear(&mut self, shard: usize) {
        let Some(message) = self.mail[shard].pop_front() else {
            return;
        };
        let table = &mut self.tables[shard];
        match message {
            Message::Said { sequence, event } => table.said(sequence, event),
            Message::Stolen { task, pool } => table.stolen(task, &pool),
            Message::Refill { pool } => table.refill(&pool),
            Message::Abandoned { task } => table.abandoned_elsewhere(task),
            Message::LookForWork { pool } => table.look_for_work(&pool),
            Message::MoveTasks { pool } => table.move_away(&pool),
            Message::Kept { task, is_on_disk } => table.kept(task, is_on_disk),
            Message::BreakPromise { task } => table.break_promise(task),
            Message::EndTasks { pools, error } => table.end_tasks(&pools, &error),
            Message::StageChanged if self.shared.stages.now() >= Stage::Ending => table.end_all(),
            Message::StageChanged => {}
            Message::Acknowledge(_)
            | Message::ForgetPool(_)
            | Message::ListTasks { .. }
            | Message::Adopt(_)
            | Message::Relay(_) => unreachable!("nobody sends it in this world"),
        }
    }

    /// Takes what was sent to where it is heard. The tasks that servers began.
    pub(super) fn post(&mut self) -> Vec<Number> {
        for table in &mut self.tables {
            table.outbox.flush(&self.shared);
        }
        for (mailbox, mail) in self.shared.mailboxes.iter().zip(&mut self.mail) {
            mail.extend(std::iter::from_fn(|| mailbox.pop()));
        }
        let mut begun = Vec::new();
        for (home, asked) in self.asked.iter().enumerate() {
            while let Some((ask, line)) = next(asked) {
                let mut engines = self.engines.iter_mut();
                let server = engines.find(|engine| Arc::ptr_eq(&engine.replica, &ask.replica));
                let server = server.expect("what is asked was bound");
                begun.push(server.ask(home, ask.sequence, &ask.generation, line));
            }
        }
        self.engines.iter_mut().for_each(Engine::hang_up);
        begun
    }

    /// An engine has its turn. The tasks that it began.
    pub(super) fn engine_turn(&mut self, engine: usize, prng: &mut Prng) -> Vec<Number> {
        let engine = &mut self.engines[engine];
        let begun = engine.take_orders();
        let is_server = engine.is_server();
        if let Some(saying) = engine.speak(prng) {
            self.say(is_server, saying);
        }
        begun
    }

    fn say(&mut self, is_server: bool, saying: Saying) {
        let Saying {
            home,
            sequence,
            event,
        } = saying;
        match is_server {
            true => self.tables[home].said(sequence, event),
            false => readiness::tell(&self.shared, home, Message::Said { sequence, event }),
        }
    }

    /// An engine dies, and with it what it was generating.
    pub(super) fn break_down(&mut self, engine: usize) -> Vec<Number> {
        let engine = &mut self.engines[engine];
        let begun = engine.take_orders();
        let (is_server, sayings) = (engine.is_server(), engine.break_down());
        let broke = Some("the engine broke".to_owned());
        let (pool, place) = (&engine.pool, engine.place);
        readiness::advance(&self.shared, pool, place, ReplicaEvent::Broke, broke);
        for saying in sayings {
            self.say(is_server, saying);
        }
        begun
    }

    /// An engine answers its probe.
    pub(super) fn bring_up(&mut self, engine: usize) {
        let engine = &mut self.engines[engine];
        engine.is_up = true;
        let (pool, place) = (&engine.pool, engine.place);
        readiness::advance(&self.shared, pool, place, ReplicaEvent::ProbeAnswered, None);
    }

    /// What the journal says of tasks that have ended; nothing of one that it does not know.
    pub(super) fn recall(&mut self, ids: Vec<Uuid>) -> Vec<Value> {
        let everybody = Keys::default().identify(None, Scope::Control);
        let viewer = Viewer::from(&everybody.expect("no key is needed where there is none"));
        let asked = self.shared.store.ask(move |books| {
            let views = ids.into_iter().map(|id| {
                let view = task::find(books, id, &viewer)?;
                Ok(view.unwrap_or_default())
            });
            views.collect::<Result<_, _>>().map(Ok)
        });
        self.keeping.turn();
        let told = asked.ok().and_then(|mut asked| asked.try_recv().ok()?);
        told.and_then(Result::ok).unwrap_or_default()
    }

    /// Every shard is told the same.
    pub(super) fn tell_all(&self, message: impl Fn() -> Message) {
        readiness::tell_shards(&self.shared, message);
    }
}

/// What stands in the channel already.
fn next<T>(channel: &LocalReceiver<T>) -> Option<T> {
    let received = pin!(channel.recv());
    match received.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(received) => received,
        Poll::Pending => None,
    }
}

/// What this daemon was told.
fn settings(options: &Options) -> (Fixed, Limits, PoolSettings) {
    static SOUND: OnceLock<(Fixed, Limits, PoolSettings)> = OnceLock::new();
    let (mut fixed, mut limits, mut pool) = SOUND.get_or_init(sound_settings).clone();
    fixed.store.transcripts = options.transcripts;
    limits.finished_tasks_max = options.finished_tasks_max;
    pool.replicas = options.replicas;
    pool.slots = options.slots;
    pool.admission = options.admission;
    (fixed, limits, pool)
}

fn sound_settings() -> (Fixed, Limits, PoolSettings) {
    let flags = [
        "orchestratord",
        "--engine=mock",
        "--data-dir=/nowhere",
        "--outcomes-max=1000000",
    ];
    let settings = Settings::check(Cli::parse_from(flags).serve);
    let settings = settings.expect("the world's settings are sound");
    let pools = settings.load_pools().ok();
    let pool = pools.and_then(|pools| pools.into_iter().next());
    let pool = pool.expect("they describe one pool of the scripted engine");
    (settings.fixed, settings.limits, pool)
}

fn server_pool(like: PoolSettings, options: &Options) -> Arc<Pool> {
    let settings = PoolSettings {
        id: "servers".to_owned(),
        engine: EngineSettings::of_workers(EngineKind::LlamaCpp, MODEL.to_owned(), None),
        stanza: None,
        ..like
    };
    let (pool, _) = provision::pool(settings, options.shards, None);
    for server in 0..SERVERS {
        let endpoint = Endpoint::resolve("http://127.0.0.1:1", &Networks::default());
        let replica = Replica {
            id: format!("s{server}"),
            slots_claimed: options.slots,
            reach: Reach::Remote(Remote {
                endpoint: endpoint.expect("it names no host to look up"),
                model: MODEL.to_owned(),
                watcher: bounded(1).0,
            }),
            engine_version: OnceLock::new(),
            ctx_max: OnceLock::new(),
            device_mask: None,
            condition: Condition::default(),
            counters: metrics::per_shard(options.shards),
        };
        let place = pool.replicas.bind(&Arc::new(replica));
        place.expect("a pool of servers has more places");
    }
    pool
}
