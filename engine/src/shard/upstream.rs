//! The other side of a task: the connection to the server that generates its text.
//!
//! A task that is placed on a server gets a future of its own on its home shard, so that what the
//! server sends is read, understood and appended to the task's log on one core, without a queue in
//! between: one read, however many tokens it brings, and one turn of the readers after it.
//!
//! The table *asks* ([`Ask`]) and holds a [`Line`] as long as it wants to listen. Dropping the line
//! hangs up: the connection is closed at once, which is how these servers learn that nobody wants the
//! text any more. A connection whose answer was read to its end serves the next task.

mod connection;

pub use connection::Idle;

use std::{
    convert::Infallible, future::poll_fn, io, pin::Pin, rc::Rc, sync::Arc, task::Poll,
    time::Duration,
};

use futures_channel::oneshot;
use futures_lite::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, future};
use glommio::channels::local_channel::{LocalReceiver, LocalSender};
use orchestratord_gpu::{
    Event, Fault, Generation, SequenceKey,
    exchange::{Exchange, Target},
};
use orchestratord_sched::{ReplicaEvent, ReplicaIndex};

use self::connection::{Connection, Stream, within};
use super::Shard;
use crate::{
    endpoint::Peer,
    panics::{Panicked, contained},
    roots,
    settings::{key::EngineKey, link::LinkSettings},
    shared::{
        readiness,
        replica::{Reach, Remote, Replica},
        snapshot::Pool,
    },
};

/// Bytes that are read at a time of what follows a text.
const REST_READ_BYTES: usize = 1024;
/// How long the rest of an answer may take once its text is complete: it is a few bytes that the server
/// is about to send. A new connection costs less than a longer wait.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// A generation for a server.
pub struct Ask {
    /// What it is called here.
    pub sequence: SequenceKey,
    /// The pool of the replica.
    pub pool: Arc<Pool>,
    /// Where the replica stands.
    pub place: ReplicaIndex,
    /// The replica; it is [`Reach::Remote`].
    pub replica: Arc<Replica>,
    /// What to generate.
    pub generation: Generation,
}

/// Held for as long as somebody listens to what a server says.
pub type Line = oneshot::Sender<Infallible>;

/// Ready when the line was dropped.
pub type HungUp = oneshot::Receiver<Infallible>;

/// Where the table puts what it asks.
pub type Asks = LocalSender<(Ask, HungUp)>;

/// Carries out what the table asks, for as long as the shard lives.
pub async fn serve(shard: Rc<Shard>, asks: LocalReceiver<(Ask, HungUp)>) {
    while let Some((ask, hung_up)) = asks.recv().await {
        glommio::spawn_local(carry_out(Rc::clone(&shard), ask, hung_up)).detach();
    }
}

async fn carry_out(shard: Rc<Shard>, ask: Ask, hung_up: HungUp) {
    let talk = async {
        match contained(converse(&shard, &ask)).await {
            Ok(Ok(())) => return,
            Ok(Err(fault)) => tell(&shard, &ask, Event::Fault(fault)),
            Err(Panicked) => shard.table.borrow_mut().give_up(ask.sequence),
        }
        shard.flush_outbox();
    };
    // Whoever hangs up first: the table when it wants no more, or the server at the end.
    let silence = async {
        let _ = hung_up.await;
    };
    future::or(talk, silence).await;
}

fn tell(shard: &Shard, ask: &Ask, event: Event) {
    match &event {
        Event::End { .. } if ask.replica.condition.task_succeeded() => look_again(ask),
        Event::Fault(Fault::Broken(reason)) => distrust(shard, ask, reason),
        _ => {}
    }
    shard.table.borrow_mut().said(ask.sequence, event);
}

/// A task broke there. If that was one too many, no more go there for a while, whatever the server
/// answers to a probe.
fn distrust(shard: &Shard, ask: &Ask, reason: &str) {
    if ask.replica.condition.task_failed(shard.shared.clock.now()) {
        let reason = format!("its tasks fail one after the other: {reason}");
        broke(shard, ask, reason);
    }
    look_again(ask);
}

fn broke(shard: &Shard, ask: &Ask, reason: String) {
    readiness::advance(
        &shard.shared,
        &ask.pool,
        ask.place,
        ReplicaEvent::Broke,
        Some(reason),
    );
}

fn look_again(ask: &Ask) {
    if let Reach::Remote(remote) = &ask.replica.reach {
        remote.look_again();
    }
}

