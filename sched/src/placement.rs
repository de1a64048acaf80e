//! Where a task goes: to which of the pools that serve its model.
//!
//! Several shops of one house sell the same bread. A customer who asks for one of them is sent there,
//! or told that it is closed; a customer who would like one is sent there if it is open; anybody else
//! goes where the queue is shortest.
//!
//! Rules of this file:
//!
//! - What a task needs (engine, context, devices, pinned versions) is never traded for anything.
//! - A pin is obeyed or refused. It is given up only for a task that says so itself.
//! - Of what is left, the first in this order, each deciding only where all before it are equal:
//!   room in the queue; the wish (preferred pools as listed, then the rest, avoided ones last); the
//!   sampler profile that was named; engines that answer already; a free slot; where the session's
//!   last turn ran; tasks to each slot; free memory of the devices; the id, so that equal pools are
//!   always chosen alike.
//!
//! A full queue goes last because a place there is a refusal, and the session's last turn after the
//! free slot because a slot now is sooner than a warm one later.

use crate::device_mask::DeviceMask;
use core::cmp::{Ordering, Reverse};

/// Which pool a task asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// None.
    #[default]
    Auto,
    /// The first of these that takes it.
    Prefer(Vec<String>),
    /// Just this one.
    Pin(String),
}

/// Whether a task may go where it did not ask to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// Nothing was said: it may, unless it is pinned.
    #[default]
    Unsaid,
    /// It was said that it may.
    Allowed,
    /// It was said that it may not.
    Forbidden,
}

/// What a task wishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Where to.
    pub choice: Choice,
    /// Pools that it goes to only if no other takes it.
    pub avoid: Vec<String>,
    /// Devices beside which it runs on none.
    pub device_mask: Option<DeviceMask>,
    /// Whether it may go elsewhere.
    pub fallback: Fallback,
}

/// How sure a task wants to be that the same seed brings the same text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Determinism {
    /// As far as it goes.
    #[default]
    BestEffort,
    /// Only where nothing that chooses tokens can have changed.
    Strict,
}

/// All that a task says about where it can run.
#[derive(Clone, Copy, Debug)]
pub struct Needs<'a> {
    /// See [`Wish`].
    pub wish: &'a Wish,
    /// Only pools of this engine.
    pub engine: Option<&'a str>,
    /// Tokens of context.
    pub ctx_tokens: u32,
    /// See [`Determinism`].
    pub determinism: Determinism,
    /// The sampler profile that it wants: under [`Determinism::Strict`] no other, else rather that
    /// one.
    pub sampler_profile: Option<&'a str>,
}

/// Whether a pool takes new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does, and an engine answers.
    Ready,
    /// It does, and its engines are being started.
    Preparing,
    /// It does not yet: no engine has answered a first time.
    Starting,
    /// It does not: it is being taken out of service.
    Draining,
    /// It does not: no engine answers.
    Down,
}

/// What somebody vouches for about all replicas of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions<'a> {
    /// The version of their engine.
    pub engine: Option<&'a str>,
    /// The version of what chooses tokens, with all that it is set to.
    pub sampler_profile: Option<&'a str>,
}

/// A pool that serves the task's model, as it stands now.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its engine.
    pub engine: &'a str,
    /// Tokens of context a task may have.
    pub ctx_max: u32,
    /// The devices that its replicas run on, if that is known of all of them.
    pub device_mask: Option<DeviceMask>,
    /// What its replicas are pinned to.
    pub versions: Versions<'a>,
    /// See [`Standing`].
    pub standing: Standing,
    /// As many wait as may.
    pub is_full: bool,
    /// The last turn of the task's session ran here, and what it left is to be used again.
    pub had_last_turn: bool,
    /// Slots that its replicas offer.
    pub slots_total: u32,
    /// Of these, free.
    pub slots_free: u32,
    /// Tasks that wait or run.
    pub tasks: u32,
    /// Free memory of its devices, if known.
    pub vram_free_bytes: Option<u64>,
}

/// What made a pool the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Nobody had asked for any.
    Auto,
    /// It was preferred.
    Preference,
    /// It was asked for, and no other.
    Pin,
    /// What was asked for takes nothing now.
    Fallback,
}

impl Basis {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Preference, Self::Pin, Self::Fallback];

    /// `auto` `preference` `pin` `fallback`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Preference => "preference",
            Self::Pin => "pin",
            Self::Fallback => "fallback",
        }
    }
}

/// Where a task goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Which of the candidates.
    pub pool: usize,
    /// What made it the one.
    pub basis: Basis,
}

/// Why a pool is not one for a task, the reason that may pass soonest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// No engine has answered a first time.
    Starting,
    /// It is being taken out of service.
    Draining,
    /// No engine answers.
    Down,
    /// Its versions are not pinned, or pinned to others than the task wants.
    Unpinned,
    /// It may run on devices that the task must not run on.
    Devices,
    /// It has less context than the task needs.
    Context,
    /// It is of another engine.
    Engine,
    /// The task does not want to go there.
    Unwanted,
}

/// No pool takes the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which of the candidates comes nearest to taking it.
    pub pool: usize,
    /// What stands against that one.
    pub why: Why,
}

