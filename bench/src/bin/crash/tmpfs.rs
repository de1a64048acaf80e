//! A small disk in memory that can be filled up and made read-only. It takes root, or a namespace where one
//! is root.

use orchestratord_bench::Failure;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether this program has been started again in a namespace of its own.
const IN_NAMESPACE: &str = "CRASH_IN_NAMESPACE";
/// What fills it up.
const BALLAST: &str = "ballast";

/// Mounted as long as it lives.
#[derive(Debug)]
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    /// None where this machine lets nobody mount anything. Where that takes a namespace, this program is started
    /// again in one, and this does not return.
    pub(crate) fn mount(at: &Path, mebibytes: u32) -> Option<Self> {
        let size = format!("size={mebibytes}m");
        if quietly(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
                .arg(at),
        ) {
            return Some(Self(at.to_owned()));
        }
        if std::env::var_os(IN_NAMESPACE).is_none() && may_unshare() {
            let program = std::env::current_exe().ok()?;
            let mut again = unshare();
            again.arg(program).args(std::env::args_os().skip(1));
            let error = again.env(IN_NAMESPACE, "1").exec();
            eprintln!("crash: no namespace after all: {error}");
        }
        None
    }

    /// Leaves no room at all.
    pub(crate) fn fill(&self) -> Result<(), Failure> {
        let failed = |error| Failure::new("filling the disk", error);
        let mut ballast = File::create(self.0.join(BALLAST)).map_err(failed)?;
        // It ends as disks do: with an error.
        while ballast.write_all(&[0xB; 4096]).is_ok() {}
        Ok(())
    }

    pub(crate) fn make_room(&self) -> Result<(), Failure> {
        let removed = std::fs::remove_file(self.0.join(BALLAST));
        removed.map_err(|error| Failure::new("making room", error))
    }

    /// Only while nobody has a file open for writing.
    pub(crate) fn set_writable(&self, is_writable: bool) -> Result<(), Failure> {
        let how = if is_writable {
            "remount,rw"
        } else {
            "remount,ro"
        };
        match quietly(Command::new("mount").args(["-o", how]).arg(&self.0)) {
            true => Ok(()),
            false => Err(Failure(format!("the disk can't be mounted anew ({how})"))),
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        quietly(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "--"]);
    command
}

fn may_unshare() -> bool {
    quietly(unshare().arg("true"))
}

/// Whether it succeeds; what it says is of no interest.
fn quietly(command: &mut Command) -> bool {
    let done = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}
