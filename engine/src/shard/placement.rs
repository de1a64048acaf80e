//! Placing a task: which pools serve its model and how they stand, put before `sched`.

use std::{sync::Arc, time::Duration};

use orchestratord_sched::{
    ShardId,
    placement::{Basis, Candidate, Choice, Decision, Refusal, Standing, Why, decide},
};

use super::table::Rejected;
use crate::{
    api::{
        error::{ApiError, Code},
        task::Submission,
    },
    clock,
    metrics::RejectReason,
    shared::{
        Shared,
        catalog::{Catalog, Model, Unusable},
        device::Device,
        gate::Passage,
        replica::Replica,
        snapshot::{Pool, Snapshot},
    },
};

/// What a caller waits before asking again for a pool without a live replica: the engine's thread
/// probes at this pace at first.
pub const UNAVAILABLE_WAIT: Duration = Duration::from_secs(1);

/// What a caller waits before asking again for what only a person can change: a model that was
/// retired, a pool that is none for the task.
const PERSON_WAIT: Duration = Duration::from_secs(60);

/// The longest wait that is advised while a pool drains: it may be taken back at any time.
const DRAINING_WAIT_MAX: Duration = Duration::from_secs(60);

/// The pool that a task goes to.
pub struct Placed {
    /// The pool.
    pub pool: Arc<Pool>,
    /// What made it the one.
    pub basis: Basis,
}

/// A task has no pool to go to.
pub enum Unplaced {
    /// No pool serves its model.
    NotServed(ApiError),
    /// What it asks for can't be, whatever the pools do.
    Impossible(ApiError),
    /// None of the pools takes it; this one comes nearest.
    Refused(Arc<Pool>, Rejected),
}

/// Finds the task a pool, on this shard, given which replica the last turn of its session ran on.
///
/// # Errors
///
/// See [`Unplaced`].
pub fn place(
    shared: &Shared,
    me: ShardId,
    submission: &Submission,
    last: Option<&Arc<Replica>>,
) -> Result<Placed, Unplaced> {
    let (pools, catalog) = (shared.pools(), shared.store.catalog());
    let mut serving = serving(&pools, &catalog, &submission.model_ref)?;
    let workload = submission.input.workload();
    serving.retain(|pool| pool.workloads.contains(&workload));
    if serving.is_empty() {
        return Err(Unplaced::Impossible(ApiError::invalid(format!(
            "`workload`: no pool of the model does {}; GET /v2/meta/capabilities lists what each does",
            workload.name()
        ))));
    }
    check_ids(
        &pools,
        &serving,
        &submission.placement.choice,
        &submission.placement.avoid,
    )?;
    let devices = shared.devices.fresh(shared.clock.elapsed());
    let candidate = |pool| candidate(pool, last, &devices);
    let candidates: Vec<_> = serving.iter().copied().map(candidate).collect();
    shared.metrics[me.0].placements.considers(candidates.len());
    match decide(&submission.needs(), &candidates) {
        Ok(Decision { pool, basis }) => Ok(Placed {
            pool: Arc::clone(serving[pool]),
            basis,
        }),
        Err(Refusal { pool, why }) => Err(refuse(shared, submission, serving[pool], why)),
    }
}

/// The pools that serve what the reference means and that may be used for it; at least one.
fn serving<'p>(
    pools: &'p Snapshot,
    catalog: &Catalog,
    model_ref: &str,
) -> Result<Vec<&'p Arc<Pool>>, Unplaced> {
    let now_ms = clock::unix_ms();
    let (mut usable, mut refused) = (Vec::new(), None);
    for pool in pools
        .pools
        .iter()
        .filter(|pool| catalog.means(model_ref, pool))
    {
        match catalog.unusable(model_ref, pool, now_ms) {
            None => usable.push(pool),
            Some(unusable) => refused = refused.or(Some((pool, unusable))),
        }
    }
    match refused {
        _ if !usable.is_empty() => Ok(usable),
        Some((pool, why)) => Err(Unplaced::Refused(Arc::clone(pool), unusable(why))),
        None => Err(Unplaced::NotServed(not_served(catalog.model(model_ref)))),
    }
}

/// Holds the ids of a wish to the pools that there are: a misspelt one would be obeyed by nobody and
/// noticed by nobody.
fn check_ids(
    pools: &Snapshot,
    serving: &[&Arc<Pool>],
    choice: &Choice,
    avoid: &[String],
) -> Result<(), Unplaced> {
    let (field, asked_for) = match choice {
        Choice::Auto => ("", &[][..]),
        Choice::Prefer(ids) => ("prefer_pools", ids.as_slice()),
        Choice::Pin(id) => ("pin_pool_id", std::slice::from_ref(id)),
    };
    let named = asked_for.iter().map(|id| (field, id));
    let mut named = named.chain(avoid.iter().map(|id| ("avoid_pools", id)));
    if let Some((field, _)) = named.find(|(_, id)| pools.pool(id).is_none()) {
        let message = format!("`placement.{field}` names a pool that is not there");
        return Err(Unplaced::Impossible(ApiError::new(
            Code::PoolNotFound,
            message,
        )));
    }
    match choice {
        Choice::Pin(pin) if serving.iter().all(|pool| pool.id != *pin) => {
            let message = "`placement.pin_pool_id` names a pool that does not serve the model, or not for the \
                           workload";
            Err(Unplaced::Impossible(ApiError::invalid(message)))
        }
        _ => Ok(()),
    }
}

