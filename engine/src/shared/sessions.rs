//! The sessions: one concurrent map, touched when a turn begins and ends and when somebody looks;
//! for a `metrics` event at most every 250 ms, never per token.
//!
//! Each caller has session ids of their own: another's session is as if it were not there. What their
//! turns have come to stands on the disk, too ([`crate::store::session`]), and is recalled at a start.

mod life;
mod recall;

pub use life::Life;

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use dashmap::{DashMap, mapref::entry::Entry};
use orchestratord_gpu::SessionKey;
use orchestratord_sched::{
    Instant,
    budget::{Allowance, Spending},
    session::{NoTurn, Session, SessionRules},
};
use uuid::Uuid;

use super::replica::Replica;
use crate::identity::{Caller, Identity};

/// How sessions are kept.
#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    /// What holds for every session.
    pub rules: SessionRules,
    /// Sessions that are kept at a time, over all callers.
    pub sessions_max: usize,
    /// Millionths of the operator's currency for a thousand tokens.
    pub cost_micros_per_1k_tokens: u64,
}

impl SessionSettings {
    /// What so many tokens and so much time on a slot come to.
    pub fn spending(&self, tokens: u64, time: Duration) -> Spending {
        Spending {
            tokens,
            time,
            cost_micros: tokens.saturating_mul(self.cost_micros_per_1k_tokens) / 1000,
        }
    }
}

/// A turn that has begun. Whoever has it ends it or calls it off.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The session, by the caller's own id.
    pub session_id: Uuid,
    /// The session itself.
    pub life: Arc<Life>,
    /// The replica that its last turn ran on.
    pub last: Option<Weak<Replica>>,
    /// Whether that replica has said that it keeps its KV cache. Servers keep what was said to them
    /// without a word about it.
    pub is_warm: bool,
    set_aside: Spending,
}

/// Why a turn did not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The session has none left, or can't afford it. It is over after this long.
    NoTurn(NoTurn, Duration),
    /// As many sessions are kept as may be.
    TooMany,
}

/// What a session looks like now.
#[derive(Clone, Copy, Debug)]
pub struct SessionState {
    /// Until it is over if nothing happens.
    pub time_to_live: Duration,
    /// Turns that have begun.
    pub turns: u32,
    /// Bytes of its KV cache that its last replica keeps.
    pub kv_bytes: u64,
    /// Whether its last turn ran elsewhere than the one before.
    pub kv_migrated: bool,
    /// What it may still spend.
    pub remaining: Allowance,
}

/// A session that is over.
#[derive(Clone, Debug)]
pub struct Over {
    /// Whose it was.
    pub owner: Identity,
    /// Its id.
    pub session_id: Uuid,
    /// As engines knew it.
    pub key: SessionKey,
    /// The replica that may keep its KV cache.
    pub last: Option<Arc<Replica>>,
}

impl Over {
    /// The least key that a later session of that id may have.
    pub const fn before(&self) -> SessionKey {
        SessionKey(self.key.0.saturating_add(1))
    }
}

struct Record {
    life: Arc<Life>,
    session: Session,
    /// Where its last turn ran.
    last: Option<Weak<Replica>>,
    kv_bytes: u64,
    kv_migrated: bool,
}

/// All sessions of the daemon.
pub struct Sessions {
    records: DashMap<(Identity, Uuid), Record>,
    /// The caller's name of each session that engines know, for what they have to say of it.
    names: DashMap<SessionKey, (Identity, Uuid)>,
    /// Read at most a few times a turn.
    settings: ArcSwap<SessionSettings>,
    /// The map's own count visits every part of it.
    count: AtomicUsize,
    next_key: AtomicU64,
}

impl Sessions {
    /// None yet.
    pub fn new(settings: SessionSettings) -> Self {
        Self {
            records: DashMap::new(),
            names: DashMap::new(),
            settings: ArcSwap::from_pointee(settings),
            count: AtomicUsize::new(0),
            next_key: AtomicU64::new(0),
        }
    }

    /// From now on these hold. What a session may still spend was settled when it began.
    pub fn renew(&self, settings: SessionSettings) {
        self.settings.store(Arc::new(settings));
    }

