//! How much memory the daemon has, looked at again and again.

use orchestratord_bench::Failure;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(50);

/// The most memory that a process has until it is told to stop, in KiB.
pub(crate) fn most_kib(process: u32, is_over: &AtomicBool) -> Result<u64, Failure> {
    let mut most = now_kib(process)?;
    while !is_over.load(Relaxed) {
        thread::sleep(PAUSE);
        most = most.max(now_kib(process)?);
    }
    Ok(most)
}

/// What is resident (proc(5)).
fn now_kib(process: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.map_err(|error| Failure::new("looking at the daemon's memory", error))?;
    let mut lines = status.lines();
    let resident = lines.find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let kib = resident.and_then(|kib| kib.parse().ok());
    kib.ok_or_else(|| Failure("the daemon has no memory".to_owned()))
}
