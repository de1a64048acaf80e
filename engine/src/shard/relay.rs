//! An exchange whose client is connected to one shard, and whose task lives on another.
//!
//! A connection of HTTP/1.1 moves to the task. A connection of HTTP/2 can't: it carries other
//! streams. So the request goes to the task's home alone, and what is said there comes back over a
//! line between the two:
//!
//! ```text
//!   connection's shard                         task's home
//!   NearEnd ──────────── echoes: Taken, Left ──────► FarEnd
//!           ◄───── said: Reply, Open, Bytes, End, Cut ──
//! ```
//!
//! The far end is an [`Exchange`] like any other: it runs the request, attaches to the task's log,
//! and when the task is stolen it moves on to the thief. It says one batch of events and no more
//! until the near end has handed that to the client. So a client that takes nothing costs one batch,
//! a batch costs one wake each way, and no place in the line is ever missing.

use std::{
    future::poll_fn,
    mem,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use orchestratord_sched::ShardId;

use super::{
    Shard,
    exchange::{self, Errand, Exchange, Fate, Gone},
    mailbox::Message,
    reader::BATCH_BYTES,
    reply::Reply,
};
use crate::{panics::contained, shared::ring::Ring};

/// A head, a batch and the end are all that can be under way.
const SAID_MAX: usize = 3;
/// A batch was taken, and the client has left.
const ECHOES_MAX: usize = 2;

/// What the far end says.
enum Said {
    /// A whole answer, the last word.
    Reply(Reply),
    /// The head of a stream.
    Open(Reply),
    /// The next batch of it.
    Bytes(Vec<u8>),
    /// Its end, the last word.
    End,
    /// There will be no end, the last word.
    Cut,
}

/// What the near end answers.
enum Echo {
    /// The client has taken the batch.
    Taken,
    /// The client has left.
    Left,
}

struct Line {
    said: Ring<Said>,
    echoes: Ring<Echo>,
}

/// An exchange on its way to the home of its task.
pub struct Parcel {
    far: FarEnd,
    errand: Errand,
}

/// Sends the errand to `home` and hands on to the client what is said there.
pub(super) async fn follow(
    client: &mut impl Exchange,
    shard: &Rc<Shard>,
    correlation_id: &str,
    home: ShardId,
    errand: Errand,
) {
    let line = Arc::new(Line {
        said: Ring::new(SAID_MAX),
        echoes: Ring::new(ECHOES_MAX),
    });
    let near = NearEnd(Arc::clone(&line));
    send(
        shard,
        home,
        FarEnd {
            line,
            out: Vec::new(),
            owes_an_end: true,
        },
        errand,
    );
    // A client that is gone needs no more; dropping our end says so at the other.
    let _ = near.hand_on(client, shard, correlation_id).await;
}

/// An exchange that comes from another shard.
pub fn adopt(shard: &Rc<Shard>, parcel: Parcel) {
    let shard = Rc::clone(shard);
    let Parcel { mut far, errand } = parcel;
    let serve = async move {
        if let Fate::Moves(home, errand) = exchange::run(&mut far, &shard, errand).await {
            send(&shard, home, far, errand);
        }
    };
    glommio::spawn_local(contained(serve)).detach();
}

fn send(shard: &Shard, home: ShardId, far: FarEnd, errand: Errand) {
    shard.send(home, Message::Relay(Box::new(Parcel { far, errand })));
}

/// The client's end. Whoever drops it has left.
struct NearEnd(Arc<Line>);

impl NearEnd {
    async fn hand_on(
        &self,
        client: &mut impl Exchange,
        shard: &Shard,
        correlation_id: &str,
    ) -> Result<(), Gone> {
        loop {
            match self.hear(client, shard).await? {
                Said::Reply(reply) => return client.reply(shard, correlation_id, reply).await,
                Said::Open(head) => client.open(shard, correlation_id, head)?,
                Said::Bytes(bytes) => {
                    client.put(&bytes);
                    drop(bytes);
                    client.flush().await?;
                    // The connection writes it in its own turn, and only then it is on its way.
                    glommio::executor().yield_task_queue_now().await;
                    self.echo(Echo::Taken);
                }
                Said::End => return client.finish().await,
                Said::Cut => return Err(Gone),
            }
        }
    }

    async fn hear(&self, client: &mut impl Exchange, shard: &Shard) -> Result<Said, Gone> {
        poll_fn(|context| {
            if let Poll::Ready(said) = self.0.said.poll_pop(context) {
                return Poll::Ready(Ok(said));
            }
            client.poll_gone(shard, context).map(|()| Err(Gone))
        })
        .await
    }

    fn echo(&self, echo: Echo) {
        let room = self.0.echoes.push(echo).is_ok();
        assert!(room, "one echo a batch and one farewell fit");
        self.0.echoes.ring();
    }
}

impl Drop for NearEnd {
    fn drop(&mut self) {
        self.echo(Echo::Left);
    }
}

/// The task's end. It moves with the task. If it is dropped before its last word, the client is cut off.
struct FarEnd {
    line: Arc<Line>,
    out: Vec<u8>,
    /// The last word was not said yet.
    owes_an_end: bool,
}

impl FarEnd {
    fn say(&self, said: Said) {
        let room = self.line.said.push(said).is_ok();
        assert!(room, "a head, a batch and the end fit");
        self.line.said.ring();
    }

    fn say_last(&mut self, said: Said) {
        self.owes_an_end = false;
        self.say(said);
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        if self.owes_an_end {
            self.say(Said::Cut);
        }
    }
}

impl Exchange for FarEnd {
    async fn reply(&mut self, _: &Shard, _: &str, reply: Reply) -> Result<(), Gone> {
        self.say_last(Said::Reply(reply));
        Ok(())
    }

    fn open(&mut self, _: &Shard, _: &str, head: Reply) -> Result<(), Gone> {
        self.say(Said::Open(head));
        Ok(())
    }

    /// The last batch was taken, or it would still be flushed.
    async fn room(&mut self) -> Result<usize, Gone> {
        Ok(BATCH_BYTES)
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        if self.out.is_empty() {
            return Ok(());
        }
        let batch = mem::take(&mut self.out);
        self.say(Said::Bytes(batch));
        match poll_fn(|context| self.line.echoes.poll_pop(context)).await {
            Echo::Taken => Ok(()),
            Echo::Left => Err(Gone),
        }
    }

    async fn finish(&mut self) -> Result<(), Gone> {
        self.say_last(Said::End);
        Ok(())
    }

    /// While no batch is under way, there is only one thing to hear.
    fn poll_gone(&mut self, _: &Shard, context: &mut Context<'_>) -> Poll<()> {
        self.line.echoes.poll_pop(context).map(drop)
    }
}
