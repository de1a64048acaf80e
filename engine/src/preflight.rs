//! What the machine must offer before the daemon starts, and the exact remedy for each lack.
//!
//! Each check tries the thing itself rather than guessing from versions: a ring is made, a socket
//! is bound, a file is written. What the checks take hold of for the daemon's life (the lock on the
//! data directory) is in the [`Machine`] that they return.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
};

use glommio::{GlommioError, LocalExecutorBuilder, Placement};
use io_uring::{IoUring, Probe};
use rustix::{
    fs::{FlockOperation, flock},
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity},
};

use crate::settings::{Fixed, StartError};

/// What glommio asks of RLIMIT_MEMLOCK: rings and their registered buffers are locked memory.
const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;
/// Descriptors that the daemon itself needs besides its connections: rings, events, files, and those
/// of connections that are being refused.
const FILES_OWN: u64 = 64;
/// One in so many of the others is for calls to engines, and for connections on their way between shards,
/// which have two.
const FILES_FOR_CALLS_ONE_IN: u64 = 16;
/// Connections below which a gateway is of no use.
const CONNECTIONS_MIN: u64 = 180;

/// What was found on the machine and is held for the daemon's life.
pub struct Machine {
    /// Where to listen, with its port chosen.
    pub addr: SocketAddr,
    /// The processors that shards may be pinned to.
    pub cpus: Vec<usize>,
    /// Connections of clients at a time.
    pub connections_max: u64,
    /// Locked for as long as it is open.
    _data_dir: File,
}

/// Checks everything.
///
/// # Errors
///
/// The first lack, with its remedy.
pub fn check(settings: &Fixed) -> Result<Machine, StartError> {
    let connections_max = connections_max(file_limit(), settings.connections_max)?;
    memlock()?;
    io_uring()?;
    let data_dir = data_dir(&settings.data_dir)?;
    Ok(Machine {
        addr: port(settings.addr)?,
        cpus: cpus(),
        connections_max,
        _data_dir: data_dir,
    })
}

/// Raises the soft limit to the hard one: it protects programs that use select(2), and we don't.
fn file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    files.unwrap_or(u64::MAX)
}

/// Connections that so many files allow, or as many of them as are wanted.
fn connections_max(files: u64, wanted: Option<u64>) -> Result<u64, StartError> {
    const REMEDY: &str = "raise the limit: `ulimit -n 65536` in the shell, LimitNOFILE=65536 in a systemd unit, or \
         --ulimit nofile=65536 for a container";
    let others = files.saturating_sub(FILES_OWN);
    let allowed = others - others / FILES_FOR_CALLS_ONE_IN;
    if allowed < CONNECTIONS_MIN {
        let problem =
            format!("only {files} files may be open at a time, and every connection is one");
        return Err(StartError::new(problem, REMEDY));
    }
    match wanted {
        Some(wanted) if wanted > allowed => Err(StartError::new(
            format!("`connections_max` is {wanted}, and the file limit allows {allowed}"),
            format!("{REMEDY}; or give a smaller number"),
        )),
        wanted => Ok(wanted.unwrap_or(allowed)),
    }
}

fn memlock() -> Result<(), StartError> {
    match getrlimit(Resource::Memlock).current {
        Some(bytes) if bytes < MEMLOCK_BYTES_MIN => Err(memlock_too_low(bytes)),
        _ => Ok(()),
    }
}

fn memlock_too_low(bytes: u64) -> StartError {
    StartError::new(
        format!(
            "only {} KiB of memory may be locked, and io_uring needs {} KiB",
            bytes / 1024,
            MEMLOCK_BYTES_MIN / 1024
        ),
        "raise the limit: `ulimit -l 8192` in the shell, LimitMEMLOCK=8M in a systemd unit, or \
         --ulimit memlock=8388608 for a container",
    )
}

/// Makes the rings of one executor and throws them away; but first a plain one, because glommio
/// panics where there is no io_uring or none that can be probed.
fn io_uring() -> Result<(), StartError> {
    plain_ring().map_err(|error| no_io_uring(&error))?;
    match LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(0)
        .make()
    {
        Ok(_) => Ok(()),
        Err(GlommioError::IoError(error)) => Err(no_io_uring(&error)),
        Err(error) => Err(StartError::new(
            format!("io_uring does not work here: {error}"),
            "run on Linux 5.8 or newer with io_uring enabled",
        )),
    }
}

/// Probing came with Linux 5.6, as did the last of the operations that glommio uses (io_uring(7),
/// io_uring_register(2)).
fn plain_ring() -> io::Result<()> {
    let ring = IoUring::new(1)?;
    ring.submitter().register_probe(&mut Probe::new())
}

