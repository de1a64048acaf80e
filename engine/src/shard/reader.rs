//! A reader of a task's stream: a cursor into the event log, and a socket.
//!
//! Whatever was appended since the last write goes out in one write, however many tokens that is.
//! A reader whose socket is full waits for its socket and holds up nothing: the log grows without
//! it. A reader of a task that is stolen while it waits follows it to its new home.

use std::{
    cell::RefCell,
    future::{Future as _, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use glommio::timer::Timer;
use orchestratord_http::{
    server::Response,
    sse,
    sse_log::{Audience, Cursor},
};
use uuid::Uuid;

use super::{
    Shard,
    connection::{Connection, Errand, Fate},
    reply::Reply,
    routes::{self, Call},
    task::Task,
};
use crate::clock::Clock;

/// A comment is sent after this much silence, so that no proxy takes the stream for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Bytes of the log framed at a time: one socket buffer's worth.
const BATCH_BYTES: usize = 64 * 1024;

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

/// Frames the head of a stream.
pub fn open(
    connection: &mut Connection,
    shard: &Rc<Shard>,
    call: &Call,
    subscription: &Subscription,
) {
    if shard.is_stopping() {
        connection.http.close_after_response();
    }
    let remaining = routes::task::budgets(shard, subscription.task);
    let reply = Reply::stream(remaining);
    let date = shard.date();
    let fields = reply.fields(&date, &call.correlation_id);
    let head = Response {
        status: reply.status,
        fields: &fields,
    };
    connection.http.begin_stream(&head, &mut connection.out);
}

/// Follows the task's log to its end.
pub async fn read(
    connection: &mut Connection,
    shard: &Rc<Shard>,
    subscription: Subscription,
) -> Fate {
    let _open = OpenStream::new(shard);
    let Some(task) = shard.table.borrow().get(subscription.task) else {
        return elsewhere(connection, shard, subscription).await;
    };
    let attached = Attached::new(shard, &task);
    follow(connection, &attached, subscription).await
}

/// The task is not here: it moved while the reader was on its way, or it was forgotten.
async fn elsewhere(
    connection: &mut Connection,
    shard: &Rc<Shard>,
    subscription: Subscription,
) -> Fate {
    match shard.shared.directory.home(subscription.task) {
        Some(home) => Fate::Moves(home, Errand::Read(subscription)),
        None => finish(connection).await,
    }
}

async fn follow(
    connection: &mut Connection,
    attached: &Attached<'_>,
    mut subscription: Subscription,
) -> Fate {
    let mut silence = Silence::new(attached.shard.shared.clock);
    loop {
        let drained = attached.frame(connection, &mut subscription.cursor);
        if !connection.out.is_empty() {
            silence.broken();
            if connection.flush().await.is_err() {
                return Fate::Closed;
            }
        }
        if drained {
            return finish(connection).await;
        }
        match attached
            .wait(connection, &subscription.cursor, &mut silence)
            .await
        {
            News::Events => {}
            News::Moved => return elsewhere(connection, attached.shard, subscription).await,
            News::Silence => {
                let mut comment = Vec::new();
                sse::comment(&mut comment, "keep-alive");
                connection.http.stream(&comment, &mut connection.out);
            }
            News::Gone => return Fate::Closed,
        }
    }
}

async fn finish(connection: &mut Connection) -> Fate {
    connection.http.end_stream(&mut connection.out);
    match connection.flush().await {
        Ok(()) => Fate::KeptAlive,
        Err(_) => Fate::Closed,
    }
}

/// Why a waiting reader goes on.
enum News {
    /// The log grew or was closed.
    Events,
    /// The task lives elsewhere now.
    Moved,
    /// Nothing was sent for a while.
    Silence,
    /// The client is gone.
    Gone,
}

/// A reader counted at its task, for as long as it reads.
struct Attached<'s> {
    shard: &'s Rc<Shard>,
    task: Rc<RefCell<Task>>,
}

impl<'s> Attached<'s> {
    fn new(shard: &'s Rc<Shard>, task: &Rc<RefCell<Task>>) -> Self {
        task.borrow_mut().attach();
        Self {
            shard,
            task: Rc::clone(task),
        }
    }

    /// Frames what the reader has not seen yet, one batch. Whether that was the last of it.
    fn frame(&self, connection: &mut Connection, cursor: &mut Cursor) -> bool {
        let task = self.task.borrow();
        let events = task.log.read(cursor, BATCH_BYTES);
        connection.http.stream(events, &mut connection.out);
        task.log.is_drained(cursor)
    }

    async fn wait(
        &self,
        connection: &mut Connection,
        cursor: &Cursor,
        silence: &mut Silence,
    ) -> News {
        poll_fn(|context| {
            let mut task = self.task.borrow_mut();
            if task.has_moved() {
                return Poll::Ready(News::Moved);
            }
            if task.log.has_news(cursor) {
                return Poll::Ready(News::Events);
            }
            task.notify(context.waker());
            drop(task);
            // A client that has gone sends the end of the stream. One that pipelines sends bytes:
            // they wait for their turn, and no more are taken.
            if !connection.http.has_buffered() {
                match connection.poll_receive(self.shard, context) {
                    Poll::Ready(Ok(1..)) => context.waker().wake_by_ref(),
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(News::Gone),
                    Poll::Pending => {}
                }
            }
            silence.poll(context).map(|()| News::Silence)
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
pub struct OpenStream<'s>(&'s Shard);

impl<'s> OpenStream<'s> {
    /// One more.
    pub fn new(shard: &'s Shard) -> Self {
        shard.shared.stages.open_streams.enter();
        Self(shard)
    }
}

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        self.0.shared.stages.open_streams.leave();
    }
}

/// Measures silence with one timer a stream: a write only notes its time, and the timer, when it
/// fires, sleeps on for what is missing.
struct Silence {
    clock: Clock,
    since: Duration,
    timer: Timer,
}

impl Silence {
    fn new(clock: Clock) -> Self {
        Self {
            clock,
            since: clock.elapsed(),
            timer: Timer::new(KEEP_ALIVE),
        }
    }

    fn broken(&mut self) {
        self.since = self.clock.elapsed();
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while Pin::new(&mut self.timer).poll(context).is_ready() {
            let missing = KEEP_ALIVE.saturating_sub(self.clock.elapsed() - self.since);
            if missing.is_zero() {
                self.timer = Timer::new(KEEP_ALIVE);
                return Poll::Ready(());
            }
            self.timer = Timer::new(missing);
        }
        Poll::Pending
    }
}
