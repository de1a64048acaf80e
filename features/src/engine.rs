//! Engines beside the daemon: real processes, scripted ones and llama.cpp's own server, on ports of the
//! kernel's choice.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::claim::eventually;
use crate::program::{self, SHIPPED_MODEL};

/// An engine that listens. It is killed with the scenario, and may be before.
#[derive(Debug)]
pub(crate) struct Engine {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
    /// What it prints about each request.
    stderr: PathBuf,
}

impl Engine {
    /// Starts a scripted one in `dir` and waits until it listens.
    pub(crate) fn start(dir: &Path, name: &str, arguments: &str) -> Result<Self, String> {
        let mut command = program::engine().map_err(|error| error.to_string())?;
        command.args(["--addr", "127.0.0.1:0"]);
        Self::spawn(command.args(arguments.split_whitespace()), dir, name)
    }

    /// Starts llama.cpp's own server, with the shipped model unless the arguments name another.
    pub(crate) fn start_llamacpp(dir: &Path, name: &str, arguments: &str) -> Result<Self, String> {
        let mut command = Command::new(program::llamacpp()?.join("llama-server"));
        // A thread that computes spins while it waits for others; with one there are none.
        command.args(["--port", "0", "--threads", "1", "--model", SHIPPED_MODEL]);
        Self::spawn(command.args(arguments.split_whitespace()), dir, name)
    }

    fn spawn(command: &mut Command, dir: &Path, name: &str) -> Result<Self, String> {
        let (stdout, stderr) = (
            dir.join(format!("{name}.out")),
            dir.join(format!("{name}.err")),
        );
        let mut spawn = || -> io::Result<Child> {
            command
                .stdin(Stdio::null())
                .stdout(File::create(&stdout)?)
                .stderr(File::create(&stderr)?)
                .spawn()
        };
        let mut engine = Self {
            child: spawn().map_err(|error| error.to_string())?,
            url: String::new(),
            stderr,
        };
        engine.url = eventually(|| {
            let printed = fs::read_to_string(&stdout).unwrap_or_default();
            let url = printed
                .lines()
                .find_map(|line| line.split_once("listens on "));
            let url = url.map(|(_, url)| url.trim().to_owned());
            url.ok_or_else(|| format!("the engine {name} does not say where it listens"))
        })?;
        Ok(engine)
    }

    /// Ends it as a machine that fails would.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// What it has printed so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.kill();
    }
}