fn candidate<'p>(
    pool: &'p Arc<Pool>,
    last: Option<&Arc<Replica>>,
    devices: &[Device],
) -> Candidate<'p> {
    let has = |last| {
        let mut replicas = pool.replicas.iter();
        replicas.any(|(_, replica)| Arc::ptr_eq(&replica, last))
    };
    let queue_depth = pool.queue_depth();
    Candidate {
        id: &pool.id,
        engine: pool.engine,
        ctx_max: pool.ctx_max().unwrap_or(u32::MAX),
        device_mask: pool.device_mask(),
        versions: pool.versions(),
        standing: standing(pool),
        is_full: queue_depth >= pool.admission_capacity(),
        had_last_turn: last.is_some_and(has),
        slots_total: pool.scheduling.slots_total(),
        slots_free: pool.scheduling.slots_free(),
        tasks: queue_depth + pool.scheduling.leases(),
        vram_free_bytes: pool.vram_free_bytes(devices),
    }
}

fn standing(pool: &Pool) -> Standing {
    if !pool.gate.is_open() {
        Standing::Draining
    } else if pool.is_ready() {
        Standing::Ready
    } else if pool.is_being_provisioned() {
        Standing::Preparing
    } else if pool.is_starting() {
        Standing::Starting
    } else {
        Standing::Down
    }
}

fn refuse(shared: &Shared, submission: &Submission, pool: &Arc<Pool>, why: Why) -> Unplaced {
    let rejected = |reason, code, message: &str, wait| {
        let error = ApiError::new(code, message).after(wait);
        Unplaced::Refused(Arc::clone(pool), (reason, error))
    };
    let unavailable = |message| {
        rejected(
            RejectReason::Placement,
            Code::PoolUnavailable,
            message,
            PERSON_WAIT,
        )
    };
    match why {
        Why::Starting => rejected(
            RejectReason::PoolUnavailable,
            Code::PoolUnready,
            "the model's pool is still starting",
            UNAVAILABLE_WAIT,
        ),
        Why::Draining => rejected(
            RejectReason::PoolDraining,
            Code::PoolDraining,
            "the model's pool takes no new work",
            draining_wait(shared, pool),
        ),
        Why::Down => rejected(
            RejectReason::PoolUnavailable,
            Code::PoolUnavailable,
            "the model's engine is down",
            UNAVAILABLE_WAIT,
        ),
        Why::Unpinned => unavailable(
            "`determinism` strict needs a pool that is pinned to one engine version and one \
             sampler profile, and no pool of the model is so, or to what was asked for",
        ),
        Why::Devices => unavailable(
            "no pool of the model is known to run on devices of `placement.require_device_mask` only",
        ),
        Why::Unwanted => unavailable("`placement` leaves no pool that serves the model"),
        Why::Context => Unplaced::Impossible(ApiError::invalid(format!(
            "`ctx` is over the {} tokens of context that the model's pool has",
            pool.ctx_max().unwrap_or(u32::MAX)
        ))),
        // Waiting would not help: no pool of it is down, there is none.
        Why::Engine => match submission.placement.choice {
            Choice::Pin(_) => Unplaced::Impossible(ApiError::invalid(
                "`placement.pin_pool_id` names a pool of another `engine`",
            )),
            Choice::Auto | Choice::Prefer(_) => Unplaced::NotServed(ApiError::new(
                Code::ModelNotFound,
                "no pool of that `engine` serves the model; GET /v2/pools lists them",
            )),
        },
    }
}

fn draining_wait(shared: &Shared, pool: &Pool) -> Duration {
    match pool.gate.passage() {
        Passage::Draining(until) => {
            let left = until.since(shared.clock.now());
            left.clamp(UNAVAILABLE_WAIT, DRAINING_WAIT_MAX)
        }
        // Taken back just now, perhaps.
        Passage::Closed | Passage::Open => UNAVAILABLE_WAIT,
    }
}

/// No pool serves the reference; the catalog may know more about it.
fn not_served(model: Option<&Arc<Model>>) -> ApiError {
    let Some(model) = model else {
        return ApiError::new(
            Code::ModelNotFound,
            "`model_ref` names no model that is served here; GET /v2/pools lists them",
        );
    };
    match model.unusable(clock::unix_ms()) {
        Some(why) => unusable(why).1,
        None => ApiError::new(
            Code::PoolUnavailable,
            "the model is in the catalog, and no pool serves it",
        )
        .after(UNAVAILABLE_WAIT),
    }
}

/// Why a model may not be used, as the metrics and the caller are told.
fn unusable(why: Unusable) -> Rejected {
    match why {
        Unusable::Retired => (
            RejectReason::ModelRetired,
            ApiError::new(Code::PoolUnavailable, "the model was retired; use another")
                .after(PERSON_WAIT),
        ),
        Unusable::Mismatch => (
            RejectReason::ModelUntrusted,
            ApiError::new(
                Code::UntrustedArtifact,
                "the model's file is not what its digest says; use another until it is mended",
            ),
        ),
        Unusable::Unsigned => (
            RejectReason::ModelUntrusted,
            ApiError::new(
                Code::UntrustedArtifact,
                "the model's trust policy is strict, and no trusted key has signed its digest",
            ),
        ),
    }
}
