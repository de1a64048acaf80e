//! Those who call, and what they know: which tasks they were promised, what they have read of them, and how
//! those ended. What they know outlives the daemon.

use futures_channel::oneshot;
use orchestratord_http::sse_log::{Audience, Cursor};
use orchestratord_sched::{ShardId, prng::Prng};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Number, Report,
    life::{Life, MODEL},
    rules::{Breach, Rule},
    stream::{Event, Heard, Reader, unsound},
};
use crate::{
    api::{error::ApiError, task::Submission},
    identity::Identity,
    metrics::CancelReason,
    shard::{
        mailbox::Message,
        placement,
        table::{Application, Cancel},
    },
    shared::stage::Stage,
    trace::TraceId,
};

/// Whose tasks they are.
const CALLERS: u64 = 3;
/// Tasks that are asked for, but for those that wait or run.
const NEWEST: usize = 20;
/// Readers at a time.
const READERS_MAX: usize = 12;

/// What became of a submission, as far as its caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Nothing yet, or the daemon died before.
    None,
    /// 202.
    Accepted,
    /// It was turned away before it was let in.
    Refused,
    /// The disk failed: it may be there, and it may not.
    Failed,
}

struct Known {
    id: Uuid,
    answer: Answer,
    /// It will not run any more: its end was told or its cancel answered, and the journal knows how it ended.
    is_final: bool,
    /// Somebody has, in this life or another, and the journal knows.
    is_marked: bool,
    /// What was read of its stream.
    heard: Heard,
}

impl Known {
    /// Its end was told, or its cancel was answered. The journal has it by then, unless the disk has failed.
    fn is_over(&mut self, number: Number, life: &Life) -> Result<(), Breach> {
        self.is_final = life.shared.store.has_outcome(self.id);
        if !self.is_final && life.shared.store.works() {
            let seen = format!("task {number} was told to have ended before the journal knew");
            return Err((Rule::NothingTwice, seen));
        }
        Ok(())
    }
}

/// Everybody.
pub(super) struct Callers {
    known: Vec<Known>,
    /// Answers that are yet to come.
    promises: Vec<(Number, oneshot::Receiver<Result<(), ApiError>>)>,
    /// Cancels whose 204 is yet to come.
    cancels: Vec<Number>,
    readers: Vec<Reader>,
    unsettled: Vec<Uuid>,
    seed: u64,
    whims: Prng,
}