/// Asks and listens until the server has said everything.
async fn converse(shard: &Rc<Shard>, ask: &Ask) -> Result<(), Fault> {
    let Reach::Remote(remote) = &ask.replica.reach else {
        return Err(Fault::Broken("the engine is no server".into()));
    };
    let peer = &remote.endpoint.peer;
    // A server may close a connection just when it is used again. Nothing of an answer was there
    // then, so the request is made once more, on a new connection.
    if let Some(connection) = shard.upstreams.take(peer)
        && let Said::Something = exchange(shard, ask, remote, connection).await?
    {
        return Ok(());
    }
    let LinkSettings { roots, connect, .. } = shard.shared.limits().link.clone();
    let connection = Connection::open(peer, &roots, connect).await;
    let connection = connection.map_err(|error| {
        // No more is sent there until it answers a probe.
        broke(
            shard,
            ask,
            format!("it can't be reached: {}", roots::why(&error)),
        );
        Fault::Broken("the engine can't be reached".into())
    })?;
    match exchange(shard, ask, remote, connection).await? {
        Said::Something => Ok(()),
        Said::Nothing => Err(Fault::Broken("the engine closed the connection".into())),
    }
}

/// What came of a request.
enum Said {
    /// An answer, whole or broken off: the task was told.
    Something,
    /// The connection ended before the first byte of an answer.
    Nothing,
}

async fn exchange(
    shard: &Rc<Shard>,
    ask: &Ask,
    remote: &Remote,
    connection: Connection,
) -> Result<Said, Fault> {
    let Connection { mut stream, http } = connection;
    let key = ask.pool.settings.key.as_ref().map(EngineKey::read);
    let target = Target {
        kind: ask.pool.kind,
        host: &remote.endpoint.host,
        base_path: &remote.endpoint.base_path,
        model: &remote.model,
        key: key.as_ref().map(|key| key.as_str()),
    };
    let mut request = Vec::new();
    let mut exchange = Exchange::begin(http, &target, &ask.generation, &mut request)?;
    let limit = shard.shared.limits().link.first_byte;
    match within(limit, write(&mut stream, &request)).await {
        Some(Ok(())) => {}
        Some(Err(_)) => return Ok(Said::Nothing),
        None => return Err(Fault::Broken("the engine does not take the request".into())),
    }
    match within(limit, read(shard, ask, &mut stream, &mut exchange)).await {
        Some(Ok(1..)) => {}
        Some(Ok(0) | Err(_)) => return Ok(Said::Nothing),
        None => return Err(Fault::Broken("the engine does not begin to answer".into())),
    }
    shard.flush_outbox();
    while !exchange.is_finished() {
        glommio::yield_if_needed().await;
        if let Ok(0) | Err(_) = read(shard, ask, &mut stream, &mut exchange).await {
            exchange.receive_end(&mut |event| tell(shard, ask, event));
        }
        shard.flush_outbox();
    }
    // The task has ended, and with it this future where it waits next.
    let (shard, peer) = (Rc::clone(shard), remote.endpoint.peer.clone());
    let put_away = put_away(shard, peer, stream, exchange);
    glommio::spawn_local(contained(put_away)).detach();
    Ok(Said::Something)
}

/// Keeps the connection for the next task, if the rest of the answer comes within a moment.
async fn put_away(shard: Rc<Shard>, peer: Peer, mut stream: Stream, mut exchange: Exchange) {
    let rest = async {
        let mut buffer = [0; REST_READ_BYTES];
        while !exchange.is_over() {
            match stream.read(&mut buffer).await {
                Ok(count @ 1..) => exchange.receive(&buffer[..count], &mut drop),
                Ok(0) | Err(_) => return,
            }
        }
    };
    within(REST_TIMEOUT, rest).await;
    if let Some(http) = exchange.into_connection() {
        let now = shard.shared.clock.elapsed();
        let connection = Connection { stream, http };
        shard.upstreams.put(&peer, connection, now);
    }
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Reads once, and tells the task what it means.
async fn read(
    shard: &Rc<Shard>,
    ask: &Ask,
    stream: &mut Stream,
    exchange: &mut Exchange,
) -> io::Result<usize> {
    poll_fn(|context| {
        let mut buffer = shard.read_buffer.borrow_mut();
        let read = Pin::new(&mut *stream).poll_read(context, &mut buffer);
        if let Poll::Ready(Ok(count)) = &read {
            exchange.receive(&buffer[..*count], &mut |event| tell(shard, ask, event));
        }
        read
    })
    .await
}
