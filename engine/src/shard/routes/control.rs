//! Changes of pools: drain, undrain, reload, purge.
//!
//! What takes effect at once is done here; what takes time is the control thread's.

use std::{sync::Arc, time::Duration};

use crossbeam::channel::TrySendError;
use futures_channel::oneshot;
use orchestratord_sched::ShardId;

use super::{Call, Outcome, Reply, later, pool};
use crate::{
    api::{
        self,
        error::{ApiError, Code},
        pool::{DrainRequest, PoolChanged, PurgeRequest, ReloadRequest},
    },
    control::{
        Command,
        drain::Drain,
        purge::{Purge, Wish},
        reload::{Reload, Target},
    },
    logs::{self, PoolChange},
    shard::{Shard, mailbox::Message},
    shared::{gate::Passage, snapshot::Pool},
};

/// When to ask again if the control thread has too much to do: it does most things at once.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// `POST /v2/pools/{id}/drain`.
pub(super) fn drain(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let pool = pool::find(shard, call)?;
    let DrainRequest { deadline_ms } = api::parse(&call.body)?;
    let until = shard.shared.clock.now() + Duration::from_millis(deadline_ms);
    let before = pool.gate.passage();
    pool.gate.set(Passage::Draining(until));
    let drain = Drain {
        pool_id: pool.id.clone(),
        gate: Arc::clone(&pool.gate),
        until,
    };
    command(shard, Command::Drain(drain)).inspect_err(|_| pool.gate.set(before))?;
    log(call, &pool, PoolChange::Draining);
    for index in 0..shard.shared.mailboxes.len() {
        let pool = Arc::clone(&pool);
        shard.send(ShardId(index), Message::MoveTasks { pool });
    }
    Ok(Outcome::Reply(Reply::json(202, &changed(&pool))))
}

/// `POST /v2/pools/{id}/undrain`.
pub(super) fn undrain(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let pool = pool::find(shard, call)?;
    pool.gate.set(Passage::Open);
    log(call, &pool, PoolChange::Undrained);
    // Tasks that were to be ended, and no longer are, may wait beside free slots.
    for index in 0..shard.shared.mailboxes.len() {
        let pool = Arc::clone(&pool);
        shard.send(ShardId(index), Message::LookForWork { pool });
    }
    Ok(Outcome::Reply(Reply::json(202, &changed(&pool))))
}

/// `POST /v2/pools/{id}/reload`.
pub(super) fn reload(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let pool = pool::find(shard, call)?;
    let ReloadRequest { new_model_ref } = ReloadRequest::parse(&call.body)?;
    let (answer, answered) = oneshot::channel();
    command(
        shard,
        Command::Reload(Reload {
            pool_id: pool.id.clone(),
            target: Target::Model(new_model_ref),
            answer: Some(answer),
        }),
    )?;
    let (identity, correlation_id) = (call.caller().identity.clone(), call.correlation_id.clone());
    Ok(later(answered, move |pool: Arc<Pool>| {
        logs::pool_changed(&pool, PoolChange::Reloaded, &identity, &correlation_id);
        Reply::json(200, &changed(&pool))
    }))
}

/// `POST /v2/pools/{id}/purge`.
pub(super) fn purge(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let pool = pool::find(shard, call)?;
    let request: PurgeRequest = api::parse(&call.body)?;
    let wish = Wish {
        engine: request.purge_engine,
        models: request.purge_models,
        folders: request.delete_cache_dirs,
    };
    if wish == Wish::default() {
        return Err(ApiError::invalid(
            "nothing is to be purged: set `purge_engine`, `purge_models` or `delete_cache_dirs`",
        ));
    }
    if !pool.is_idle() && !request.drain_first && !request.force {
        return Err(ApiError::new(
            Code::InUse,
            "the pool has tasks; set `drain_first` to wait for them or `force` to end them",
        ));
    }
    if (wish.models || wish.folders) && !request.force && is_shared(shard, &pool) {
        return Err(ApiError::new(
            Code::InUse,
            "another pool serves the same model; set `force` to remove its file all the same",
        ));
    }
    let before = pool.gate.passage();
    let purge = Purge::begin(Arc::clone(&pool), wish);
    if request.force {
        pool.gate.set(Passage::Closed);
    }
    command(shard, Command::Purge(purge)).inspect_err(|_| pool.gate.set(before))?;
    log(call, &pool, PoolChange::Purged);
    Ok(Outcome::Reply(Reply::json(202, &changed(&pool))))
}

/// Whether another pool's model comes from the same place.
fn is_shared(shard: &Shard, pool: &Pool) -> bool {
    let place = |pool: &Pool| Some(shard.shared.source_of(pool)?.place);
    let Some(wanted) = place(pool) else {
        return false;
    };
    let pools = shard.shared.pools();
    let mut others = pools.pools.iter().filter(|other| other.key != pool.key);
    others.any(|other| place(other).is_some_and(|place| place == wanted))
}

fn changed(pool: &Pool) -> PoolChanged {
    PoolChanged {
        pool_id: pool.id.clone(),
        model_ref: pool.model.clone(),
        replicas: pool
            .replicas
            .iter()
            .map(|(_, replica)| replica.id.clone())
            .collect(),
        draining: !pool.gate.is_open(),
    }
}

fn log(call: &Call, pool: &Pool, change: PoolChange) {
    logs::pool_changed(pool, change, &call.caller().identity, &call.correlation_id);
}

pub(super) fn command(shard: &Shard, command: Command) -> Result<(), ApiError> {
    let stopping = |code, message: &str| ApiError::new(code, message).after(BUSY_WAIT);
    shard
        .shared
        .commands
        .try_send(command)
        .map_err(|error| match error {
            TrySendError::Full(_) => stopping(
                Code::PoolUnready,
                "too many changes of pools are under way; ask again",
            ),
            TrySendError::Disconnected(_) => {
                stopping(Code::PoolDraining, "the daemon is shutting down")
            }
        })
}
