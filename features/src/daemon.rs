//! The daemon under test: one process per scenario, on a port of the kernel's choice, in a folder of
//! its own. What it writes to stdout and stderr goes to files there, so that nothing has to be
//! drained and all of it can be read at any moment.
//!
//! Nobody outlives the scenarios: dropping the handle sends SIGTERM, then SIGKILL to whoever stays.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use crate::claim::eventually;
use crate::{farewell, program};

/// What a scenario need not say; a flag that it does say replaces the one here. The engine is the
/// scripted one, because few promises depend on a model. The grace is short, because most scenarios
/// end while tasks are still running.
const DEFAULTS: [(&str, &str); 3] = [
    ("--addr", "127.0.0.1:0"),
    ("--engine", "mock"),
    ("--shutdown-grace-ms", "100"),
];

/// A daemon that listens.
#[derive(Debug)]
pub(crate) struct Daemon {
    process: Process,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
}

/// A daemon that has ended.
#[derive(Debug)]
pub(crate) struct Exit {
    /// What it left to its caller; nothing when a signal ended it.
    pub(crate) code: Option<i32>,
    /// All that it had to say.
    pub(crate) stderr: String,
}

impl Daemon {
    /// Starts a daemon in `dir` and waits until it listens, or has ended instead.
    pub(crate) fn start(
        dir: &Path,
        arguments: &str,
        environment: &[(String, String)],
    ) -> io::Result<Result<Self, Exit>> {
        let mut process = Process::start(dir, arguments, environment)?;
        match eventually(|| process.announcement()).map_err(io::Error::other)? {
            Some(addr) => Ok(Ok(Self { process, addr })),
            None => process.end().map(Err),
        }
    }

    /// Asks it to shut down.
    pub(crate) fn terminate(&self) -> io::Result<()> {
        self.process.terminate()
    }

    /// Asks it to read its settings anew.
    pub(crate) fn hang_up(&self) -> io::Result<()> {
        let pid = Pid::from_child(&self.process.child);
        Ok(kill_process(pid, Signal::HUP)?)
    }

    /// Ends it as a machine that fails would.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.process.child.kill()
    }

    /// Waits until it has ended.
    pub(crate) fn end(&mut self) -> io::Result<Exit> {
        self.process.end()
    }

    /// Lets it write no file beyond this many bytes, or as far as ourselves. The kernel then answers
    /// `EFBIG` where a full disk answers `ENOSPC`, and it does so to root too.
    pub(crate) fn limit_files(&self, bytes_max: Option<u64>) -> io::Result<()> {
        let ours = getrlimit(Resource::Fsize);
        let limit = Rlimit {
            current: bytes_max.or(ours.current),
            maximum: ours.maximum,
        };
        let pid = Pid::from_child(&self.process.child);
        prlimit(Some(pid), Resource::Fsize, limit)?;
        Ok(())
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        self.process.read("stderr")
    }
}

/// A started process, whether it listens or not.
#[derive(Debug)]
struct Process {
    child: Child,
    dir: PathBuf,
}

impl Process {
    fn start(dir: &Path, arguments: &str, environment: &[(String, String)]) -> io::Result<Self> {
        let said: Vec<&str> = arguments.split_whitespace().collect();
        let unsaid = DEFAULTS
            .into_iter()
            .filter(|(flag, _)| !said.contains(flag));
        let mut command = program::command()?;
        command
            .args(unsaid.flat_map(|(flag, value)| [flag, value]))
            .args(&said)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(File::create(dir.join("stdout"))?)
            .stderr(File::create(dir.join("stderr"))?);
        if !said.contains(&"--data-dir") {
            command.arg("--data-dir").arg(dir.join("data"));
        }
        Ok(Self {
            child: command.spawn()?,
            dir: dir.to_owned(),
        })
    }

    /// The address that its banner names; nothing if it has ended without one.
    fn announcement(&mut self) -> Result<Option<SocketAddr>, String> {
        let ended = self
            .child
            .try_wait()
            .map_err(|error| error.to_string())?
            .is_some();
        match address(&self.read("stdout")) {
            None if !ended => Err(format!(
                "the daemon does not say where it listens\n{}",
                self.read("stderr")
            )),
            announced => Ok(announced),
        }
    }

    fn terminate(&self) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::TERM)?)
    }

    fn end(&mut self) -> io::Result<Exit> {
        let status = eventually(|| match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("the daemon has not ended".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        let status = status.map_err(io::Error::other)?;
        Ok(Exit {
            code: status.code(),
            stderr: self.read("stderr"),
        })
    }

    fn read(&self, output: &str) -> String {
        let bytes = fs::read(self.dir.join(output)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has been waited for has no number any more that is its own.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            farewell::end(Pid::from_child(&self.child));
        }
    }
}

/// The address in the first line of a banner, once that line is complete.
fn address(banner: &str) -> Option<SocketAddr> {
    let (line, _) = banner.split_once('\n')?;
    let (_, rest) = line.split_once("http://")?;
    let end = rest
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ':')))
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_tells_the_address_once_its_first_line_is_complete() {
        assert_eq!(
            address("orchestratord listens on http://127.0.0.1:80"),
            None
        );
        for end in ["", "/", " (loopback only)"] {
            let banner = format!("orchestratord listens on http://127.0.0.1:8080{end}\nmore\n");
            assert_eq!(
                address(&banner),
                Some(SocketAddr::from(([127, 0, 0, 1], 8080))),
                "{banner}"
            );
        }
        assert_eq!(address("no address\nhttp://127.0.0.1:8080\n"), None);
    }
}
