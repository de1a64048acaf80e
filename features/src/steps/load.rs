//! A crowd: many tasks at once over many connections, watched from outside while it is served.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

use cucumber::gherkin::Step;
use cucumber::{then, when};

use crate::claim::Claim;
use crate::client::{self, Request};
use crate::connection::Connection;
use crate::sequence;
use crate::sse::Event;
use crate::stream::Stream;
use crate::world::World;

use super::metrics::scrape;

/// How often a dip must be seen in a row to count. Between freeing a slot and filling it a scrape may
/// catch the daemon in the act; a slot that stays idle is seen as often as one looks.
const LOOKS: usize = 10;

/// What the crowd and its watcher saw.
#[derive(Debug)]
pub(crate) struct Load {
    tasks: usize,
    streams: Vec<Vec<Event>>,
    /// The times when a slot stayed idle while a task waited.
    dips: Vec<String>,
}

#[when(
    regex = r"^(\d+) tasks(?: of ([A-Z][a-z]+))? are sent at once over (\d+) connections and read to their ends$"
)]
fn crowd(world: &mut World, tasks: usize, caller: String, connections: usize, #[step] step: &Step) {
    let addr = world.addr().holds();
    let request = &world.compose_task(&caller, step).holds();
    let look = &world
        .compose(&caller, "GET", "/v2/pools/default/health", None)
        .holds();
    let share = |index| tasks / connections + usize::from(index < tasks % connections);
    let (start, over) = (&Barrier::new(connections), &AtomicBool::new(false));
    world.load = Some(thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(addr, look, over));
        let client = |tasks| scope.spawn(move || client(addr, request, start, tasks));
        let clients: Vec<_> = (0..connections).map(share).map(client).collect();
        let streams: Result<Vec<_>, _> = clients.into_iter().map(join).collect();
        over.store(true, Ordering::Relaxed);
        Load {
            tasks,
            streams: streams.holds().concat(),
            dips: join(watcher).holds(),
        }
    }));
}

#[then("every task has been served, its stream in order")]
fn all_served(world: &mut World) {
    let load = world.load.as_ref().ok_or("there was no crowd").holds();
    assert_eq!(load.streams.len(), load.tasks);
    for events in &load.streams {
        sequence::check(events).holds();
        let last = events.last().map(|event| event.kind.as_str());
        assert_eq!(last, Some("end"), "{}", sequence::outline(events));
    }
}

#[then("no slot has been idle while a task waited")]
fn work_conserved(world: &mut World) {
    let load = world.load.as_ref().ok_or("there was no crowd").holds();
    let dips = load.dips.len();
    assert_eq!(dips, 0, "seen {dips} times, first: {}", load.dips[0]);
}

/// Enqueues its tasks on one connection, together with everybody else, then reads each stream.
fn client(
    addr: SocketAddr,
    request: &Request,
    start: &Barrier,
    tasks: usize,
) -> Result<Vec<Vec<Event>>, String> {
    let connection = Connection::open(addr);
    start.wait();
    let mut connection = connection?;
    let enqueue = |_| {
        connection.write_request(request)?;
        let answer = connection.read_answer("POST")?;
        let task = answer.json()?["streams"]["sse"].as_str().map(str::to_owned);
        task.ok_or_else(|| format!("a task is answered {}: {}", answer.status, answer.text()))
    };
    let paths: Vec<String> = (0..tasks).map(enqueue).collect::<Result<_, _>>()?;
    let read = |path| read(addr, path, request.headers.clone());
    paths.into_iter().map(read).collect()
}

fn read(
    addr: SocketAddr,
    path: String,
    headers: Vec<(String, String)>,
) -> Result<Vec<Event>, String> {
    let request = Request {
        method: "GET".to_owned(),
        path,
        headers,
        body: None,
    };
    let (answer, stream) = Stream::open(addr, &request)?;
    let mut stream = stream.ok_or_else(|| format!("a stream is answered {}", answer.status))?;
    stream.read_to_end()?;
    Ok(stream.events)
}

/// Looks at the metrics until the crowd is over, and tells when slots were idle beside a queue.
fn watch(addr: SocketAddr, look: &Request, over: &AtomicBool) -> Result<Vec<String>, String> {
    let slots = slots(addr, look)?;
    let mut dips = Vec::new();
    while !over.load(Ordering::Relaxed) {
        dips.extend(lasting_dip(addr, slots)?);
    }
    Ok(dips)
}

/// The last look of [`LOOKS`], if all of them saw a dip.
fn lasting_dip(addr: SocketAddr, slots: f64) -> Result<Option<String>, String> {
    let mut dip = None;
    for _ in 0..LOOKS {
        let metrics = scrape(addr)?;
        let running = metrics.total("active_leases")?;
        let waiting = metrics.total("queue_depth")?;
        if running >= slots || waiting == 0.0 {
            return Ok(None);
        }
        dip = Some(format!(
            "{running} of {slots} slots run while {waiting} tasks wait"
        ));
    }
    Ok(dip)
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T, String>>) -> Result<T, String> {
    let joined = thread.join();
    joined.unwrap_or_else(|_| Err("a thread of the crowd panicked".to_owned()))
}

fn slots(addr: SocketAddr, look: &Request) -> Result<f64, String> {
    let health = client::send(addr, look)?.json()?;
    health["metrics"]["slots_total"]
        .as_f64()
        .ok_or_else(|| format!("no slots_total in {health}"))
}
