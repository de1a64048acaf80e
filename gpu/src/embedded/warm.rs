//! What is kept of sessions between their turns: the KV cache of each one's last turn, with the tokens
//! that it holds. The next turn of a conversation begins with the last one, so only what is new of its
//! prompt has to be computed.
//!
//! Only the same session finds it: how fast an answer comes tells nobody what others have asked.

use super::kv::Cache;
use crate::SessionKey;

/// What one session's last turn left.
pub(super) struct Kept {
    pub(super) session: SessionKey,
    /// Those that the cache holds.
    pub(super) tokens: Vec<u32>,
    pub(super) cache: Cache,
}

/// All that is kept, oldest first.
#[derive(Default)]
pub(super) struct Warm {
    kept: Vec<Kept>,
    /// How much is kept of which session, where that has changed.
    news: Vec<(SessionKey, u64)>,
}

impl Warm {
    /// Keeps what a turn left, at most `kept_max` sessions' together; the caches that are let go for it.
    pub(super) fn keep(&mut self, kept: Kept, kept_max: usize) -> Vec<Cache> {
        let mut let_go: Vec<Cache> = self
            .take(kept.session)
            .map(|older| older.cache)
            .into_iter()
            .collect();
        while self.kept.len() >= kept_max.max(1) {
            let oldest = self.kept.remove(0);
            self.lost(oldest.session);
            let_go.push(oldest.cache);
        }
        let bytes = u64::try_from(kept.cache.bytes()).unwrap_or(u64::MAX);
        self.news.push((kept.session, bytes));
        self.kept.push(kept);
        let_go
    }

    /// Takes what is kept of a session, to be used.
    pub(super) fn take(&mut self, session: SessionKey) -> Option<Kept> {
        let place = self.kept.iter().position(|kept| kept.session == session)?;
        Some(self.kept.remove(place))
    }

    /// What was taken does not come back.
    pub(super) fn lost(&mut self, session: SessionKey) {
        self.news.push((session, 0));
    }

    /// Tells what has changed since it was asked last, in order.
    pub(super) fn news(&mut self, tell: &mut dyn FnMut(SessionKey, u64)) {
        self.news
            .drain(..)
            .for_each(|(session, bytes)| tell(session, bytes));
    }
}
