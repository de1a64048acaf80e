//! What became of the tasks of a phase.

use super::PLACES;
use std::fmt;
use std::time::Duration;

/// How long a phase takes to be what it is: its queue is filled by then, and tasks have gone through it.
const SETTLING: Duration = Duration::from_secs(2);
/// How many tasks of the flood start until half of its part of the queue has: what a refusal tells the time of.
const HALF: usize = PLACES as usize / 4;

/// One task. All times count from the beginning of the phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    /// When it was to be sent.
    pub(crate) at: Duration,
    pub(crate) outcome: Outcome,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Served {
        first: Duration,
        ended: Duration,
    },
    Refused {
        answered: Duration,
        told: Duration,
    },
    /// For a newer one.
    Dropped,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowd {
    Flood,
    Modest,
}

impl Crowd {
    pub(crate) const ALL: [Self; 2] = [Self::Flood, Self::Modest];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Modest => "modest",
        }
    }
}

/// A phase, but for the time in which it settled.
#[derive(Debug)]
pub(crate) struct Seen {
    length: Duration,
    settled: Duration,
    pub(crate) memory_kib: u64,
    flood: Vec<Task>,
    modest: Vec<Task>,
}

impl Seen {
    pub(crate) fn new(
        length: Duration,
        memory_kib: u64,
        flood: Vec<Task>,
        modest: Vec<Task>,
    ) -> Self {
        Self {
            length,
            settled: SETTLING.min(length / 3),
            memory_kib,
            flood,
            modest,
        }
    }

    fn is_settled(&self, at: Duration) -> bool {
        (self.settled..self.length).contains(&at)
    }

    /// Tasks a second that came to a good end.
    pub(crate) fn served_per_s(&self) -> f64 {
        let tasks = self.flood.iter().chain(&self.modest);
        let served = tasks.filter(|task| match task.outcome {
            Outcome::Served { ended, .. } => self.is_settled(ended),
            Outcome::Refused { .. } | Outcome::Dropped => false,
        });
        let served = u32::try_from(served.count()).unwrap_or(u32::MAX);
        f64::from(served) / (self.length - self.settled).as_secs_f64()
    }

    fn tasks(&self, crowd: Crowd) -> &[Task] {
        match crowd {
            Crowd::Flood => &self.flood,
            Crowd::Modest => &self.modest,
        }
    }

    /// Of those sent when the phase had settled, what this is of each.
    fn settled<T>(&self, crowd: Crowd, what: impl Fn(&Task) -> Option<T>) -> Vec<T> {
        let tasks = self.tasks(crowd).iter();
        let settled = tasks.filter(|task| self.is_settled(task.at));
        settled.filter_map(what).collect()
    }

    /// How many tasks were sent.
    pub(crate) fn sent(&self, crowd: Crowd) -> usize {
        self.tasks(crowd).len()
    }

    /// How many of them were refused.
    pub(crate) fn refused(&self, crowd: Crowd) -> usize {
        let tasks = self.tasks(crowd).iter();
        tasks
            .filter(|task| matches!(task.outcome, Outcome::Refused { .. }))
            .count()
    }

    /// How many were let in, and had to go again.
    pub(crate) fn dropped(&self, crowd: Crowd) -> usize {
        let tasks = self.tasks(crowd).iter();
        tasks
            .filter(|task| matches!(task.outcome, Outcome::Dropped))
            .count()
    }

    /// What was told to each of the flood that was refused, over the time that it took until half of those
    /// that waited had started.
    pub(crate) fn told_over_taken(&self) -> Vec<f64> {
        let mut starts: Vec<_> = self.flood.iter().filter_map(first).collect();
        starts.sort_unstable();
        self.settled(Crowd::Flood, |task| {
            let Outcome::Refused { answered, told } = task.outcome else {
                return None;
            };
            let next = starts.partition_point(|start| *start <= answered);
            let half = *starts.get(next + HALF - 1)?;
            Some(told.as_secs_f64() / (half - answered).as_secs_f64())
        })
    }
}

fn first(task: &Task) -> Option<Duration> {
    match task.outcome {
        Outcome::Served { first, .. } => Some(first),
        Outcome::Refused { .. } | Outcome::Dropped => None,
    }
}

/// From the moment at which it was to be sent to its first token.
pub(crate) fn until_first(task: &Task) -> Option<Duration> {
    Some(first(task)? - task.at)
}

/// To its end.
pub(crate) fn until_end(task: &Task) -> Option<Duration> {
    match task.outcome {
        Outcome::Served { ended, .. } => Some(ended - task.at),
        Outcome::Refused { .. } | Outcome::Dropped => None,
    }
}

/// To its refusal.
pub(crate) fn until_refused(task: &Task) -> Option<Duration> {
    match task.outcome {
        Outcome::Refused { answered, .. } => Some(answered - task.at),
        Outcome::Served { .. } | Outcome::Dropped => None,
    }
}

/// How times lie.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spread {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Spread {
    /// Of the tasks of all these phases; zero if there are none.
    pub(crate) fn of(phases: &[Seen], crowd: Crowd, until: fn(&Task) -> Option<Duration>) -> Self {
        let mut times: Vec<_> = phases
            .iter()
            .flat_map(|seen| seen.settled(crowd, until))
            .collect();
        times.sort_unstable();
        let quantile = |percent: usize| times.get(times.len() * percent / 100).copied();
        Self {
            p50: quantile(50).unwrap_or_default(),
            p99: quantile(99).unwrap_or_default(),
        }
    }

    /// Whether neither is longer than so many times what it was before, and a little.
    pub(crate) fn is_within(self, before: Self, times: f64, little: Duration) -> bool {
        let is_within = |now: Duration, before: Duration| now <= before.mul_f64(times) + little;
        is_within(self.p50, before.p50) && is_within(self.p99, before.p99)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99] = [self.p50, self.p99].map(|time| time.as_secs_f64() * 1000.0);
        write!(f, "{p50:.1} ms p50 {p99:.1} ms p99")
    }
}
