//! Binding: servers take places in pools, and leave them.
//!
//! A server is named by the settings, by a handoff file, or by a worker that registers. However it
//! came, it is the same [`Candidate`], and gets a place in the pool that it names; where there is no such
//! pool yet, there is one from then on. A candidate that is bound already and says nothing new is left
//! alone: for a worker that is a heartbeat. One that says something new is bound anew, beside the old
//! one, which serves what it has and leaves.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_channel::oneshot;
use orchestratord_gpu::{EngineKind, is_visible};
use orchestratord_sched::{DeviceMask, ReplicaEvent, ReplicaIndex, ReplicaState};

use super::{
    place::{NoPlace, Server, place},
    retire::retire,
};
use crate::{
    api::error::{ApiError, Code},
    endpoint::{BadEndpoint, Endpoint},
    logs, provision,
    settings::{
        Fixed,
        engine::EngineSettings,
        key::EngineKey,
        pool::{PoolSettings, SLOTS_MAX},
    },
    shared::{
        Shared, readiness,
        replica::Replica,
        snapshot::{Pool, Snapshot},
    },
};

/// Pools of one daemon, those that came with servers among them: whoever may bind can't make more.
pub const POOLS_MAX: usize = 256;
/// Characters of an id, which stands in paths, labels and file names.
pub const ID_LENGTH_MAX: usize = 64;
/// Characters of what a server says of itself, which stands in the labels of metrics.
const NAME_LENGTH_MAX: usize = 512;
/// When to try again if there is no place: places become vacant as tasks end.
const FULL_WAIT: Duration = Duration::from_secs(5);

/// A server that is to have a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// In which pool.
    pub pool_id: String,
    /// Under which id.
    pub replica_id: String,
    /// What it is.
    pub kind: EngineKind,
    /// Where it listens.
    pub url: String,
    /// Tasks that it can decode at a time; at least 1.
    pub slots: u32,
    /// Its version, if that was said.
    pub engine_version: Option<String>,
    /// The devices that it runs on.
    pub device_mask: Option<DeviceMask>,
    /// What requests call its model.
    pub model: String,
}

impl Candidate {
    /// Itself, if its parts are such as they may be.
    ///
    /// # Errors
    ///
    /// 400 with a sentence that names the field.
    pub fn check(self) -> Result<Self, ApiError> {
        for (field, id) in [("pool_id", &self.pool_id), ("replica_id", &self.replica_id)] {
            if !is_id(id) {
                return Err(ApiError::invalid(format!(
                    "`{field}` must have 1 to {ID_LENGTH_MAX} letters, digits, `.`, `_` or `-`"
                )));
            }
        }
        let said = [
            ("engine_version", self.engine_version.as_deref()),
            ("model_ref", Some(self.model.as_str())),
        ];
        for (field, name) in said {
            if !name.is_none_or(is_name) {
                return Err(ApiError::invalid(format!(
                    "`{field}` must have 1 to {NAME_LENGTH_MAX} characters and none that can't be seen"
                )));
            }
        }
        if !(1..=SLOTS_MAX).contains(&self.slots) {
            return Err(ApiError::invalid(format!(
                "`slots` must lie between 1 and {SLOTS_MAX}"
            )));
        }
        Ok(self)
    }
}

/// Whether it may be the id of a pool or a replica.
pub fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=ID_LENGTH_MAX).contains(&id.len()) && id.bytes().all(allowed)
}

/// Whether a server may say this of itself.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_LENGTH_MAX).contains(&name.len()) && name.chars().all(is_visible)
}

/// Who named a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The settings.
    Settings,
    /// A handoff file.
    Handoff,
    /// A worker, which must say so again and again.
    Worker,
}

impl Origin {
    /// As log lines say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Handoff => "handoff",
            Self::Worker => "worker",
        }
    }
}

/// A worker that registers.
pub struct Register {
    /// What it is.
    pub candidate: Candidate,
    /// To whoever asked.
    pub answer: oneshot::Sender<Result<(), ApiError>>,
}

/// A worker that leaves.
pub struct Unregister {
    /// Its pool.
    pub pool_id: String,
    /// Its id there.
    pub replica_id: String,
    /// To whoever asked.
    pub answer: oneshot::Sender<Result<(), ApiError>>,
}

struct Binding {
    candidate: Candidate,
    origin: Origin,
    standing: Standing,
    /// When its worker last said that it is there.
    heard: Duration,
}

/// Where a replica stands.
struct Standing {
    pool: Arc<Pool>,
    place: ReplicaIndex,
    replica: Arc<Replica>,
}

/// All servers that have places.
#[derive(Default)]
pub struct Bindings {
    bound: HashMap<(String, String), Binding>,
    /// Those that serve what they have and take nothing new.
    leaving: Vec<Standing>,
}

