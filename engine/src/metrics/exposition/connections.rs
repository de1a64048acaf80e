//! Clients' connections.

use super::{
    super::{PerShard, ShardCounters, total},
    Page,
};
use crate::shared::connections::Connections;

pub(super) fn connections(
    page: &mut Page,
    connections: &Connections,
    shards: &PerShard<ShardCounters>,
) {
    let name = "connections_open";
    let help = "Connections of clients.";
    page.family(name, "gauge", help, |family| {
        family.count(name.to_owned(), connections.served());
    });
    let name = "connections_refused_total";
    let help = "Connections for which there was no place.";
    page.family(name, "counter", help, |family| {
        let refused = total(shards, |shard| &shard.connections_refused);
        family.count(name.to_owned(), refused);
    });
}
