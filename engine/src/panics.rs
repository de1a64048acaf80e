//! What a panic costs: a panic is a bug of ours, and it ends the work that met it and nothing else.
//!
//! | where it happens | what ends |
//! | --- | --- |
//! | a look at a request, its handler, the answer of another thread | the request, with 500 `INTERNAL` |
//! | a connection, a stream of HTTP/2, a reader | that one, closed without an end |
//! | what an engine says of a task, and the exchange with its server | the task, with an `error` event `INTERNAL` |
//! | an engine of this process | its running tasks; it is built anew ([`compute`](crate::compute)) |
//! | a batch of the store | the requests in it, with 500 ([`store`](crate::store)) |
//! | a reload, or settings that are read anew | that one: nothing has changed |
//! | all else of a shard, and every other thread | the process, loudly: a part of it would be silent for ever |
//!
//! What is shared and was being changed when the panic came is as it was left: `RefCell`s are given back, and
//! a slot returns with its lease. Where that is not enough, the last row holds.

use std::{
    any::Any,
    future::Future,
    io,
    panic::{self, AssertUnwindSafe},
    process,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use futures_lite::FutureExt as _;

use crate::{
    api::error::{ApiError, Code},
    logs,
};

/// How many there were. A process has one hook, and so it has one count; it orders nothing.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// How long the log's thread has to write why the process ends.
const LAST_LINES: Duration = Duration::from_millis(100);

/// Work was cut short by a panic, which has been counted and logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panicked;

impl From<Panicked> for ApiError {
    fn from(_: Panicked) -> Self {
        Self::new(Code::Internal, "the request ran into a bug of ours")
    }
}

/// From now on each panic of any thread is counted, and one line of the log says where it happened.
pub fn report() {
    panic::set_hook(Box::new(|panic| {
        COUNT.fetch_add(1, Relaxed);
        logs::panicked(panic, thread::current().name());
    }));
}

/// How many panics there were.
pub fn count() -> u64 {
    COUNT.load(Relaxed)
}

/// What a panic may say in the log: words that stand in the code. Others quote values, and those may be
/// a caller's.
pub fn words(payload: &dyn Any) -> Option<&'static str> {
    payload.downcast_ref::<&'static str>().copied()
}

/// Does this; a panic in it goes no further.
///
/// # Errors
///
/// It panicked.
pub fn contain<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked)
}

/// Waits for this; a panic in it goes no further.
///
/// # Errors
///
/// It panicked.
pub async fn contained<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .map_err(|_| Panicked)
}

/// Starts a thread without which the daemon is not whole. If it panics the process ends, and its
/// supervisor starts it anew.
///
/// # Errors
///
/// When the machine gives no more threads.
pub fn spawn_vital<T: Send + 'static>(
    name: impl Into<String>,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<thread::JoinHandle<T>> {
    let name = name.into();
    let part = name.clone();
    thread::Builder::new()
        .name(name)
        .spawn(move || contain(run).unwrap_or_else(|Panicked| end_process(&part)))
}

/// Ends the process, because one of its parts has.
pub fn end_process(part: &str) -> ! {
    eprintln!("orchestratord ends: its thread {part} died (a bug of ours, logged above)");
    thread::sleep(LAST_LINES);
    process::exit(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future;

    #[test]
    fn a_panic_ends_the_work_that_met_it() {
        assert_eq!(contain(|| 1), Ok(1));
        assert_eq!(contain(|| -> u8 { panic!("a bug") }), Err(Panicked));
    }

    #[test]
    fn what_a_panic_quotes_is_not_told() {
        let payload = |bug: fn()| panic::catch_unwind(bug).unwrap_err();
        let said = payload(|| panic!("a bug"));
        assert_eq!(words(&*said), Some("a bug"));
        let quoted = payload(|| {
            let prompt = "é, said the caller".to_owned();
            let _ = &prompt[..1];
        });
        let message = quoted.downcast_ref::<String>().unwrap();
        assert!(message.contains("said the caller"), "{message}");
        assert_eq!(words(&*quoted), None);
    }

    #[test]
    fn a_panic_behind_a_wait_ends_the_work_that_waited() {
        let late = async {
            future::yield_now().await;
            panic!("a bug")
        };
        assert_eq!(future::block_on(contained::<()>(late)), Err(Panicked));
        assert_eq!(future::block_on(contained(async { 1 })), Ok(1));
    }
}
