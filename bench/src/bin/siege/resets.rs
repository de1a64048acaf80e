//! Connections that are reset: at once, in the middle of a request, and in the middle of a stream whose
//! task ends with its reader.
//!
//! A reset leaves nothing behind. A task that was to end with its last reader is canceled, and its slot is
//! free for the next: there are a few slots only, and each wave of readers needs all of them.

use crate::Arguments;
use crate::books::Books;
use crate::hostile::Hostile;
use crate::trial::Trial;
use orchestratord_bench::Failure;
use orchestratord_bench::client::{Answer, Client};
use orchestratord_bench::daemon::Daemon;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Slots that each wave of readers takes; a few more are there for the good clients.
const WAVE: usize = 16;
/// How many waves.
const WAVES: usize = 5;
/// How long a stream may take to begin, and a slot to be free again: bounds of liveness, none of speed.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(5);

/// Runs the scene.
pub(crate) fn run(arguments: &Arguments, books: &Books) -> Result<(), Failure> {
    let slots = WAVE as u64 + crate::trial::GOOD_CLIENTS;
    let daemon = Daemon::start(&[
        "--engine=mock".to_owned(),
        "--transcripts=off".to_owned(),
        format!("--slots={slots}"),
        format!("--admission-capacity={slots}"),
    ])?;
    let trial = Trial::of(daemon, books)?;
    trial.attack(|addr| {
        let begin_with = |begin: &'static [u8]| {
            for _ in 0..arguments.connections {
                let mut hostile = Hostile::connect(addr)?;
                hostile.send(begin);
                hostile.reset();
            }
            println!(
                "  reset         {} connections after {} bytes",
                arguments.connections,
                begin.len()
            );
            Ok::<_, Failure>(())
        };
        begin_with(b"")?;
        begin_with(b"GET /livez HTTP/1.1\r\nHost: loc")?;
        begin_with(b"GET /v2/pools HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let begun = waves(addr, books)?;
        println!("  reset         {begun} streams, each in its middle");
        Ok(())
    })
}

/// Waves of endless streams, each reset once all of it run. How many there were.
fn waves(addr: SocketAddr, books: &Books) -> Result<usize, Failure> {
    let mut client = Client::connect(addr)?;
    let mut begun = 0;
    for _ in 0..WAVES {
        let streams = (0..WAVE).map(|_| begin(addr, &mut client));
        let streams = streams.collect::<Result<Vec<_>, _>>()?;
        begun += streams.len();
        let tasks: Vec<_> = streams.iter().map(|(task, _)| task.clone()).collect();
        streams.into_iter().for_each(|(_, hostile)| hostile.reset());
        for task in tasks {
            let state = last_state(&mut client, &task)?;
            books.expect(state == "canceled", || {
                format!("a task whose reader was reset is {state}")
            });
        }
    }
    Ok(begun)
}

/// A task that never ends by itself, and its only reader, who has read something of it.
fn begin(addr: SocketAddr, client: &mut Client) -> Result<(String, Hostile), Failure> {
    const TASK: &[u8] =
        br#"{"model_ref":"mock","prompt":"On","max_tokens":1000000,"on_disconnect":"cancel"}"#;
    let Answer::Admitted(events) = client.submit(TASK)? else {
        return Err(Failure("a slot that was left is not free".to_owned()));
    };
    let mut hostile = Hostile::connect(addr)?;
    let ask = format!("GET {events} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    hostile.send_all(ask.as_bytes(), PATIENCE)?;
    let mut text = Vec::new();
    let give_up = Instant::now() + PATIENCE;
    while !text.windows(5).any(|word| word == b"token") {
        if Instant::now() > give_up || hostile.ended.is_some() {
            return Err(Failure("a stream has not begun".to_owned()));
        }
        thread::sleep(LOOK);
        hostile.take_with(usize::MAX, |bytes| text.extend_from_slice(bytes));
    }
    let task = events.trim_end_matches("/events").to_owned();
    Ok((task, hostile))
}

/// How a task is once it does not run any more.
fn last_state(client: &mut Client, task: &str) -> Result<String, Failure> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let (_, view) = client.get(task)?;
        let state = view["state"].as_str().unwrap_or_default();
        if state != "running" || Instant::now() > give_up {
            return Ok(state.to_owned());
        }
        thread::sleep(LOOK);
    }
}
