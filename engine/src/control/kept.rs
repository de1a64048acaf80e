//! An engine's process as the daemon holds it: by the keeper that stands between them
//! ([`crate::keeper`]).

use std::{
    io::{self, PipeWriter},
    process::{Child, ExitStatus},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::launch::{self, Launch};
use crate::keeper;

/// How often it is looked whether a keeper that was told to end has ended.
const TICK: Duration = Duration::from_millis(20);

/// An engine that was started. It ends when this is let go of, whether or not anybody waits for that.
pub struct Kept {
    keeper: Child,
    /// How long the engine may take to follow SIGTERM.
    grace: Duration,
}

impl Kept {
    /// Starts it; it may print there, and take so long to follow SIGTERM.
    ///
    /// # Errors
    ///
    /// When the machine gives no process.
    pub fn start(launch: &Launch<'_>, grace: Duration, print: PipeWriter) -> io::Result<Self> {
        let mut keeper = keeper::command(&launch.words, grace)?;
        launch::kept_back().for_each(|name| _ = keeper.env_remove(name));
        keeper.envs(launch.environment());
        let keeper = keeper.stdout(print.try_clone()?).stderr(print);
        let keeper = keeper.spawn()?;
        Ok(Self { keeper, grace })
    }

    /// How the engine has ended, if it has and all that it had started.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let Self { keeper, .. } = self;
        let pid = Pid::from_child(keeper);
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(pid), options) {
            Ok(None) => return None,
            // A keeper that was killed has ended nobody. Its id is its own until it is waited for.
            Ok(Some(_)) => _ = kill_process_group(pid, Signal::KILL),
            // It was waited for already.
            Err(_) => {}
        }
        keeper.wait().ok()
    }

    /// Ends it, and waits until it has ended.
    pub fn end(mut self) {
        drop(self.keeper.stdin.take());
        let patience = self.grace + keeper::LAST_GRACE + keeper::LAST_GRACE;
        let ticks = patience.as_millis() / TICK.as_millis();
        for _ in 0..ticks {
            if self.ended().is_some() {
                return;
            }
            thread::sleep(TICK);
        }
        // The keeper does not keep: it was stopped, or its machine has no air. The kernel ends the engine.
        let _ = kill_process_group(Pid::from_child(&self.keeper), Signal::KILL);
        let _ = self.keeper.wait();
    }
}
