//! One core's loop: what it owns, what it does in a turn, its bounds.
//!
//! A shard is a pinned executor with its own listener. It owns its connections, its part of every
//! pool's queue, and its tasks; none of that is shared, so nothing of it needs a lock. What other
//! threads have to say comes through its mailbox. Nothing on a shard blocks, and a
//! `RefCell` borrowed by one of its futures is given back before that future waits.

pub mod accept;
pub mod connection;
pub mod exchange;
pub mod farewell;
pub mod greeting;
pub mod http2;
pub mod mailbox;
pub mod peer;
pub mod placement;
pub mod reader;
pub mod relay;
pub mod replay;
pub mod reply;
pub mod routes;
pub mod table;
pub mod task;
pub mod upstream;

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    sync::{Arc, mpsc},
    task::Poll,
    time::Duration,
};

use glommio::{
    LocalExecutorBuilder, Placement, Task,
    channels::local_channel::{self, LocalReceiver},
    timer::Timer,
};
use orchestratord_http::Limits;
use orchestratord_sched::ShardId;
use uuid::Uuid;

use crate::{
    clock, panics,
    settings::StartError,
    shard::{
        farewell::Farewells,
        mailbox::Message,
        table::Table,
        upstream::{Ask, HungUp},
    },
    shared::{Shared, record::TaskRecord, stage::Stage},
};

/// glommio keeps this much memory for file I/O, which a shard never does; its own least.
const IO_MEMORY_BYTES: usize = 64 * 1024;
/// How long a shard that always has something to run does so before it looks at its sockets again. By
/// itself glommio does so ten times a second, and a client that keeps a shard busy would make all others wait.
const TURN: Duration = Duration::from_millis(2);
/// How often running tasks are looked over for engines that fell silent or take too long.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What one core owns.
pub struct Shard {
    /// Which one.
    pub id: ShardId,
    /// What every thread can reach.
    pub shared: Arc<Shared>,
    /// Its tasks.
    pub table: RefCell<Table>,
    /// One for all connections: filled and emptied within one poll.
    pub read_buffer: RefCell<Box<[u8]>>,
    /// Connections to servers that wait for their next task.
    pub upstreams: upstream::Idle,
    /// Who is told when it begins to stop.
    pub farewells: Farewells,
    /// The `Date` field, and the second for which it holds.
    date: RefCell<(u64, String)>,
    /// Accepts connections; dropped when the daemon is told to stop.
    accepting: RefCell<Option<Task<()>>>,
}

/// A started shard's thread.
pub type Running = glommio::ExecutorJoinHandle<()>;

/// Starts the shard's thread, pinned to `cpu` and home to these tasks, which then says over `listens` whether
/// it listens.
///
/// # Errors
///
/// When the executor can't be made.
pub fn start(
    shared: &Arc<Shared>,
    id: ShardId,
    cpu: usize,
    tasks: Vec<Arc<TaskRecord>>,
    listens: mpsc::Sender<Result<(), StartError>>,
) -> Result<Running, StartError> {
    let shared = Arc::clone(shared);
    LocalExecutorBuilder::new(Placement::Fixed(cpu))
        .name(&format!("shard-{}", id.0))
        .io_memory(IO_MEMORY_BYTES)
        .preempt_timer(TURN)
        .spawn(move || {
            let (shard, asks) = Shard::new(id, shared);
            for task in tasks {
                shard.table.borrow_mut().restore(task);
            }
            shard.run(asks, listens)
        })
        .map_err(|error| {
            StartError::new(
                format!("shard {} can't be started: {error}", id.0),
                "run `orchestratord check`; with fewer --shards less of the machine is needed",
            )
        })
}

impl Shard {
    fn new(id: ShardId, shared: Arc<Shared>) -> (Rc<Self>, LocalReceiver<(Ask, HungUp)>) {
        // Each ask holds a slot, so there are never more of them than slots.
        let (asks, asked) = local_channel::new_unbounded();
        let shard = Rc::new(Self {
            id,
            table: RefCell::new(Table::new(id, Arc::clone(&shared), asks)),
            upstreams: upstream::Idle::default(),
            read_buffer: RefCell::new(vec![0; connection::READ_BYTES].into()),
            farewells: Farewells::default(),
            date: RefCell::default(),
            accepting: RefCell::default(),
            shared,
        });
        (shard, asked)
    }

