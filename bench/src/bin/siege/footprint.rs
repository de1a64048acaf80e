//! What a process holds and has used, as the kernel tells it (proc(5)).

use orchestratord_bench::Failure;
use std::fmt;
use std::fs;
use std::time::Duration;

/// At a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Footprint {
    /// Memory that is its own.
    pub(crate) resident_bytes: u64,
    /// Open files, sockets among them.
    pub(crate) files: u64,
    /// Memory of all TCP sockets of this machine, both ends of those of a run among them.
    pub(crate) sockets_bytes: u64,
}

impl Footprint {
    /// Of a process of this machine.
    ///
    /// # Errors
    /// If it has ended.
    pub(crate) fn of(process: u32) -> Result<Self, Failure> {
        Ok(Self {
            resident_bytes: page_bytes() * number(&read(process, "statm")?, 1),
            files: files(process).map_err(gone)?,
            sockets_bytes: page_bytes() * sockets_pages()?,
        })
    }

    /// The larger of each.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            resident_bytes: self.resident_bytes.max(other.resident_bytes),
            files: self.files.max(other.files),
            sockets_bytes: self.sockets_bytes.max(other.sockets_bytes),
        }
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} files, {} MiB, sockets {} MiB",
            self.files,
            self.resident_bytes >> 20,
            self.sockets_bytes >> 20
        )
    }
}

/// Time that a process has had on processors so far.
///
/// # Errors
/// If it has ended.
pub(crate) fn processor_time(process: u32) -> Result<Duration, Failure> {
    /// Fields of `stat` after the command's name: time in user mode, and time in the kernel.
    const TIMES: [usize; 2] = [11, 12];
    let stat = read(process, "stat")?;
    // A name may hold spaces; it ends with the last parenthesis.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = TIMES.iter().map(|&field| number(fields, field)).sum();
    let ticks_per_s = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs(ticks) / u32::try_from(ticks_per_s).unwrap_or(100))
}

/// Newer kernels tell the number as the folder's size (Linux 6.2). Counting ten thousand of them takes
/// milliseconds, of which those who are measured would be short.
fn files(process: u32) -> std::io::Result<u64> {
    let folder = format!("/proc/{process}/fd");
    match fs::metadata(&folder)?.len() {
        0 => Ok(fs::read_dir(&folder)?.count() as u64),
        files => Ok(files),
    }
}

fn read(process: u32, file: &str) -> Result<String, Failure> {
    fs::read_to_string(format!("/proc/{process}/{file}")).map_err(gone)
}

fn sockets_pages() -> Result<u64, Failure> {
    let told = fs::read_to_string("/proc/net/sockstat")
        .map_err(|error| Failure::new("looking at the machine's sockets", error))?;
    let tcp = told.lines().find(|line| line.starts_with("TCP:"));
    let pages = tcp.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    Ok(pages.unwrap_or(0))
}

fn gone(error: std::io::Error) -> Failure {
    Failure::new("looking at the daemon's process", error)
}

fn number(fields: &str, index: usize) -> u64 {
    let field = fields.split_whitespace().nth(index);
    field.and_then(|field| field.parse().ok()).unwrap_or(0)
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_lives_has_a_footprint() {
        let mine = Footprint::of(std::process::id()).unwrap();
        assert!(mine.files > 2, "the three that every process has");
        assert!(mine.resident_bytes > 1 << 18);
    }

    #[test]
    fn work_takes_processor_time() {
        let before = processor_time(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while processor_time(std::process::id()).unwrap() == before {
            sum = std::hint::black_box(sum + 1);
        }
    }
}
