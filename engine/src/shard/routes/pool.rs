//! Pools: the list, and the health of one.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use orchestratord_sched::ReplicaState;

use super::{Call, Outcome, Reply};
use crate::{
    api::{
        error::{ApiError, Code},
        pool::{
            DeviceProcessView, DeviceView, PoolHealth, PoolList, PoolMetrics, PoolView, ReplicaView,
        },
        preparation::Preparation,
    },
    metrics,
    shard::Shard,
    shared::{device::Device, replica::Replica, snapshot::Pool},
};

/// `GET /v2/pools`.
pub(super) fn list(shard: &Shard, _: &Call) -> Result<Outcome, ApiError> {
    let view = |pool: &Arc<Pool>| PoolView {
        pool_id: pool.id.clone(),
        model_ref: pool.model.clone(),
        engine: pool.engine,
        engine_version: pool.told_version(),
        sampler_profile_version: pool.versions().sampler_profile.map(str::to_owned),
        device_mask: pool.device_mask().map(|mask| mask.to_string()),
        ctx_max: pool.ctx_max(),
        health: describe(shard, pool),
    };
    let list = PoolList {
        pools: shard.shared.pools().pools.iter().map(view).collect(),
    };
    Ok(Outcome::Reply(Reply::json(200, &list)))
}

/// `GET /v2/pools/{id}/health`.
pub(super) fn health(shard: &Shard, call: &Call) -> Result<Outcome, ApiError> {
    let pool = find(shard, call)?;
    Ok(Outcome::Reply(Reply::json(200, &describe(shard, &pool))))
}

/// The pool of the path.
pub(super) fn find(shard: &Shard, call: &Call) -> Result<Arc<Pool>, ApiError> {
    let pools = shard.shared.pools();
    let pool = pools.pool(&call.path_id()).map(Arc::clone);
    pool.ok_or_else(|| ApiError::new(Code::PoolNotFound, "there is no such pool"))
}

fn describe(shard: &Shard, pool: &Pool) -> PoolHealth {
    let (tokens_out, tasks_started) = metrics::pool_totals(pool);
    let scheduling = &pool.scheduling;
    let devices = shard.shared.devices.fresh(shard.shared.clock.elapsed());
    PoolHealth {
        live: pool.replicas.iter().any(|(_, replica)| is_live(&replica)),
        ready: pool.takes_work() && !shard.is_stopping(),
        draining: !pool.gate.is_open() || shard.is_stopping(),
        last_error: pool.last_error(),
        metrics: PoolMetrics {
            queue_depth: pool.queue_depth(),
            slots_total: pool.slots_total(),
            slots_free: scheduling.slots_free(),
            tokens_per_s: pool.tokens_per_s.load(Relaxed),
            tasks_started,
            tokens_out,
        },
        replicas: pool
            .replicas
            .iter()
            .map(|(place, replica)| ReplicaView {
                replica_id: replica.id.clone(),
                state: replica.condition.state().name(),
                slots_total: replica.slots(),
                slots_free: scheduling.replica_slots_free(place),
                requests_running: replica.condition.requests_running.count(),
                requests_waiting: replica.condition.requests_waiting.count(),
                devices: devices
                    .iter()
                    .filter(|device| replica.runs_on(device.number))
                    .map(view)
                    .collect(),
            })
            .collect(),
        preparation: Preparation::of(pool, shard.shared.clock.elapsed()),
    }
}

fn view(device: &Device) -> DeviceView {
    DeviceView {
        device: device.number,
        name: device.name.clone(),
        utilization: device.utilization,
        vram_total_bytes: device.memory.map(|memory| memory.total_bytes),
        vram_used_bytes: device.memory.map(|memory| memory.used_bytes),
        vram_free_bytes: device.memory.map(|memory| memory.free_bytes),
        memory_errors: device.memory_errors,
        processes: device.processes.as_ref().map(|processes| {
            let processes = processes.iter();
            processes
                .map(|process| DeviceProcessView {
                    pid: process.pid,
                    vram_used_bytes: process.used_bytes,
                })
                .collect()
        }),
    }
}

/// A starting engine lives already; an unready one has broken.
fn is_live(replica: &Replica) -> bool {
    matches!(
        replica.condition.state(),
        ReplicaState::Starting | ReplicaState::Ready | ReplicaState::Draining
    )
}
