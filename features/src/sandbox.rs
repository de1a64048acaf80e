//! What a container runtime may forbid, forbidden to the calling thread and to whatever it starts.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// `io_uring_setup`: the same number on every architecture (Linux, include/uapi/asm-generic/unistd.h).
const IO_URING_SETUP: i64 = 425;

/// What the default profiles of container runtimes answer.
const EPERM: u32 = 1;

/// Has the kernel refuse every new ring with `EPERM`.
pub(crate) fn forbid_io_uring() -> Result<(), String> {
    let arch = ARCH
        .try_into()
        .map_err(|error| format!("no filter for {ARCH}: {error}"))?;
    let always = Vec::new();
    let filter = SeccompFilter::new(
        BTreeMap::from([(IO_URING_SETUP, always)]),
        SeccompAction::Allow,
        SeccompAction::Errno(EPERM),
        arch,
    );
    let program: BpfProgram = filter
        .and_then(TryInto::try_into)
        .map_err(|error| error.to_string())?;
    apply_filter(&program).map_err(|error| error.to_string())
}
