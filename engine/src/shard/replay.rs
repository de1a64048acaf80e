//! A reader of a stream that is over and in no memory any more: its log comes from the disk, whole.

use orchestratord_http::{
    Method,
    sse_log::{Audience, Cursor, Log},
};
use orchestratord_sched::budget::Allowance;

use super::{
    Shard,
    exchange::{Exchange, Fate, Gone},
    reply::Reply,
    routes::Call,
};
use crate::{shared::Shared, store::replay::Recalled};

/// What is read, and from where on.
pub struct Replay {
    log: Log,
    cursor: Cursor,
    /// What the task's session may still spend.
    remaining: Allowance,
}

impl Replay {
    /// From the start, or from after the last event that the reader has seen. Only what every client needs is
    /// kept.
    pub fn new(shared: &Shared, recalled: Recalled, last_event_id: Option<u64>) -> Self {
        let cursor = match last_event_id {
            // Of a stream that is lost the reader may have seen more than there is, but not the end.
            Some(id) if id > 0 && recalled.is_cut => Cursor::from_start(Audience::Plain),
            Some(id) => Cursor::after(id, Audience::Plain),
            None => Cursor::from_start(Audience::Plain),
        };
        let session = recalled.session_id.and_then(|session_id| {
            let owner = recalled.owner.parse().ok()?;
            shared
                .sessions
                .state(&owner, session_id, shared.clock.now())
        });
        Self {
            log: recalled.log,
            cursor,
            remaining: session.map_or_else(Allowance::default, |session| session.remaining),
        }
    }
}

/// Sends the log to its end.
pub(super) async fn send(
    exchange: &mut impl Exchange,
    shard: &Shard,
    call: &Call,
    replay: Replay,
) -> Fate {
    // As for a stream in memory: a browser that has read to the end stops asking.
    if replay.log.is_drained(&replay.cursor) {
        let nothing = Reply::empty(204);
        return exchange
            .reply(shard, &call.correlation_id, nothing)
            .await
            .into();
    }
    stream(exchange, shard, call, replay).await.into()
}

async fn stream(
    exchange: &mut impl Exchange,
    shard: &Shard,
    call: &Call,
    mut replay: Replay,
) -> Result<(), Gone> {
    let head = Reply::stream(replay.remaining);
    exchange.open(shard, &call.correlation_id, head)?;
    // HEAD has no body.
    while call.request.method != Method::Head && replay.log.has_news(&replay.cursor) {
        let room = exchange.room().await?;
        exchange.put(replay.log.read(&mut replay.cursor, room));
        exchange.flush().await?;
    }
    exchange.finish().await
}
