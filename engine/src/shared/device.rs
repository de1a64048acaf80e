//! The devices of this machine, as their driver told last.
//!
//! One thread looks ([`crate::control::device`]); everybody reads what it saw. A look that is older than
//! [`FRESH`] is not told: a driver that hangs answers nothing, and yesterday's number is worse than none.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

/// How long a look counts: several times the interval between two, so that a slow one is no gap.
const FRESH: Duration = Duration::from_secs(10);

/// What a device is doing. What its driver does not tell of it is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Its number, as its driver counts.
    pub number: u32,
    /// What it is.
    pub name: Option<String>,
    /// The share of the last moments in which it computed, from 0 to 1.
    pub utilization: Option<f64>,
    /// Its memory.
    pub memory: Option<Memory>,
    /// Errors of its memory that could not be corrected, since its driver was started.
    pub memory_errors: Option<u64>,
    /// The programs that compute on it, those that hold most of its memory first.
    pub processes: Option<Vec<Process>>,
}

/// A program that computes on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id on this machine.
    pub pid: u32,
    /// What it holds of the device's memory.
    pub used_bytes: Option<u64>,
}

/// The memory of a device. Some of it may be neither used nor free, but its driver's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total_bytes: u64,
    /// What programs hold.
    pub used_bytes: u64,
    /// What programs may still have.
    pub free_bytes: u64,
}

/// What was seen last.
#[derive(Debug, Default)]
pub struct Devices(ArcSwap<Look>);

#[derive(Debug, Default)]
struct Look {
    at: Duration,
    devices: Arc<[Device]>,
}

impl Devices {
    /// What was seen at `at`, of the devices that answered.
    pub fn publish(&self, at: Duration, devices: Vec<Device>) {
        let devices = devices.into();
        self.0.store(Arc::new(Look { at, devices }));
    }

    /// The devices that answered lately; none if nobody has looked lately.
    pub fn fresh(&self, now: Duration) -> Arc<[Device]> {
        let look = self.0.load();
        if now.saturating_sub(look.at) > FRESH {
            return Arc::default();
        }
        Arc::clone(&look.devices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_long_ago_is_not_told() {
        let device = Device {
            number: 0,
            name: None,
            utilization: Some(0.5),
            memory: None,
            memory_errors: None,
            processes: None,
        };
        let devices = Devices::default();
        let at = Duration::from_secs(100);
        devices.publish(at, vec![device.clone()]);
        assert_eq!(*devices.fresh(at + FRESH), [device]);
        assert!(
            devices
                .fresh(at + FRESH + Duration::from_nanos(1))
                .is_empty()
        );
    }
}
