//! What must hold after each step. [`super`] has the rules in full.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{callers::Callers, life::Life};
use crate::{
    shard::{mailbox::Message, task::Phase},
    shared::{
        snapshot::{Pool, PoolKey},
        stage::Stage,
    },
};

/// A rule of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    NothingLost,
    OneHome,
    SoundStream,
    NothingTwice,
    CountsAgree,
    NoIdleSlot,
}

/// How often those that have ended are looked at, too: nothing happens to them, and there are many.
const ENDED_EVERY: u64 = 16;

/// A breach: which rule, and what was seen.
pub(super) type Breach = (Rule, String);

/// What the tables hold for a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    waiting: u32,
    running: u32,
}

/// Looks at everything.
pub(super) fn check(step: u64, life: &Life, callers: &mut Callers) -> Result<(), Breach> {
    let held = homes(life, step.is_multiple_of(ENDED_EVERY))?;
    // What waits for the next life is in the journal alone, and is looked for there; its slots are nobody's.
    if life.shared.stages.now() >= Stage::Ending {
        return Ok(());
    }
    is_at_home(life, callers)?;
    nothing_lost(life, callers)?;
    for pool in &life.shared.pools().pools {
        let held = held.get(&pool.key).copied().unwrap_or_default();
        counts_agree(pool, held)?;
        no_idle_slot(life, pool, held)?;
    }
    let live: u32 = held.values().map(|held| held.waiting + held.running).sum();
    if life.shared.stages.live_tasks.is_zero() != (live == 0) {
        let seen = format!("{live} tasks live, and the count says otherwise");
        return Err((Rule::CountsAgree, seen));
    }
    Ok(())
}

/// Each task stands at its home, and elsewhere only as long as a message is on its way. What is held where.
fn homes(life: &Life, with_ended: bool) -> Result<HashMap<PoolKey, Held>, Breach> {
    let mut held = HashMap::<_, Held>::new();
    for (shard, table) in life.tables.iter().enumerate() {
        let mut leaving: Option<HashSet<Uuid>> = None;
        for task in table.all() {
            let task = task.borrow();
            if task.has_ended() && !with_ended {
                continue;
            }
            let id = task.record.id;
            if life.home(id) != Some(shard) {
                let leaving = leaving.get_or_insert_with(|| stolen_from(life, shard));
                if !leaving.contains(&id) {
                    let seen = format!("{id} stands at {shard} and lives at {:?}", life.home(id));
                    return Err((Rule::OneHome, seen));
                }
                continue;
            }
            let held = held.entry(task.record.pool.key).or_default();
            match task.phase {
                Phase::Queued(_) => held.waiting += 1,
                Phase::Running(_) => held.running += 1,
                Phase::Ended(_) => {}
            }
        }
    }
    Ok(held)
}

/// What thieves have taken from this shard, which has not heard of it.
fn stolen_from(life: &Life, shard: usize) -> HashSet<Uuid> {
    let mail = life.mail[shard].iter();
    mail.filter_map(|message| match message {
        Message::Stolen { task, .. } => Some(*task),
        _ => None,
    })
    .collect()
}

fn nothing_lost(life: &Life, callers: &mut Callers) -> Result<(), Breach> {
    for id in callers.unsettled(|id| life.shared.store.has_outcome(id)) {
        let home = life.home(*id);
        if home.is_none_or(|home| life.tables[home].get(*id).is_none()) {
            let seen = format!("{id} was accepted, and nobody knows of it");
            return Err((Rule::NothingLost, seen));
        }
    }
    Ok(())
}

/// Whom the directory names has the task.
fn is_at_home(life: &Life, callers: &Callers) -> Result<(), Breach> {
    for id in callers.newest() {
        if let Some(home) = life.home(id)
            && life.tables[home].get(id).is_none()
        {
            let seen = format!("{id} lives at {home}, and does not stand there");
            return Err((Rule::OneHome, seen));
        }
    }
    Ok(())
}

fn counts_agree(pool: &Pool, held: Held) -> Result<(), Breach> {
    let counted = Held {
        waiting: pool.queue_depth(),
        running: pool.scheduling.leases(),
    };
    match counted == held {
        true => Ok(()),
        false => {
            let seen = format!(
                "the pool {} counts {counted:?}, and it is {held:?}",
                pool.id
            );
            Err((Rule::CountsAgree, seen))
        }
    }
}

fn no_idle_slot(life: &Life, pool: &Pool, held: Held) -> Result<(), Breach> {
    let free = pool.scheduling.slots_free();
    if free > 0 && held.waiting > 0 && pool.may_start() && life.is_quiet() {
        let seen = format!("{free} slots of {} are free beside {held:?}", pool.id);
        return Err((Rule::NoIdleSlot, seen));
    }
    Ok(())
}
