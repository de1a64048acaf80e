//! Watching a server: is it there, is it ready, what is it?
//!
//! Each server has a plain thread, because asking may take as long as a timeout and none should wait
//! for another's. It asks again after [`INTERVAL`], after a wait that doubles while the server is down,
//! and at once when a shard found something wrong. It ends when the replica is gone.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use crossbeam::channel::{Receiver, RecvTimeoutError};
use orchestratord_gpu::{
    EngineKind,
    probe::{self, Properties},
};
use orchestratord_sched::{ReplicaEvent, ReplicaIndex, ReplicaState, breaker::Trust};
use ureq::{
    Agent,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

use super::bind;
use crate::{
    endpoint::Endpoint,
    logs, panics,
    roots::{self, Roots},
    settings::{Limits, key::EngineKey},
    shared::{
        Shared, readiness,
        replica::{Notice, Reach, Replica},
        snapshot::Pool,
        stage::Stage,
    },
};

/// How often a server that is well is asked.
const INTERVAL: Duration = Duration::from_secs(2);
/// The first wait before a server that is down is asked again.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// The longest: a server that comes back after a long while is used again so soon.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How long one answer may take, from the connection to the last byte.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer: metrics pages of engines have some tens of thousands.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// One server's thread.
pub struct Watcher {
    /// What every thread can reach.
    pub shared: Arc<Shared>,
    /// The pool.
    pub pool: Arc<Pool>,
    /// The replica.
    pub replica: Arc<Replica>,
    /// Where it stands in the pool.
    pub place: ReplicaIndex,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// What it hears.
    pub notices: Receiver<Notice>,
}

impl Watcher {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the machine gives no more threads.
    pub fn spawn(self) -> io::Result<()> {
        let name = format!("watch-{}-{}", self.pool.id, self.replica.id);
        panics::spawn_vital(name, move || self.watch()).map(drop)
    }

    fn watch(self) {
        let mut limits = self.shared.limits.load_full();
        let mut agent = self.agent(&limits);
        let mut wait = WAIT_MIN;
        let key = self.pool.settings.key.as_ref();
        while self.is_wanted() {
            if let Some(rest) = self.rest_of_distrust() {
                if !self.hear(rest) {
                    return;
                }
                continue;
            }
            // The settings may have come to trust others.
            let limits_now = self.shared.limits.load_full();
            if !Arc::ptr_eq(&limits, &limits_now) {
                agent = self.agent(&limits_now);
                limits = limits_now;
            }
            let answer = ask(&agent, self.pool.kind, &self.endpoint, key);
            let rest = match answer.and_then(|properties| self.judge(properties)) {
                Ok(properties) => {
                    self.note(&properties);
                    wait = WAIT_MIN;
                    INTERVAL
                }
                Err(reason) => {
                    // Told once, and not each time that it is still so.
                    let was = self.replica.condition.state();
                    if self.advance(ReplicaEvent::Broke, Some(reason.clone()))
                        && was != ReplicaState::Unready
                    {
                        logs::replica_unready(&self.pool, &self.replica, &reason, wait);
                    }
                    let rest = wait;
                    wait = (wait * 2).min(WAIT_MAX);
                    rest
                }
            };
            if !self.hear(rest) {
                return;
            }
        }
    }

    fn agent(&self, limits: &Limits) -> Agent {
        agent(&self.endpoint, &limits.link.roots)
    }

    /// How long no task goes there whatever it answers, because they have failed there one after the
    /// other.
    fn rest_of_distrust(&self) -> Option<Duration> {
        let now = self.shared.clock.now();
        match self.replica.condition.trust(now) {
            Trust::NothingUntil(then) => Some(then.since(now)),
            Trust::OneTask | Trust::Full => None,
        }
    }

    /// Rests until it is told to look again. `false`: nobody will ever tell.
    fn hear(&self, rest: Duration) -> bool {
        let heard = self.notices.recv_timeout(rest);
        !matches!(heard, Err(RecvTimeoutError::Disconnected))
    }

    fn is_wanted(&self) -> bool {
        self.replica.condition.state() != ReplicaState::Gone
            && self.shared.stages.now() != Stage::Gone
    }

    /// Whether it serves our model.
    fn judge(&self, properties: Properties) -> Result<Properties, String> {
        match &self.replica.reach {
            Reach::Remote(remote) if !properties.may_serve(self.pool.kind, &remote.model) => {
                Err(format!("it does not serve the model `{}`", remote.model))
            }
            Reach::Remote(_) | Reach::Local(_) => Ok(properties),
        }
    }

    fn note(&self, properties: &Properties) {
        if let Some(version) = &properties.engine_version
            && bind::is_name(version)
        {
            // What whoever bound it has said stands.
            let _ = self.replica.engine_version.set(version.clone());
        }
        if let Some(tokens) = properties.ctx_max {
            let _ = self.replica.ctx_max.set(tokens);
        }
        if let Some(slots) = properties.slots
            && self.replica.condition.tell_slots(slots)
            && slots < self.replica.slots_claimed
        {
            logs::fewer_slots(&self.pool, &self.replica, slots);
        }
        let condition = &self.replica.condition;
        condition.kv_cache_usage.set(properties.kv_cache_usage);
        condition.requests_running.set(properties.requests_running);
        condition.requests_waiting.set(properties.requests_waiting);
        self.advance(ReplicaEvent::ProbeAnswered, None);
    }

    fn advance(&self, event: ReplicaEvent, error: Option<String>) -> bool {
        readiness::advance(&self.shared, &self.pool, self.place, event, error)
    }
}

/// What a server says of itself.
///
/// # Errors
///
/// Why it can't be used now, in words that name no address.
pub fn ask(
    agent: &Agent,
    kind: EngineKind,
    endpoint: &Endpoint,
    key: Option<&EngineKey>,
) -> Result<Properties, String> {
    let mut answers = Vec::new();
    for path in probe::paths(kind) {
        match get(agent, &endpoint.url(path), key) {
            // Most engines let anybody ask for their health, and ask for the key elsewhere. Their figures may
            // be closed to us while their work is open.
            Ok((401 | 403, _)) if *path != "/metrics" => {
                return Err("it does not accept our key".to_owned());
            }
            Ok(answer) => answers.push(answer),
            // The first answer decides; the others say more, where there are such routes.
            Err(reason) if answers.is_empty() => return Err(reason),
            Err(_) => break,
        }
    }
    let answers: Vec<(u16, &[u8])> = answers
        .iter()
        .map(|(status, body)| (*status, body.as_slice()))
        .collect();
    let properties = probe::read(kind, &answers);
    if properties.ready {
        return Ok(properties);
    }
    let status = answers.first().map_or(0, |(status, _)| *status);
    Err(format!("it answers its probe with {status}"))
}

/// Speaks to this server and to nobody else: no proxy of the environment, no redirect, and no other
/// address than the one that was checked.
pub fn agent(endpoint: &Endpoint, roots: &Roots) -> Agent {
    let config = Agent::config_builder()
        .tls_config(roots.agents())
        .timeout_global(Some(ANSWER_TIMEOUT))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .build();
    let checked = Checked(endpoint.peer.addr);
    Agent::with_parts(config, DefaultConnector::default(), checked)
}

/// The address that was checked, whatever the host resolves to by now.
#[derive(Debug)]
struct Checked(SocketAddr);

impl Resolver for Checked {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addrs = self.empty();
        addrs.push(self.0);
        Ok(addrs)
    }
}

fn get(agent: &Agent, url: &str, key: Option<&EngineKey>) -> Result<(u16, Vec<u8>), String> {
    let question = match key {
        Some(key) => agent
            .get(url)
            .header("Authorization", format!("Bearer {}", key.read())),
        None => agent.get(url),
    };
    let answer = question.call();
    let mut answer = answer.map_err(|error| match error {
        ureq::Error::Io(error) => format!("it can't be reached: {}", roots::why(&error)),
        ureq::Error::Rustls(error) => {
            format!("it can't be reached: {}", roots::why_no_tls(&error))
        }
        ureq::Error::Timeout(_) => "it does not answer in time".to_owned(),
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => {
            "it can't be reached".to_owned()
        }
        _ => "it does not answer as HTTP servers do".to_owned(),
    })?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    body.read_to_vec()
        .map(|body| (status, body))
        .map_err(|_| "its answer breaks off".to_owned())
}
