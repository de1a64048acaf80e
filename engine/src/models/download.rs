//! One file brought here, however often the way breaks off.
//!
//! ```text
//!   ask for what is missing ──► write it down as it comes ──► all is here ──► it hashes to what it should
//!        ▲                              │ lost                                      │ it does not
//!        └────────── after a wait ◄─────┘                                           ▼
//!                                                                        thrown away, and an error
//! ```
//!
//! Nothing bounds how long a file may take, for files and lines differ a thousandfold. But each wait has
//! a bound, what trickles counts as lost, and so do tries that bring nothing.

use std::{
    io::Read as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use http::{HeaderMap, Uri, header};

use super::{
    cache::Partial,
    error::FetchError,
    range::{Brought, strong_etag},
    request::{Answer, Client, Trouble, broken},
};
use crate::digest::Digest;

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 256 * 1024;
/// The first wait before another try; it doubles up to the longest.
const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Tries in a row that bring next to nothing: then more of them won't help.
const VAIN_TRIES_MAX: u32 = 5;
/// What a try brings at least that was not in vain, and what comes at least in [`SLOW_WINDOW`].
const PROGRESS_BYTES_MIN: u64 = 64 * 1024;
/// How long so few bytes may come.
const SLOW_WINDOW: Duration = Duration::from_secs(60);
/// How often a wait looks whether the file is still wanted.
const TICK: Duration = Duration::from_millis(50);
/// What stays free on the disk: others write there too.
const BYTES_SPARE: u64 = 64 << 20;

/// How far a file has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are here.
    pub bytes: u64,
    /// Bytes that it has, if that is known.
    pub bytes_total: Option<u64>,
}

/// Who waits for a file.
pub trait Watch {
    /// It is told how far the file has come.
    fn tell(&self, progress: Progress);

    /// Whether it still wants it.
    fn is_waiting(&self) -> bool {
        true
    }
}

/// A file that is wanted.
pub struct Download<'d> {
    /// Who asks.
    pub client: &'d Client,
    /// Where it is.
    pub url: &'d Uri,
    /// What it hashes to, if that is known.
    pub expected: Option<Digest>,
    /// What it may have at most.
    pub bytes_max: u64,
    /// Who waits for it.
    pub watch: &'d dyn Watch,
}

