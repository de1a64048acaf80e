//! The store without its thread: whoever simulates the daemon gives it its turns.

use std::sync::Arc;

use crossbeam::channel::Receiver;
use redb::StorageBackend;

use super::{
    Fault, JOBS_MAX, Job, Keeper, Left, Parts, Store, Work, assemble, disk, settings::StoreSettings,
};

/// A store whose time stands still between its turns.
pub struct Stepped {
    keeper: Keeper,
    queue: Receiver<Job>,
    gathering: Receiver<Box<dyn Work>>,
}

impl Stepped {
    /// Opens the store on this disk, and again after each fault. Also what an earlier life has left there.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn open<D: StorageBackend>(
        file: impl Fn() -> D + Send + 'static,
        settings: StoreSettings,
    ) -> Result<(Self, Left), Fault> {
        let head = Arc::default();
        let open = move || Ok(disk::open_in(file(), &head)?);
        let Parts {
            keeper,
            queue,
            gathering,
            left,
            files: _,
        } = assemble(Box::new(open), settings)?;
        let stepped = Self {
            keeper,
            queue,
            gathering,
        };
        Ok((stepped, left))
    }

    /// What other threads know of it.
    pub fn store(&self) -> &Arc<Store> {
        &self.keeper.store
    }

    /// Does what was handed in so far, in one transaction. Whether it is on the disk.
    pub fn turn(&mut self) -> bool {
        let jobs = self.queue.try_iter().take(JOBS_MAX);
        let asked = jobs.filter_map(|job| match job {
            Job::Work(work) => Some(work),
            Job::Gathering | Job::Hurry | Job::Close => None,
        });
        self.keeper.carry_out_all(asked.collect(), &self.gathering);
        self.keeper.store.works()
    }
}
