//! Reading streams: who opens which, how far they read, and what they have seen.

use cucumber::gherkin::Step;
use cucumber::{given, then, when};
use serde_json::Value;

use crate::claim::Claim;
use crate::sequence;
use crate::stream::Stream;
use crate::world::World;

#[given(regex = r"^(the client|[A-Z][a-z]+) opens (/\S+)(?: after event (\d+))?$")]
#[when(regex = r"^(the client|[A-Z][a-z]+) opens (/\S+)(?: after event (\d+))?$")]
fn open(world: &mut World, reader: String, path: String, last_event_id: String) {
    let mut request = world.compose(&reader, "GET", &path, None).holds();
    if !last_event_id.is_empty() {
        request
            .headers
            .push(("Last-Event-ID".to_owned(), last_event_id));
    }
    let opened = match &world.http2 {
        Some(http2) => Stream::open_on(http2, &request),
        None => Stream::open(world.addr().holds(), &request),
    };
    let (answer, stream) = opened.holds();
    world.answers.push(answer);
    match stream {
        Some(stream) => world.streams.insert(reader, stream),
        None => world.streams.remove(&reader),
    };
}

#[given(regex = r"^(the client|[A-Z][a-z]+) reads (/\S+)(?: after event (\d+))?$")]
#[when(regex = r"^(the client|[A-Z][a-z]+) reads (/\S+)(?: after event (\d+))?$")]
fn read(world: &mut World, reader: String, path: String, last_event_id: String) {
    open(world, reader.clone(), path, last_event_id);
    read_on(world, reader);
}

#[when(regex = r"^(the client|[A-Z][a-z]+) reads on to the end$")]
fn read_on(world: &mut World, reader: String) {
    world.stream(&reader).and_then(Stream::read_to_end).holds();
}

#[given(regex = r"^(the client|[A-Z][a-z]+) has received (\d+) tokens?$")]
#[when(regex = r"^(the client|[A-Z][a-z]+) has received (\d+) tokens?$")]
fn receive(world: &mut World, reader: String, count: usize) {
    world
        .stream(&reader)
        .and_then(|stream| stream.read_tokens(count))
        .holds();
}

#[when(regex = r"^(the client|[A-Z][a-z]+) hangs up$")]
fn hang_up(world: &mut World, reader: String) {
    world.streams.remove(&reader);
}

#[then(regex = r"^(the client|[A-Z][a-z]+) has seen a stream in order$")]
fn in_order(world: &mut World, reader: String) {
    sequence::check(&world.stream(&reader).holds().events).holds();
}

/// Parsers of events pass over comments; a person who reads the bytes does not.
#[then(regex = r"^(the client|[A-Z][a-z]+) comes to read a comment that mentions (.+)$")]
fn read_comment(world: &mut World, reader: String, part: String) {
    let read = world
        .stream(&reader)
        .and_then(|stream| stream.read_comment(&part));
    read.holds();
}

/// Every event of the kind is checked, and there must be one.
#[then(regex = r"^each (started|token|metrics|end|error) event of (the client|[A-Z][a-z]+) holds$")]
fn events_hold(world: &mut World, kind: String, reader: String, #[step] step: &Step) {
    let expected = world.expectations(step).holds();
    let events = &world.stream(&reader).holds().events;
    let mut of_kind = events.iter().filter(|event| event.kind == kind).peekable();
    assert!(
        of_kind.peek().is_some(),
        "no {kind} event came: {}",
        sequence::outline(events)
    );
    of_kind.for_each(|event| expected.check(&event.data).holds());
}

#[then(regex = r"^(the client|[A-Z][a-z]+) has seen (\d+) tokens?$")]
fn token_count(world: &mut World, reader: String, count: usize) {
    let events = &world.stream(&reader).holds().events;
    assert_eq!(
        sequence::tokens(events).count(),
        count,
        "{}",
        sequence::outline(events)
    );
}

#[then(regex = r"^(the client|[A-Z][a-z]+) has seen a text that mentions (.+)$")]
fn text_mentions(world: &mut World, reader: String, part: String) {
    let text = sequence::text(&world.stream(&reader).holds().events);
    assert!(text.contains(&part), "nothing about {part} in: {text}");
}

