//! A stream as its readers have it, and what must hold of it: `started`, tokens without a gap, one end; the same for
//! all of them.

use std::collections::BTreeMap;

use orchestratord_http::sse_log::{Audience, Cursor};
use serde_json::Value;

use super::{
    Number,
    engines::word,
    rules::{Breach, Rule},
};
use crate::{api::error::Code, shard::table::Shown};

/// What was read of a task's stream, by anybody.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// In this life: by plain readers, and by verbose ones.
    events: [BTreeMap<u64, Event>; 2],
    /// Whether there was a word among it.
    pub(super) has_word: bool,
    /// Its last event, in this life or another.
    pub(super) end: Option<Event>,
}

impl Heard {
    /// The daemon is gone, and another begins; an end that is kept is told there, too.
    pub(super) fn forget(&mut self, is_end_kept: bool) {
        let end = self.end.take().filter(|_| is_end_kept);
        *self = Self {
            end,
            ..Self::default()
        };
    }
}

/// One that reads it.
pub(super) struct Reader {
    pub(super) task: Number,
    pub(super) audience: Audience,
    pub(super) cursor: Cursor,
    /// The next event's id, unless it resumes at an id that may lie ahead.
    pub(super) next: Option<u64>,
    pub(super) at: Shown,
    pub(super) shard: usize,
}

pub(super) fn unsound(task: Number, seen: &str) -> Breach {
    (
        Rule::SoundStream,
        format!("in the stream of task {task}: {seen}"),
    )
}

/// An event as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) data: String,
}

impl Event {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (id, rest) = text.strip_prefix("id: ")?.split_once("\nevent: ")?;
        let (name, data) = rest.split_once("\ndata: ")?;
        Some(Self {
            id: id.parse().ok()?,
            name: name.to_owned(),
            data: data.to_owned(),
        })
    }

    fn is_last(&self) -> bool {
        matches!(&*self.name, "end" | "error")
    }

    /// Which word of the task's text it is, if it is one.
    fn is_word_of(&self, task: Number) -> Option<u32> {
        let data: Value = serde_json::from_str(&self.data).ok()?;
        let index = u32::try_from(data["i"].as_u64()?).ok()?;
        (data["t"] == word(task, index)).then_some(index)
    }
}

impl Reader {
    /// Reads on. What it reads must be what may come next, and what others have read.
    pub(super) fn hear(&mut self, all: &mut Heard, event: Event) -> Result<(), Breach> {
        let task = self.task;
        if self.next.is_some_and(|next| next != event.id) {
            return Err(unsound(
                task,
                &format!("{:?} was next, and {event:?} came", self.next),
            ));
        }
        self.next = Some(event.id + 1);
        let heard = &mut all.events[usize::from(self.audience == Audience::Verbose)];
        if heard
            .range(..event.id)
            .any(|(_, earlier)| earlier.is_last())
        {
            return Err(unsound(task, &format!("{event:?} follows its end")));
        }
        if let Some(before) = heard.insert(event.id, event.clone())
            && before != event
        {
            return Err(unsound(
                task,
                &format!("it was {before:?} before, and is {event:?}"),
            ));
        }
        match &*event.name {
            "started" if event.id == 0 => {}
            "metrics" if event.id > 0 => {}
            "token" if event.id > 0 => {
                let earlier: Vec<_> = heard.range(..event.id).collect();
                let is_whole = earlier.len() as u64 == event.id;
                let tokens = earlier.iter().filter(|(_, event)| event.name == "token");
                let index = event
                    .is_word_of(task)
                    .filter(|index| !is_whole || tokens.count() == *index as usize);
                index.ok_or_else(|| unsound(task, &format!("{event:?} is not its next word")))?;
                all.has_word = true;
            }
            // What a cancel is worth, its answer says: the reader of its task may be told before.
            "error" if event.data.contains(Code::Canceled.name()) => {}
            // A task that never ran ends without having started.
            "end" | "error" if event.id > 0 || event.name == "error" => {
                let end = all.end.get_or_insert_with(|| event.clone());
                if (&end.name, &end.data) != (&event.name, &event.data) {
                    let seen = format!("task {task} ended with {end:?} before, and with {event:?}");
                    return Err((Rule::NothingTwice, seen));
                }
            }
            _ => return Err(unsound(task, &format!("{event:?} comes out of turn"))),
        }
        Ok(())
    }
}