/// Chooses a pool.
///
/// # Errors
/// What stands against the pool that comes nearest.
///
/// # Panics
/// If there is no candidate: a model that nobody serves is refused before it is placed.
pub fn decide(needs: &Needs<'_>, candidates: &[Candidate<'_>]) -> Result<Decision, Refusal> {
    let judged: Vec<_> = candidates
        .iter()
        .enumerate()
        .map(|(pool, candidate)| (pool, candidate, judge(needs, candidate)))
        .collect();
    let open = judged
        .iter()
        .filter_map(|(pool, candidate, verdict)| Some((*pool, *candidate, verdict.ok()?)));
    let best = open.min_by(|(_, one, tier), (_, other, other_tier)| {
        compare(needs, (*tier, one), (*other_tier, other))
    });
    if let Some((pool, _, tier)) = best {
        return Ok(Decision {
            pool,
            basis: tier.basis(),
        });
    }
    let refusals = judged
        .into_iter()
        .filter_map(|(pool, _, verdict)| Some((verdict.err()?, pool)));
    let (why, pool) = refusals.min().expect("there is a candidate");
    Err(Refusal { pool, why })
}

/// How a pool stands in the wish, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Pinned,
    /// With its place in the list.
    Preferred(usize),
    /// Nobody has asked for another.
    Unasked,
    /// Somebody has.
    Other,
    Avoided,
}

impl Tier {
    const fn basis(self) -> Basis {
        match self {
            Self::Pinned => Basis::Pin,
            Self::Preferred(_) => Basis::Preference,
            Self::Unasked => Basis::Auto,
            Self::Other | Self::Avoided => Basis::Fallback,
        }
    }
}

impl Wish {
    /// Where the pool of that id stands in it; `None` if the task does not go there.
    fn tier(&self, id: &str) -> Option<Tier> {
        let may_fall_back = match (self.fallback, &self.choice) {
            (Fallback::Allowed, _) => true,
            (Fallback::Forbidden, _) | (Fallback::Unsaid, Choice::Pin(_)) => false,
            (Fallback::Unsaid, Choice::Auto | Choice::Prefer(_)) => true,
        };
        let is_avoided = self.avoid.iter().any(|avoided| avoided == id);
        let fallback = || {
            let tier = if is_avoided {
                Tier::Avoided
            } else {
                Tier::Other
            };
            may_fall_back.then_some(tier)
        };
        match &self.choice {
            Choice::Pin(pin) if pin == id => Some(Tier::Pinned),
            Choice::Prefer(pools) => match pools.iter().position(|pool| pool == id) {
                Some(place) => Some(Tier::Preferred(place)),
                None => fallback(),
            },
            Choice::Auto if !is_avoided => Some(Tier::Unasked),
            Choice::Pin(_) | Choice::Auto => fallback(),
        }
    }
}

/// Whether the pool takes the task at all.
fn judge(needs: &Needs<'_>, pool: &Candidate<'_>) -> Result<Tier, Why> {
    let tier = needs.wish.tier(pool.id).ok_or(Why::Unwanted)?;
    if needs.engine.is_some_and(|engine| engine != pool.engine) {
        return Err(Why::Engine);
    }
    if needs.ctx_tokens > pool.ctx_max {
        return Err(Why::Context);
    }
    let within = |required| {
        pool.device_mask
            .is_some_and(|devices| devices.is_within(required))
    };
    if !needs.wish.device_mask.is_none_or(within) {
        return Err(Why::Devices);
    }
    if needs.determinism == Determinism::Strict && !is_pinned_for(needs, pool) {
        return Err(Why::Unpinned);
    }
    match pool.standing {
        Standing::Ready | Standing::Preparing => Ok(tier),
        Standing::Starting => Err(Why::Starting),
        Standing::Draining => Err(Why::Draining),
        Standing::Down => Err(Why::Down),
    }
}

fn is_pinned_for(needs: &Needs<'_>, pool: &Candidate<'_>) -> bool {
    let Versions {
        engine,
        sampler_profile,
    } = pool.versions;
    engine.is_some() && sampler_profile.is_some() && has_profile(needs, pool)
}

fn has_profile(needs: &Needs<'_>, pool: &Candidate<'_>) -> bool {
    needs.sampler_profile.is_none() || needs.sampler_profile == pool.versions.sampler_profile
}

/// The better of two pools that both take the task is the lesser.
fn compare(
    needs: &Needs<'_>,
    (tier, pool): (Tier, &Candidate<'_>),
    (other_tier, other): (Tier, &Candidate<'_>),
) -> Ordering {
    let rank = |tier: Tier, pool: &Candidate<'_>| {
        (
            pool.is_full,
            tier,
            !has_profile(needs, pool),
            pool.standing == Standing::Preparing,
            pool.slots_free == 0,
            !pool.had_last_turn,
        )
    };
    rank(tier, pool)
        .cmp(&rank(other_tier, other))
        .then_with(|| compare_load(pool, other))
        .then_with(|| Reverse(pool.vram_free_bytes).cmp(&Reverse(other.vram_free_bytes)))
        .then_with(|| pool.id.cmp(other.id))
}

/// Compares tasks to each slot without dividing. A pool that offers no slot yet is taken to have one.
fn compare_load(pool: &Candidate<'_>, other: &Candidate<'_>) -> Ordering {
    let slots = |pool: &Candidate<'_>| u64::from(pool.slots_total.max(1));
    let tasks = |pool: &Candidate<'_>| u64::from(pool.tasks);
    (tasks(pool) * slots(other)).cmp(&(tasks(other) * slots(pool)))
}
