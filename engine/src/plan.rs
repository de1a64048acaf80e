//! What the daemon would do with its pools, told before it is done: `orchestratord check`.
//!
//! An engine's command line is the one that its supervisor starts ([`Launch`]); only the port is not
//! known before. What a variable holds is not told: it may be a secret.

use std::{
    env, fmt,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use orchestratord_gpu::{handoff, probe};
use serde::Serialize;

use crate::{
    api,
    control::{launch::Launch, output, process::ProcessSettings},
    models::{
        Models,
        reference::{ModelRef, Place},
    },
    settings::{Fixed, Settings, StartError, engine::EngineSettings, pool::PoolSettings},
};

/// What stands in a command line for the port.
const PORT: &str = "PORT";
/// What stands there for the path of a model that is not here yet.
const MODEL: &str = "MODEL";

/// What the daemon would do with its pools.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// In the order of the settings.
    pub pools: Vec<PoolPlan>,
    /// What would be downloaded first.
    pub downloads: Vec<DownloadPlan>,
}

/// A model that the daemon would download.
#[derive(Debug, Serialize)]
pub struct DownloadPlan {
    /// The pool that it is for.
    pub pool_id: String,
    /// Where it would come from.
    pub from: String,
}

/// What the daemon would do with a pool.
#[derive(Debug, Serialize)]
pub struct PoolPlan {
    /// Its id.
    pub pool_id: String,
    /// What its engine is.
    pub engine: &'static str,
    /// What requests call its model.
    pub model_ref: String,
    /// Tasks that decode at a time on each replica.
    pub slots: u32,
    /// The servers that it has from the start.
    pub urls: Vec<String>,
    /// The engines that run in the daemon.
    pub in_this_process: u32,
    /// The engines that the daemon starts as processes.
    pub processes: Vec<ProcessPlan>,
    #[serde(skip)]
    human: String,
}

/// What the daemon would start.
#[derive(Debug, Serialize)]
pub struct ProcessPlan {
    /// The replica that it becomes.
    pub replica_id: String,
    /// The program and its arguments. `PORT` is chosen when it is started, and `MODEL` is the path of what is
    /// downloaded then.
    pub command: Vec<String>,
    /// The variables that say which devices it sees.
    pub devices: Vec<String>,
    /// The names of the variables that its pool adds.
    pub variables: Vec<String>,
    /// The file that keeps what it prints.
    pub output_file: PathBuf,
    /// The file that announces it once it is ready.
    pub handoff_file: PathBuf,
    /// What it must answer to be ready.
    pub ready_path: &'static str,
    /// How long it may take until it does.
    pub ready_timeout_ms: u64,
}

impl Plan {
    /// The plan for what the settings say.
    ///
    /// # Errors
    ///
    /// What can't work, with its remedy.
    pub fn of(settings: &Settings) -> Result<Self, StartError> {
        let models = settings.limits.models();
        let (mut pools, mut downloads) = (Vec::new(), Vec::new());
        for stanza in settings.pools() {
            let place = stanza.to_download(&models)?;
            // What the daemon runs itself can't be looked at before it is here.
            if place.is_none() || stanza.is_started() {
                let pool = settings.load(&stanza)?;
                pools.push(PoolPlan::of(&pool, &settings.fixed, &models));
            }
            downloads.extend(place.map(|place| DownloadPlan {
                pool_id: stanza.id.clone(),
                from: place.to_string(),
            }));
        }
        Ok(Self { pools, downloads })
    }

    /// Whether every program is there that is to be started.
    ///
    /// # Errors
    ///
    /// The first one that is not, with a remedy.
    pub fn check(&self) -> Result<(), StartError> {
        let mut absent = self.pools.iter().filter_map(|pool| {
            let program = pool.processes.first()?.command.first()?;
            (!is_there(program)).then_some((pool, program))
        });
        let Some((pool, program)) = absent.next() else {
            return Ok(());
        };
        Err(StartError::new(
            format!("pool `{}`: there is no program `{program}`", pool.pool_id),
            "install it, put its folder into PATH, or give its whole path in the pool's `command`",
        ))
    }
}

