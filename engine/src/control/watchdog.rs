//! Looks whether the shards turn, and says so when one does not.
//!
//! A shard that stands still serves none of its connections, and the kernel goes on giving it new ones; from
//! outside that looks like a slow network. So this thread, which needs no shard, reads each one's count of
//! turns. What a stall means is `sched`'s business ([`pulse`](orchestratord_sched::pulse)); what the thread was doing, the
//! kernel's ([`Doing`]).

use std::{fs, io, sync::Arc, thread, time::Duration};

use orchestratord_sched::{
    ShardId,
    pulse::{News, Patience, Pulse},
};
use rustix::thread::Pid;

use crate::{
    logs, panics,
    shared::{Shared, stage::Stage, turning::Turning},
};

/// Starts the thread.
///
/// # Errors
///
/// When the machine gives no more threads.
pub fn spawn(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    panics::spawn_vital("watchdog", move || watch(&shared)).map(drop)
}

fn watch(shared: &Shared) {
    let now = shared.clock.now();
    let pulse = |shard: &Turning| Pulse::new(now, shard.turns());
    let mut pulses: Vec<_> = shared.turning.iter().map(|shard| pulse(shard)).collect();
    while shared.stages.now() != Stage::Gone {
        let patience = shared.limits().timeouts.shard_stall;
        thread::sleep(patience.interval());
        for (id, pulse) in pulses.iter_mut().enumerate() {
            look(shared, ShardId(id), pulse, patience);
        }
    }
}

fn look(shared: &Shared, id: ShardId, pulse: &mut Pulse, patience: Patience) {
    let shard = &shared.turning[id.0];
    let news = pulse.look(shared.clock.now(), shard.turns(), patience);
    shard.note(pulse.stalled_for());
    match news {
        Some(News::Stalled(still)) => {
            shard.stalls.increment();
            let doing = shard.thread().map(Doing::of).unwrap_or_default();
            logs::shard_stalled(id, still, &doing);
        }
        Some(News::Turns(after)) => logs::shard_turns(id, after),
        None => {}
    }
}

/// What the kernel tells of a thread that stands still; what it does not tell this user is absent (proc(5)).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Doing {
    /// `R` computes or wants to, `S` and `D` wait in the kernel, `T` and `t` are stopped.
    pub state: Option<char>,
    /// How long it has computed in all.
    pub computed: Option<Duration>,
    /// The function of the kernel that it waits in.
    pub wait_channel: Option<String>,
    /// The number and the arguments of its system call.
    pub system_call: Option<String>,
    /// The kernel's part of its stack, the innermost first.
    pub stack: Option<String>,
}

impl Doing {
    fn of(thread: Pid) -> Self {
        let told = |what: &str| {
            let path = format!("/proc/self/task/{}/{what}", thread.as_raw_nonzero());
            let told = fs::read_to_string(path).ok()?;
            let told = told.trim();
            (!told.is_empty() && told != "0").then(|| told.replace('\n', " < "))
        };
        let stat = told("stat");
        Self {
            state: stat.as_deref().and_then(state),
            computed: stat.as_deref().and_then(computed),
            wait_channel: told("wchan"),
            system_call: told("syscall"),
            stack: told("stack"),
        }
    }
}

/// The fields after the name, which may hold anything, spaces and parentheses too.
fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(") ")?.1.split(' '))
}

fn state(stat: &str) -> Option<char> {
    fields(stat)?.next()?.chars().next()
}

/// In user mode and in the kernel, in ticks of which Linux has a hundred a second on every machine that we know.
fn computed(stat: &str) -> Option<Duration> {
    const TICK_MS: u64 = 10;
    let mut ticks = fields(stat)?.skip(11).map(|ticks| ticks.parse::<u64>());
    let ticks = ticks.next()?.ok()? + ticks.next()?.ok()?;
    Some(Duration::from_millis(ticks * TICK_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_told_by_the_kernel_whatever_its_name() {
        let stat = "42 (a) b (c) R 1 42 42 0 -1 4194560 92 0 0 0 7 5 0 0 20 0 1 0 100";
        assert_eq!(state(stat), Some('R'));
        assert_eq!(computed(stat), Some(Duration::from_millis(120)));
        assert_eq!(state("42 (cut"), None);
    }

    #[test]
    fn this_thread_computes() {
        let doing = Doing::of(rustix::thread::gettid());
        assert_eq!(doing.state, Some('R'));
    }
}
