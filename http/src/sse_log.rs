//! A task's encoded events: appended once, read by many cursors.
//!
//! Think of a printed page and readers with bookmarks. Each event is encoded when it happens, into
//! one run of bytes; a reader is a [`Cursor`] that says which event it wants next, and reading is
//! borrowing a slice. So the first reader, a late one, a slow one and one that resumes after a
//! broken connection are the same thing, and none of them costs the task or each other anything.
//!
//! Events number from 0 without gaps, and an event's id is its number. Where an event says more to
//! a verbose reader than to a plain one, both forms stand side by side under one id:
//!
//! ```text
//!   id        0          1      2      3
//!         ┌───────┬─────────┬───────┬───────┬
//!   bytes │ plain │ verbose │ both  │ both  │
//!         └───────┴─────────┴───────┴───────┴
//! ```

use crate::sse::encode;
use std::ops::Range;

/// Which form of an event a reader gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// What every client needs.
    Plain,
    /// That, and what explains it.
    Verbose,
}

/// A reader's place in a log: a bookmark, not a reference. Moving to another thread costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The id of the next event to read.
    next: u64,
    audience: Audience,
}

impl Cursor {
    /// A reader of the whole log.
    #[must_use]
    pub const fn from_start(audience: Audience) -> Self {
        Self { next: 0, audience }
    }

    /// Which form of the events it reads.
    #[must_use]
    pub const fn audience(&self) -> Audience {
        self.audience
    }

    /// A reader of what follows the event `id`, as `Last-Event-ID` asks. If there is no such event
    /// yet, it waits at the end of the log that it finds.
    #[must_use]
    pub const fn after(id: u64, audience: Audience) -> Self {
        Self {
            next: id.saturating_add(1),
            audience,
        }
    }
}

/// The events of one task.
#[derive(Clone, Debug, Default)]
pub struct Log {
    bytes: Vec<u8>,
    events: Vec<Extent>,
    is_closed: bool,
    /// The last event is nobody's to read yet.
    is_held: bool,
}

/// Where an event stands. It begins where the one before it ends.
#[derive(Clone, Copy, Debug)]
struct Extent {
    /// Where the plain form ends and the verbose one begins; the event's own end when both
    /// audiences read the same bytes.
    plain_end: usize,
    end: usize,
}

impl Log {
    /// An empty, open log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing was appended yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Appends an event and returns its id.
    ///
    /// # Panics
    ///
    /// When the log is closed: what ends a stream is its last event, and a token after a cancel
    /// would break a promise to the client.
    pub fn append(&mut self, event: &str, data: &[u8]) -> u64 {
        let id = self.open_id();
        encode(&mut self.bytes, id, event, data);
        self.seal(self.bytes.len())
    }

    /// Appends an event that tells verbose readers something else than plain ones.
    ///
    /// # Panics
    ///
    /// When the log is closed.
    pub fn append_by_audience(&mut self, event: &str, plain: &[u8], verbose: &[u8]) -> u64 {
        let id = self.open_id();
        encode(&mut self.bytes, id, event, plain);
        let plain_end = self.bytes.len();
        encode(&mut self.bytes, id, event, verbose);
        self.seal(plain_end)
    }

    /// Appends the last event.
    ///
    /// # Panics
    ///
    /// When the log is closed already.
    pub fn close(&mut self, event: &str, data: &[u8]) {
        self.append(event, data);
        self.is_closed = true;
    }

    /// Keeps the last event from readers: what it says is not yet true for good.
    ///
    /// # Panics
    ///
    /// When the log is open.
    pub const fn hold(&mut self) {
        assert!(self.is_closed, "only an end is held");
        self.is_held = true;
    }

    /// Lets readers have the last event.
    pub const fn release(&mut self) {
        self.is_held = false;
    }

    /// Whether the last event was appended.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Bytes of all events, both forms counted.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The id that the next event has or would have.
    #[must_use]
    pub const fn next_id(&self) -> u64 {
        self.events.len() as u64
    }

    /// Whether there is an event that this reader has not read.
    #[must_use]
    pub const fn has_news(&self, cursor: &Cursor) -> bool {
        cursor.next < self.readable()
    }

    /// The next whole events for this reader, which then stands after them: as many as lie side by
    /// side within `bytes_max`, but at least one if there is any. Empty at the end of the log.
    pub fn read(&self, cursor: &mut Cursor, bytes_max: usize) -> &[u8] {
        cursor.next = cursor.next.min(self.readable());
        let Some(mut run) = self.range(cursor).filter(|_| self.has_news(cursor)) else {
            return &[];
        };
        cursor.next += 1;
        while let Some(event) = self.range(cursor)
            && self.has_news(cursor)
            && event.start == run.end
            && event.end - run.start <= bytes_max
        {
            run.end = event.end;
            cursor.next += 1;
        }
        &self.bytes[run]
    }

    /// All events so far, as a reader of the whole log has them or will have them.
    #[must_use]
    pub fn to_vec(&self, audience: Audience) -> Vec<u8> {
        let mut cursor = Cursor::from_start(audience);
        let mut all = Vec::with_capacity(self.bytes.len());
        while let Some(event) = self.range(&cursor) {
            all.extend_from_slice(&self.bytes[event]);
            cursor.next += 1;
        }
        all
    }

