//! Where tasks were sent.

use super::{
    super::{PerShard, PlacementOutcome, ShardCounters, total},
    Page,
};

pub(super) fn decisions(page: &mut Page, shards: &PerShard<ShardCounters>) {
    let help = "Decisions about the pool of a task.";
    page.counter("placement_decisions_total", help, |sample| {
        for is_pinned in [false, true] {
            for outcome in PlacementOutcome::ALL {
                let (name, fallback) = outcome.labels();
                let labels =
                    format!("outcome=\"{name}\",pinned=\"{is_pinned}\",fallback=\"{fallback}\"");
                let count = total(shards, |shard| {
                    shard.placements.decisions(is_pinned, outcome)
                });
                sample(&labels, count);
            }
        }
    });
}

pub(super) fn candidates(page: &mut Page, shards: &PerShard<ShardCounters>) {
    let name = "placement_candidates_considered";
    let help = "Pools that the last decision of a shard chose among, the most of any shard.";
    page.family(name, "gauge", help, |family| {
        let considered = shards.iter().map(|shard| shard.placements.considered());
        family.count(name.to_owned(), considered.max().unwrap_or(0));
    });
}
