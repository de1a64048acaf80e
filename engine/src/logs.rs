//! The log's lines and their fields.
//!
//! Every line that is about a request is written by a function of this file, so that its fields
//! are the contract's and nothing else ever reaches the log: no prompt, no output, no key. Lines
//! go through a bounded queue to a thread of their own: a slow terminal stalls no stream; when the
//! queue is full, lines are dropped.

use std::{io::IsTerminal as _, panic::PanicHookInfo, path::Path, sync::Arc, time::Duration};

use nvml_wrapper::error::NvmlError;
use orchestratord_sched::ShardId;
use tracing::{error, info, level_filters::LevelFilter, warn};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

use crate::{
    api::{catalog::Verdict, error::ApiError, whole_ms},
    cli::LogFormat,
    control::watchdog::Doing,
    digest::Digest,
    identity::Identity,
    metrics::CancelReason,
    models::{download::Progress, reference::Place},
    panics,
    settings::StartError,
    shared::{record::TaskRecord, replica::Replica, snapshot::Pool},
    store::task::Promise,
    trace::TraceId,
};

/// Starts logging; lines are written until the guard is dropped.
pub fn start(format: LogFormat, level: LevelFilter) -> WorkerGuard {
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    // What the libraries of HTTP say of their messages may quote them.
    let ours = EnvFilter::new(format!("{level},h2=off,ureq=off,ureq_proto=off"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(ours)
        .with_target(false)
        .with_writer(writer);
    let pretty = match format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    if pretty {
        log.with_ansi(std::io::stderr().is_terminal()).init();
    } else {
        log.json()
            .flatten_event(true)
            .with_current_span(false)
            .init();
    }
    panics::report();
    guard
}

/// A shard stands still.
pub fn shard_stalled(shard: ShardId, still: Duration, doing: &Doing) {
    error!(
        event = "shard_stalled",
        shard = shard.0,
        still_ms = whole_ms(still),
        state = doing.state.map(tracing::field::display),
        computed_ms = doing.computed.map(whole_ms),
        wait_channel = doing.wait_channel,
        system_call = doing.system_call,
        stack = doing.stack,
        human = "A shard stands still: its connections and tasks wait.",
    );
}

/// It turns again.
pub fn shard_turns(shard: ShardId, after: Duration) {
    warn!(
        event = "shard_turns",
        shard = shard.0,
        still_ms = whole_ms(after),
        human = "A shard that stood still turns again.",
    );
}

/// A thread panicked.
pub fn panicked(panic: &PanicHookInfo<'_>, thread: Option<&str>) {
    error!(
        event = "panic",
        at = panic.location().map(tracing::field::display),
        words = panics::words(panic.payload()),
        thread,
        human = "A part of the daemon ran into a bug of ours.",
    );
}

/// A line about a task, which is on a replica or on none: the fields that every such line has, then its
/// own. Replicas of one pool may be of several versions of its engine.
macro_rules! task_line {
    ($record:expr, $replica:expr, $event:literal, $human:expr $(, $name:ident = $value:expr)* $(,)?) => {{
        let record: &TaskRecord = $record;
        let pool: &Pool = &record.pool;
        let replica: Option<&Replica> = $replica;
        let engine_version = replica.map_or(pool.engine_version.as_str(), Replica::engine_version);
        info!(
            event = $event,
            correlation_id = %record.correlation_id,
            trace_id = %record.trace,
            identity = %record.owner,
            job_id = %record.id,
            session_id = record.turn.as_ref().map(|turn| tracing::field::display(turn.session_id)),
            engine = pool.engine,
            engine_version,
            pool_id = %pool.id,
            replica_id = replica.map(|replica| replica.id.as_str()),
            $($name = $value,)*
            human = $human,
        )
    }};
}

/// A task was admitted.
pub fn admitted(record: &TaskRecord) {
    task_line!(
        record,
        None,
        "admission",
        "A task was admitted and waits for a slot.",
        queue_position = record.queue_position,
        predicted_start_ms = whole_ms(record.predicted_start),
    );
}

/// A task got a slot.
pub fn placed(record: &TaskRecord, replica: &Replica) {
    task_line!(
        record,
        Some(replica),
        "placement",
        "A task got a slot.",
        chosen_by = record.basis.name(),
        queue_position = record.queue_position,
        predicted_start_ms = whole_ms(record.predicted_start),
    );
}

/// A task that waited was moved to another pool.
pub fn moved(record: &TaskRecord, from: &Pool) {
    task_line!(
        record,
        None,
        "move",
        "A task waits for another pool, because its own takes no new work.",
        from_pool_id = from.id,
        chosen_by = record.basis.name(),
        queue_position = record.queue_position,
        predicted_start_ms = whole_ms(record.predicted_start),
    );
}

/// Its first token came.
pub fn stream_started(record: &TaskRecord, replica: &Replica, tokens_in: Option<u32>) {
    task_line!(
        record,
        Some(replica),
        "stream_start",
        "The first token of a task came.",
        tokens_in = tokens_in,
    );
}

/// Its engine broke. The reason is a sentence of ours, and quotes nothing that was asked or generated.
pub fn engine_failed(record: &TaskRecord, replica: &Replica, reason: &str) {
    task_line!(
        record,
        Some(replica),
        "engine_failed",
        "An engine broke while a task ran on it.",
        reason = reason,
    );
}

/// A task waits again, because its engine broke before it had said anything.
pub fn retried(record: &TaskRecord, replica: &Replica) {
    task_line!(
        record,
        Some(replica),
        "retry",
        "A task waits again: its engine broke before it had said anything.",
        tries = record.tried.count(),
    );
}

/// What a finished stream amounted to.
pub struct StreamEnd {
    /// Where it ran.
    pub replica: Option<Arc<Replica>>,
    /// Tokens of the prompt, if its engine has told.
    pub tokens_in: Option<u32>,
    /// Tokens generated.
    pub tokens_out: u32,
    /// From the first token to the last.
    pub decode: Duration,
}

/// A task's stream was closed.
pub fn stream_ended(record: &TaskRecord, end: &StreamEnd, error: Option<&ApiError>) {
    let human = match error {
        None => "A task has finished.",
        Some(_) => "A task has ended with an error.",
    };
    task_line!(
        record,
        end.replica.as_deref(),
        "stream_end",
        human,
        tokens_in = end.tokens_in,
        tokens_out = end.tokens_out,
        decode_time_ms = whole_ms(end.decode),
        code = error.map(|error| error.code.name()),
    );
}

/// A task was canceled.
pub fn canceled(
    record: &TaskRecord,
    replica: Option<&Replica>,
    tokens_out: u32,
    reason: CancelReason,
) {
    task_line!(
        record,
        replica,
        "cancel",
        "A task was canceled.",
        tokens_out = tokens_out,
        reason = reason.name()
    );
}

/// A request was refused.
pub fn refused(
    error: &ApiError,
    correlation_id: &str,
    trace: Option<TraceId>,
    identity: Option<&Identity>,
) {
    let subject = error.subject.as_deref();
    let job_id = subject.and_then(|subject| subject.job_id);
    let session_id = subject.and_then(|subject| subject.session_id);
    let network = subject.and_then(|subject| subject.network);
    info!(
        event = "refusal",
        correlation_id,
        trace_id = trace.map(tracing::field::display),
        identity = identity.map(tracing::field::display),
        job_id = job_id.map(tracing::field::display),
        session_id = session_id.map(tracing::field::display),
        engine = error.engine,
        engine_version = subject.and_then(|subject| subject.engine_version.as_deref()),
        pool_id = subject.and_then(|subject| subject.pool_id.as_deref()),
        network = network.map(tracing::field::display),
        code = error.code.name(),
        status = error.code.status(),
        human = "A request was refused.",
    );
}

/// An engine broke, or did not come up.
pub fn replica_unready(pool: &Pool, replica: &Replica, reason: &str, wait: Duration) {
    warn!(
        event = "replica_unready",
        engine = pool.engine,
        pool_id = %pool.id,
        replica_id = %replica.id,
        reason,
        probe_in_ms = whole_ms(wait),
        human = "An engine is down and will be probed again.",
    );
}

/// A device of a replica has failed.
pub fn replica_without_device(pool: &Pool, replica: &Replica, reason: &str) {
    warn!(
        event = "replica_without_device",
        engine = pool.engine,
        pool_id = %pool.id,
        replica_id = %replica.id,
        reason,
        human = "A device of an engine has failed; no new task goes there until it is well.",
    );
}

/// All devices of a replica are well again.
pub fn replica_has_devices(pool: &Pool, replica: &Replica) {
    info!(
        event = "replica_has_devices",
        engine = pool.engine,
        pool_id = %pool.id,
        replica_id = %replica.id,
        human = "The devices of an engine are well again.",
    );
}

/// A server has fewer slots than whoever bound it has said.
pub fn fewer_slots(pool: &Pool, replica: &Replica, slots: u32) {
    warn!(
        event = "fewer_slots",
        engine = pool.engine,
        pool_id = %pool.id,
        replica_id = %replica.id,
        slots_claimed = replica.slots_claimed,
        slots,
        human = "An engine has fewer slots than was said when it was bound; no more are used.",
    );
}

/// A server was given a place.
pub fn replica_bound(pool: &Pool, replica: &Replica, origin: &str) {
    info!(
        event = "replica_bound",
        engine = pool.engine,
        engine_version = replica.engine_version(),
        pool_id = %pool.id,
        replica_id = %replica.id,
        origin,
        human = "A server was bound to a pool.",
    );
}

/// A server takes no more tasks.
pub fn replica_unbound(pool: &Pool, replica: &Replica) {
    info!(
        event = "replica_unbound",
        engine = pool.engine,
        engine_version = replica.engine_version(),
        pool_id = %pool.id,
        replica_id = %replica.id,
        human = "A server was unbound from its pool; what runs there goes on.",
    );
}

/// A process that the daemon has started as an engine is ready.
pub fn engine_started(pool_id: &str, replica_id: &str) {
    info!(
        event = "engine_started",
        pool_id,
        replica_id,
        human = "An engine was started and is ready.",
    );
}

/// A process that the daemon has started as an engine has ended, or was not ready in time.
pub fn engine_ended(pool_id: &str, replica_id: &str, reason: &str, again: Option<Duration>) {
    let human = match again {
        Some(_) => "An engine has ended and will be started again.",
        None => {
            "An engine could not be started and is given up; its output is in the data directory."
        }
    };
    warn!(
        event = "engine_ended",
        pool_id,
        replica_id,
        reason,
        start_in_ms = again.map(whole_ms),
        human,
    );
}

/// A file of the handoff folder can't be used.
pub fn handoff_skipped(file: &Path, reason: &str) {
    warn!(
        event = "handoff_skipped",
        file = %file.display(),
        reason,
        human = "A handoff file can't be used and is passed over until it changes.",
    );
}

/// Changes in the handoff folder are not told by the kernel.
pub fn folder_unwatched(folder: &Path, error: &std::io::Error) {
    warn!(
        event = "folder_unwatched",
        folder = %folder.display(),
        %error,
        human = "The handoff folder can't be watched; it is looked at every `handoff_watch_interval_ms` alone.",
    );
}

/// A change of a pool that an operator asked for.
#[derive(Clone, Copy, Debug)]
pub enum PoolChange {
    /// It takes no new work.
    Draining,
    /// It takes work again.
    Undrained,
    /// It serves another model.
    Reloaded,
    /// Its engines or files are being removed.
    Purged,
}

/// A pool was changed.
pub fn pool_changed(pool: &Pool, change: PoolChange, identity: &Identity, correlation_id: &str) {
    let (event, human) = match change {
        PoolChange::Draining => ("drain", "A pool takes no new work."),
        PoolChange::Undrained => ("undrain", "A pool takes work again."),
        PoolChange::Reloaded => ("reload", "A pool serves another model."),
        PoolChange::Purged => ("purge", "A pool's engines or files are being removed."),
    };
    info!(
        event,
        correlation_id,
        %identity,
        engine = pool.engine,
        engine_version = %pool.engine_version,
        pool_id = %pool.id,
        human,
    );
}

/// What became of a pool when the settings were read anew.
#[derive(Clone, Copy, Debug)]
pub enum PoolRenewal {
    /// It is new.
    Added,
    /// It is as the settings say now.
    Replaced,
    /// It serves what it has, and goes.
    Removed,
}

/// A pool has changed because the settings have.
pub fn pool_renewed(pool_id: &str, renewal: PoolRenewal) {
    let (event, human) = match renewal {
        PoolRenewal::Added => ("pool_added", "A pool was added."),
        PoolRenewal::Replaced => ("pool_replaced", "A pool is as the settings say now."),
        PoolRenewal::Removed => (
            "pool_removed",
            "A pool takes no new work; it goes when it has served what it has.",
        ),
    };
    info!(event, pool_id, human);
}

/// A pool is not as the settings say.
pub fn pool_kept(pool_id: &str, reason: &str) {
    warn!(
        event = "pool_kept",
        pool_id,
        reason,
        human = "A pool is not as the settings say; SIGHUP tries again.",
    );
}

/// The settings were read anew.
pub fn settings_renewed(at_restart: &[&str]) {
    let at_restart = at_restart.join(" ");
    info!(
        event = "settings_renewed",
        at_restart = (!at_restart.is_empty()).then_some(&*at_restart),
        human = if at_restart.is_empty() {
            "The settings were read anew."
        } else {
            "The settings were read anew; some hold only after the daemon is started again."
        },
    );
}

/// The settings can't be used; nothing has changed.
pub fn settings_refused(error: &StartError) {
    warn!(
        event = "settings_refused",
        reason = error.problem,
        remedy = error.remedy,
        human = "The settings can't be used; those that were read before still hold.",
    );
}

/// A file of a purged pool could not be removed.
pub fn purge_failed(pool: &Pool, error: &std::io::Error) {
    warn!(
        event = "purge_failed",
        pool_id = %pool.id,
        %error,
        human = "A model's file could not be removed; remove it by hand.",
    );
}

/// A device of this machine does not answer any more.
pub fn device_lost(number: usize, error: &NvmlError) {
    warn!(
        event = "device_lost",
        device = number,
        reason = %error,
        human = "A device of this machine does not answer any more; nothing is told of it.",
    );
}

/// It answers again.
pub fn device_back(number: usize) {
    info!(
        event = "device_back",
        device = number,
        human = "A device of this machine answers again.",
    );
}

/// There is a driver of devices, and it can't be asked.
pub fn devices_unreadable(reason: &str) {
    warn!(
        event = "devices_unreadable",
        reason,
        human = "The devices of this machine can't be looked at; nothing is told of them.",
    );
}

/// The store's disk has failed, and what was asked of it was not done.
pub fn store_failed(error: &redb::Error, jobs: usize) {
    error!(
        event = "store_failed",
        %error,
        jobs,
        human = "The disk has failed: what was to be stored was not. Make room or mend it.",
    );
}

/// A record of the store can't be read.
pub fn record_quarantined(table: &str, key: &str) {
    error!(
        event = "record_quarantined",
        table,
        key,
        human = "A record of the store can't be read and was put aside.",
    );
}

/// The store's disk works again.
pub fn store_works(failed: u64) {
    info!(
        event = "store_works",
        failed,
        human = "The disk works again; what was owed to it is written.",
    );
}

/// The store's file was found damaged.
pub fn store_damaged(damaged: &Path) {
    error!(
        event = "store_damaged",
        damaged = %damaged.display(),
        human = "The store's file is damaged. What can be read of it goes on in a new one; the damaged one is kept. Look after the disk.",
    );
}

/// Records of a table of a damaged store can't be read.
pub fn table_damaged(table: &str, records: Option<u64>, read: usize, older: usize) {
    let unread = records.map(|had| had.saturating_sub(read as u64));
    error!(
        event = "table_damaged",
        table,
        records,
        read,
        unread,
        older,
        human = "Records of the store can't be read: they are lost, or there as they were one commit before.",
    );
}

/// A record of a damaged store is lost, and it is known which.
pub fn record_lost(table: &str, key: &str) {
    error!(
        event = "record_lost",
        table,
        key,
        human = "A record of the store is lost.",
    );
}

/// A task of a damaged store may have been read of, and is not begun again.
pub fn task_doubted(id: Uuid) {
    error!(
        event = "task_doubted",
        job_id = %id,
        human = "The store does not tell any more whether a task's text had begun, so it ends with an error.",
    );
}

/// Ended tasks left nothing on the disk.
pub fn ends_dropped(count: u64) {
    warn!(
        event = "ends_dropped",
        count,
        human = "The disk can't keep up: of tasks that ended it was not kept how.",
    );
}

/// Tasks of an earlier life of the daemon were found.
pub fn recovered(waiting: usize, broken: usize) {
    info!(
        event = "recovered",
        waiting,
        broken,
        human = "Tasks that were accepted before the daemon started wait again; those whose text had begun have ended with an error.",
    );
}

/// A task of an earlier life waits again.
pub fn restored(record: &TaskRecord) {
    task_line!(
        record,
        None,
        "restored",
        "A task that was accepted before the daemon started waits again.",
    );
}

/// A task of an earlier life can't wait again.
pub fn given_up(promise: &Promise, error: &ApiError) {
    warn!(
        event = "stream_end",
        correlation_id = promise.correlation_id,
        trace_id = promise.trace_id,
        identity = promise.owner,
        job_id = %promise.id,
        pool_id = promise.pool.id,
        code = error.code.name(),
        human = error.message,
    );
}

/// A task waits for the daemon's next life.
pub fn suspended(record: &TaskRecord) {
    task_line!(
        record,
        None,
        "suspended",
        "A task was not begun and waits for the daemon's next start.",
    );
}

/// The catalog was changed.
pub fn catalog_changed(change: &str, model_id: &str, identity: &Identity, correlation_id: &str) {
    info!(
        event = "catalog",
        change,
        correlation_id,
        %identity,
        model_id,
        human = "The catalog was asked for a change of a model.",
    );
}

/// A model's file is on its way.
pub fn model_downloading(place: &Place, progress: Progress) {
    info!(
        event = "model_downloading",
        model_ref = %place,
        bytes = progress.bytes,
        bytes_total = progress.bytes_total,
        human = "A model is being downloaded.",
    );
}

/// A model's file is here, whole and right.
pub fn model_downloaded(place: &Place, digest: Digest, bytes: u64) {
    info!(
        event = "model_downloaded",
        model_ref = %place,
        %digest,
        bytes,
        human = "A model was downloaded.",
    );
}

/// A model's file was looked at.
pub fn model_verified(model_id: &str, verdict: Verdict) {
    let (result, reason) = verdict.labels();
    info!(
        event = "model_verified",
        model_id,
        result,
        reason,
        human = "A model's file was compared with its digest.",
    );
}

/// The daemon was told to stop.
pub fn stopping(grace: Duration) {
    info!(
        event = "shutdown",
        grace_ms = whole_ms(grace),
        human = "The daemon was told to stop: no new work, running streams go on for the grace.",
    );
}

/// The daemon has stopped.
pub fn stopped() {
    info!(event = "stopped", human = "The daemon has stopped.");
}
