//! A daemon of our own to measure: built, started on a free port, stopped at the end.

use crate::Failure;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A started daemon; dropping it stops it.
pub struct Daemon {
    child: Child,
    /// Kept open: a daemon whose output nobody takes would be told so.
    _stdout: BufReader<ChildStdout>,
    /// Its data, if they end with it.
    _data: Option<Folder>,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// A folder that goes when nobody needs it any more.
pub struct Folder(PathBuf);

impl Folder {
    /// One for data, of this process.
    #[must_use]
    pub fn new() -> Self {
        Self(std::env::temp_dir().join(format!("orchestratord-bench-{}", std::process::id())))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Daemon {
    /// Starts the [program] with these arguments, and waits until it serves.
    ///
    /// # Errors
    /// If it does not build or does not start.
    pub fn start(arguments: &[String]) -> Result<Self, Failure> {
        let (program, data) = (program()?, Folder::new());
        let mut daemon = Self::start_in(data.path(), &program, arguments)?;
        daemon._data = Some(data);
        Ok(daemon)
    }

    /// The same, with no more than so many open files.
    ///
    /// # Errors
    /// If it does not build or does not start.
    pub fn start_with_files(files_max: u32, arguments: &[String]) -> Result<Self, Failure> {
        let data = Folder::new();
        let mut command = Command::new("sh");
        // The shell lowers its own limit and then becomes the daemon, which inherits it.
        command
            .args(["-c", "ulimit -n \"$0\" && exec \"$@\""])
            .arg(files_max.to_string())
            .arg(program()?)
            .args(["--log", "warn"])
            .args(arguments);
        let mut daemon = Self::start_as(command, data.path())?;
        daemon._data = Some(data);
        Ok(daemon)
    }

    /// Starts a program that was [built](program) with its data in this folder, which stays.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_in(data: &Path, program: &Path, arguments: &[String]) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command.args(["--log", "warn"]).args(arguments);
        Self::start_as(command, data)
    }

    /// The same; all that it does is logged to this file, in this format: `json` or `pretty`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_logging(
        log: File,
        format: &str,
        data: &Path,
        program: &Path,
        arguments: &[String],
    ) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command
            .args(["--log", "info", "--log-format", format])
            .args(arguments)
            .stderr(log);
        Self::start_as(command, data)
    }

    /// Starts it by this command, which is given an address and the folder of its data.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_as(mut command: Command, data: &Path) -> Result<Self, Failure> {
        let mut child = command
            .args(["--addr", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::new("starting the daemon", error))?;
        let stdout = child.stdout.take().expect("it was asked for");
        let mut stdout = BufReader::new(stdout);
        let mut banner = String::new();
        let read = stdout.read_line(&mut banner);
        read.map_err(|error| Failure::new("reading the daemon's banner", error))?;
        let Some(addr) = address(&banner) else {
            let _ = child.kill();
            return Err(Failure(
                "the daemon did not start; it says why above".to_owned(),
            ));
        };
        Ok(Self {
            child,
            _stdout: stdout,
            _data: None,
            addr,
        })
    }

    /// Its number among the processes of this machine.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a machine that fails would.
    ///
    /// # Errors
    /// If it has ended before.
    pub fn kill(mut self) -> Result<(), Failure> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed
            .map(drop)
            .map_err(|error| Failure::new("killing the daemon", error))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing left to stop.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// The address in `… http://ADDRESS`.
fn address(banner: &str) -> Option<SocketAddr> {
    banner.split("http://").nth(1)?.trim().parse().ok()
}

/// Names the daemon to use, for whoever has one built.
const VARIABLE: &str = "ORCHESTRATORD";

/// The daemon that the variable `ORCHESTRATORD` names, or one that is built now as this program was.
///
/// # Errors
/// If it does not build.
pub fn program() -> Result<PathBuf, Failure> {
    std::env::var_os(VARIABLE).map_or_else(build, |path| Ok(path.into()))
}

fn build() -> Result<PathBuf, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (profile, folder) = match cfg!(debug_assertions) {
        true => ("dev", "debug"),
        false => ("release", "release"),
    };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "orchestratord"])
        .args(["--profile", profile])
        .current_dir(&root)
        .status()
        .map_err(|error| Failure::new("building the daemon", error))?;
    if !built.success() {
        return Err(Failure("the daemon does not build".to_owned()));
    }
    // It was built by the same cargo into the same folder as this program.
    let here = std::env::current_exe().map_err(|error| Failure::new("finding myself", error))?;
    let target = here.ancestors().find(|target| target.join(folder).is_dir());
    let program = target.map(|target| target.join(folder).join("orchestratord"));
    program.ok_or_else(|| Failure("the daemon was built and can't be found".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_names_the_address() {
        let banner = "orchestratord 0.1.0 listens on http://127.0.0.1:8080\n";
        assert_eq!(address(banner), "127.0.0.1:8080".parse().ok());
        assert_eq!(address("no"), None);
    }
}
