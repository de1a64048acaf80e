//! Engines that the daemon starts itself: a process each, kept alive, and announced like anybody else's.
//!
//! ```text
//!   start ──► wait until it answers ──► write its handoff file ──► wait until it ends
//!     ▲                 │ too late, or ended                              │
//!     └── after a wait ◄┴──────────────── remove the file ◄───────────────┘
//! ```
//!
//! Whether the engine is bound is the handoff watcher's business ([`super::handoff`]), which knows of
//! this one what it knows of all: a file. So there is one way to be bound, and any supervisor may do
//! what this one does.
//!
//! Between the daemon and the engine stands a keeper, so that the engine can be ended with all that it has
//! started, and ends when the daemon is gone ([`crate::keeper`]).

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use crossbeam::channel::{Receiver, RecvTimeoutError, select};
use orchestratord_gpu::{
    command::Template,
    handoff::{self, Handoff, Model},
};

use super::{
    download::Download,
    kept::Kept,
    launch::{HOST, Launch, Variables},
    output, watch,
};
use crate::{
    endpoint::{Endpoint, Networks},
    logs,
    models::{
        self,
        download::Progress,
        reference::{ModelRef, Source},
    },
    panics,
    shared::{
        Shared,
        provisioning::{Preparing, Provisioning, Step},
        snapshot::Pool,
        stage::Stage,
    },
};

/// How often it is looked whether an engine has ended.
const TICK: Duration = Duration::from_millis(20);
/// How often a starting engine is asked whether it is ready.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
/// The first wait before an engine that has ended is started again; it doubles up to the longest.
const WAIT_MIN: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Starts in a row that lead to nothing: then something is wrong that another won't mend.
const VAIN_STARTS_MAX: u32 = 5;

/// How the engines of a pool are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    /// The command.
    pub command: Template,
    /// What fills `{model}`: the file, or a name that the engine knows.
    pub model: ModelRef,
    /// How long an engine may take until it answers its probe: models are large.
    pub ready_timeout: Duration,
    /// How long it may take to follow SIGTERM before SIGKILL.
    pub stop_grace: Duration,
    /// What is added to its environment.
    pub variables: Variables,
}

impl ProcessSettings {
    /// The same with another model.
    pub fn with_model(&self, model: &ModelRef) -> Self {
        Self {
            model: model.clone(),
            ..self.clone()
        }
    }
}

/// One engine's supervisor.
pub struct Supervisor {
    /// What every thread can reach.
    pub shared: Arc<Shared>,
    /// The pool that it is for.
    pub pool: Arc<Pool>,
    /// How far the pool's engines are.
    pub provisioning: Arc<Provisioning>,
    /// Which of them this is.
    pub engine: usize,
    /// How it is started.
    pub process: ProcessSettings,
    /// Disconnected when the engine is to end.
    pub wanted: Receiver<()>,
}

/// Why a life of the engine ended.
enum Ended {
    /// Nobody wants it any more.
    Unwanted,
    /// It never was ready; one sentence.
    InVain(String),
    /// It had been ready; one sentence.
    Broken(String),
}

impl Supervisor {
    /// Starts the thread. It ends when the engine is not wanted any more, or could not be started
    /// too often.
    ///
    /// # Errors
    ///
    /// When the machine gives no more threads.
    pub fn spawn(self) -> io::Result<thread::JoinHandle<()>> {
        let name = format!("process-{}-{}", self.pool.id, self.replica_id());
        panics::spawn_vital(name, move || self.supervise())
    }

    fn preparing(&self) -> &Preparing {
        &self.provisioning.engines()[self.engine]
    }

    fn replica_id(&self) -> &str {
        &self.preparing().replica_id
    }

