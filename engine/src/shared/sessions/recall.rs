//! Sessions and turns of an earlier life of the daemon go on.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use orchestratord_gpu::SessionKey;
use orchestratord_sched::{
    Instant,
    session::{Past, Session},
};

use super::{Life, Sessions, Turn};
use crate::{
    identity::Identity,
    store::session::{Left, TurnOf},
};

impl Sessions {
    /// These go on, but for what engines kept of them. Before any other is made.
    pub fn recall(&self, left: Vec<Left>, now: Instant, now_unix_ms: u64) {
        for session in left {
            // A caller who can't be read can't come back either.
            let Ok(owner) = session.owner.parse::<Identity>() else {
                continue;
            };
            let row = session.row;
            let past = Past {
                allowance: row.allowance,
                spent: row.spent,
                turns: row.turns,
                idle: Duration::from_millis(now_unix_ms.saturating_sub(row.touched_unix_ms)),
            };
            self.key_is_taken(row.key);
            self.count.fetch_add(1, Relaxed);
            let life = Life::new(SessionKey(row.key), row.allowance);
            let record = self.record(&owner, session.session_id, life, Session::recall(past, now));
            self.records.insert((owner, session.session_id), record);
        }
    }

    /// This turn was promised and has not ended; none, if its session was deleted meanwhile.
    pub fn take_up_turn(
        &self,
        owner: &Identity,
        TurnOf { session_id, key }: TurnOf,
        expected_tokens: u32,
    ) -> Option<Turn> {
        self.key_is_taken(key);
        let granted = self.set_aside(expected_tokens);
        let mut record = self.records.get_mut(&(owner.clone(), session_id))?;
        if record.life.key.0 != key {
            return None;
        }
        record.session.take_up_turn(granted);
        Some(record.turn(session_id, granted))
    }

    fn key_is_taken(&self, key: u64) {
        self.next_key.fetch_max(key.saturating_add(1), Relaxed);
    }
}
