//! The two tables: task states and replica states.
//!
//! Each table is data: a list of (state, event, next state). What is not in it cannot happen, and
//! its tests enumerate every pair.

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Waiting for a slot.
    Queued,
    /// On a slot.
    Running,
    /// Ended by its engine.
    Completed,
    /// Ended by somebody who no longer wanted it.
    Canceled,
    /// Ended by something that broke.
    Failed,
}

/// What happens to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskEvent {
    /// It got a slot.
    Start,
    /// Its engine generated the last token.
    Finish,
    /// Its engine broke before it had said anything.
    Return,
    /// Nobody wants it any more.
    Cancel,
    /// Something broke.
    Fail,
}

const TASK: [(TaskState, TaskEvent, TaskState); 7] = {
    use TaskEvent::{Cancel, Fail, Finish, Return, Start};
    use TaskState::{Canceled, Completed, Failed, Queued, Running};
    [
        (Queued, Start, Running),
        (Queued, Cancel, Canceled),
        (Queued, Fail, Failed),
        (Running, Return, Queued),
        (Running, Finish, Completed),
        (Running, Cancel, Canceled),
        (Running, Fail, Failed),
    ]
};

impl TaskState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Completed,
        Self::Canceled,
        Self::Failed,
    ];

    /// The state after `event`; `None` if that cannot happen now.
    pub fn next(self, event: TaskEvent) -> Option<Self> {
        TASK.iter()
            .find(|(from, on, _)| (*from, *on) == (self, event))
            .map(|(_, _, to)| *to)
    }

    /// Whether nothing can happen to it any more.
    pub fn is_final(self) -> bool {
        TASK.iter().all(|(from, _, _)| *from != self)
    }

    /// The word in JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Canceled => "canceled",
            Self::Failed => "failed",
        }
    }
}

/// Where a replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplicaState {
    /// Its engine has not answered yet.
    Starting,
    /// Its slots may be taken.
    Ready,
    /// Its engine broke; it is probed.
    Unready,
    /// It takes nothing new; what runs goes on.
    Draining,
    /// It will not come back.
    Gone,
}

/// What happens to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplicaEvent {
    /// Its engine answered a probe.
    ProbeAnswered,
    /// Its engine broke, or did not answer.
    Broke,
    /// It is to take nothing new.
    Drain,
    /// It is to be used again.
    Undrain,
    /// What ran on it has ended, or it is given up.
    Stop,
}

const REPLICA: [(ReplicaState, ReplicaEvent, ReplicaState); 14] = {
    use ReplicaEvent::{Broke, Drain, ProbeAnswered, Stop, Undrain};
    use ReplicaState::{Draining, Gone, Ready, Starting, Unready};
    [
        (Starting, ProbeAnswered, Ready),
        (Starting, Broke, Unready),
        (Starting, Drain, Draining),
        (Starting, Stop, Gone),
        (Ready, ProbeAnswered, Ready),
        (Ready, Broke, Unready),
        (Ready, Drain, Draining),
        (Ready, Stop, Gone),
        (Unready, ProbeAnswered, Ready),
        (Unready, Broke, Unready),
        (Unready, Drain, Draining),
        (Unready, Stop, Gone),
        // It must answer before it is used again.
        (Draining, Undrain, Starting),
        (Draining, Stop, Gone),
    ]
};

impl ReplicaState {
    /// The state after `event`; `None` if that cannot happen now.
    pub fn next(self, event: ReplicaEvent) -> Option<Self> {
        REPLICA
            .iter()
            .find(|(from, on, _)| (*from, *on) == (self, event))
            .map(|(_, _, to)| *to)
    }

    /// Where it stands if a device that it runs on has failed: whatever its engine answers, it is not
    /// to be used. What it is otherwise goes on beneath, and counts again when the device is back.
    #[must_use]
    pub fn without_its_device(self) -> Self {
        match self {
            Self::Starting | Self::Ready | Self::Unready => Self::Unready,
            Self::Draining | Self::Gone => self,
        }
    }

    /// The word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::Draining => "draining",
            Self::Gone => "gone",
        }
    }
}