    fn supervise(self) {
        // A daemon that was killed may have left one behind.
        let _ = fs::remove_file(self.handoff_file());
        let (mut wait, mut vain_starts) = (WAIT_MIN, 0);
        loop {
            let reason = match self.live() {
                Ended::Unwanted => return,
                Ended::Broken(reason) => {
                    (wait, vain_starts) = (WAIT_MIN, 0);
                    reason
                }
                Ended::InVain(reason) => {
                    vain_starts += 1;
                    reason
                }
            };
            self.provisioning.failed(&reason);
            let again = (vain_starts < VAIN_STARTS_MAX).then_some(wait);
            logs::engine_ended(&self.pool.id, self.replica_id(), &reason, again);
            if again.is_none() {
                return self.give_up(reason);
            }
            self.preparing().proceed(Step::Wait {
                until: self.shared.clock.elapsed() + wait,
                because: reason,
            });
            if self.is_unwanted_within(wait) {
                return;
            }
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    /// Nobody will start it again; if it was the last of its pool, what waits for it is told.
    fn give_up(&self, because: String) {
        self.preparing().proceed(Step::GiveUp { because });
        if self.provisioning.gave_up() {
            super::end_tasks_of_dead(&self.shared, self.pool.key);
        }
    }

    /// Waits, at most so long; whether the engine is not wanted any more.
    fn is_unwanted_within(&self, wait: Duration) -> bool {
        let heard = self.wanted.recv_timeout(wait);
        heard == Err(RecvTimeoutError::Disconnected) || self.shared.stages.now() == Stage::Gone
    }

    /// One life of the engine.
    fn live(&self) -> Ended {
        let model = match self.obtain_model() {
            Ok(model) => model,
            Err(ended) => return ended,
        };
        self.preparing().proceed(Step::Start);
        let (mut kept, url) = match self.start(&model) {
            Ok(started) => started,
            Err(error) => return Ended::InVain(format!("it can't be started: {error}")),
        };
        let ended = self.accompany(&mut kept, &url);
        kept.end();
        ended.unwrap_or_else(|ended| ended)
    }

    /// What fills `{model}`. A file that is not here is downloaded first.
    fn obtain_model(&self) -> Result<String, Ended> {
        let in_vain = |reason: String| Ended::InVain(format!("its model can't be had: {reason}"));
        let meant = match &self.process.model {
            ModelRef::Name(name) => models::resolve(name, &self.shared.store.catalog())
                .map_err(|bad| in_vain(bad.to_string()))?,
            source @ ModelRef::Source(_) => source.clone(),
        };
        let source = match meant {
            ModelRef::Name(name) => return Ok(name),
            ModelRef::Source(source) => source,
        };
        let download = Download::start(&self.shared, source.clone(), self.progress_of(&source));
        let download = download.map_err(|error| in_vain(error.to_string()))?;
        loop {
            select! {
                recv(download.ended) -> ended => return match ended {
                    Ok(Ok(found)) => Ok(found.path.display().to_string()),
                    Ok(Err(error)) => Err(in_vain(error.to_string())),
                    Err(_) => Err(in_vain("its thread has died".to_owned())),
                },
                recv(self.wanted) -> _ => return Err(Ended::Unwanted),
                default(PROBE_INTERVAL) => {}
            }
            if self.shared.stages.now() == Stage::Gone {
                return Err(Ended::Unwanted);
            }
        }
    }

    /// Notes how far the model has come as what the engine needs next.
    fn progress_of(&self, source: &Source) -> impl Fn(Progress) + Send + 'static {
        let (provisioning, engine) = (Arc::clone(&self.provisioning), self.engine);
        let what = source.place.to_string();
        move |progress| {
            provisioning.engines()[engine].proceed(Step::Download {
                what: what.clone(),
                done_bytes: progress.bytes,
                total_bytes: progress.bytes_total,
            });
        }
    }

    fn start(&self, model: &str) -> io::Result<(Kept, String)> {
        let port = free_port()?;
        let launch = Launch::of(
            &self.pool.settings,
            &self.process,
            model,
            (self.engine, self.replica_id()),
            &port.to_string(),
        );
        let folder = output::folder(&self.shared.settings.data_dir);
        let name = output::file_name(&self.pool.id, self.replica_id());
        let print = output::keep(&folder, &name)?;
        let kept = Kept::start(&launch, self.process.stop_grace, print)?;
        Ok((kept, format!("http://{HOST}:{port}")))
    }

    fn accompany(&self, kept: &mut Kept, url: &str) -> Result<Ended, Ended> {
        self.preparing().proceed(Step::AwaitReady {
            since: self.shared.clock.elapsed(),
        });
        self.await_ready(kept, url)?;
        let in_vain = |error| Ended::InVain(format!("its handoff can't be written: {error}"));
        self.announce(url).map_err(in_vain)?;
        self.preparing().proceed(Step::Bind);
        logs::engine_started(&self.pool.id, self.replica_id());
        let ended = self.await_end(kept);
        // If it can't be removed, the watcher of the engine finds it dead.
        let _ = fs::remove_file(self.handoff_file());
        Ok(ended)
    }

    fn await_ready(&self, kept: &mut Kept, url: &str) -> Result<(), Ended> {
        let endpoint = Endpoint::resolve(url, &Networks::default())
            .map_err(|bad| Ended::InVain(bad.to_string()))?;
        let agent = watch::agent(&endpoint, &self.shared.limits().link.roots);
        let key = self.pool.settings.key.as_ref();
        let give_up = self.shared.clock.elapsed() + self.process.ready_timeout;
        while watch::ask(&agent, self.pool.kind, &endpoint, key).is_err() {
            if let Some(status) = kept.ended() {
                return Err(Ended::InVain(format!(
                    "it ended before it was ready: {status}"
                )));
            }
            if self.shared.clock.elapsed() > give_up {
                return Err(Ended::InVain("it was not ready in time".to_owned()));
            }
            if self.is_unwanted_within(PROBE_INTERVAL) {
                return Err(Ended::Unwanted);
            }
        }
        Ok(())
    }

    /// Writes the handoff file; under another name first, so that nobody reads half of it.
    fn announce(&self, url: &str) -> io::Result<()> {
        let file = self.handoff_file();
        fs::create_dir_all(&self.shared.settings.runtime_dir)?;
        let draft = file.with_extension("draft");
        fs::write(&draft, self.handoff(url).write())?;
        fs::rename(&draft, &file)
    }

    fn device_mask(&self) -> Option<String> {
        let mask = self.pool.settings.device_mask_of(self.engine);
        mask.map(|mask| mask.to_string())
    }

    fn handoff_file(&self) -> PathBuf {
        let name = handoff::file_name(&self.pool.id, self.replica_id());
        self.shared.settings.runtime_dir.join(name)
    }

    fn handoff(&self, url: &str) -> Handoff {
        Handoff {
            engine: self.pool.engine.to_owned(),
            engine_version: None,
            provisioning_mode: Some("process".to_owned()),
            url: url.to_owned(),
            pool_id: self.pool.id.clone(),
            replica_id: self.replica_id().to_owned(),
            slots: self.pool.settings.slots,
            device_mask: self.device_mask(),
            model: Model {
                id: self.pool.model.clone(),
                path: None,
            },
            flags: Vec::new(),
        }
    }

    fn await_end(&self, kept: &mut Kept) -> Ended {
        loop {
            if let Some(status) = kept.ended() {
                return Ended::Broken(format!("it ended: {status}"));
            }
            if self.is_unwanted_within(TICK) {
                return Ended::Unwanted;
            }
        }
    }
}

/// A port of this machine that is free now. Somebody may take it before the engine does; then the
/// engine ends, and the next start has another.
fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
