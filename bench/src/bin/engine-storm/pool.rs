//! The daemon, the engines that it starts, and one more that nobody disturbs.

use crate::request::Request;
use crate::{HANG, PAUSE};
use orchestratord_bench::Failure;
use orchestratord_bench::client::Client;
use orchestratord_bench::daemon::{self, Daemon};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Engines of the pool.
pub(crate) const REPLICAS: usize = 2;

/// How long engines may outlive their daemon.
const FAREWELL: Duration = Duration::from_secs(10);

/// The pool, which goes with all that belongs to it.
pub(crate) struct Pool {
    // Ends before its folder goes.
    daemon: Option<Daemon>,
    undisturbed: Undisturbed,
    /// What that one has said so far.
    texts: HashMap<Request, String>,
    folder: PathBuf,
    slots: u32,
    addr: SocketAddr,
}

impl Pool {
    /// Starts everything; the engines of the pool may not be ready yet.
    pub(crate) fn start(slots: u32, waiting: usize) -> Result<Self, Failure> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let server = root.join("target/llamacpp/llama-server");
        if !server.exists() {
            return Err(Failure(
                "the real llama.cpp server is not installed: run `.ci/llamacpp` once".to_owned(),
            ));
        }
        let model = root.join("gpu/model/tales.gguf");
        let folder = std::env::temp_dir().join(format!("engine-storm-{}", std::process::id()));
        let writing = |error| Failure::new("writing the pool's settings", error);
        fs::create_dir_all(&folder).map_err(writing)?;
        let settings = folder.join("orchestratord.toml");
        fs::write(
            &settings,
            settings_of(&server, &model, &folder, slots, waiting),
        )
        .map_err(writing)?;
        let log = File::create(folder.join("log")).map_err(writing)?;
        let arguments = [
            format!("--config={}", settings.display()),
            format!("--runtime-dir={}", folder.join("engines").display()),
            "--handoff-watch-interval-ms=20".to_owned(),
        ];
        let undisturbed = Undisturbed::start(&server, &model)?;
        let data = folder.join("data");
        let daemon = Daemon::start_logging(log, "json", &data, &daemon::program()?, &arguments)?;
        let addr = daemon.addr;
        Ok(Self {
            daemon: Some(daemon),
            undisturbed,
            texts: HashMap::new(),
            folder,
            slots,
            addr,
        })
    }

    /// Where the daemon listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until every engine is ready.
    pub(crate) fn await_ready(&self) -> Result<(), Failure> {
        self.await_health("the pool's engines are not ready", is_ready)
    }

    /// Waits until nothing runs or waits any more, and every engine is ready for more.
    pub(crate) fn await_rest(&self) -> Result<(), Failure> {
        let slots = u64::from(self.slots) * REPLICAS as u64;
        self.await_health("slots are not free after the storm", |health| {
            let metrics = &health["metrics"];
            is_ready(health) && metrics["slots_free"] == slots && metrics["queue_depth"] == 0
        })
    }

    fn await_health(&self, otherwise: &str, holds: impl Fn(&Value) -> bool) -> Result<(), Failure> {
        let mut client = Client::connect(self.addr)?;
        let hopeless = Instant::now() + HANG;
        loop {
            let (_, health) = client.get("/v2/pools/storm/health")?;
            if holds(&health) {
                return Ok(());
            }
            if Instant::now() > hopeless {
                return Err(Failure(format!("{otherwise}: {health}")));
            }
            thread::sleep(PAUSE);
        }
    }

    /// How often an engine was started.
    pub(crate) fn lives(&self, replica: usize) -> usize {
        self.pids(replica).len()
    }

    /// Ends an engine as a machine that fails would.
    pub(crate) fn kill(&self, replica: usize) -> Result<(), Failure> {
        let pid = self.pids(replica).last().copied();
        let pid = pid.ok_or_else(|| Failure(format!("r{replica} was never started")))?;
        kill_process(pid, Signal::KILL).map_err(|error| Failure::new("killing an engine", error))
    }

    /// What an engine says that nobody disturbs, asked once.
    pub(crate) fn undisturbed_text(&mut self, request: Request) -> Result<String, Failure> {
        if let Some(text) = self.texts.get(&request) {
            return Ok(text.clone());
        }
        let text = self.undisturbed.text(request)?;
        self.texts.insert(request, text.clone());
        Ok(text)
    }

    /// The tasks that the daemon's log says were tried again.
    pub(crate) fn retried(&self) -> Result<BTreeSet<String>, Failure> {
        let log = fs::read_to_string(self.folder.join("log"));
        let log = log.map_err(|error| Failure::new("reading the daemon's log", error))?;
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let retries = lines.filter(|line: &Value| line["event"] == "retry");
        Ok(retries
            .filter_map(|line| line["job_id"].as_str().map(str::to_owned))
            .collect())
    }

    /// Stops the daemon; the engines that are there all the same after a while. The kernel, which ends those
    /// that the daemon leaves, may take a moment.
    pub(crate) fn stop(&mut self) -> Vec<Pid> {
        self.daemon = None;
        let hopeless = Instant::now() + FAREWELL;
        loop {
            let started = (0..REPLICAS).flat_map(|replica| self.pids(replica));
            let left: Vec<_> = started.filter(|pid| is_server(*pid)).collect();
            if left.is_empty() || Instant::now() > hopeless {
                return left;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Each engine of that name so far, the oldest first.
    fn pids(&self, replica: usize) -> Vec<Pid> {
        let path = self.folder.join(format!("r{replica}.pids"));
        let lines = fs::read_to_string(path).unwrap_or_default();
        let numbers = lines.lines().filter_map(|line| line.parse().ok());
        numbers.filter_map(Pid::from_raw).collect()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.daemon = None;
        // What can't be removed lies in a folder for what is temporary.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn is_ready(health: &Value) -> bool {
    let replicas = health["replicas"].as_array().map_or(&[][..], Vec::as_slice);
    replicas.len() == REPLICAS && replicas.iter().all(|replica| replica["state"] == "ready")
}

/// Whether the process is one of our servers, and not somebody who has got its number since.
fn is_server(pid: Pid) -> bool {
    let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
    let command = command.unwrap_or_default();
    String::from_utf8_lossy(&command).contains("llama-server")
}

/// Engines write down who they are before they become llama.cpp. Each computes with one thread: what it says is
/// then the same whoever shares its batch and its cache, which the storm itself shows, and no thread spins
/// while it waits for another on a machine that is busy.
fn settings_of(server: &Path, model: &Path, folder: &Path, slots: u32, waiting: usize) -> String {
    let (server, model, folder) = (server.display(), model.display(), folder.display());
    let script = format!(
        "echo $$ >> '{folder}/{{replica}}.pids'; exec '{server}' --host {{host}} --port {{port}} \
         --model '{model}' --parallel {{slots}} --threads 1 --metrics"
    );
    format!(
        "[[pool]]\nid = \"storm\"\nengine = \"llamacpp\"\nmodel = \"tales\"\n\
         replicas = {REPLICAS}\nslots = {slots}\nadmission_capacity = {waiting}\n\
         command = [\"sh\", \"-c\", \"{script}\"]\n"
    )
}

/// A server that does one thing at a time and is not killed.
struct Undisturbed {
    child: Child,
    addr: SocketAddr,
}

impl Undisturbed {
    fn start(server: &Path, model: &Path) -> Result<Self, Failure> {
        let starting = |error| Failure::new("starting a llama.cpp server", error);
        let mut child = Command::new(server)
            .args(["--port", "0", "--parallel", "1", "--threads", "1"])
            .arg("--model")
            .arg(model)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(starting)?;
        let stdout = child.stdout.take().expect("it was asked for");
        // Ended when it is dropped, also if it does not say where it listens.
        let mut undisturbed = Self {
            child,
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let mut said = String::new();
        let read = BufReader::new(stdout).read_line(&mut said);
        read.map_err(starting)?;
        let addr = said.split("http://").nth(1);
        let addr = addr.and_then(|addr| addr.trim().parse().ok());
        undisturbed.addr = addr.ok_or_else(|| {
            Failure("a llama.cpp server does not say where it listens".to_owned())
        })?;
        Ok(undisturbed)
    }

    /// Over a connection of its own: llama.cpp closes one that is idle.
    fn text(&self, request: Request) -> Result<String, Failure> {
        let question = request.question().to_string();
        let (status, answer) =
            Client::connect(self.addr)?.post("/completion", question.as_bytes())?;
        match (status, answer["content"].as_str()) {
            (200, Some(text)) => Ok(text.to_owned()),
            _ => Err(Failure(format!("llama.cpp answers {status}: {answer}"))),
        }
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