impl Bindings {
    /// Gives the candidate a place, or notes that it is still there.
    ///
    /// # Errors
    ///
    /// Why it has none; then nothing has changed.
    pub fn bind(
        &mut self,
        shared: &Arc<Shared>,
        candidate: Candidate,
        origin: Origin,
    ) -> Result<(), ApiError> {
        let id = (candidate.pool_id.clone(), candidate.replica_id.clone());
        let heard = shared.clock.elapsed();
        if let Some(binding) = self.bound.get_mut(&id)
            && binding.candidate == candidate
            && binding.standing.replica.condition.state() != ReplicaState::Gone
        {
            binding.heard = heard;
            return Ok(());
        }
        let standing = stand(shared, &candidate)?;
        logs::replica_bound(&standing.pool, &standing.replica, origin.name());
        let binding = Binding {
            candidate,
            origin,
            standing,
            heard,
        };
        if let Some(before) = self.bound.insert(id, binding) {
            self.leave(shared, before.standing);
        }
        Ok(())
    }

    /// Takes a server out of service. Whether it was in.
    pub fn unbind(&mut self, shared: &Shared, pool_id: &str, replica_id: &str) -> bool {
        let id = (pool_id.to_owned(), replica_id.to_owned());
        let Some(binding) = self.bound.remove(&id) else {
            return false;
        };
        self.leave(shared, binding.standing);
        true
    }

    /// Takes out the workers that have not been heard for too long.
    pub fn unbind_silent(&mut self, shared: &Shared) {
        let (now, timeout) = (
            shared.clock.elapsed(),
            shared.limits().binding.heartbeat_timeout,
        );
        let silent =
            |binding: &Binding| binding.origin == Origin::Worker && now - binding.heard > timeout;
        let gone: Vec<_> = self
            .bound
            .iter()
            .filter(|(_, binding)| silent(binding))
            .map(|(id, _)| id.clone())
            .collect();
        for (pool_id, replica_id) in gone {
            self.unbind(shared, &pool_id, &replica_id);
        }
    }

    /// A pool takes no new work and its servers go with it: they have no places any more. Engines that the
    /// daemon starts for it come and go as before, until they are not wanted any more.
    pub fn forget(&mut self, pool: &Pool) {
        self.bound.retain(|(_, replica_id), binding| {
            binding.standing.pool.key != pool.key || pool.owns(replica_id)
        });
    }

    /// A pool was replaced, and its settings name its servers anew: those of the old settings stand for
    /// nothing any more, and those of the new have places already.
    fn follow_settings(&mut self, shared: &Shared, old: &Pool, new: &Arc<Pool>) {
        for server in &old.settings.servers {
            let id = (server.pool_id.clone(), server.replica_id.clone());
            let is_of_old = |binding: &Binding| binding.standing.pool.key == old.key;
            if self.bound.get(&id).is_some_and(is_of_old) {
                self.bound.remove(&id);
            }
        }
        for candidate in &new.settings.servers {
            let mut replicas = new.replicas.iter();
            let found = replicas.find(|(_, replica)| replica.id == candidate.replica_id);
            if let Some((place, replica)) = found {
                let id = (candidate.pool_id.clone(), candidate.replica_id.clone());
                let binding = Binding {
                    candidate: candidate.clone(),
                    origin: Origin::Settings,
                    standing: Standing {
                        pool: Arc::clone(new),
                        place,
                        replica,
                    },
                    heard: shared.clock.elapsed(),
                };
                self.bound.insert(id, binding);
            }
        }
    }

    /// A pool was replaced: who stood in the old one stands in the new one, and who came
    /// to the old one meanwhile takes a place there now. Only engines that the daemon has started for the
    /// old one stay with it.
    pub fn follow(&mut self, shared: &Arc<Shared>, old: &Pool, new: &Arc<Pool>) {
        self.follow_settings(shared, old, new);
        let of_old = |binding: &&mut Binding| {
            binding.standing.pool.key == old.key && !old.owns(&binding.candidate.replica_id)
        };
        let mut left_behind = Vec::new();
        for binding in self.bound.values_mut().filter(of_old) {
            binding.candidate.model.clone_from(&new.model);
            let id = &binding.candidate.replica_id;
            match new.replicas.iter().find(|(_, replica)| replica.id == *id) {
                Some((place, replica)) => {
                    binding.standing = Standing {
                        pool: Arc::clone(new),
                        place,
                        replica,
                    };
                }
                None => left_behind.push((binding.candidate.clone(), binding.origin)),
            }
        }
        for (candidate, origin) in left_behind {
            self.bound
                .remove(&(candidate.pool_id.clone(), candidate.replica_id.clone()));
            // One that finds no place is as good as one that comes later: it is bound when it says
            // so again.
            let _ = self.bind(shared, candidate, origin);
        }
    }

    fn leave(&mut self, shared: &Shared, standing: Standing) {
        let Standing { pool, place, .. } = &standing;
        readiness::advance(shared, pool, *place, ReplicaEvent::Drain, None);
        logs::replica_unbound(pool, &standing.replica);
        self.leaving.push(standing);
    }

    /// Whether nobody is leaving.
    pub fn is_settled(&self) -> bool {
        self.leaving.is_empty()
    }

    /// Vacates the places of those that have served what they had.
    pub fn let_go(&mut self, shared: &Shared) {
        self.leaving.retain(|standing| {
            let Standing {
                pool,
                place,
                replica,
            } = standing;
            let busy = pool.scheduling.replica_leases(*place) > 0;
            if !busy {
                retire(shared, pool, *place, replica);
                pool.replicas.vacate(*place);
            }
            busy
        });
    }
}

