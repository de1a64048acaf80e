//! The keeper of an engine: a small process between the daemon and the engine, so that nothing that
//! the engine has started outlives the daemon, however the daemon ends.
//!
//! ```text
//!   daemon ──pipe──► keeper ──► engine ──► its workers, and theirs
//! ```
//!
//! The keeper hears of three things, and sleeps in between:
//!
//! - Its standard input has ended: the daemon wants the engine to end, or is dead. Whatever descends
//!   from the keeper is asked to end (SIGTERM), and after a grace it is made to (SIGKILL).
//! - Somebody asks the keeper itself to end. It does the same.
//! - The engine has ended. What it has left behind goes the same way, and the keeper ends as the engine
//!   did: with its status, or by its signal.
//!
//! A process that loses its parent becomes a child of the keeper (`PR_SET_CHILD_SUBREAPER`, prctl(2)),
//! even in a process group or session of its own. So the family is whatever descends from the keeper,
//! and it is gone when the keeper has no children.
//!
//! A keeper that is killed can do nothing any more. Then the kernel ends the engine, which has asked for
//! that (`PR_SET_PDEATHSIG`; engines don't, so our program asks and then becomes the engine, and execve(2)
//! keeps the wish), and the daemon ends whatever is left in the keeper's process group. Only what has
//! left that group survives, and only if it has lost its parent too.

use std::{
    env, fs, io,
    os::unix::{
        net::UnixStream,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{self, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{
        Pid, Resource, Rlimit, Signal, WaitOptions, getpid, getppid, kill_process,
        set_child_subreaper, set_parent_process_death_signal, setrlimit, wait,
    },
};
use signal_hook::{
    consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM},
    low_level::{emulate_default_handler, pipe},
};

use crate::api::whole_ms;

/// The hidden command that keeps an engine.
pub const KEEP: &str = "keep-engine";
/// The hidden command that becomes one.
pub const BECOME: &str = "become-engine";
/// How long a family may take to be gone after SIGKILL: the kernel frees its memory and its devices.
pub const LAST_GRACE: Duration = Duration::from_secs(5);
/// How often SIGKILL is sent to whoever was born meanwhile.
const KILL_INTERVAL: Duration = Duration::from_millis(10);

/// A command that keeps the program of these words, in a process group of its own, until its standard
/// input ends. What it has started may then take so long to follow SIGTERM.
///
/// # Errors
///
/// When our own program can't be found any more.
pub fn command(words: &[String], grace: Duration) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg(KEEP)
        .arg(whole_ms(grace).to_string())
        .arg("--")
        .args(words)
        .stdin(Stdio::piped())
        .process_group(0);
    Ok(command)
}

/// What [`KEEP`] does. Returns how the engine has ended, when all of its family has.
///
/// # Errors
///
/// When the engine can't be started.
pub fn keep(words: &[String], grace: Duration) -> io::Result<ExitStatus> {
    // Before the engine is there: what it leaves must come to us.
    set_child_subreaper(Some(getpid()))?;
    let family = Family::start(words)?;
    family.keep(grace)
}

