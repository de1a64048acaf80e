//! Between which bounds a number lies that a setting takes: for those who check it and for the schema.
//!
//! What waits is given at least a millisecond: everything that waits has a bound, and none is no bound.

use std::{fmt, ops::RangeInclusive};

use super::{
    SESSIONS_MAX, SHARDS_MAX, StartError,
    pool::{
        ADMISSION_CAPACITY_MAX, READY_TIMEOUT_MAX_MS, REPLICAS_MAX, SLOTS_MAX, STOP_GRACE_MAX_MS,
    },
};

/// TOML's integers end here.
pub const MAX: u64 = i64::MAX.unsigned_abs();

/// The bounds of the setting of that name, if it has any that its type has not.
pub fn of(key: &str) -> Option<RangeInclusive<u64>> {
    Some(match key {
        "shards" => 1..=SHARDS_MAX.into(),
        "slots" | "llamacpp_slots" => 1..=SLOTS_MAX.into(),
        "replicas" => 1..=REPLICAS_MAX.into(),
        "admission_capacity" => 1..=ADMISSION_CAPACITY_MAX.into(),
        "admission_tokens_max" | "connections_max" => 1..=MAX,
        "sessions_max" => 1..=SESSIONS_MAX,
        "ready_timeout_ms" => 1..=READY_TIMEOUT_MAX_MS,
        "stop_grace_ms" => 1..=STOP_GRACE_MAX_MS,
        "context_tokens" | "session_turns_max" | "auth_failures_per_minute" => 1..=u32::MAX.into(),
        "head_timeout_ms"
        | "body_timeout_ms"
        | "idle_timeout_ms"
        | "write_timeout_ms"
        | "decode_timeout_ms"
        | "engine_connect_timeout_ms"
        | "engine_first_byte_timeout_ms"
        | "engine_total_timeout_ms"
        | "session_ttl_ms"
        | "shard_stall_ms"
        | "handoff_watch_interval_ms"
        | "worker_heartbeat_timeout_ms"
        | "outcomes_max"
        | "artifacts_max"
        | "artifacts_bytes_max"
        | "artifacts_age_max_ms"
        | "model_max_bytes" => 1..=MAX,
        _ => return None,
    })
}

/// The value, if it lies within the bounds of the setting.
///
/// # Errors
///
/// That it does not, and what may be said.
pub fn within<N>(key: &str, value: N) -> Result<N, StartError>
where
    N: Copy + fmt::Display + TryInto<u64>,
{
    let Some(bounds) = of(key) else {
        return Ok(value);
    };
    if value.try_into().is_ok_and(|value| bounds.contains(&value)) {
        return Ok(value);
    }
    let remedy = match bounds.into_inner() {
        (min, MAX) => format!("give a number of at least {min}"),
        (min, max) => format!("give a number from {min} to {max}"),
    };
    Err(StartError::new(format!("`{key}` is {value}"), remedy))
}