    /// Begins a turn that is expected to take so many tokens, in a session that is made if there is
    /// none.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub fn begin_turn(
        &self,
        owner: &Identity,
        session_id: Uuid,
        now: Instant,
        expected_tokens: u32,
    ) -> Result<Turn, Refused> {
        let settings = self.settings.load();
        let rules = &settings.rules;
        let set_aside = self.set_aside(expected_tokens);
        let begin = || self.begin(owner, session_id, rules, now);
        let mut record = match self.records.entry((owner.clone(), session_id)) {
            Entry::Occupied(mut known) => {
                if known.get().session.has_expired(rules, now) {
                    self.end(known.get());
                    known.insert(begin());
                }
                known.into_ref()
            }
            Entry::Vacant(free) => {
                if self.count.fetch_add(1, Relaxed) >= settings.sessions_max {
                    self.count.fetch_sub(1, Relaxed);
                    return Err(Refused::TooMany);
                }
                free.insert(begin())
            }
        };
        let begun = record.session.begin_turn(rules, now, set_aside);
        begun.map_err(|why| Refused::NoTurn(why, record.session.time_to_live(rules, now)))?;
        Ok(record.turn(session_id, set_aside))
    }

    fn set_aside(&self, expected_tokens: u32) -> Spending {
        self.spending(expected_tokens, Duration::ZERO)
    }

    /// What so many tokens and so much time on a slot come to.
    pub fn spending(&self, tokens: u32, time: Duration) -> Spending {
        self.settings.load().spending(tokens.into(), time)
    }

    /// The replica that the session's last turn ran on.
    pub fn last(&self, owner: &Identity, session_id: Uuid) -> Option<Arc<Replica>> {
        let record = self.records.get(&(owner.clone(), session_id))?;
        record.last.as_ref()?.upgrade()
    }

    fn begin(
        &self,
        owner: &Identity,
        session_id: Uuid,
        rules: &SessionRules,
        now: Instant,
    ) -> Record {
        let key = SessionKey(self.next_key.fetch_add(1, Relaxed));
        let life = Life::new(key, rules.allowance);
        self.record(owner, session_id, life, Session::new(rules, now))
    }

    fn record(&self, owner: &Identity, session_id: Uuid, life: Life, session: Session) -> Record {
        self.names.insert(life.key, (owner.clone(), session_id));
        Record {
            life: Arc::new(life),
            session,
            last: None,
            kv_bytes: 0,
            kv_migrated: false,
        }
    }

    /// It is over, whatever of it is still under way.
    fn end(&self, record: &Record) {
        record.life.end();
        self.names.remove(&record.life.key);
    }

    /// The task of the turn was not admitted.
    pub fn call_off(&self, owner: &Identity, turn: &Turn) {
        self.of_turn(owner, turn, |record| {
            record.session.call_off_turn(turn.set_aside);
        });
    }

    /// The task of the turn has ended, and has spent that.
    pub fn end_turn(&self, owner: &Identity, turn: &Turn, now: Instant, spent: Spending) {
        self.of_turn(owner, turn, |record| {
            record.session.end_turn(now, turn.set_aside, spent);
        });
    }

    /// The turn runs on this replica.
    pub fn ran_on(&self, owner: &Identity, turn: &Turn, replica: &Arc<Replica>) {
        self.of_turn(owner, turn, |record| {
            let here = Arc::downgrade(replica);
            let elsewhere = |last: &Weak<Replica>| !last.ptr_eq(&here);
            record.kv_migrated = record.last.as_ref().is_some_and(elsewhere);
            if record.kv_migrated {
                record.kv_bytes = 0;
            }
            record.last = Some(here);
        });
    }

    /// A session that was deleted, and made anew under the same id, is another one.
    fn of_turn(&self, owner: &Identity, turn: &Turn, change: impl FnOnce(&mut Record)) {
        if let Some(mut record) = self.records.get_mut(&(owner.clone(), turn.session_id))
            && Arc::ptr_eq(&record.life, &turn.life)
        {
            change(&mut record);
        }
    }

    /// A replica says how much of a session's KV cache it keeps now. What another than its last one
    /// says does not matter.
    pub fn kv_kept(&self, key: SessionKey, replica: &Arc<Replica>, bytes: u64) {
        let name = self.names.get(&key).map(|name| name.clone());
        if let Some(mut record) = name.and_then(|name| self.records.get_mut(&name))
            && let Some(last) = &record.last
            && last.ptr_eq(&Arc::downgrade(replica))
        {
            record.kv_bytes = bytes;
        }
    }

    /// A replica has lost everything that it kept.
    pub fn kv_lost(&self, replica: &Arc<Replica>) {
        let lost = Arc::downgrade(replica);
        for mut record in self.records.iter_mut() {
            if record.last.as_ref().is_some_and(|last| last.ptr_eq(&lost)) {
                record.kv_bytes = 0;
            }
        }
    }

    /// Whose session of that id there is, of those that the caller may see: their own, or else
    /// anybody's. The search for that visits every session, of which there are as many as the settings
    /// allow; only operators cause one.
    pub fn owner(&self, caller: &Caller, session_id: Uuid) -> Option<Identity> {
        let own = (caller.identity.clone(), session_id);
        if self.records.contains_key(&own) {
            return Some(own.0);
        }
        if !caller.may_see_all() {
            return None;
        }
        let mut others = self.records.iter().map(|record| record.key().clone());
        others.find_map(|(owner, id)| (id == session_id).then_some(owner))
    }

    /// What the session looks like; `None` if there is none.
    pub fn state(&self, owner: &Identity, session_id: Uuid, now: Instant) -> Option<SessionState> {
        let settings = self.settings.load();
        let rules = &settings.rules;
        let record = self.records.get(&(owner.clone(), session_id))?;
        let session = &record.session;
        (!session.has_expired(rules, now)).then(|| SessionState {
            time_to_live: session.time_to_live(rules, now),
            turns: session.turns(),
            kv_bytes: record.kv_bytes,
            kv_migrated: record.kv_migrated,
            remaining: session.remaining(),
        })
    }

    /// What the session of a turn may still spend.
    pub fn remaining(&self, owner: &Identity, turn: &Turn) -> Allowance {
        let record = self.records.get(&(owner.clone(), turn.session_id));
        // One that was deleted under a running task has nothing left to be told.
        record.map_or_else(Allowance::default, |record| record.session.remaining())
    }

    /// Every session that is made from now on has this key or a larger one.
    pub fn next_key(&self) -> SessionKey {
        SessionKey(self.next_key.load(Relaxed))
    }

    /// Ends a session.
    pub fn delete(&self, owner: &Identity, session_id: Uuid) -> Option<Over> {
        let name = (owner.clone(), session_id);
        // Within the map's lock, so that its end is seen by whoever makes another under its id.
        let ((owner, session_id), record) = self.records.remove_if(&name, |_, record| {
            self.end(record);
            true
        })?;
        self.count.fetch_sub(1, Relaxed);
        Some(record.over(owner, session_id))
    }

    /// Forgets the sessions that are over; which.
    pub fn sweep(&self, now: Instant) -> Vec<Over> {
        let settings = self.settings.load();
        let rules = &settings.rules;
        let mut all = Vec::new();
        self.records.retain(|(owner, session_id), record| {
            let is_over = record.session.has_expired(rules, now);
            if is_over {
                self.count.fetch_sub(1, Relaxed);
                self.end(record);
                all.push(record.over(owner.clone(), *session_id));
            }
            !is_over
        });
        all
    }
}

