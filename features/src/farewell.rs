//! Processes whose scenarios are over. Each has a moment to follow SIGTERM, while the next scenario goes on: the kernel
//! takes longer to end a daemon than the daemon to answer.

use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::claim::within;

/// How long one may take.
const FAREWELL: Duration = Duration::from_secs(3);

static LEAVING: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// Ends a child of ours that nobody has waited for, with SIGTERM, and then with SIGKILL.
pub(crate) fn end(child: Pid) {
    // Errors here have no reader: the process is gone, or SIGKILL will see to it.
    let _ = kill_process(child, Signal::TERM);
    let leaving = thread::spawn(move || {
        let gone = || match waitpid(Some(child), WaitOptions::NOHANG) {
            Ok(None) => Err("still there".to_owned()),
            Ok(Some(_)) | Err(_) => Ok(()),
        };
        if within(FAREWELL, gone).is_err() {
            let _ = kill_process(child, Signal::KILL);
            let _ = waitpid(Some(child), WaitOptions::empty());
        }
    });
    let mut all = LEAVING.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|leaving| !leaving.is_finished());
    all.push(leaving);
}

/// Waits until all of them are gone.
pub(crate) fn all_gone() {
    let mut all = LEAVING.lock().unwrap_or_else(PoisonError::into_inner);
    for leaving in all.drain(..) {
        // A panic of it was told when it happened.
        let _ = leaving.join();
    }
}