impl PoolPlan {
    fn of(pool: &PoolSettings, fixed: &Fixed, models: &Models) -> Self {
        let (in_this_process, processes) = match &pool.engine {
            EngineSettings::Embedded { .. } | EngineSettings::Mock { .. } => {
                (pool.replicas, Vec::new())
            }
            EngineSettings::Remote { process: None, .. } => (0, Vec::new()),
            EngineSettings::Remote {
                process: Some(process),
                ..
            } => {
                let engines = 0..pool.replicas;
                let model = model(process, models);
                let plan = |engine| ProcessPlan::of(pool, process, &model, engine, fixed);
                (0, engines.map(plan).collect())
            }
        };
        Self {
            pool_id: pool.id.clone(),
            engine: pool.engine.name(),
            model_ref: pool.engine.model().to_owned(),
            slots: pool.slots,
            urls: pool.servers.iter().map(|it| it.url.clone()).collect(),
            in_this_process,
            processes,
            human: pool.describe(),
        }
    }
}

impl ProcessPlan {
    fn of(
        pool: &PoolSettings,
        process: &ProcessSettings,
        model: &str,
        engine: u32,
        fixed: &Fixed,
    ) -> Self {
        let replica_id = format!("r{engine}");
        let number = usize::try_from(engine).unwrap_or(usize::MAX);
        let launch = Launch::of(pool, process, model, (number, &replica_id), PORT);
        let device = |(name, value): &(&str, String)| format!("{name}={value}");
        let output_name = output::file_name(&pool.id, &replica_id);
        Self {
            devices: launch.devices.iter().map(device).collect(),
            variables: launch.variables.names().map(str::to_owned).collect(),
            command: launch.words,
            output_file: output::folder(&fixed.data_dir).join(output_name),
            handoff_file: fixed
                .runtime_dir
                .join(handoff::file_name(&pool.id, &replica_id)),
            ready_path: probe::paths(pool.engine.kind())
                .first()
                .copied()
                .unwrap_or("/"),
            ready_timeout_ms: api::whole_ms(process.ready_timeout),
            replica_id,
        }
    }
}

/// What fills `{model}`, as far as that is known.
fn model(process: &ProcessSettings, models: &Models) -> String {
    let source = match &process.model {
        ModelRef::Name(name) => return name.clone(),
        ModelRef::Source(source) => source,
    };
    let path = match &source.place {
        Place::File(path) => Some(path.clone()),
        Place::Url(_) | Place::Hub(_) => models.cached(source).map(|found| found.path),
    };
    path.map_or_else(|| MODEL.to_owned(), |path| path.display().to_string())
}

/// Whether the program is there, as execvp(3) looks for it.
fn is_there(program: &str) -> bool {
    let is_program = |path: &Path| {
        let metadata = path.metadata();
        metadata.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return is_program(Path::new(program));
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| is_program(&folder.join(program)))
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pools.iter().try_for_each(|pool| pool.fmt(f))?;
        self.downloads.iter().try_for_each(|download| {
            let DownloadPlan { pool_id, from } = download;
            writeln!(
                f,
                "  pool `{pool_id}` would first download its model, {from}"
            )
        })
    }
}

impl fmt::Display for PoolPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  pool {}", self.human)?;
        self.processes.iter().try_for_each(|process| process.fmt(f))
    }
}

impl fmt::Display for ProcessPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.command.iter().map(|word| quote(word)).collect();
        writeln!(f, "    {} runs {}", self.replica_id, words.join(" "))?;
        if !self.devices.is_empty() {
            writeln!(f, "       with {}", self.devices.join(" "))?;
        }
        if !self.variables.is_empty() {
            writeln!(f, "       and the pool's {}", self.variables.join(", "))?;
        }
        writeln!(
            f,
            "       on a port that is chosen then; it must answer {} within {} ms",
            self.ready_path, self.ready_timeout_ms
        )?;
        writeln!(f, "       announced in {}", self.handoff_file.display())?;
        writeln!(f, "       prints into {}", self.output_file.display())
    }
}

/// A word as a shell takes it (POSIX, Shell Command Language, "Quoting").
fn quote(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_what_is_quoted_as_one_word() {
        assert_eq!(quote("--port=8001"), "--port=8001");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quote(""), "''");
    }
}
