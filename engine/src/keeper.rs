//! Starting a program so that it does not outlive us.
//!
//! The kernel ends a process when its parent does, if the process asks for that itself
//! (`PR_SET_PDEATHSIG`, prctl(2)). Engines don't. So the daemon starts itself once more, with a hidden
//! command that asks, and then becomes the engine (execve(2) keeps the wish). The rule is tied to the
//! *thread* that started it: that thread must live as long as the engine.

use std::{
    env, io,
    os::unix::process::CommandExt as _,
    process::{self, Command},
};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// The hidden command.
pub const COMMAND: &str = "become-engine";

/// A command that becomes the program of these words, in a process group of its own.
///
/// # Errors
///
/// When our own program can't be found any more.
pub fn command(words: &[String]) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg(COMMAND)
        .arg(process::id().to_string())
        .arg("--")
        .args(words)
        .process_group(0);
    Ok(command)
}

/// What the hidden command does: becomes the program, to end with `parent`. Returns only if it could not.
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