fn no_io_uring(error: &io::Error) -> StartError {
    let remedy = match error.kind() {
        ErrorKind::PermissionDenied => {
            "allow it: in a container, use a seccomp profile that permits io_uring_setup, \
             io_uring_enter and io_uring_register (docker run --security-opt \
             seccomp=PROFILE.json; in Kubernetes securityContext.seccompProfile); on the host, set \
             `sysctl kernel.io_uring_disabled=0`"
        }
        ErrorKind::Unsupported => {
            "run on Linux 5.8 or newer; in a sandbox such as gVisor, which has no io_uring, choose \
             another runtime class"
        }
        ErrorKind::OutOfMemory => {
            "raise the limit of locked memory: `ulimit -l 8192`, LimitMEMLOCK=8M, or \
             --ulimit memlock=8388608 for a container"
        }
        _ => "run `sysctl kernel.io_uring_disabled` (it must be 0) on Linux 5.8 or newer",
    };
    StartError::new(format!("io_uring is not available: {error}"), remedy)
}

/// Takes the directory for this daemon alone.
fn data_dir(dir: &Path) -> Result<File, StartError> {
    let shown = dir.display();
    let unusable = |error: io::Error| {
        StartError::new(
            format!("the data directory {shown} can't be used: {error}"),
            "name a directory that this user can write to with --data-dir, or mend its owner and \
             mode",
        )
    };
    fs::create_dir_all(dir).map_err(unusable)?;
    let mut lock = File::options()
        .create(true)
        .append(true)
        .open(dir.join("lock"))
        .map_err(unusable)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        StartError::new(
            format!("another orchestratord uses the data directory {shown}"),
            "stop the other one, or name another directory with --data-dir",
        )
    })?;
    // A full disk is found out now and not at the first task.
    lock.set_len(0)
        .and_then(|()| writeln!(lock, "{}", std::process::id()))
        .map_err(unusable)?;
    Ok(lock)
}

/// Binds the address alone: shards share it with each other, and would share it with a stranger's
/// daemon too (`SO_REUSEPORT`), so that is found out before.
fn port(addr: SocketAddr) -> Result<SocketAddr, StartError> {
    TcpListener::bind(addr)
        .and_then(|listener| listener.local_addr())
        .map_err(|error| {
            let remedy = match error.kind() {
                ErrorKind::AddrInUse => format!(
                    "stop what listens there (`ss -ltnp 'sport = :{}'` names it), or choose \
                     another port with --addr {}:PORT; port 0 takes a free one",
                    addr.port(),
                    addr.ip()
                ),
                ErrorKind::PermissionDenied => {
                    "ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher port with --addr"
                        .to_owned()
                }
                _ => "give --addr an address of this machine".to_owned(),
            };
            StartError::new(format!("{addr} can't be listened on: {error}"), remedy)
        })
}

/// The processors that this process may run on: a container may own few of the machine's.
fn cpus() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU)
            .filter(|&cpu| set.is_set(cpu))
            .collect(),
        Err(_) => vec![0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let error = port(addr).unwrap_err();
        assert!(error.problem.contains(&addr.to_string()));
        assert!(error.remedy.contains("--addr"));
    }

    #[test]
    fn port_0_becomes_a_real_one() {
        assert_ne!(port("127.0.0.1:0".parse().unwrap()).unwrap().port(), 0);
    }

    #[test]
    fn connections_leave_files_for_the_daemon_itself() {
        assert_eq!(connections_max(1024, None).unwrap(), 900);
        assert_eq!(connections_max(1024, Some(10)).unwrap(), 10);
    }

    #[test]
    fn more_connections_than_files_are_refused_with_what_to_do() {
        let error = connections_max(1024, Some(1000)).unwrap_err();
        assert!(error.problem.contains("`connections_max` is 1000"));
        assert!(error.remedy.contains("ulimit -n"));
        assert!(connections_max(255, None).is_ok());
        let error = connections_max(254, None).unwrap_err();
        assert!(error.problem.contains("254 files"));
    }

    #[test]
    fn each_way_io_uring_can_be_missing_has_its_own_remedy() {
        let remedy = |errno: rustix::io::Errno| no_io_uring(&errno.into()).remedy;
        assert!(remedy(rustix::io::Errno::PERM).contains("seccomp"));
        assert!(remedy(rustix::io::Errno::NOSYS).contains("Linux 5.8"));
        assert!(remedy(rustix::io::Errno::NOMEM).contains("memlock"));
    }

    #[test]
    fn little_lockable_memory_is_named_with_what_to_do() {
        let error = memlock_too_low(64 * 1024);
        assert!(error.problem.contains("64 KiB"));
        assert!(error.remedy.contains("ulimit -l"));
    }

    #[test]
    fn a_data_directory_has_one_daemon() {
        let dir = std::env::temp_dir().join(format!("orchestratord-{}", crate::clock::new_id()));
        let held = data_dir(&dir).unwrap();
        let second = data_dir(&dir).unwrap_err();
        assert!(second.problem.contains("another orchestratord"));
        drop(held);
        data_dir(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let file = std::env::temp_dir().join(format!("orchestratord-{}", crate::clock::new_id()));
        fs::write(&file, "").unwrap();
        let error = data_dir(&file.join("below")).unwrap_err();
        assert!(error.remedy.contains("--data-dir"));
        fs::remove_file(&file).unwrap();
    }
}
