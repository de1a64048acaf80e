//! Which devices have failed, and which replicas run on them.
//!
//! A device has failed if its driver says that it is lost or that it must be reset, or if its memory has
//! lately met errors that it could not correct. A count of such errors stands until the device is reset,
//! and a device that has repaired itself is worth its tasks again: so what counts is that it grows.
//!
//! A look that tells nothing of a device judges nothing: what is not known has not changed.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use nvml_wrapper::error::NvmlError;

use crate::shared::{Shared, device::Device, readiness};

/// How long a device counts as failed after its memory's last error.
const ERRORS_REST: Duration = Duration::from_secs(60);

/// The devices that have failed, each with why.
#[derive(Default)]
pub struct Failures {
    failed: BTreeMap<u32, String>,
    errors: HashMap<u32, Errors>,
}

/// The errors of a device's memory.
#[derive(Clone, Copy)]
struct Errors {
    count: u64,
    grew_at: Option<Duration>,
}

impl Failures {
    /// Judges what a look has shown, in the order of the devices' numbers.
    pub fn judge(&mut self, now: Duration, looks: &[Result<Device, NvmlError>]) {
        self.failed = (0..)
            .zip(looks)
            .filter_map(|(number, look)| Some((number, self.failure(now, number, look)?)))
            .collect();
    }

    fn failure(
        &mut self,
        now: Duration,
        number: u32,
        look: &Result<Device, NvmlError>,
    ) -> Option<String> {
        let count = match look {
            Ok(device) => device.memory_errors?,
            Err(error @ (NvmlError::GpuLost | NvmlError::ResetRequired)) => {
                return Some(error.to_string());
            }
            // This tells nothing of the device.
            Err(_) => return self.failed.get(&number).cloned(),
        };
        let before = self.errors.get(&number);
        let grew_at = match before {
            Some(before) if before.count < count => Some(now),
            // It was reset, and counts anew.
            Some(before) if before.count > count => None,
            Some(before) => before.grew_at,
            // What has happened before the first look may be long ago.
            None => None,
        };
        self.errors.insert(number, Errors { count, grew_at });
        let is_recent = |grew_at| now.saturating_sub(grew_at) < ERRORS_REST;
        grew_at
            .is_some_and(is_recent)
            .then(|| format!("its memory has met errors that it could not correct, {count} by now"))
    }

    /// Tells the replicas, whether anything has changed or not: they may be new, or have come back
    /// meanwhile.
    pub fn tell(&self, shared: &Shared) {
        for pool in &shared.pools().pools {
            for (place, replica) in pool.replicas.iter() {
                let mut failed = self.failed.iter();
                let failure = failed
                    .find(|(number, _)| replica.runs_on(**number))
                    .map(|(number, why)| format!("its device {number} has failed: {why}"));
                readiness::judge_devices(shared, pool, place, failure);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn counting(memory_errors: Option<u64>) -> Result<Device, NvmlError> {
        Ok(Device {
            number: 0,
            name: None,
            utilization: None,
            memory: None,
            memory_errors,
            processes: None,
        })
    }

    fn has_failed(failures: &mut Failures, now: Duration, look: Result<Device, NvmlError>) -> bool {
        failures.judge(now, &[look]);
        !failures.failed.is_empty()
    }

    #[test]
    fn a_device_whose_errors_grow_has_failed_until_they_have_rested() {
        let failures = &mut Failures::default();
        assert!(!has_failed(failures, SECOND, counting(Some(7))));
        assert!(!has_failed(failures, 2 * SECOND, counting(Some(7))));
        let grew_at = 3 * SECOND;
        assert!(has_failed(failures, grew_at, counting(Some(8))));
        let rested = grew_at + ERRORS_REST;
        assert!(has_failed(failures, rested - SECOND, counting(Some(8))));
        assert!(!has_failed(failures, rested, counting(Some(8))));
    }

    #[test]
    fn a_device_that_was_reset_is_well() {
        let failures = &mut Failures::default();
        assert!(!has_failed(failures, SECOND, counting(Some(7))));
        assert!(has_failed(failures, 2 * SECOND, counting(Some(9))));
        assert!(!has_failed(failures, 3 * SECOND, counting(Some(0))));
    }

    #[test]
    fn only_what_the_driver_says_of_the_device_is_its_failure() {
        let failures = &mut Failures::default();
        assert!(!has_failed(failures, SECOND, counting(None)));
        assert!(!has_failed(failures, SECOND, Err(NvmlError::Unknown)));
        assert!(has_failed(failures, SECOND, Err(NvmlError::ResetRequired)));
        assert!(has_failed(failures, SECOND, Err(NvmlError::GpuLost)));
        assert!(has_failed(failures, SECOND, Err(NvmlError::Unknown)));
        assert!(!has_failed(failures, SECOND, counting(None)));
    }
}
