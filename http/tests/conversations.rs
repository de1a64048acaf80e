//! Recorded dialogues, one file per lesson, replayed in pieces of several sizes.
//!
//! A line of a file begins with the speaker:
//!
//! ```text
//! # what the dialogue teaches
//! > a line that the client sends, CRLF added
//! >| the same without CRLF
//! < a line that the server is expected to send, CRLF added
//! <| the same without CRLF
//! = open, or closed: whether another request may follow
//! ```
//!
//! The server's part is played by a small application, [`Application`].

use orchestratord_http::Limits;
use orchestratord_http::server::{Connection, Event, Request, Response};
use std::path::Path;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Speaker {
    Client,
    Server,
}

/// What one side says before the other speaks.
type Turn = (Speaker, Vec<u8>);

struct Dialogue {
    turns: Vec<Turn>,
    ends_closed: bool,
}

fn parse(text: &str) -> Dialogue {
    let mut dialogue = Dialogue {
        turns: Vec::new(),
        ends_closed: false,
    };
    for line in text.lines() {
        match line.split_at(line.len().min(1)) {
            ("" | "#", _) => {}
            (">", said) => say(&mut dialogue.turns, Speaker::Client, said),
            ("<", said) => say(&mut dialogue.turns, Speaker::Server, said),
            ("=", end) => dialogue.ends_closed = end.trim() == "closed",
            _ => panic!("nobody says {line:?}"),
        }
    }
    dialogue
}

fn say(turns: &mut Vec<Turn>, speaker: Speaker, said: &str) {
    if turns.last().is_none_or(|(last, _)| *last != speaker) {
        turns.push((speaker, Vec::new()));
    }
    let (_, bytes) = turns.last_mut().expect("there is a turn");
    let (said, end) = match said.strip_prefix('|') {
        Some(said) => (said, ""),
        None => (said, "\r\n"),
    };
    bytes.extend_from_slice(said.strip_prefix(' ').unwrap_or(said).as_bytes());
    bytes.extend_from_slice(end.as_bytes());
}

/// The application: what it knows of the request at hand.
#[derive(Default)]
struct Application {
    path: String,
    body: Vec<u8>,
}

impl Application {
    /// Lets the connection say all it can, and answers. What the server sends is returned.
    fn run(&mut self, connection: &mut Connection) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            match connection.poll() {
                Ok(Event::NeedMore) => return out,
                Ok(Event::Request {
                    request,
                    expects_continue,
                }) => {
                    self.begin(&request);
                    if self.path == "/early" {
                        connection.respond(&status(401), b"who are you?", &mut out);
                    } else if expects_continue {
                        connection.send_continue(&mut out);
                    }
                }
                Ok(Event::Body(data)) => self.body.extend_from_slice(data),
                Ok(Event::Complete) => self.answer(connection, &mut out),
                Err(refusal) => {
                    let body = refusal.reason.as_bytes();
                    connection.refuse(&status(refusal.status), body, &mut out);
                }
            }
        }
    }

    fn begin(&mut self, request: &Request) {
        self.path = request.target.path().to_owned();
        self.body.clear();
    }

    fn answer(&mut self, connection: &mut Connection, out: &mut Vec<u8>) {
        match self.path.as_str() {
            "/echo" => connection.respond(&status(200), &self.body, out),
            "/nothing" => connection.respond(&status(204), b"", out),
            "/stream" => {
                connection.begin_stream(&status(200), out);
                for piece in ["first", "", "and the second"] {
                    connection.stream(piece.as_bytes(), out);
                }
                connection.end_stream(out);
            }
            "/last" => {
                connection.close_after_response();
                connection.respond(&status(200), b"goodbye", out);
            }
            _ => connection.respond(&status(404), b"nothing here", out),
        }
    }
}

fn status(status: u16) -> Response<'static> {
    Response {
        status,
        fields: &[("Server", "test")],
    }
}

fn replay(dialogue: &Dialogue, piece_len: usize) {
    let mut connection = Connection::new(Limits::default());
    let mut application = Application::default();
    let mut heard = Vec::new();
    for (speaker, bytes) in &dialogue.turns {
        if *speaker == Speaker::Client {
            for piece in bytes.chunks(piece_len) {
                connection.receive(piece);
                heard.extend(application.run(&mut connection));
            }
        } else {
            let heard = std::mem::take(&mut heard);
            assert_eq!(
                String::from_utf8_lossy(&heard),
                String::from_utf8_lossy(bytes)
            );
        }
    }
    assert_eq!(
        String::from_utf8_lossy(&heard),
        "",
        "said without being recorded"
    );
    assert_eq!(connection.must_close(), dialogue.ends_closed, "must close");
}

#[test]
fn every_recorded_dialogue_goes_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let dialogue = parse(&std::fs::read_to_string(&path).unwrap());
        for piece_len in [usize::MAX, 1, 2, 3, 7, 64] {
            println!("{} in pieces of {piece_len}", path.display());
            replay(&dialogue, piece_len);
        }
        count += 1;
    }
    assert!(count > 0, "there are dialogues");
}