/// Where a candidate listens, if it may be called.
fn endpoint(shared: &Shared, candidate: &Candidate) -> Result<Endpoint, ApiError> {
    let limits = shared.limits();
    Endpoint::resolve(&candidate.url, &limits.binding.networks).map_err(|bad| {
        let code = match bad {
            BadEndpoint::Forbidden => Code::Forbidden,
            BadEndpoint::Malformed | BadEndpoint::Unresolved => Code::InvalidParams,
        };
        ApiError::new(code, bad.to_string())
    })
}

/// The candidate as it may be given a place in this pool.
///
/// # Errors
///
/// Why it may not be called.
pub fn server(shared: &Shared, pool: &Pool, candidate: &Candidate) -> Result<Server, ApiError> {
    Ok(Server {
        id: candidate.replica_id.clone(),
        slots: candidate.slots,
        endpoint: endpoint(shared, candidate)?,
        model: candidate.model.clone(),
        engine_version: candidate.engine_version.clone(),
        device_mask: candidate.device_mask.or(pool.settings.device_mask),
    })
}

/// Finds the candidate a place and has it watched.
fn stand(shared: &Arc<Shared>, candidate: &Candidate) -> Result<Standing, ApiError> {
    // Whoever may not be called makes no pool.
    endpoint(shared, candidate)?;
    let pool = pool_of(shared, candidate)?;
    let server = server(shared, &pool, candidate)?;
    let (place, replica) = place(shared, &pool, server).map_err(|why| match why {
        NoPlace::Full => ApiError::new(Code::ReplicaExhausted, why.to_string()).after(FULL_WAIT),
        NoPlace::NoThread => ApiError::new(Code::Internal, why.to_string()),
        NoPlace::KeyInClear => ApiError::invalid(why.to_string()),
    })?;
    Ok(Standing {
        pool,
        place,
        replica,
    })
}

/// The pool that the candidate names, made now if there is none.
fn pool_of(shared: &Shared, candidate: &Candidate) -> Result<Arc<Pool>, ApiError> {
    let pools = shared.pools();
    let owner = pools.owner_of(&candidate.pool_id, &candidate.replica_id);
    let Some(pool) = owner.or_else(|| pools.pool(&candidate.pool_id)) else {
        return new_pool(shared, &pools, candidate);
    };
    let EngineSettings::Remote { kind, .. } = &pool.settings.engine else {
        let message = "the pool runs its engines itself; name another `pool_id`";
        return Err(ApiError::invalid(message));
    };
    if *kind != candidate.kind {
        let message = format!("the pool's `engine` is {}", kind.name());
        return Err(ApiError::invalid(message));
    }
    if !pool.serves(&candidate.model) {
        let message = "the pool serves another model; name that `model_ref`, or another `pool_id`";
        return Err(ApiError::invalid(message));
    }
    Ok(Arc::clone(pool))
}

fn new_pool(
    shared: &Shared,
    pools: &Snapshot,
    candidate: &Candidate,
) -> Result<Arc<Pool>, ApiError> {
    if pools.pools.len() >= POOLS_MAX {
        let message = "there are as many pools as may be; name one that exists";
        return Err(ApiError::new(Code::ReplicaExhausted, message).after(FULL_WAIT));
    }
    let (model, version) = (candidate.model.clone(), candidate.engine_version.clone());
    let engine = EngineSettings::of_workers(candidate.kind, model, version);
    Ok(add_pool(
        shared,
        candidate.pool_id.clone(),
        engine,
        candidate.slots,
    ))
}

/// A pool without a server yet, published.
pub fn add_pool(shared: &Shared, id: String, engine: EngineSettings, slots: u32) -> Arc<Pool> {
    let key = llamacpp_key(shared, &id);
    let settings = PoolSettings {
        id,
        engine_version: match &engine {
            EngineSettings::Remote { version, .. } => version.clone(),
            EngineSettings::Embedded { .. } | EngineSettings::Mock { .. } => None,
        },
        engine,
        replicas: 0,
        slots,
        admission: shared.limits().binding.admission,
        device_mask: None,
        device_masks: Vec::new(),
        sampler_profile_version: None,
        servers: Vec::new(),
        key,
        stanza: None,
    };
    let (pool, _) = provision::pool(settings, shared.mailboxes.len(), None);
    shared.snapshot.rcu(|snapshot| {
        let mut snapshot = snapshot.as_ref().clone();
        snapshot.pools.push(Arc::clone(&pool));
        snapshot
    });
    pool
}

/// Only the pool of the llama.cpp server has a key that no table says.
fn llamacpp_key(shared: &Shared, pool_id: &str) -> Option<EngineKey> {
    let Fixed {
        llamacpp,
        llamacpp_key,
        ..
    } = &shared.settings;
    let is_its_pool = llamacpp
        .as_ref()
        .is_some_and(|server| server.pool_id == pool_id);
    llamacpp_key.clone().filter(|_| is_its_pool)
}
