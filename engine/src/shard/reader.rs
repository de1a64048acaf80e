//! A reader of a task's stream: a cursor into the event log, and an exchange.
//!
//! Whatever was appended since the last write goes out in one write, however many tokens that is.
//! A reader whose client takes nothing waits for its client and holds up nothing: the log grows
//! without it. A reader of a task that is stolen while it waits follows it to its new home.
//!
//! No event comes before `started`, so what a task waits for while its pool is being prepared is told
//! to verbose readers in comments, which parsers pass over: `: prep {"steps":[…]}`.

use std::{
    cell::RefCell,
    future::{Future as _, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use glommio::timer::Timer;
use orchestratord_http::{
    sse,
    sse_log::{Audience, Cursor},
};
use uuid::Uuid;

use super::{
    Shard,
    exchange::{Errand, Exchange, Fate, Gone},
    task::Task,
};
use crate::{api, clock::Clock, shared::Shared};

/// A comment is sent after this much silence, so that no proxy takes the stream for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often a verbose reader of a task that waits for its pool to be prepared is told how far that is.
const PREPARATION_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of the log framed at a time: what a reader that takes nothing costs beside its socket.
pub const BATCH_BYTES: usize = 16 * 1024;

/// How long the answer to a cancel waits for readers in the middle of a write. A loaded core needs
/// less; a client that takes nothing is not waited for longer.
const LAST_WRITES: Duration = Duration::from_millis(100);
/// How long it waits for the disk.
const LAST_KEEPING: Duration = Duration::from_secs(5);

/// What a reader reads, and how far it has come.
pub struct Subscription {
    /// The task.
    pub task: Uuid,
    /// The next event.
    pub cursor: Cursor,
}

impl Subscription {
    /// From the start, or from after the last event that the reader has seen.
    pub fn new(task: Uuid, last_event_id: Option<u64>, audience: Audience) -> Self {
        let cursor = match last_event_id {
            Some(id) => Cursor::after(id, audience),
            None => Cursor::from_start(audience),
        };
        Self { task, cursor }
    }
}

/// Follows the task's log to its end.
pub(super) async fn read(
    exchange: &mut impl Exchange,
    shard: &Rc<Shard>,
    subscription: Subscription,
) -> Fate {
    let _open = OpenStream::new(shard);
    let Some(task) = shard.table.borrow().get(subscription.task) else {
        return elsewhere(shard, subscription);
    };
    let mut reader = Attached::new(shard, &task, subscription.cursor);
    match reader.follow(exchange).await {
        Ok(Way::End) => exchange.finish().await.into(),
        Ok(Way::Moved) => {
            let cursor = reader.cursor;
            let subscription = Subscription {
                cursor,
                ..subscription
            };
            elsewhere(shard, subscription)
        }
        Err(Gone) => Fate::Gone,
    }
}

/// Waits until the task's readers have written what they had to say, so that what is answered next
/// comes after it, and until its end is on the disk.
pub(super) async fn until_written(shard: &Shard, task: Uuid) {
    // Readers that were just woken have their turn, and then the connections that carry them.
    for _ in 0..2 {
        glommio::executor().yield_task_queue_now().await;
    }
    let Some(task) = shard.table.borrow().get(task) else {
        return;
    };
    until(&task, LAST_WRITES, |task| !task.is_being_written()).await;
    until(&task, LAST_KEEPING, |task| !task.is_being_kept()).await;
}

/// Waits, at most so long, until this is so.
async fn until(task: &RefCell<Task>, limit: Duration, is_so: impl Fn(&Task) -> bool) {
    let mut timer = Timer::new(limit);
    poll_fn(|context| {
        let mut task = task.borrow_mut();
        if is_so(&task) {
            return Poll::Ready(());
        }
        task.notify(context.waker());
        Pin::new(&mut timer).poll(context).map(drop)
    })
    .await;
}

/// The task is not here: it moved while the reader was on its way, or it was forgotten.
fn elsewhere(shard: &Rc<Shard>, subscription: Subscription) -> Fate {
    match shard.shared.directory.home(subscription.task) {
        Some(home) => Fate::Moves(home, Errand::Read(subscription)),
        // It waits for the daemon's next life, or has ended elsewhere and was forgotten: the stream is cut and not
        // ended, so that its reader comes back.
        None => Fate::Gone,
    }
}

/// Where a log has led its reader.
enum Way {
    /// To its end.
    End,
    /// To another shard, where it goes on.
    Moved,
}

/// Why a waiting reader goes on.
enum News {
    /// The log grew.
    Events,
    /// The log is closed, and all of it was read.
    End,
    /// The task lives elsewhere now.
    Moved,
    /// Nothing was sent for a while.
    Silence,
}

/// A reader counted at its task, for as long as it reads.
struct Attached<'s> {
    shard: &'s Rc<Shard>,
    task: Rc<RefCell<Task>>,
    cursor: Cursor,
}

impl<'s> Attached<'s> {
    fn new(shard: &'s Rc<Shard>, task: &Rc<RefCell<Task>>, cursor: Cursor) -> Self {
        task.borrow_mut().attach();
        Self {
            shard,
            task: Rc::clone(task),
            cursor,
        }
    }

    async fn follow(&mut self, exchange: &mut impl Exchange) -> Result<Way, Gone> {
        let patience = match self.preparation() {
            Some(_) => Duration::ZERO,
            None => KEEP_ALIVE,
        };
        let mut silence = Silence::new(self.shard.shared.clock, patience);
        if !self.task.borrow().log.has_news(&self.cursor) {
            // Else the head goes out with the first events, in one write.
            exchange.flush().await?;
        }
        loop {
            match self.wait(exchange, &mut silence).await? {
                News::Events => {
                    let room = exchange.room().await?;
                    let task = self.task.borrow();
                    exchange.put(task.log.read(&mut self.cursor, room));
                    drop(task);
                    silence.broken();
                }
                News::Silence => {
                    exchange.room().await?;
                    let (text, patience) = match self.preparation() {
                        Some(preparation) => (preparation, PREPARATION_INTERVAL),
                        None => ("keep-alive".to_owned(), KEEP_ALIVE),
                    };
                    let mut comment = Vec::new();
                    sse::comment(&mut comment, &text);
                    exchange.put(&comment);
                    silence = Silence::new(self.shard.shared.clock, patience);
                }
                News::End => return Ok(Way::End),
                News::Moved => return Ok(Way::Moved),
            }
            self.task.borrow_mut().begin_write();
            let written = exchange.flush().await;
            self.task.borrow_mut().end_write();
            written?;
            // One that catches up with a long log, and as fast as it comes, takes turns with the others.
            glommio::executor().yield_if_needed().await;
        }
    }

    /// What a verbose reader is told of what the task waits for, if that is its pool's preparation.
    fn preparation(&self) -> Option<String> {
        if self.cursor.audience() != Audience::Verbose {
            return None;
        }
        let now = self.shard.shared.clock.elapsed();
        let preparation = self.task.borrow().preparation(now);
        let is_told = !preparation.steps.is_empty();
        is_told.then(|| format!("prep {}", api::text(&preparation)))
    }

    async fn wait(
        &self,
        exchange: &mut impl Exchange,
        silence: &mut Silence,
    ) -> Result<News, Gone> {
        poll_fn(|context| {
            let mut task = self.task.borrow_mut();
            if task.has_moved() {
                return Poll::Ready(Ok(News::Moved));
            }
            if task.log.has_news(&self.cursor) {
                return Poll::Ready(Ok(News::Events));
            }
            if task.log.is_drained(&self.cursor) {
                return Poll::Ready(Ok(News::End));
            }
            task.notify(context.waker());
            drop(task);
            if exchange.poll_gone(self.shard, context).is_ready() {
                return Poll::Ready(Err(Gone));
            }
            silence.poll(context).map(|()| Ok(News::Silence))
        })
        .await
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        let abandoned = self.task.borrow_mut().detach();
        if abandoned {
            self.shard.table.borrow_mut().abandon(&self.task);
            self.shard.flush_outbox();
        }
    }
}

/// Counts a response that is awaited for as long as it is served here.
pub struct OpenStream(Arc<Shared>);

impl OpenStream {
    /// One more.
    pub fn new(shard: &Shard) -> Self {
        shard.shared.stages.open_streams.enter();
        Self(Arc::clone(&shard.shared))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.stages.open_streams.leave();
    }
}

/// Measures silence with one timer a stream: a write only notes its time, and the timer, when it
/// fires, sleeps on for what is missing.
struct Silence {
    clock: Clock,
    /// How much of it is borne.
    patience: Duration,
    since: Duration,
    timer: Timer,
}

impl Silence {
    fn new(clock: Clock, patience: Duration) -> Self {
        Self {
            clock,
            patience,
            since: clock.elapsed(),
            timer: Timer::new(patience),
        }
    }

    /// Something was sent; from now on as much is borne as in any stream.
    fn broken(&mut self) {
        self.since = self.clock.elapsed();
        self.patience = KEEP_ALIVE;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while Pin::new(&mut self.timer).poll(context).is_ready() {
            let missing = self
                .patience
                .saturating_sub(self.clock.elapsed() - self.since);
            if missing.is_zero() {
                return Poll::Ready(());
            }
            self.timer = Timer::new(missing);
        }
        Poll::Pending
    }
}
