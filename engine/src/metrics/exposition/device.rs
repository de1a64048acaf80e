//! What a scraper is told of the devices that replicas run on.

use super::{Page, each_replica};
use crate::shared::{device::Device, snapshot::Snapshot};

/// How busy and how full they are. A device that several replicas share is told under each.
pub(super) fn devices(page: &mut Page, snapshot: &Snapshot, devices: &[Device]) {
    let help = "The share of the last moments in which a device computed, from 0 to 1.";
    family(page, "gpu_utilization", help, snapshot, devices, |device| {
        device.utilization
    });
    let help = "Bytes of a device's memory that programs hold.";
    family(page, "vram_used_bytes", help, snapshot, devices, |device| {
        #[expect(
            clippy::cast_precision_loss,
            reason = "the formats know doubles only, and memories of devices are far below 2^53 bytes"
        )]
        device.memory.map(|memory| memory.used_bytes as f64)
    });
}

fn family(
    page: &mut Page,
    name: &str,
    help: &str,
    snapshot: &Snapshot,
    devices: &[Device],
    value: impl Fn(&Device) -> Option<f64>,
) {
    page.family(name, "gauge", help, |family| {
        for (labels, replica) in each_replica(snapshot) {
            for device in devices
                .iter()
                .filter(|device| replica.runs_on(device.number))
            {
                if let Some(value) = value(device) {
                    let number = device.number;
                    family.state(format!("{name}{{{labels},device=\"{number}\"}}"), value);
                }
            }
        }
    });
}
