//! Appending a token to a task's log, and reading it: what every token costs, once for the task
//! and once for each reader.

use criterion::{Criterion, criterion_group, criterion_main};
use orchestratord_http::sse_log::{Audience, Cursor, Log};
use std::hint::black_box;

const TOKEN: &[u8] = br#"{"t":" there","i":117}"#;

/// As long as an answer is.
const TOKENS: usize = 256;

fn filled() -> Log {
    let mut log = Log::new();
    for _ in 0..TOKENS {
        log.append("token", black_box(TOKEN));
    }
    log
}

fn logs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sse_log");
    group.bench_function("append 256 tokens", |bencher| bencher.iter(filled));
    let log = filled();
    group.bench_function("read 256 tokens one by one", |bencher| {
        bencher.iter(|| {
            let mut cursor = Cursor::from_start(Audience::Plain);
            while !log.read(black_box(&mut cursor), 1).is_empty() {}
        });
    });
    group.bench_function("read 256 tokens at once", |bencher| {
        bencher.iter(|| {
            let mut cursor = Cursor::from_start(Audience::Plain);
            black_box(log.read(&mut cursor, usize::MAX)).len()
        });
    });
    group.finish();
}

criterion_group!(benches, logs);
criterion_main!(benches);