/// What [`BECOME`] does: becomes the program, to end with `parent`. Returns only if it could not.
pub fn become_engine(parent: i32, words: &[String]) -> io::Error {
    let Some((program, arguments)) = words.split_first() else {
        return io::ErrorKind::InvalidInput.into();
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // It may have died before we asked; then nobody would tell.
    if getppid() != Pid::from_raw(parent) {
        return io::ErrorKind::BrokenPipe.into();
    }
    Command::new(program).args(arguments).exec()
}

/// Ends this process as the engine has ended, so that whoever waits for us learns how.
pub fn end_as(status: ExitStatus) -> ! {
    if let Some(signal) = status.signal() {
        // The engine has left its core, if it was to; ours would say nothing.
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        let _ = setrlimit(Resource::Core, none);
        let _ = emulate_default_handler(signal);
    }
    process::exit(status.code().unwrap_or(1))
}

/// An engine and what descends from it.
struct Family {
    engine: Pid,
    /// Readable when a child has ended.
    children: UnixStream,
    /// Readable when somebody asks us to end.
    asked: UnixStream,
}

impl Family {
    fn start(words: &[String]) -> io::Result<Self> {
        let children = on(&[SIGCHLD])?;
        let asked = on(&[SIGTERM, SIGINT, SIGHUP])?;
        let engine = Command::new(env::current_exe()?)
            .arg(BECOME)
            .arg(process::id().to_string())
            .arg("--")
            .args(words)
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self {
            engine: Pid::from_child(&engine),
            children,
            asked,
        })
    }

    fn keep(mut self, grace: Duration) -> io::Result<ExitStatus> {
        let mut status = None;
        while !self.reap(&mut status) && status.is_none() && !self.is_unwanted()? {}
        signal_descendants(Signal::TERM);
        let term = Instant::now();
        while !self.reap(&mut status) && term.elapsed() < grace {
            self.await_child(grace.saturating_sub(term.elapsed()))?;
        }
        let kill = Instant::now();
        while !self.reap(&mut status) && kill.elapsed() < LAST_GRACE {
            signal_descendants(Signal::KILL);
            self.await_child(KILL_INTERVAL)?;
        }
        status.ok_or_else(|| io::Error::other("it does not end"))
    }

    /// Takes note of the children that have ended, the engine's status among them. Whether none is left,
    /// and so no descendant.
    fn reap(&self, status: &mut Option<ExitStatus>) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, ended))) if pid == self.engine => {
                    *status = Some(ExitStatus::from_raw(ended.as_raw()));
                }
                Ok(Some(_)) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    /// Sleeps until something has happened; whether it is that nobody wants the engine any more.
    fn is_unwanted(&mut self) -> io::Result<bool> {
        let stdin = io::stdin();
        // Nothing is ever written to our input: whatever happens to it is its end.
        let mut events = [
            PollFd::new(&stdin, PollFlags::IN),
            PollFd::new(&self.asked, PollFlags::IN),
            PollFd::new(&self.children, PollFlags::IN),
        ];
        sleep(&mut events, None)?;
        let happened = |event: &PollFd<'_>| !event.revents().is_empty();
        let is_unwanted = events[..2].iter().any(happened);
        drain(&self.children);
        Ok(is_unwanted)
    }

    /// Sleeps until a child has ended, at most so long.
    fn await_child(&self, limit: Duration) -> io::Result<()> {
        let mut events = [PollFd::new(&self.children, PollFlags::IN)];
        sleep(&mut events, Some(limit))?;
        drain(&self.children);
        Ok(())
    }
}

/// What is readable when one of these signals has come.
fn on(signals: &[i32]) -> io::Result<UnixStream> {
    let (come, comes) = UnixStream::pair()?;
    come.set_nonblocking(true)?;
    for signal in signals {
        pipe::register(*signal, comes.try_clone()?)?;
    }
    Ok(come)
}

fn drain(mut signals: &UnixStream) {
    let mut buffer = [0; 64];
    while let Ok(1..) = io::Read::read(&mut signals, &mut buffer) {}
}

fn sleep(events: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<()> {
    let limit = limit.map(Timespec::try_from).transpose();
    let limit = limit.map_err(|_| io::ErrorKind::InvalidInput)?;
    match poll(events, limit.as_ref()) {
        // A signal is what we wait for.
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn signal_descendants(signal: Signal) {
    for pid in descendants(getpid()) {
        // An error means that it has ended meanwhile, or is not ours to end.
        let _ = kill_process(pid, signal);
    }
}

/// All that descend from this process, parents before their children.
fn descendants(of: Pid) -> Vec<Pid> {
    let parents = parents();
    let mut found = vec![of];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = parents.iter().filter(|(_, its)| *its == parent);
        found.extend(children.map(|(child, _)| *child));
        next += 1;
    }
    found.split_off(1)
}

/// Every process and its parent (proc_pid_stat(5)).
fn parents() -> Vec<(Pid, Pid)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pid = |text: &str| Pid::from_raw(text.parse().ok()?);
    let parent = |entry: fs::DirEntry| {
        let child = pid(entry.file_name().to_str()?)?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // A program may be called anything, with parentheses and blanks.
        let (_, fields) = stat.rsplit_once(')')?;
        Some((child, pid(fields.split_whitespace().nth(1)?)?))
    };
    entries.flatten().filter_map(parent).collect()
}