#[then(regex = r"^tokens (\d+) and (\d+) of (the client|[A-Z][a-z]+) are (the same|different)$")]
fn compare_tokens(world: &mut World, one: usize, other: usize, reader: String, how: String) {
    let events = &world.stream(&reader).holds().events;
    let texts: Vec<_> = sequence::tokens(events)
        .map(|token| &token.data["t"])
        .collect();
    let alike = texts[one] == texts[other];
    assert_eq!(alike, how == "the same", "{texts:?}");
}

/// What the tokens of a stream say, each of them JSON.
fn results(world: &mut World, reader: &str) -> Result<Vec<Value>, String> {
    let texts = sequence::tokens(&world.stream(reader)?.events).map(|token| &token.data["t"]);
    let read = |text: &Value| {
        let json = text.as_str().unwrap_or_default();
        serde_json::from_str(json).map_err(|_| format!("{text} holds no JSON"))
    };
    texts.map(read).collect()
}

#[then(regex = r"^(the client|[A-Z][a-z]+) has seen (\d+) vectors of one length$")]
fn vectors(world: &mut World, reader: String, count: usize) {
    let results = results(world, &reader).holds();
    let vectors: Vec<_> = results.iter().filter_map(Value::as_array).collect();
    assert_eq!((vectors.len(), results.len()), (count, count));
    for vector in &vectors {
        assert!(vector.iter().all(Value::is_number), "{vector:?}");
        assert_eq!(vector.len(), vectors[0].len());
    }
    assert!(!vectors[0].is_empty(), "the vectors are empty");
}

#[then(regex = r"^(the client|[A-Z][a-z]+) has seen (\d+) scores, the highest at (\d+)$")]
fn scores(world: &mut World, reader: String, count: usize, highest: usize) {
    let results = results(world, &reader).holds();
    let scores: Vec<f64> = results.iter().filter_map(Value::as_f64).collect();
    assert_eq!((scores.len(), results.len()), (count, count));
    for (place, score) in scores.iter().enumerate() {
        assert!((-1.0..=1.0).contains(score), "{scores:?}");
        assert!(place == highest || *score < scores[highest], "{scores:?}");
    }
}

/// What the kernel already holds for the reader came before the answer to the last request, because
/// loopback delivers in order of writing. From there on the stream may end, and only end.
#[then(regex = r"^no token reaches (the client|[A-Z][a-z]+) any more$")]
fn no_more_tokens(world: &mut World, reader: String) {
    let stream = world.stream(&reader).holds();
    stream.read_arrived().holds();
    let before = stream.events.len();
    stream.read_to_end().holds();
    let late = &stream.events[before..];
    assert_eq!(
        sequence::tokens(late).count(),
        0,
        "after the answer came {}",
        sequence::outline(late)
    );
}

#[then(regex = r"^([A-Z][a-z]+) and ([A-Z][a-z]+) have seen the same (bytes|text)$")]
fn seen_alike(world: &mut World, one: String, other: String, what: String) {
    let mut seen = |reader: &str| {
        let stream = world.stream(reader).holds();
        if what == "bytes" {
            String::from_utf8_lossy(&stream.bytes).into_owned()
        } else {
            sequence::text(&stream.events)
        }
    };
    let (one, other) = (seen(&one), seen(&other));
    assert!(!one.is_empty(), "both have seen nothing");
    assert_eq!(one, other);
}

#[then(regex = r"^([A-Z][a-z]+) has seen what ([A-Z][a-z]+) saw after event (\d+)$")]
fn seen_rest(world: &mut World, resumed: String, whole: String, last_event_id: u64) {
    let resumed = world.stream(&resumed).holds().events.clone();
    let whole = world.stream(&whole).holds().events.iter();
    let rest: Vec<_> = whole
        .filter(|event| event.id > last_event_id)
        .cloned()
        .collect();
    assert!(
        !rest.is_empty(),
        "the whole stream ends before event {last_event_id}"
    );
    assert_eq!(resumed, rest);
}