impl Callers {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            known: Vec::new(),
            promises: Vec::new(),
            cancels: Vec::new(),
            readers: Vec::new(),
            unsettled: Vec::new(),
            seed,
            whims: Prng::new(seed, "callers"),
        }
    }

    /// The tasks that were promised, but for those of which this daemon has said that it knows how they ended.
    pub(super) fn unsettled(&mut self, has_outcome: impl Fn(Uuid) -> bool) -> &[Uuid] {
        self.unsettled.retain(|id| !has_outcome(*id));
        &self.unsettled
    }

    /// The tasks that somebody may ask for: the newest, which are the ones that people care for.
    pub(super) fn newest(&self) -> impl Iterator<Item = Uuid> {
        self.known.iter().rev().take(NEWEST).map(|known| known.id)
    }

    /// One of these.
    fn some_task(&mut self) -> Option<Number> {
        let newest = self.known.len().checked_sub(1)?;
        Some(newest - self.index(self.known.len().min(NEWEST)))
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.whims.next_u64() % length.max(1) as u64).unwrap_or(0)
    }

    /// `POST /v2/tasks`.
    pub(super) fn submit(&mut self, life: &mut Life) {
        let number = self.known.len();
        let id = Uuid::from_u64_pair(self.seed, number as u64 + 1);
        let body = self.body(number);
        self.known.push(Known {
            id,
            answer: Answer::None,
            is_final: false,
            is_marked: false,
            heard: Heard::default(),
        });
        let owner = format!("key:{}", self.whims.within(1..=CALLERS));
        let owner = owner.parse().expect("it is written as identities are");
        let shard = self.index(life.tables.len());
        let submission = Submission::parse(body.as_bytes()).expect("the world asks well");
        match admit(life, shard, (id, owner), submission) {
            Ok(shard) => {
                let task = life.tables[shard].get(id);
                let record = task.map(|task| task.borrow().record.clone());
                // It may have ended, and been forgotten, at once.
                let Some(record) = record else { return };
                match life
                    .shared
                    .store
                    .promise(record.promise(body.as_bytes()), None)
                {
                    Ok(written) => self.promises.push((number, written)),
                    Err(_) => {
                        life.tables[shard].break_promise(id);
                        self.known[number].answer = Answer::Failed;
                    }
                }
            }
            Err(()) => self.known[number].answer = Answer::Refused,
        }
    }

    fn body(&mut self, number: Number) -> String {
        let whims = &mut self.whims;
        let mut body = json!({
            "model_ref": MODEL,
            "prompt": number.to_string(),
            "max_tokens": whims.within(1..=6),
            "seed": number,
            "priority": if whims.chance(0.3) { "batch" } else { "interactive" },
        });
        if whims.chance(0.2) {
            body["deadline_ms"] = whims.within(1..=5_000).into();
        }
        if whims.chance(0.2) {
            body["on_disconnect"] = "cancel".into();
        }
        if whims.chance(0.3) {
            let pool = if whims.chance(0.5) {
                "default"
            } else {
                "servers"
            };
            body["placement"] = json!({"mode": "pin", "pin_pool_id": pool});
        }
        body.to_string()
    }

    /// Hears what the daemon has answered meanwhile.
    pub(super) fn hear_answers(&mut self, life: &Life, report: &mut Report) -> Result<(), Breach> {
        let (known, unsettled) = (&mut self.known, &mut self.unsettled);
        self.promises.retain_mut(|(number, promise)| {
            let Ok(told) = promise.try_recv() else {
                return false;
            };
            match told {
                None => return true,
                Some(Ok(())) => {
                    known[*number].answer = Answer::Accepted;
                    unsettled.push(known[*number].id);
                    report.accepted += 1;
                }
                Some(Err(_)) => {
                    known[*number].answer = Answer::Failed;
                    let task = known[*number].id;
                    if let Some(home) = life.home(task) {
                        let _ = life.shared.mailboxes[home].push(Message::BreakPromise { task });
                    }
                }
            }
            false
        });
        let (answered, waiting): (Vec<_>, Vec<_>) = self.cancels.drain(..).partition(|number| {
            let id = known[*number].id;
            let task = life.home(id).and_then(|home| life.tables[home].get(id));
            task.is_none_or(|task| !task.borrow().is_being_kept())
        });
        self.cancels = waiting;
        report.canceled += answered.len() as u64;
        let mut answered = answered.into_iter();
        answered.try_for_each(|number| known[number].is_over(number, life))
    }

    /// What was read or ended before now is known to the journal from now on.
    pub(super) fn journal_is_written(&mut self, life: &Life) {
        for known in &mut self.known {
            known.is_marked |= known.heard.has_word;
            known.is_final |= known.heard.end.is_some() && life.shared.store.has_outcome(known.id);
        }
    }

    /// The daemon is gone: so are its connections.
    pub(super) fn hang_up(&mut self) {
        self.promises.clear();
        self.cancels.clear();
        self.readers.clear();
        self.unsettled.clear();
        for known in &mut self.known {
            // An end that was told while the disk failed may be forgotten.
            known.heard.forget(known.is_final);
            if known.answer == Answer::Accepted {
                self.unsettled.push(known.id);
            }
        }
    }

    /// Whether anybody waits for anything.
    pub(super) fn are_waiting(&self) -> bool {
        !(self.promises.is_empty() && self.cancels.is_empty() && self.readers.is_empty())
    }

    /// An engine begins a task.
    pub(super) fn begins(&self, number: Number) -> Result<(), Breach> {
        let known = &self.known[number];
        let why = if known.is_final {
            "it was told to have ended"
        } else if known.is_marked {
            "the journal knows that a word of it was read"
        } else if known.answer == Answer::Refused {
            "it was refused"
        } else {
            return Ok(());
        };
        Err((Rule::NothingTwice, format!("task {number} runs, and {why}")))
    }

    /// `GET /v2/tasks/{id}/events`, of some task.
    pub(super) fn attach(&mut self, life: &Life) {
        if self.readers.len() >= READERS_MAX {
            return;
        }
        let Some(task) = self.some_task() else { return };
        let id = self.known[task].id;
        let Some(shard) = life.home(id) else { return };
        let Some(at) = life.tables[shard].get(id) else {
            return;
        };
        let audience = match self.whims.chance(0.3) {
            true => Audience::Verbose,
            false => Audience::Plain,
        };
        let (cursor, next) = match self.whims.chance(0.2) {
            true => {
                let last = self.whims.within(0..=at.borrow().log.next_id());
                (Cursor::after(last, audience), None)
            }
            false => (Cursor::from_start(audience), Some(0)),
        };
        at.borrow_mut().attach();
        self.readers.push(Reader {
            task,
            audience,
            cursor,
            next,
            at,
            shard,
        });
    }

    /// Some reader's client goes away.
    pub(super) fn leave(&mut self, life: &mut Life) {
        if self.readers.is_empty() {
            return;
        }
        let reader = self.index(self.readers.len());
        detach(life, self.readers.swap_remove(reader));
    }

    /// Some reader takes what it can.
    pub(super) fn read(&mut self, life: &mut Life, report: &mut Report) -> Result<(), Breach> {
        if self.readers.is_empty() {
            return Ok(());
        }
        let reader = self.index(self.readers.len());
        self.read_one(life, reader, report)
    }

    /// Every reader takes what it can.
    pub(super) fn read_all(&mut self, life: &mut Life, report: &mut Report) -> Result<(), Breach> {
        for reader in (0..self.readers.len()).rev() {
            self.read_one(life, reader, report)?;
        }
        Ok(())
    }

    fn read_one(
        &mut self,
        life: &mut Life,
        index: usize,
        report: &mut Report,
    ) -> Result<(), Breach> {
        let room = usize::try_from(self.whims.within(1..=400)).unwrap_or(1);
        let reader = &mut self.readers[index];
        if reader.at.borrow().has_moved() {
            return self.follow(life, index);
        }
        let text = {
            let task = reader.at.borrow();
            let bytes = task.log.read(&mut reader.cursor, room).to_vec();
            String::from_utf8(bytes).map_err(|_| unsound(reader.task, "it is no UTF-8"))?
        };
        let known = &mut self.known[reader.task];
        for event in text.split_terminator("\n\n") {
            let event = Event::parse(event).ok_or_else(|| unsound(reader.task, event))?;
            report.note(&event);
            reader.hear(&mut known.heard, event)?;
            if known.heard.end.is_some() && !known.is_final {
                known.is_over(reader.task, life)?;
            }
        }
        if reader.at.borrow().log.is_drained(&reader.cursor) {
            report.read_to_the_end += 1;
            detach(life, self.readers.swap_remove(index));
        }
        Ok(())
    }

    /// The reader's task is elsewhere.
    fn follow(&mut self, life: &mut Life, index: usize) -> Result<(), Breach> {
        let reader = &mut self.readers[index];
        let id = self.known[reader.task].id;
        match life.home(id) {
            Some(home) => {
                let at = life.tables[home].get(id).ok_or_else(|| {
                    let seen = format!("{id} is not where the directory says, at {home}");
                    (Rule::OneHome, seen)
                })?;
                at.borrow_mut().attach();
                let left = std::mem::replace(&mut reader.at, at);
                left.borrow_mut().detach();
                reader.shard = home;
                Ok(())
            }
            // It waits for the next life, or has ended and is forgotten: the stream is cut.
            None => {
                detach(life, self.readers.swap_remove(index));
                Ok(())
            }
        }
    }

    /// `POST /v2/tasks/{id}/cancel`, of some task.
    pub(super) fn cancel(&mut self, life: &mut Life) {
        let Some(number) = self.some_task() else {
            return;
        };
        let id = self.known[number].id;
        let Some(home) = life.home(id) else { return };
        let Some(task) = life.tables[home].get(id) else {
            return;
        };
        // If it is on its way to a thief, the route waits and asks there; here somebody cancels another.
        if life.tables[home].cancel(&task, CancelReason::Requested) == Cancel::Done {
            self.cancels.push(number);
        }
    }

    /// What the journal says of each task that has ended, and whether that is what was told.
    pub(super) fn check_outcomes(&self, life: &mut Life) -> Result<(), Breach> {
        let last: Vec<_> = self.known.iter().filter(|known| known.is_final).collect();
        let views = life.recall(last.iter().map(|known| known.id).collect());
        if views.len() != last.len() {
            let seen = "the journal can't be read".to_owned();
            return Err((Rule::NothingLost, seen));
        }
        for (known, view) in last.into_iter().zip(views) {
            let agrees = known.heard.end.as_ref().is_none_or(|end| match &*end.name {
                "end" => view["state"] == "completed",
                _ => {
                    let data: Value = serde_json::from_str(&end.data).unwrap_or_default();
                    view["error"] == data["code"]
                }
            });
            if !agrees {
                let seen = format!("it ended with {:?}, and it is {view}", known.heard.end);
                return Err((Rule::NothingTwice, seen));
            }
        }
        Ok(())
    }
}