    async fn run(
        self: Rc<Self>,
        asks: LocalReceiver<(Ask, HungUp)>,
        listens: mpsc::Sender<Result<(), StartError>>,
    ) {
        let listener = match accept::listen(self.shared.addr) {
            Ok(listener) => listener,
            // If nobody waits for the answer any more, another shard could not start.
            Err(error) => return drop(listens.send(Err(error))),
        };
        if listens.send(Ok(())).is_err() {
            return;
        }
        drop(listens);
        let _vital = Vital(&self.shared);
        glommio::spawn_local(Rc::clone(&self).turn()).detach();
        let accepting = glommio::spawn_local(accept::serve(Rc::clone(&self), listener));
        self.accepting.replace(Some(accepting));
        glommio::spawn_local(Rc::clone(&self).sweep()).detach();
        glommio::spawn_local(upstream::serve(Rc::clone(&self), asks)).detach();
        mailbox::serve(&self).await;
    }

    /// Counts the turns of the loop, those too in which it has nothing to do.
    async fn turn(self: Rc<Self>) {
        let turning = &self.shared.turning[self.id.0];
        turning.begin();
        loop {
            turning.turn();
            Timer::new(self.shared.limits().timeouts.shard_stall.interval()).await;
        }
    }

    /// Ends tasks whose engine fell silent or takes too long, for as long as the shard lives.
    async fn sweep(self: Rc<Self>) {
        loop {
            Timer::new(SWEEP_INTERVAL).await;
            self.table.borrow_mut().end_overdue();
            self.flush_outbox();
            self.upstreams.sweep(self.shared.clock.elapsed());
        }
    }

    /// The bounds of a message.
    pub fn limits(&self) -> Limits {
        Limits {
            body_max: self.shared.limits().body_max_bytes,
            ..Limits::default()
        }
    }

    /// Whether new work is refused.
    pub fn is_stopping(&self) -> bool {
        self.shared.stages.now() > Stage::Serving
    }

    /// The value of `Date` now (RFC 9110 §6.6.1), made anew once a second.
    pub fn date(&self) -> String {
        let now_s = clock::unix_ms() / 1000;
        let mut date = self.date.borrow_mut();
        if date.0 != now_s {
            *date = (now_s, clock::http_date());
        }
        date.1.clone()
    }

    /// Sends a message to another shard.
    pub fn send(&self, to: ShardId, message: Message) {
        self.table.borrow_mut().outbox.send(to, message);
        self.flush_outbox();
    }

    /// Sends what the neighbours' mailboxes take; asks for another turn for the rest.
    pub fn flush_outbox(&self) {
        let left = self.table.borrow_mut().outbox.flush(&self.shared);
        if left {
            self.shared.mailboxes[self.id.0].ring();
        }
    }

    /// Waits until a task that a thief took has left this shard.
    pub async fn until_moved(&self, id: Uuid) {
        poll_fn(|context| match self.table.borrow().get(id) {
            Some(task) => {
                task.borrow_mut().notify(context.waker());
                Poll::Pending
            }
            None => Poll::Ready(()),
        })
        .await;
    }

    /// The daemon went a stage further down.
    fn stage_changed(&self) {
        match self.shared.stages.now() {
            Stage::Serving => {}
            Stage::Draining => {
                drop(self.accepting.take());
                self.farewells.tell();
            }
            Stage::Ending | Stage::Gone => self.table.borrow_mut().end_all(),
        }
    }
}

/// A shard's life. If it ends before the daemon does, a part of the daemon would be silent for
/// ever while the rest looks well; so the whole process ends, and its supervisor starts it anew.
struct Vital<'s>(&'s Shared);

impl Drop for Vital<'_> {
    fn drop(&mut self) {
        if self.0.stages.now() != Stage::Gone {
            panics::end_process("shard");
        }
    }
}
