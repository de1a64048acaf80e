//! Connections that send requests without an end: some read what they are answered, as fast as it comes,
//! and some read nothing.
//!
//! Whoever reads nothing stops being read, so that what waits for them is bounded. Whoever reads is served
//! in order, and takes turns with everybody else.

use crate::Arguments;
use crate::books::Books;
use crate::hostile::Hostile;
use crate::trial::Trial;
use orchestratord_bench::Failure;
use orchestratord_bench::daemon::Daemon;
use std::thread;
use std::time::{Duration, Instant};

/// Connections of each kind.
const EACH: usize = 8;
/// How long they send.
const LASTS: Duration = Duration::from_secs(2);
/// How long those who read may take for what is left.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the daemon waits for those who read nothing.
const WRITE_TIMEOUT_MS: u64 = 1000;
const LOOK: Duration = Duration::from_millis(2);
/// Requests in what is sent at a time.
const BATCH: usize = 256;
/// Requests that wait for their answers on the connection of one who reads.
const AHEAD_MAX: usize = 4096;
const REQUEST: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// How an answer to it begins.
const ANSWER: &[u8] = b"HTTP/1.1 200";

/// Runs the scene.
pub(crate) fn run(_: &Arguments, books: &Books) -> Result<(), Failure> {
    let daemon = Daemon::start(&[
        "--engine=mock".to_owned(),
        "--transcripts=off".to_owned(),
        format!("--write-timeout-ms={WRITE_TIMEOUT_MS}"),
    ])?;
    let trial = Trial::of(daemon, books)?;
    trial.attack(|addr| {
        let connect = || (0..EACH).map(|_| Ok(Pipeline::new(Hostile::connect(addr)?)));
        let mut readers = connect().collect::<Result<Vec<_>, Failure>>()?;
        let mut others = connect().collect::<Result<Vec<_>, Failure>>()?;
        let until = Instant::now() + LASTS;
        while Instant::now() < until {
            let mut sent: usize = others.iter_mut().map(Pipeline::send).sum();
            for reader in &mut readers {
                reader.take();
                if reader.requests() < reader.answers.count + AHEAD_MAX {
                    sent += reader.send();
                }
            }
            if sent == 0 {
                // Nobody is helped by an attacker that spins, and on a small machine it is the client.
                thread::sleep(LOOK);
            }
        }
        take_rest(&mut readers);
        others.iter_mut().for_each(Pipeline::await_cut);
        report(&readers, &others, books);
        Ok(())
    })
}

/// A connection, and how far it is.
struct Pipeline {
    hostile: Hostile,
    batch: Vec<u8>,
    /// Bytes of requests that were sent.
    sent: usize,
    answers: Answers,
}

impl Pipeline {
    fn new(hostile: Hostile) -> Self {
        Self {
            hostile,
            batch: REQUEST.repeat(BATCH).into_bytes(),
            sent: 0,
            answers: Answers::default(),
        }
    }

    /// As much as the socket takes and not more than a batch; how much that was.
    fn send(&mut self) -> usize {
        let begun = self.sent % self.batch.len();
        let count = self.hostile.send(&self.batch[begun..]);
        self.sent += count;
        count
    }

    fn take(&mut self) {
        let answers = &mut self.answers;
        self.hostile
            .take_with(usize::MAX, |bytes| answers.take(bytes));
    }

    /// Waits until the daemon has had enough; what it says before is left alone.
    fn await_cut(&mut self) {
        let give_up = Instant::now() + PATIENCE;
        while self.hostile.ended.is_none() && Instant::now() < give_up {
            self.hostile.send(b"\r\n");
            thread::sleep(LOOK);
        }
    }

    fn requests(&self) -> usize {
        self.sent / REQUEST.len()
    }
}

/// Reads the answers to all requests that were sent whole.
fn take_rest(readers: &mut [Pipeline]) {
    let give_up = Instant::now() + PATIENCE;
    let owed = |reader: &Pipeline| reader.answers.count < reader.requests();
    while readers.iter().any(owed) && Instant::now() < give_up {
        readers.iter_mut().for_each(Pipeline::take);
        thread::sleep(LOOK);
    }
}

/// Counts answers in a stream of them, wherever it is cut.
#[derive(Default)]
struct Answers {
    count: usize,
    /// Bytes at the end of what came that an answer may begin with.
    matched: usize,
}

impl Answers {
    /// No suffix of what is matched begins an answer again, for its first byte is in it once.
    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.matched = match byte {
                byte if byte == ANSWER[self.matched] => self.matched + 1,
                byte if byte == ANSWER[0] => 1,
                _ => 0,
            };
            if self.matched == ANSWER.len() {
                self.count += 1;
                self.matched = 0;
            }
        }
    }
}

fn report(readers: &[Pipeline], others: &[Pipeline], books: &Books) {
    let requests = |of: &[Pipeline]| of.iter().map(Pipeline::requests).sum::<usize>();
    let answered: usize = readers.iter().map(|reader| reader.answers.count).sum();
    let (asked, unread) = (requests(readers), requests(others));
    let cut = others
        .iter()
        .filter(|it| it.hostile.ended.is_some())
        .count();
    println!("  who read      {EACH} connections, {asked} requests, {answered} answered 200");
    println!("  who don't     {EACH} connections, {unread} requests were taken, {cut} cut off");
    books.expect(answered == asked && asked > EACH * BATCH, || {
        format!("of {asked} requests in pipelines {answered} were answered")
    });
    books.expect(cut == EACH, || {
        format!("{cut} of {EACH} who read nothing were cut off")
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_wherever_they_are_cut() {
        let text = b"HTTP/1.1 200 OK\r\nA: HHTTP/1.1\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nHTTP/1.1 503";
        for cut in 0..text.len() {
            let mut answers = Answers::default();
            answers.take(&text[..cut]);
            answers.take(&text[cut..]);
            assert_eq!(answers.count, 2);
        }
    }
}