/// What the route does with a submission until it is let in. Where it was.
pub(super) fn admit(
    life: &mut Life,
    shard: usize,
    (id, owner): (Uuid, Identity),
    submission: Submission,
) -> Result<usize, ()> {
    let shared = &life.shared;
    if shared.stages.now() > Stage::Serving {
        return Err(());
    }
    let place = |shard| placement::place(shared, ShardId(shard), &submission, None);
    let placed = place(shard).map_err(drop)?;
    let class = submission.priority.into();
    let shard = match life.tables[shard].makes_room(&placed.pool, class) {
        Some(ShardId(other)) => other,
        None => shard,
    };
    let placed = place(shard).map_err(drop)?;
    let claimed = shared.directory.claim(id, ShardId(shard));
    claimed.expect("no two tasks of the world have one id");
    let admitted = life.tables[shard].admit(Application {
        id,
        pool: placed.pool,
        basis: placed.basis,
        turn: None,
        submission,
        owner,
        correlation_id: id.to_string(),
        trace: TraceId::of(None),
    });
    match admitted {
        Ok(_) => Ok(shard),
        Err(_) => {
            life.shared.directory.forget(id);
            Err(())
        }
    }
}

fn detach(life: &mut Life, reader: Reader) {
    let is_abandoned = reader.at.borrow_mut().detach();
    if is_abandoned {
        life.tables[reader.shard].abandon(&reader.at);
    }
}