impl Record {
    fn turn(&self, session_id: Uuid, set_aside: Spending) -> Turn {
        Turn {
            session_id,
            life: Arc::clone(&self.life),
            last: self.last.clone(),
            is_warm: self.kv_bytes > 0,
            set_aside,
        }
    }

    fn over(&self, owner: Identity, session_id: Uuid) -> Over {
        Over {
            owner,
            session_id,
            key: self.life.key,
            last: self.last.as_ref().and_then(Weak::upgrade),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ZERO;

    fn sessions(sessions_max: usize) -> Sessions {
        Sessions::new(SessionSettings {
            rules: SessionRules {
                ttl: Duration::from_secs(1),
                turns_max: 2,
                allowance: Allowance::default(),
            },
            sessions_max,
            cost_micros_per_1k_tokens: 2_000,
        })
    }

    fn later() -> Instant {
        NOW + Duration::from_secs(1)
    }

    #[test]
    fn each_caller_has_ids_of_their_own() {
        let sessions = sessions(8);
        let (ann, ben) = (Identity::Key("ann".into()), Identity::Key("ben".into()));
        sessions.begin_turn(&ann, Uuid::nil(), NOW, 1).unwrap();
        assert!(sessions.state(&ben, Uuid::nil(), NOW).is_none());
        assert!(sessions.delete(&ben, Uuid::nil()).is_none());
        assert!(sessions.state(&ann, Uuid::nil(), NOW).is_some());
    }

    #[test]
    fn there_are_so_many_and_no_more_until_one_is_over() {
        let sessions = sessions(1);
        let owner = Identity::Localhost;
        let turn = sessions.begin_turn(&owner, Uuid::nil(), NOW, 1).unwrap();
        let other = sessions.begin_turn(&owner, Uuid::max(), NOW, 1);
        assert_eq!(other.unwrap_err(), Refused::TooMany);
        sessions.end_turn(&owner, &turn, NOW, Spending::default());
        assert_eq!(sessions.sweep(later()).len(), 1);
        assert!(sessions.begin_turn(&owner, Uuid::max(), later(), 1).is_ok());
    }

    #[test]
    fn a_session_that_is_over_begins_anew() {
        let sessions = sessions(8);
        let owner = Identity::Localhost;
        let first = sessions.begin_turn(&owner, Uuid::nil(), NOW, 1).unwrap();
        sessions.call_off(&owner, &first);
        let second = sessions
            .begin_turn(&owner, Uuid::nil(), later(), 1)
            .unwrap();
        assert_ne!(first.life.key, second.life.key);
        assert!(first.life.is_over() && !second.life.is_over());
        assert_eq!(
            sessions.state(&owner, Uuid::nil(), later()).unwrap().turns,
            1
        );
    }

    #[test]
    fn a_turn_of_a_deleted_session_changes_no_other() {
        let sessions = sessions(8);
        let owner = Identity::Localhost;
        let old = sessions.begin_turn(&owner, Uuid::nil(), NOW, 1).unwrap();
        sessions.delete(&owner, Uuid::nil()).unwrap();
        sessions.begin_turn(&owner, Uuid::nil(), NOW, 1).unwrap();
        sessions.call_off(&owner, &old);
        assert_eq!(sessions.state(&owner, Uuid::nil(), NOW).unwrap().turns, 1);
    }
}
