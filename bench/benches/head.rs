//! Reading the head of a request, as it comes from a client library and from a browser: the first
//! cost of every request.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use orchestratord_http::Limits;
use orchestratord_http::server::{Connection, Event};
use std::hint::black_box;

const SMALL: &[u8] = b"GET /v2/tasks/0b0c9a52-5d5c-4c4e-9c5f-3f3a3f1d7a10/events HTTP/1.1\r\n\
    Host: localhost:8080\r\nAccept: text/event-stream\r\n\r\n";

const BROWSER: &[u8] = b"GET /v2/pools HTTP/1.1\r\nHost: localhost:8080\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nSec-Fetch-User: ?1\r\nPriority: u=0, i\r\n\r\n";

fn read(head: &[u8]) {
    let mut connection = Connection::new(Limits::default());
    connection.receive(black_box(head));
    assert!(matches!(connection.poll(), Ok(Event::Request { .. })));
}

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    for (name, head) in [("small", SMALL), ("browser", BROWSER)] {
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| read(head)));
    }
    group.finish();
}

criterion_group!(benches, heads);
criterion_main!(benches);
