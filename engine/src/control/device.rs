//! Looking at the devices of this machine: how busy they are, how full, and whether they still answer.
//!
//! NVIDIA's driver brings a library that tells (NVML), found when the daemon runs and not when it is
//! built. Where there is none, or no driver behind it, nothing is told and nothing is missing; it is looked
//! for again, because drivers are installed and restarted under running programs. A thread of its own
//! asks, because a driver may take its time, and a broken one for ever.
//!
//! A device that has fallen off its bus is left out of what is published, and the log says so once. What
//! runs on a device that has failed gets no more tasks ([`failure`]).

pub mod failure;

use std::{cmp::Reverse, collections::BTreeSet, io, sync::Arc, thread, time::Duration};

use nvml_wrapper::{
    Nvml,
    enum_wrappers::device::{EccCounter, MemoryError},
    enums::device::UsedGpuMemory,
    error::NvmlError,
    struct_wrappers::device::ProcessInfo,
};

use self::failure::Failures;
use crate::{
    logs, panics,
    shared::{
        Shared,
        device::{Device, Memory, Process},
        stage::Stage,
    },
};

/// How often devices are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often a driver is looked for that was not there.
const ABSENT_INTERVAL: Duration = Duration::from_secs(30);
/// Devices of one machine: as many as a [`orchestratord_sched::DeviceMask`] can name.
const DEVICES_MAX: u32 = 64;
/// Programs of a device that are told: more than share one to any purpose.
const PROCESSES_MAX: usize = 64;

/// Starts the thread.
///
/// # Errors
///
/// When the machine gives no more threads.
pub fn spawn(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    panics::spawn_vital("devices", move || watch(&shared)).map(drop)
}

fn watch(shared: &Shared) {
    let mut driver = None;
    let mut told = Told::default();
    let mut failures = Failures::default();
    while shared.stages.now() != Stage::Gone {
        let (seen, rest) = match look(driver.take()) {
            Ok((nvml, looks)) => {
                driver = Some(nvml);
                told.devices(&looks);
                failures.judge(shared.clock.elapsed(), &looks);
                (looks.into_iter().flatten().collect(), INTERVAL)
            }
            Err(error) => {
                told.driver(&error);
                (Vec::new(), ABSENT_INTERVAL)
            }
        };
        shared.devices.publish(shared.clock.elapsed(), seen);
        failures.tell(shared);
        thread::sleep(rest);
    }
}

/// Each device in the order of their numbers, or why it does not answer. The driver is asked for if
/// none was there, and given up when it tells of no device at all.
fn look(driver: Option<Nvml>) -> Result<(Nvml, Vec<Result<Device, NvmlError>>), NvmlError> {
    let nvml = driver.map_or_else(Nvml::init, Ok)?;
    let count = nvml.device_count()?.min(DEVICES_MAX);
    let looks = (0..count).map(|number| device(&nvml, number)).collect();
    Ok((nvml, looks))
}

fn device(nvml: &Nvml, number: u32) -> Result<Device, NvmlError> {
    let device = nvml.device_by_index(number)?;
    let memory = if_told(device.memory_info())?;
    let utilization = if_told(device.utilization_rates())?;
    let errors = device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile);
    Ok(Device {
        number,
        name: if_told(device.name())?,
        utilization: utilization.map(|rates| f64::from(rates.gpu.min(100)) / 100.0),
        memory: memory.map(|memory| Memory {
            total_bytes: memory.total,
            used_bytes: memory.used,
            free_bytes: memory.free,
        }),
        memory_errors: if_told(errors)?,
        processes: if_told(device.running_compute_processes())?.map(greatest),
    })
}

/// The programs that hold most memory, those first.
fn greatest(processes: Vec<ProcessInfo>) -> Vec<Process> {
    let process = |process: ProcessInfo| Process {
        pid: process.pid,
        used_bytes: match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        },
    };
    let mut processes: Vec<_> = processes.into_iter().map(process).collect();
    processes.sort_by_key(|process| (Reverse(process.used_bytes), process.pid));
    processes.truncate(PROCESSES_MAX);
    processes
}

/// Not every device can tell everything, and not every driver knows every question.
fn if_told<T>(answer: Result<T, NvmlError>) -> Result<Option<T>, NvmlError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(
            NvmlError::NotSupported
            | NvmlError::NoPermission
            | NvmlError::FunctionNotFound
            | NvmlError::FailedToLoadSymbol(_),
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the log has been told, so that it is told once.
#[derive(Default)]
struct Told {
    /// Why the driver can't be asked.
    driver: Option<String>,
    /// Devices that do not answer.
    lost: BTreeSet<usize>,
}

impl Told {
    fn devices(&mut self, looks: &[Result<Device, NvmlError>]) {
        self.driver = None;
        for (number, look) in looks.iter().enumerate() {
            match look {
                Err(error) if self.lost.insert(number) => logs::device_lost(number, error),
                Ok(_) if self.lost.remove(&number) => logs::device_back(number),
                _ => {}
            }
        }
    }

    fn driver(&mut self, error: &NvmlError) {
        // A machine without NVIDIA's driver is as it should be.
        if matches!(error, NvmlError::LibloadingError(_)) {
            return;
        }
        let reason = error.to_string();
        if self.driver.as_ref() != Some(&reason) {
            logs::devices_unreadable(&reason);
            self.driver = Some(reason);
        }
    }
}
