//! One phase: the flooding caller and the modest one beside each other.

use super::crowd::{Crowd, Moments, Sending};
use super::seen::Seen;
use super::{Class, PLACES, SLOTS, memory};
use orchestratord_bench::Failure;
use orchestratord_bench::daemon::Daemon;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Callers at capacity: one for each place that one key can have in the queue, and for each slot, but for the few
/// that the modest caller has.
const AT_CAPACITY: u32 = PLACES / 2 + SLOTS - 3;
/// Callers of an overload: as many as can be let in, and so many that wait for nothing, so that no request is late
/// for want of a caller.
const OVERLOADED: u32 = SLOTS + PLACES + 48;
/// Tasks a second of the modest caller, about a fifth of what can be done; and how many it has at most, whatever the
/// machine has time for. That many find room however the other floods.
const MODEST_PER_S: f64 = 12.0;
const MODEST: u32 = 16;
const _: () = assert!(MODEST < (PLACES - MODEST) / 2);

/// The keys of the two callers.
pub(crate) struct Keys {
    pub(crate) flood: String,
    pub(crate) modest: String,
}

/// How much the flooding caller asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// As much as can be done.
    Capacity,
    /// So many tasks a second.
    Overload { per_s: f64 },
}

pub(crate) struct Phase<'p> {
    pub(crate) daemon: &'p Daemon,
    pub(crate) keys: &'p Keys,
    /// Of the flood.
    pub(crate) class: Class,
    pub(crate) length: Duration,
    pub(crate) seed: u64,
}

impl Phase<'_> {
    /// Runs until all that was sent has come to its end.
    pub(crate) fn run(&self, load: Load) -> Result<Seen, Failure> {
        let (flood_callers, flood) = match load {
            Load::Capacity => (AT_CAPACITY, Sending::OneAfterTheOther),
            Load::Overload { per_s } => (OVERLOADED, self.moments("flood", per_s)),
        };
        let began = Instant::now();
        let crowd = |key, class, sending| Crowd {
            addr: self.daemon.addr,
            key,
            class,
            sending,
            began,
            length: self.length,
        };
        let flood = crowd(&*self.keys.flood, self.class, flood);
        let often = self.moments("modest", MODEST_PER_S);
        let modest = crowd(&*self.keys.modest, Class::Interactive, often);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let memory = scope.spawn(|| memory::most_kib(self.daemon.pid(), &is_over));
            let flood = flood.call(scope, flood_callers);
            let modest = modest.call(scope, MODEST);
            let (flood, modest) = (flood.gather(), modest.gather());
            is_over.store(true, Relaxed);
            let memory = memory
                .join()
                .map_err(|_| Failure("a look broke".to_owned()))?;
            Ok(Seen::new(self.length, memory?, flood?, modest?))
        })
    }

    fn moments(&self, whose: &str, per_s: f64) -> Sending {
        Sending::At(Moments::drawn(self.seed, whose, per_s, self.length))
    }
}
