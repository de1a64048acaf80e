//! Lists of tasks, a page at a time.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::TaskView;
use crate::{api::error::ApiError, identity::Caller};

/// Which tasks are wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Only those that this caller may see.
    pub caller: Caller,
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those of this pool.
    pub pool: Option<String>,
    /// Only those after this place, the newest being first.
    pub after: Option<Position>,
    /// At most so many.
    pub limit: usize,
}

impl Wanted {
    /// Whether one in this state and of this pool is among them.
    pub fn has(&self, state: &str, pool: &str) -> bool {
        let agrees = |wanted: &Option<String>, told| wanted.as_deref().is_none_or(|it| it == told);
        agrees(&self.state, state) && agrees(&self.pool, pool)
    }
}

/// Where a task stands in a list: the newest first, and by id within a millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// When it was admitted.
    pub admitted_unix_ms: u64,
    /// Its id.
    pub task_id: Uuid,
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        let newer = other.admitted_unix_ms.cmp(&self.admitted_unix_ms);
        newer.then_with(|| self.task_id.cmp(&other.task_id))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As a cursor, which callers hand back as they got it.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.admitted_unix_ms, self.task_id.simple())
    }
}

impl FromStr for Position {
    type Err = ApiError;

    fn from_str(cursor: &str) -> Result<Self, ApiError> {
        let read = || {
            let (admitted, task_id) = cursor.split_once('.')?;
            Some(Self {
                admitted_unix_ms: admitted.parse().ok()?,
                task_id: task_id.parse().ok()?,
            })
        };
        read().ok_or_else(|| ApiError::invalid("`cursor` must be one that a list has given"))
    }
}

/// A task in a list, as `GET /v2/tasks/{id}` tells it.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Listed {
    /// By the shard that is its home.
    AtHome(Box<TaskView>),
    /// By the journal.
    Kept(Value),
}

/// The body of `GET /v2/tasks`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TaskList {
    /// The newest first.
    #[schema(value_type = Vec<TaskView>)]
    pub tasks: Vec<Listed>,
    /// Where the next page begins; `null` on the last. A page may have fewer tasks than were asked for, or
    /// none, and not be the last.
    pub next_cursor: Option<String>,
}
