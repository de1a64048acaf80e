//! The places of a pool: where replicas stand, come and go while the pool serves.
//!
//! A pool has a fixed number of places, because the words that shards share about its slots are made
//! once ([`orchestratord_sched::Pool`]). An engine of this process keeps its place for good; one that
//! is bound from outside takes a vacant place and leaves it again.
//!
//! Only the control thread binds and vacates; everybody reads. A place is vacated when nothing runs
//! there and nothing can start, so whoever holds a lease of a place finds its replica there.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use orchestratord_sched::ReplicaIndex;

use super::replica::Replica;

/// Where the replicas of a pool stand.
#[derive(Debug)]
pub struct Places(Box<[ArcSwapOption<Replica>]>);

impl Places {
    /// A place for each of these, and so many vacant ones.
    pub fn new(replicas: impl IntoIterator<Item = Arc<Replica>>, vacant: usize) -> Self {
        let taken = replicas.into_iter().map(Some);
        let all = taken.chain(std::iter::repeat_n(None, vacant));
        Self(all.map(ArcSwapOption::new).collect())
    }

    /// How many there are, vacant ones among them.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Who stands there.
    pub fn get(&self, place: ReplicaIndex) -> Option<Arc<Replica>> {
        self.0[place.0].load_full()
    }

    /// The replicas and where they stand.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaIndex, Arc<Replica>)> {
        let places = self.0.iter().enumerate();
        places.filter_map(|(place, replica)| Some((ReplicaIndex(place), replica.load_full()?)))
    }

    /// Gives the replica the first vacant place; `None` if there is none.
    pub fn bind(&self, replica: &Arc<Replica>) -> Option<ReplicaIndex> {
        let place = self.0.iter().position(|place| place.load().is_none())?;
        self.0[place].store(Some(Arc::clone(replica)));
        Some(ReplicaIndex(place))
    }

    /// Nobody stands there any more.
    pub fn vacate(&self, place: ReplicaIndex) {
        self.0[place.0].store(None);
    }
}
