//! A daemon of our own to measure: built, started on a free port, stopped at the end.

use crate::Failure;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A started daemon; dropping it stops it.
pub struct Daemon {
    child: Child,
    /// Kept open: a daemon whose output nobody takes would be told so.
    _stdout: BufReader<ChildStdout>,
    data: PathBuf,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Daemon {
    /// Builds the release profile, starts it with these arguments, and waits until it serves.
    ///
    /// # Errors
    /// If it does not build or does not start.
    pub fn start(arguments: &[String]) -> Result<Self, Failure> {
        let program = build()?;
        let data = std::env::temp_dir().join(format!("orchestratord-load-{}", std::process::id()));
        let mut child = Command::new(program)
            .args(["--addr", "127.0.0.1:0", "--log", "warn", "--data-dir"])
            .arg(&data)
            .args(arguments)
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
            data,
            addr,
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing left to stop.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// The address in `… http://ADDRESS`.
fn address(banner: &str) -> Option<SocketAddr> {
    banner.split("http://").nth(1)?.trim().parse().ok()
}

fn build() -> Result<PathBuf, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "orchestratord",
        ])
        .current_dir(&root)
        .status()
        .map_err(|error| Failure::new("building the daemon", error))?;
    if !built.success() {
        return Err(Failure("the daemon does not build".to_owned()));
    }
    // It was built by the same cargo into the same folder as this program.
    let here = std::env::current_exe().map_err(|error| Failure::new("finding myself", error))?;
    let target = here
        .ancestors()
        .find(|folder| folder.join("release").is_dir());
    let program = target.map(|target| target.join("release/orchestratord"));
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
