//! One request and the way back to whoever sent it, whatever that one speaks.
//!
//! What a shard does about a request is the same for all of them: run its handler, wait where the
//! outcome says so, send the answer or follow a task's log. How an answer reaches the client is
//! not, and that is an [`Exchange`]: a connection of HTTP/1.1, a stream of HTTP/2, or the far end of
//! a relay.

use std::{
    rc::Rc,
    task::{Context, Poll},
};

use orchestratord_http::Method;
use orchestratord_sched::ShardId;

use super::{
    Shard,
    reader::{self, OpenStream, Subscription},
    replay,
    reply::Reply,
    routes::{self, Call, Outcome},
};

/// What an exchange is about.
pub enum Errand {
    /// A request that was read.
    Answer(Box<Call>),
    /// A stream whose head was sent.
    Read(Subscription),
}

/// What became of an exchange.
pub enum Fate {
    /// The answer was sent, whole.
    Answered,
    /// The client went away before.
    Gone,
    /// It goes on at the home of its task.
    Moves(ShardId, Errand),
}

impl From<Result<(), Gone>> for Fate {
    fn from(sent: Result<(), Gone>) -> Self {
        match sent {
            Ok(()) => Self::Answered,
            Err(Gone) => Self::Gone,
        }
    }
}

/// The client takes no answer any more.
#[derive(Clone, Copy, Debug)]
pub struct Gone;

/// The way back. The order is a whole answer, or a head, any number of pieces, and the end.
pub(super) trait Exchange {
    /// Sends an answer that is known whole.
    async fn reply(
        &mut self,
        shard: &Shard,
        correlation_id: &str,
        reply: Reply,
    ) -> Result<(), Gone>;

    /// Begins an answer that comes piece by piece.
    fn open(&mut self, shard: &Shard, correlation_id: &str, head: Reply) -> Result<(), Gone>;

    /// Waits until the client takes another piece, and says how many bytes are best for it.
    async fn room(&mut self) -> Result<usize, Gone>;

    /// The next bytes. They are under way after [`flush`](Self::flush).
    fn put(&mut self, bytes: &[u8]);

    /// Sends what was put.
    async fn flush(&mut self) -> Result<(), Gone>;

    /// Ends what came piece by piece.
    async fn finish(&mut self) -> Result<(), Gone>;

    /// Ready when the client has gone away; otherwise wakes the caller when it does.
    fn poll_gone(&mut self, shard: &Shard, context: &mut Context<'_>) -> Poll<()>;
}

/// Runs the errand as far as this shard can.
pub(super) async fn run(exchange: &mut impl Exchange, shard: &Rc<Shard>, errand: Errand) -> Fate {
    match errand {
        Errand::Answer(call) => answer(exchange, shard, call).await,
        Errand::Read(subscription) => reader::read(exchange, shard, subscription).await,
    }
}

async fn answer(exchange: &mut impl Exchange, shard: &Rc<Shard>, mut call: Box<Call>) -> Fate {
    loop {
        let reply = match routes::run(shard, &call) {
            Outcome::Reply(reply) => reply,
            Outcome::ReplyAfterReaders(task, reply) => {
                reader::until_written(shard, task).await;
                reply
            }
            Outcome::Stream(subscription) => {
                return stream(exchange, shard, &call, subscription).await;
            }
            Outcome::Later(later) => {
                let _open = OpenStream::new(shard);
                routes::settle(&call, later).await
            }
            Outcome::Replay(recalled) => {
                let _open = OpenStream::new(shard);
                match recalled.await {
                    Ok(recalled) => return replay::send(exchange, shard, &call, recalled).await,
                    Err(error) => routes::refusal(&call, error),
                }
            }
            Outcome::Elsewhere(home) => {
                call.hops += 1;
                return Fate::Moves(home, Errand::Answer(call));
            }
            Outcome::InTransit(task) => {
                shard.until_moved(task).await;
                continue;
            }
        };
        return exchange
            .reply(shard, &call.correlation_id, reply)
            .await
            .into();
    }
}

async fn stream(
    exchange: &mut impl Exchange,
    shard: &Rc<Shard>,
    call: &Call,
    subscription: Subscription,
) -> Fate {
    let head = Reply::stream(routes::task::budgets(shard, subscription.task));
    if let Err(gone) = exchange.open(shard, &call.correlation_id, head) {
        return Err(gone).into();
    }
    if call.request.method == Method::Head {
        // There is no body to wait for.
        return exchange.finish().await.into();
    }
    reader::read(exchange, shard, subscription).await
}
