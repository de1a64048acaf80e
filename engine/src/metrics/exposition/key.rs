//! Who was turned away at the door.

use super::{
    super::{KeyRefusal, PerShard, ShardCounters, total},
    Page,
};

pub(super) fn refusals(page: &mut Page, shards: &PerShard<ShardCounters>) {
    let help = "Requests turned away for their keys.";
    page.counter("auth_failures_total", help, |sample| {
        for refusal in KeyRefusal::ALL {
            let count = total(shards, |shard| shard.keys.of(refusal));
            sample(&format!("reason=\"{}\"", refusal.name()), count);
        }
    });
}
