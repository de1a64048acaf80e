//! Event streams, beside a reading of the standard that takes the text whole.

use crate::{LENS, meaning};
use orchestratord_http::sse::{self, Decoder};

/// Small enough to be reached.
const EVENT_MAX: usize = 100;

pub(crate) fn check(bytes: &[u8]) {
    for lens in LENS {
        meaning::same_to_an_event_reader(bytes, lens, EVENT_MAX);
    }
    let events = decode(bytes);
    assert_eq!(events, read_as_the_standard_says(bytes));
    for event in events {
        check_written_again(&event);
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Event {
    id: Vec<u8>,
    event: Vec<u8>,
    data: Vec<u8>,
}

fn decode(mut bytes: &[u8]) -> Vec<Event> {
    let mut decoder = Decoder::new(bytes.len());
    let mut events = Vec::new();
    let fits = "no line is longer than all of them";
    while let Some(sse::Event { id, event, data }) = decoder.decode(&mut bytes).expect(fits) {
        let [id, event, data] = [id, event, data].map(<[u8]>::to_vec);
        events.push(Event { id, event, data });
    }
    events
}

/// What we have understood we can say ourselves, and understand again.
fn check_written_again(event: &Event) {
    let Ok(name) = str::from_utf8(&event.event) else {
        return;
    };
    let mut written = Vec::new();
    sse::encode(&mut written, 7, name, &event.data);
    let [again] = &decode(&written)[..] else {
        panic!("one event is one event");
    };
    assert_eq!((&again.event, &again.data), (&event.event, &event.data));
}

/// WHATWG HTML §9.2.6, step by step, of a stream that is here whole.
fn read_as_the_standard_says(bytes: &[u8]) -> Vec<Event> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let (mut events, mut id, mut event, mut data) = (vec![], vec![], vec![], vec![]);
    for line in lines(bytes) {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"" if colon.is_none() => {
                if data.pop().is_some() {
                    let event = if event.is_empty() {
                        b"message".to_vec()
                    } else {
                        event
                    };
                    let id: Vec<u8> = Clone::clone(&id);
                    events.push(Event { id, event, data });
                }
                (event, data) = (vec![], vec![]);
            }
            b"event" => event = value.to_vec(),
            b"data" => data.extend([value, b"\n"].concat()),
            b"id" if !value.contains(&0) => id = value.to_vec(),
            _ => {}
        }
    }
    events
}

/// The lines that have ended.
fn lines(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(length) = bytes.iter().position(|byte| b"\r\n".contains(byte)) {
        let (line, rest) = bytes.split_at(length);
        lines.push(line);
        bytes = rest.strip_prefix(b"\r\n").unwrap_or(&rest[1..]);
    }
    lines
}
