//! A driver of devices that are not there: NVIDIA's library, as far as the daemon asks it, built by the
//! system's C compiler into the scenario's folder. It tells what the scenario wrote down.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the daemon looks for.
const LIBRARY: &str = "libnvidia-ml.so.1";
const SOURCE: &str = include_str!("driver/nvml.c");

/// Builds the library below `dir`; the folder that it lies in.
pub(crate) fn install(dir: &Path) -> Result<PathBuf, String> {
    let folder = dir.join("driver");
    let source = folder.join("nvml.c");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    fs::write(&source, SOURCE).map_err(|error| error.to_string())?;
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([folder.join(LIBRARY), source])
        .output()
        .map_err(|error| format!("the C compiler can't be run: {error}"))?;
    if built.status.success() {
        Ok(folder)
    } else {
        Err(String::from_utf8_lossy(&built.stderr).into_owned())
    }
}

/// Writes down what it tells, a row a device: its state, percent busy, bytes used, bytes in all, name.
/// It may be asked at any moment, so the file is put there in one piece.
pub(crate) fn tell(dir: &Path, devices: &[Vec<String>]) -> Result<(), String> {
    let lines: Vec<String> = devices.iter().map(|row| row.join(" ") + "\n").collect();
    let draft = dir.join("devices.draft");
    fs::write(&draft, lines.concat())
        .and_then(|()| fs::rename(draft, dir.join("devices")))
        .map_err(|error| error.to_string())
}
