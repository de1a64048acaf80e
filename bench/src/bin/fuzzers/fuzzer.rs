//! One fuzzer at work on one target, and what it has printed.

use orchestratord_bench::Failure;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use std::{fs, io};

/// An input that takes longer is a fault: what is read here is read between two tokens of somebody else.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What a fuzzer may hold, itself included.
const RSS_MAX_MB: u32 = 1024;
/// Room for the smallest model with a vocabulary of bytes. Longer inputs are slower and reach nothing more.
const INPUT_MAX_BYTES: u32 = 8192;

/// The fuzzer, and where its inputs lie; those of a target are in a folder of that name.
pub(crate) struct Fuzzer {
    pub(crate) program: PathBuf,
    /// What is worth another look, in the repository: `corpora` reach much, `crashes` once did harm.
    pub(crate) kept: PathBuf,
    /// What was found, on this machine.
    pub(crate) found: PathBuf,
}

/// When a fuzzer stops.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Time(Duration),
    /// It begins with nothing but this seed, and tries out so many.
    Executions {
        seed: u32,
        count: u64,
    },
}

/// What a fuzzer tells at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Branches that were taken, of all that are known.
    pub(crate) edges: u64,
    /// Inputs that are needed to take them.
    pub(crate) inputs: u64,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) executions: u64,
    pub(crate) executions_per_s: u64,
    pub(crate) peak_rss_mb: u64,
    /// With the kept inputs alone.
    pub(crate) before: Reach,
    pub(crate) after: Reach,
    /// What went wrong, as the fuzzer tells it. An input of which it did is in the folder of found ones.
    pub(crate) fault: Option<String>,
}

impl Fuzzer {
    /// Works on a target.
    ///
    /// # Errors
    /// If the fuzzer does not start.
    pub(crate) fn run(&self, target: &str, until: Until) -> Result<Outcome, Failure> {
        let until = match until {
            Until::Time(time) => vec![format!("-max_total_time={}", time.as_secs())],
            Until::Executions { seed, count } => {
                self.forget(target)?;
                vec![format!("-seed={seed}"), format!("-runs={count}")]
            }
        };
        let mut command = self.command(target)?;
        command.args(until).arg("-print_final_stats=1");
        command.arg(self.found.join(target));
        command.args(self.kept(target));
        let output = output(&mut command)?;
        let said = String::from_utf8_lossy(&output.stderr);
        Ok(Outcome::read(&said, output.status.success()))
    }

    /// Replaces what is kept of a target by the fewest inputs that reach as much as all that are known.
    ///
    /// # Errors
    /// If the fuzzer does not start, or files can't be moved.
    pub(crate) fn keep(&self, target: &str) -> Result<(), Failure> {
        let failure = |error| Failure::new("the inputs were not kept", error);
        let (kept, fewest) = (self.corpus(target), self.found.join("fewest"));
        fs::create_dir_all(&fewest).map_err(failure)?;
        let mut command = self.command(target)?;
        // Which branches are taken counts, and not how often: that would keep several times as much.
        command
            .args(["-set_cover_merge=1", "-use_counters=0"])
            .arg(&fewest);
        command.arg(self.found.join(target)).arg(&kept);
        if !output(&mut command)?.status.success() {
            return Err(Failure(format!("the inputs of {target} can't be compared")));
        }
        fs::remove_dir_all(&kept).map_err(failure)?;
        fs::rename(&fewest, &kept).map_err(failure)
    }

    fn command(&self, target: &str) -> Result<Command, Failure> {
        let found = self.found.join(target);
        fs::create_dir_all(&found).map_err(|error| Failure::new("no room for inputs", error))?;
        let mut command = Command::new(&self.program);
        command
            .env("FUZZ_TARGET", target)
            .env("RUST_BACKTRACE", "0")
            .arg(format!("-timeout={}", TIMEOUT.as_secs()))
            .arg(format!("-rss_limit_mb={RSS_MAX_MB}"))
            .arg(format!("-max_len={INPUT_MAX_BYTES}"))
            .arg(format!("-artifact_prefix={}-", found.display()));
        Ok(command)
    }

    fn corpus(&self, target: &str) -> PathBuf {
        self.kept.join("corpora").join(target)
    }

    /// The folders of what is kept of a target; not each has both.
    fn kept(&self, target: &str) -> impl Iterator<Item = PathBuf> {
        let crashes = self.kept.join("crashes").join(target);
        let folders = [self.corpus(target), crashes].into_iter();
        folders.filter(|folder| folder.exists())
    }

    fn forget(&self, target: &str) -> Result<(), Failure> {
        match fs::remove_dir_all(self.found.join(target)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::new("old inputs are in the way", error))
            }
            _ => Ok(()),
        }
    }
}

fn output(command: &mut Command) -> Result<Output, Failure> {
    let output = command.stdin(Stdio::null()).output();
    output.map_err(|error| Failure::new("the fuzzer did not start", error))
}

impl Outcome {
    fn read(said: &str, is_success: bool) -> Self {
        let statistic = |name: &str| {
            let prefix = format!("stat::{name}:");
            let value = said.lines().find_map(|line| line.strip_prefix(&prefix));
            value
                .and_then(|value| value.trim().parse().ok())
                .unwrap_or(0)
        };
        Self {
            executions: statistic("number_of_executed_units"),
            executions_per_s: statistic("average_exec_per_sec"),
            peak_rss_mb: statistic("peak_rss_mb"),
            before: said
                .lines()
                .find_map(|line| Reach::read(line, "INITED"))
                .unwrap_or_default(),
            after: said
                .lines()
                .rev()
                .find_map(|line| Reach::read(line, ""))
                .unwrap_or_default(),
            fault: (!is_success).then(|| fault(said)),
        }
    }
}

impl Reach {
    /// Reads `#12 INITED cov: 345 ft: 678 corp: 9/80b …`.
    fn read(line: &str, event: &str) -> Option<Self> {
        let line = line.strip_prefix('#')?;
        let after = |name: &str| {
            let (_, rest) = line.split_once(name)?;
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        };
        line.contains(event).then_some(())?;
        Some(Self {
            edges: after(" cov: ")?,
            inputs: after(" corp: ")?,
        })
    }
}

/// What there is to know of a fault: what a panic has said, or the fuzzer of what is too slow or too large; and
/// where the input is.
fn fault(said: &str) -> String {
    let is_told = |line: &&str| !line.starts_with(['#', '=']) && !line.is_empty();
    let from = ["panicked at", "ERROR: "];
    let is_begin = |line: &&str| from.iter().any(|words| line.contains(words));
    let lines = said
        .lines()
        .filter(is_told)
        .skip_while(|line| !is_begin(line));
    let input = said
        .lines()
        .find(|line| line.contains("Test unit written to"));
    let lines = lines.take(4).chain(input);
    lines.collect::<Vec<_>>().join("\n         ")
}
