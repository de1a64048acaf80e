//! How often somebody may ask, whichever shard they reach.
//!
//! A bucket that holds a minute's worth and fills evenly, told by one number (the generic cell rate
//! algorithm, ITU-T I.371): when it would be full again. Each asking moves that moment on by one interval;
//! who would move it further ahead than a minute has to wait until it is near enough.

use crate::time::Instant;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;

const MINUTE_NANOS: u64 = 60_000_000_000;

/// So many a minute.
#[derive(Debug)]
pub struct Rate {
    per_minute: NonZeroU32,
    bucket: Bucket,
}

impl Rate {
    /// A full bucket of this many.
    #[must_use]
    pub const fn new(per_minute: NonZeroU32) -> Self {
        Self {
            per_minute,
            bucket: Bucket::full(),
        }
    }

    /// How many a minute.
    #[must_use]
    pub const fn per_minute(&self) -> NonZeroU32 {
        self.per_minute
    }

    /// Takes one.
    ///
    /// # Errors
    ///
    /// How long until there is one; then none was taken.
    pub fn take(&self, now: Instant) -> Result<(), Duration> {
        self.bucket.take(self.per_minute, now)
    }
}

/// A bucket whose owner knows how much it holds: of many alike, each is one word.
#[derive(Debug, Default)]
pub struct Bucket {
    /// When it is full, in nanoseconds. Written by whoever asks, on any shard. It only counts: no other
    /// memory is read on its word, so `Relaxed` is enough.
    full_at: AtomicU64,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub const fn full() -> Self {
        Self {
            full_at: AtomicU64::new(0),
        }
    }

    /// Takes one of a minute's `per_minute`.
    ///
    /// # Errors
    ///
    /// How long until there is one; then none was taken.
    pub fn take(&self, per_minute: NonZeroU32, now: Instant) -> Result<(), Duration> {
        let mut wait = Duration::ZERO;
        let take = |full_at| match after_one_more(full_at, per_minute, now) {
            Ok(next) => Some(next),
            Err(longer) => {
                wait = longer;
                None
            }
        };
        let taken = self.full_at.fetch_update(Relaxed, Relaxed, take);
        taken.map(drop).map_err(|_| wait)
    }

    /// Whether one could be taken.
    ///
    /// # Errors
    ///
    /// How long until there is one.
    pub fn look(&self, per_minute: NonZeroU32, now: Instant) -> Result<(), Duration> {
        after_one_more(self.full_at.load(Relaxed), per_minute, now).map(drop)
    }
}

/// When a bucket that is full at `full_at` is full after one was taken; or how long until that may be.
fn after_one_more(full_at: u64, per_minute: NonZeroU32, now: Instant) -> Result<u64, Duration> {
    let interval = MINUTE_NANOS / u64::from(per_minute.get());
    let now = now.as_nanos();
    let next = full_at.max(now).saturating_add(interval);
    match next.saturating_sub(now.saturating_add(MINUTE_NANOS)) {
        0 => Ok(next),
        wait => Err(Duration::from_nanos(wait)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::ZERO;

    fn rate(per_minute: u32) -> Rate {
        Rate::new(NonZeroU32::new(per_minute).unwrap())
    }

    #[test]
    fn a_minute_s_worth_is_there_at_once_and_comes_back_evenly() {
        let rate = rate(3);
        let after = |seconds| START + Duration::from_secs(seconds);
        for _ in 0..3 {
            assert_eq!(rate.take(START), Ok(()));
        }
        assert_eq!(rate.take(START), Err(Duration::from_secs(20)));
        assert_eq!(rate.take(after(5)), Err(Duration::from_secs(15)));
        assert_eq!(rate.take(after(20)), Ok(()));
        assert_eq!(rate.take(after(20)), Err(Duration::from_secs(20)));
    }

    #[test]
    fn a_look_takes_nothing() {
        let (bucket, once) = (Bucket::full(), NonZeroU32::MIN);
        assert_eq!(
            [bucket.look(once, START), bucket.look(once, START)],
            [Ok(()); 2]
        );
        assert_eq!(bucket.take(once, START), Ok(()));
        assert_eq!(bucket.look(once, START), Err(Duration::from_secs(60)));
    }

    #[test]
    fn who_was_away_for_long_has_no_more_than_a_minute_s_worth() {
        let rate = rate(2);
        let late = START + Duration::from_secs(3600);
        assert_eq!([rate.take(late), rate.take(late)], [Ok(()), Ok(())]);
        assert_eq!(rate.take(late), Err(Duration::from_secs(30)));
    }

    #[test]
    fn several_shards_take_no_more_together() {
        let rate = rate(1000);
        let taken: usize = std::thread::scope(|scope| {
            let shards: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..500).filter(|_| rate.take(START).is_ok()).count()))
                .collect();
            shards.into_iter().map(|shard| shard.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }
}