impl Download<'_> {
    /// Brings all of it here. What it hashes to.
    ///
    /// # Errors
    ///
    /// Why it can't be had. What has come is kept for another time, unless it is wrong.
    pub fn finish(mut self, partial: &mut Partial) -> Result<Digest, FetchError> {
        // Who died before it had compared a whole file with its digest need not fetch it again.
        let is_whole = partial.bytes_total() == Some(partial.bytes());
        if !(is_whole && self.expected.is_some()) {
            persist(self.watch, || {
                let before = partial.bytes();
                let ended = self.go_on(partial);
                (ended, partial.bytes().saturating_sub(before))
            })?;
        }
        let found = partial.digest()?;
        match self.expected {
            Some(expected) if expected != found => {
                partial.begin(None, None)?;
                Err(FetchError::Mismatch { expected, found })
            }
            _ => Ok(found),
        }
    }

    /// One try.
    fn go_on(&mut self, partial: &mut Partial) -> Result<(), Trouble> {
        let is_checked = self.expected.is_some();
        let fields = partial.had(is_checked).fields();
        let answer = self.client.get(self.url, &fields)?;
        self.learn(answer.linked)?;
        let status = answer.response.status().as_u16();
        let head = answer.response.headers();
        let bytes_total = match partial.had(is_checked).judge(status, head) {
            Brought::Whole { bytes_total } => {
                self.know_the_end(head, bytes_total, &answer.host)?;
                partial.begin(strong_etag(head), bytes_total)?;
                bytes_total
            }
            Brought::Rest { bytes_total } => bytes_total.or(partial.bytes_total()),
            Brought::Misfit => {
                partial.begin(None, None)?;
                return Err(Trouble::Lost {
                    host: answer.host,
                    cause: "it does not send what was asked for".to_owned(),
                });
            }
            Brought::Nothing => return Err(Trouble::of_status(answer.host, status)),
        };
        if bytes_total.is_some_and(|total| total > self.bytes_max) {
            return Err(self.too_large(partial));
        }
        let missing = bytes_total.map_or(0, |total| total.saturating_sub(partial.bytes()));
        make_sure_of_room(partial.path(), missing)?;
        self.copy(answer, partial, bytes_total)
    }

    /// The hub knows what its files hash to. Who asks may know better.
    fn learn(&mut self, told: Option<Digest>) -> Result<(), FetchError> {
        match (self.expected, told) {
            (Some(expected), Some(found)) if expected != found => {
                Err(FetchError::Mismatch { expected, found })
            }
            (expected, told) => {
                self.expected = expected.or(told);
                Ok(())
            }
        }
    }

    /// A file whose end is only that the connection ends may be half of one.
    fn know_the_end(
        &self,
        head: &HeaderMap,
        bytes_total: Option<u64>,
        host: &str,
    ) -> Result<(), Trouble> {
        let is_told = bytes_total.is_some() || head.contains_key(header::TRANSFER_ENCODING);
        if is_told || self.expected.is_some() {
            return Ok(());
        }
        Err(FetchError::Unreachable {
            host: host.to_owned(),
            cause: "it does not say how long the file is; name the file's digest".to_owned(),
        }
        .into())
    }

    fn copy(
        &self,
        mut answer: Answer,
        partial: &mut Partial,
        bytes_total: Option<u64>,
    ) -> Result<(), Trouble> {
        let lost = |cause: &str, host: &str| Trouble::Lost {
            host: host.to_owned(),
            cause: cause.to_owned(),
        };
        let mut body = answer.response.body_mut().as_reader();
        let mut chunk = vec![0; CHUNK_BYTES];
        let (mut since, mut bytes_then) = (Instant::now(), partial.bytes());
        loop {
            let count = body
                .read(&mut chunk)
                .map_err(|error| broken(&answer.host, &error))?;
            if count == 0 {
                break;
            }
            partial.append(&chunk[..count])?;
            if partial.bytes() > bytes_total.unwrap_or(self.bytes_max).min(self.bytes_max) {
                return Err(self.too_large(partial));
            }
            self.watch.tell(Progress {
                bytes: partial.bytes(),
                bytes_total,
            });
            make_sure_of_interest(self.watch)?;
            if since.elapsed() > SLOW_WINDOW {
                if partial.bytes() - bytes_then < PROGRESS_BYTES_MIN {
                    return Err(lost("it sends next to nothing", &answer.host));
                }
                (since, bytes_then) = (Instant::now(), partial.bytes());
            }
        }
        match bytes_total {
            Some(total) if total != partial.bytes() => {
                Err(lost("its answer breaks off", &answer.host))
            }
            _ => Ok(()),
        }
    }

    fn too_large(&self, partial: &mut Partial) -> Trouble {
        let bytes_max = self.bytes_max;
        match partial.begin(None, None) {
            Ok(()) => FetchError::TooLarge { bytes_max }.into(),
            Err(error) => error.into(),
        }
    }
}

/// Tries until it works or can't, with a wait after each time that it was lost. A try says what came of it,
/// and how many bytes it has brought.
///
/// # Errors
///
/// Why it can't, or that it was in vain too often.
pub fn persist<T>(
    watch: &dyn Watch,
    mut one_try: impl FnMut() -> (Result<T, Trouble>, u64),
) -> Result<T, FetchError> {
    let (mut wait, mut vain_tries) = (WAIT_MIN, 0);
    loop {
        let (ended, bytes) = one_try();
        let (host, cause) = match ended {
            Ok(done) => return Ok(done),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Lost { host, cause }) => (host, cause),
        };
        if bytes >= PROGRESS_BYTES_MIN {
            (wait, vain_tries) = (WAIT_MIN, 0);
        } else {
            vain_tries += 1;
        }
        if vain_tries >= VAIN_TRIES_MAX {
            return Err(FetchError::Unreachable { host, cause });
        }
        rest(watch, wait)?;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

/// Waits, unless the file is not wanted any more.
///
/// # Errors
///
/// That it is not.
pub fn rest(watch: &dyn Watch, wait: Duration) -> Result<(), FetchError> {
    let until = Instant::now() + wait;
    while Instant::now() < until {
        thread::sleep(TICK);
        make_sure_of_interest(watch)?;
    }
    Ok(())
}

fn make_sure_of_interest(watch: &dyn Watch) -> Result<(), FetchError> {
    if watch.is_waiting() {
        return Ok(());
    }
    Err(FetchError::Unwanted)
}

fn make_sure_of_room(path: &Path, bytes: u64) -> Result<(), FetchError> {
    let disk = rustix::fs::statvfs(path).map_err(std::io::Error::from)?;
    let bytes_free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if bytes.saturating_add(BYTES_SPARE) <= bytes_free {
        return Ok(());
    }
    Err(FetchError::NoRoom { bytes, bytes_free })
}