    /// Whether the log is closed and this reader has read all of it.
    #[must_use]
    pub const fn is_drained(&self, cursor: &Cursor) -> bool {
        self.is_closed && cursor.next >= self.next_id()
    }

    /// The id of the first event that nobody may read.
    const fn readable(&self) -> u64 {
        self.next_id() - self.is_held as u64
    }

    fn open_id(&self) -> u64 {
        assert!(!self.is_closed, "a closed log takes no more events");
        self.next_id()
    }

    /// Makes what was encoded since the last event the next one.
    fn seal(&mut self, plain_end: usize) -> u64 {
        let id = self.next_id();
        let end = self.bytes.len();
        self.events.push(Extent { plain_end, end });
        id
    }

    /// Where the reader's form of its next event stands.
    fn range(&self, cursor: &Cursor) -> Option<Range<usize>> {
        let index = usize::try_from(cursor.next).ok()?;
        let Extent { plain_end, end } = *self.events.get(index)?;
        let start = index
            .checked_sub(1)
            .map_or(0, |before| self.events[before].end);
        match cursor.audience {
            Audience::Verbose if plain_end < end => Some(plain_end..end),
            _ => Some(start..plain_end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(log: &Log, cursor: &mut Cursor, bytes_max: usize) -> String {
        String::from_utf8(log.read(cursor, bytes_max).to_vec()).unwrap()
    }

    fn log_of_three() -> Log {
        let mut log = Log::new();
        log.append_by_audience("started", b"{}", b"{\"pool\":\"a\"}");
        log.append("token", b"x");
        log.close("end", b"y");
        log
    }

    const STARTED: &str = "id: 0\nevent: started\ndata: {}\n\n";
    const STARTED_VERBOSE: &str = "id: 0\nevent: started\ndata: {\"pool\":\"a\"}\n\n";
    const TOKEN: &str = "id: 1\nevent: token\ndata: x\n\n";
    const END: &str = "id: 2\nevent: end\ndata: y\n\n";

    #[test]
    fn each_audience_reads_its_own_form_in_the_same_order() {
        let log = log_of_three();
        let mut verbose = Cursor::from_start(Audience::Verbose);
        assert_eq!(
            read(&log, &mut verbose, usize::MAX),
            [STARTED_VERBOSE, TOKEN, END].concat()
        );
        let mut plain = Cursor::from_start(Audience::Plain);
        assert_eq!(read(&log, &mut plain, usize::MAX), STARTED);
        assert_eq!(read(&log, &mut plain, usize::MAX), [TOKEN, END].concat());
        assert!(log.is_drained(&plain) && log.is_drained(&verbose));
    }

    #[test]
    fn the_whole_log_is_what_a_reader_from_the_start_reads() {
        let log = log_of_three();
        let plain = String::from_utf8(log.to_vec(Audience::Plain)).unwrap();
        assert_eq!(plain, [STARTED, TOKEN, END].concat());
        let verbose = String::from_utf8(log.to_vec(Audience::Verbose)).unwrap();
        assert_eq!(verbose, [STARTED_VERBOSE, TOKEN, END].concat());
        assert!(Log::new().to_vec(Audience::Plain).is_empty());
    }

    #[test]
    fn a_read_gives_whole_events_and_at_least_one() {
        let log = log_of_three();
        let mut cursor = Cursor::after(0, Audience::Plain);
        assert_eq!(read(&log, &mut cursor, 1), TOKEN);
        assert_eq!(read(&log, &mut cursor, 1), END);
        assert_eq!(read(&log, &mut cursor, 1), "");
        let mut cursor = Cursor::after(0, Audience::Plain);
        assert_eq!(read(&log, &mut cursor, TOKEN.len() + END.len() - 1), TOKEN);
    }

    #[test]
    fn a_reader_from_the_future_waits_at_the_end() {
        let mut log = Log::new();
        log.append("token", b"0");
        let mut cursor = Cursor::after(u64::MAX, Audience::Plain);
        assert_eq!(read(&log, &mut cursor, 100), "");
        assert!(!log.is_drained(&cursor) && !log.has_news(&cursor));
        log.append("token", b"x");
        assert!(log.has_news(&cursor));
        log.close("end", b"y");
        assert_eq!(read(&log, &mut cursor, 100), [TOKEN, END].concat());
        assert!(log.is_drained(&cursor));
    }

    #[test]
    fn a_held_end_is_read_by_nobody_until_it_is_released() {
        let mut log = log_of_three();
        log.hold();
        let mut cursor = Cursor::from_start(Audience::Plain);
        assert_eq!(read(&log, &mut cursor, usize::MAX), STARTED);
        assert_eq!(read(&log, &mut cursor, usize::MAX), TOKEN);
        assert!(!log.has_news(&cursor) && !log.is_drained(&cursor));
        let whole = String::from_utf8(log.to_vec(Audience::Plain)).unwrap();
        assert!(whole.ends_with(END), "what is kept of it is whole");
        log.release();
        assert_eq!(read(&log, &mut cursor, usize::MAX), END);
        assert!(log.is_drained(&cursor));
    }

    #[test]
    #[should_panic(expected = "a closed log takes no more events")]
    fn nothing_follows_the_last_event() {
        log_of_three().append("token", b"late");
    }
}
