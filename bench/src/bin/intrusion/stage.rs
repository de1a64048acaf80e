//! What every scene needs: the program, a folder, keys, and a daemon whose log can be read.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use orchestratord_bench::Failure;
use orchestratord_bench::daemon::{Daemon, Folder, program};

/// The program, and where the scenes lay their files.
pub(crate) struct Stage {
    program: PathBuf,
    folder: Folder,
}

/// A daemon that plays a part.
pub(crate) struct Victim {
    pub(crate) addr: SocketAddr,
    daemon: Daemon,
    log: PathBuf,
}

impl Stage {
    pub(crate) fn new() -> Result<Self, Failure> {
        let stage = Self {
            program: program()?,
            folder: Folder::new(),
        };
        told("making a folder", fs::create_dir_all(stage.folder.path()))?;
        Ok(stage)
    }

    /// A daemon of its own for this scene, with keys if the arguments name them.
    pub(crate) fn daemon(
        &self,
        scene: &str,
        format: &str,
        arguments: &[&str],
    ) -> Result<Victim, Failure> {
        let data = self.folder.path().join(scene);
        let log = self.folder.path().join(format!("{scene}.log"));
        let file = told("making a log", File::create(&log))?;
        // Nobody waits for the tasks that a scene leaves behind.
        let arguments = arguments.iter().chain(&["--shutdown-grace-ms=0"]);
        let arguments: Vec<String> = arguments.map(|&word| word.to_owned()).collect();
        let daemon = Daemon::start_logging(file, format, &data, &self.program, &arguments)?;
        Ok(Victim {
            addr: daemon.addr,
            daemon,
            log,
        })
    }

    /// A file of keys for a scene, of these callers with these scopes: where it lies, and the keys.
    pub(crate) fn keys(
        &self,
        scene: &str,
        callers: &[(&str, &str)],
    ) -> Result<(String, Vec<String>), Failure> {
        let path = self.folder.path().join(format!("{scene}.keys"));
        let keys = callers
            .iter()
            .map(|(name, scopes)| self.key(&path, name, scopes))
            .collect::<Result<_, _>>()?;
        Ok((path.display().to_string(), keys))
    }

    fn key(&self, path: &Path, name: &str, scopes: &str) -> Result<String, Failure> {
        let mut command = Command::new(&self.program);
        let made = command.args(["keys", "new", name, "--scopes", scopes]);
        let printed = told("making a key", made.output())?.stdout;
        let printed = String::from_utf8_lossy(&printed).into_owned();
        let lines = || printed.lines().map(str::trim);
        let stanza = lines().filter(|line| *line == "[[key]]" || line.contains(" = "));
        let stanza: Vec<&str> = stanza.collect();
        let file = OpenOptions::new().create(true).append(true).open(path);
        let written = file.and_then(|mut file| writeln!(file, "{}", stanza.join("\n")));
        told("writing a key", written)?;
        let secret = lines().find(|line| line.starts_with("orchd-"));
        secret
            .map(str::to_owned)
            .ok_or_else(|| Failure("`keys new` printed no key".to_owned()))
    }
}

impl Victim {
    /// The most memory that it has had so far.
    pub(crate) fn resident_bytes_max(&self) -> Result<u64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon.pid()));
        let status = told("reading the daemon's memory", status)?;
        let kib = status.lines().find_map(|line| {
            let rest = line.strip_prefix("VmHWM:")?.trim();
            rest.strip_suffix(" kB")?.parse::<u64>().ok()
        });
        kib.map(|kib| kib * 1024)
            .ok_or_else(|| Failure("the kernel does not tell the daemon's memory".to_owned()))
    }

    /// All that it has logged, when it has nothing more to log: it ends here.
    pub(crate) fn into_log(self) -> Result<Vec<u8>, Failure> {
        drop(self.daemon);
        told("reading the log", fs::read(self.log))
    }
}

fn told<T>(tried: &str, result: std::io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure::new(tried, error))
}
