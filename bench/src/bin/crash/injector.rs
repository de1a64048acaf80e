//! Makes the daemon's calls on its store fail: a library between it and the system's, built by the C compiler.

use orchestratord_bench::Failure;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("injector.c");
/// Where the library reads what shall fail.
const CONTROL: &str = "CRASH_FAULT";

/// How the store's file fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Symptom {
    /// As in errno(3).
    pub(crate) error: i32,
    /// Of a hundred calls.
    pub(crate) percent: u64,
    /// Which: `w` writes, `s` syncs, `t` truncates.
    pub(crate) calls: &'static str,
}

#[derive(Debug)]
pub(crate) struct Injector {
    library: PathBuf,
    control: PathBuf,
}

impl Injector {
    /// Builds it into this folder.
    pub(crate) fn build(folder: &Path) -> Result<Self, Failure> {
        let (source, library) = (folder.join("injector.c"), folder.join("injector.so"));
        let written = fs::write(&source, SOURCE);
        written.map_err(|error| Failure::new("writing the fault injector", error))?;
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status();
        match built {
            Ok(status) if status.success() => Ok(Self {
                library,
                control: folder.join("fault"),
            }),
            Ok(status) => Err(Failure(format!(
                "the fault injector does not build: {status}"
            ))),
            Err(error) => Err(Failure::new("running the C compiler", error)),
        }
    }

    /// What the daemon is started with.
    pub(crate) fn environment(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.library), (CONTROL, &self.control)]
    }

    /// From now on calls fail. The file comes in one piece: the daemon may look at any moment.
    pub(crate) fn inject(&self, symptom: Symptom) -> Result<(), Failure> {
        let Symptom {
            error,
            percent,
            calls,
        } = symptom;
        let draft = self.control.with_extension("draft");
        fs::write(&draft, format!("{error} {percent} {calls}\n"))
            .and_then(|()| fs::rename(draft, &self.control))
            .map_err(|error| Failure::new("injecting a fault", error))
    }

    /// They succeed again.
    pub(crate) fn stop(&self) -> Result<(), Failure> {
        let removed = fs::remove_file(&self.control);
        removed.map_err(|error| Failure::new("ending a fault", error))
    }
}
