//! A scripted engine on a real socket: `mock-engine [--protocol llamacpp] [--fault hang-after:3] …`.
//!
//! It is what the daemon is tested and measured with where a model would only be slow, and where an
//! engine has to fail on time. It speaks OpenAI's API or llama.cpp's own besides. Each connection has a
//! thread; sequences beyond the slots wait for one.
//!
//! Each piece of work leaves lines of JSON on stderr: what was asked and under which trace, and after how
//! many tokens it was left by whoever asked.

mod answer;
mod asked;
mod fault;
mod link;
mod slots;

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use orchestratord_gpu::{Event, Generation, LocalEngine as _, SequenceKey, Step, mock};
use orchestratord_http::server::{self, Connection, Request, Response};
use orchestratord_http::{Limits, Method};
use rustls::ServerConfig;
use serde_json::{Value, json};

use answer::Answer;
use asked::{Asked, Route};
use fault::Fault;
use link::Link;
use slots::{Slots, Taken};

/// A scripted engine.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen; port 0 takes a free one, and the first line printed says which.
    #[arg(long, default_value = "127.0.0.1:0")]
    addr: SocketAddr,
    /// What it speaks.
    #[arg(long, value_enum, default_value_t = Protocol::Openai)]
    protocol: Protocol,
    /// What it calls its model; it lists none if that is not said.
    #[arg(long)]
    model: Option<String>,
    /// How many sequences run at a time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,
    /// From the start of a sequence to its first token.
    #[arg(long, default_value_t = 0)]
    first_token_ms: u64,
    /// Tokens a second and sequence; 0 is as fast as it can.
    #[arg(long, default_value_t = 0)]
    tokens_per_s: u32,
    /// How it fails: none, refuse, close, silent, drip-head, drip-body, die-after:N, cut-after:N, hang-after:N,
    /// garbage, status:N, huge-token, endless, unended.
    #[arg(long, default_value = "none")]
    fault: Fault,
    /// The certificate that it shows; without one it speaks plainly.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// What work has to be asked for with, as Authorization: Bearer.
    #[arg(long)]
    key: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// OpenAI's API.
    Openai,
    /// llama.cpp's routes, and OpenAI's API.
    Llamacpp,
}

/// Room for the longest prompt that anybody tries.
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What it says it can hold, in tokens; nothing is counted against it.
const CONTEXT_TOKENS: u32 = 4096;

/// A token that nobody wants.
const HUGE_TOKEN_BYTES: usize = 10_000_000;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let addr = arguments.addr;
    match serve(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mock-engine can't serve on {addr}: {error}");
            ExitCode::from(2)
        }
    }
}

fn serve(arguments: Arguments) -> io::Result<()> {
    let listener = TcpListener::bind(arguments.addr)?;
    let tls = arguments
        .tls_cert
        .as_deref()
        .zip(arguments.tls_key.as_deref());
    let tls = tls.map(|(certificate, key)| link::tls(certificate, key));
    let tls = tls.transpose()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    println!(
        "mock-engine listens on {scheme}://{}",
        listener.local_addr()?
    );
    let engine = Arc::new(Engine {
        tls,
        slots: Slots::new(arguments.slots),
        arguments,
    });
    for stream in listener.incoming().flatten() {
        let engine = Arc::clone(&engine);
        // A connection that breaks is its client's loss, and is told by nobody.
        thread::spawn(move || converse(&engine, stream));
    }
    Ok(())
}

/// What all connections share.
struct Engine {
    arguments: Arguments,
    tls: Option<Arc<ServerConfig>>,
    slots: Slots,
}

/// Answers one request after the other until the client goes.
fn converse(engine: &Engine, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let limits = Limits {
        body_max: BODY_BYTES_MAX,
        ..Limits::default()
    };
    let mut wire = Wire {
        engine,
        link: Link::accept(stream, engine.tls.as_ref())?,
        connection: Connection::new(limits),
        out: Vec::new(),
    };
    let (mut asked, mut body) = (None, Vec::new());
    while !wire.connection.must_close() {
        match wire.connection.poll() {
            Ok(server::Event::NeedMore) => {
                if !wire.read()? {
                    break;
                }
            }
            Ok(server::Event::Request { request, .. }) => {
                wire.connection.send_continue(&mut wire.out);
                wire.flush()?;
                asked = Some(request);
            }
            Ok(server::Event::Body(piece)) => body.extend_from_slice(piece),
            Ok(server::Event::Complete) => {
                let request = asked.take();
                let request = request.expect("a body follows the head of its request");
                wire.answer(&request, &std::mem::take(&mut body))?;
            }
            Err(refusal) => return Err(io::Error::other(refusal.reason)),
        }
    }
    Ok(())
}

/// One connection.
struct Wire<'e> {
    engine: &'e Engine,
    link: Link,
    connection: Connection,
    out: Vec<u8>,
}

impl Wire<'_> {
    fn answer(&mut self, request: &Request, body: &[u8]) -> io::Result<()> {
        let Arguments {
            model: model_name,
            protocol,
            slots,
            fault,
            ..
        } = &self.engine.arguments;
        let (slots, fault) = (*slots, *fault);
        let path = request.target.path();
        if !self.accepts_key(request) && path != "/health" {
            return self.refuse(401, "the key is wrong or missing");
        }
        match (request.method, path, *protocol) {
            (Method::Get, "/health", _) if fault == Fault::Refuse => self.refuse(503, LOADING),
            (Method::Get, "/health", _) => self.reply(200, &json!({"status": "ok"})),
            (Method::Get, "/v1/models", _) if fault == Fault::Refuse => self.refuse(503, LOADING),
            (Method::Get, "/v1/models", _) => {
                let model =
                    |name| json!({"id": name, "object": "model", "max_model_len": CONTEXT_TOKENS});
                let models: Vec<Value> = model_name.iter().map(model).collect();
                self.reply(200, &json!({"object": "list", "data": models}))
            }
            (Method::Get, "/props", Protocol::Llamacpp) => {
                let settings = json!({"n_ctx": CONTEXT_TOKENS});
                let version = concat!("mock-", env!("CARGO_PKG_VERSION"));
                let props = json!({"default_generation_settings": settings, "total_slots": slots,
                    "model_alias": model_name, "build_info": version});
                self.reply(200, &props)
            }
            (Method::Get, "/metrics", Protocol::Llamacpp) => {
                let usage = self.engine.slots.usage();
                let Taken { running, waiting } = self.engine.slots.taken();
                let metrics = format!(
                    "# TYPE llamacpp:kv_cache_usage_ratio gauge\n\
                     llamacpp:kv_cache_usage_ratio {usage}\n\
                     # TYPE llamacpp:requests_processing gauge\n\
                     llamacpp:requests_processing {running}\n\
                     # TYPE llamacpp:requests_deferred gauge\n\
                     llamacpp:requests_deferred {waiting}\n"
                );
                self.send(200, "text/plain; version=0.0.4", &metrics)
            }
            (Method::Post, path, protocol) => match Route::of(path, protocol) {
                Some(route) => self.work(route, request, body),
                None => self.refuse(404, NO_ROUTE),
            },
            _ => self.refuse(404, NO_ROUTE),
        }
    }

    fn accepts_key(&self, request: &Request) -> bool {
        let Some(key) = &self.engine.arguments.key else {
            return true;
        };
        let shown = request.fields.get("authorization");
        shown.and_then(|shown| shown.strip_prefix("Bearer ")) == Some(key)
    }

    fn work(&mut self, route: Route, request: &Request, body: &[u8]) -> io::Result<()> {
        let asked: Value = match serde_json::from_slice(body) {
            Ok(asked) => asked,
            Err(_) => return self.refuse(400, "the body is no JSON"),
        };
        let trace = request.fields.get("traceparent");
        let path = request.target.path();
        eprintln!(
            "{}",
            json!({"path": path, "model": asked["model"], "traceparent": trace})
        );
        match self.engine.arguments.fault {
            Fault::Refuse => return self.refuse(503, LOADING),
            Fault::Status(status) => return self.refuse(status, "it was told to answer so"),
            Fault::Silent => return self.wait(|| Some(Duration::MAX)),
            Fault::DripHead => return self.drip(b"HTTP/1.1 200 OK\r\nX-Drip: "),
            Fault::DripBody => return self.drip(DRIPPING_BODY),
            Fault::Garbage => {
                self.link
                    .write_all(b"\x00\xff no HTTP, and no end of a line")?;
                return Err(io::Error::other("nothing can follow garbage"));
            }
            Fault::Close => return Err(io::ErrorKind::ConnectionAborted.into()),
            Fault::None
            | Fault::Core(_)
            | Fault::CutAfter(_)
            | Fault::HugeToken
            | Fault::Endless
            | Fault::Unended => {}
        }
        match Asked::read(route, &asked) {
            Ok(asked) => self.run(asked),
            Err(reason) => self.refuse(400, reason),
        }
    }

    /// Begins an answer, and goes on with it a byte at a time until the client has enough.
    fn drip(&mut self, beginning: &[u8]) -> io::Result<()> {
        self.link.write_all(beginning)?;
        loop {
            let drop_at = Instant::now() + DRIP_INTERVAL;
            self.wait(|| drop_at.checked_duration_since(Instant::now()))?;
            self.link.write_all(b"a")?;
        }
    }

    /// Runs a sequence in a slot of its own, and says so if nobody stays to hear its end.
    fn run(&mut self, asked: Asked) -> io::Result<()> {
        let slot = self.engine.slots.take();
        let mut answer = Answer::new(&asked, self.engine.arguments.model.as_deref());
        if let Err(error) = self.generate(asked.generation, &mut answer) {
            eprintln!("{}", json!({"left_after_tokens": answer.tokens()}));
            return Err(error);
        }
        drop(slot);
        match answer.document() {
            Some(document) => self.reply(200, &document),
            None if self.engine.arguments.fault == Fault::Unended => {
                self.wait(|| Some(Duration::MAX))
            }
            None => {
                self.connection.end_stream(&mut self.out);
                self.flush()
            }
        }
    }

    /// Tells the events of a sequence at its pace.
    fn generate(&mut self, mut generation: Generation, answer: &mut Answer) -> io::Result<()> {
        if self.engine.arguments.fault == Fault::Endless {
            generation.max_tokens = u32::MAX;
        }
        let mut engine = mock::Engine::new(self.engine.options());
        let admitted = engine.admit(Duration::ZERO, SequenceKey(0), generation);
        admitted.map_err(io::Error::other)?;
        if answer.is_stream() {
            let head = Response {
                status: 200,
                fields: &[("Content-Type", "text/event-stream")],
            };
            self.connection.begin_stream(&head, &mut self.out);
        }
        let start = Instant::now();
        while !answer.is_complete() {
            let mut said = Vec::new();
            let step = engine.step(start.elapsed(), &mut |_, event| said.push(event));
            for event in said {
                self.tell(answer, event)?;
            }
            match step {
                Step::Again => {}
                Step::At(when) => self.wait(|| when.checked_sub(start.elapsed()))?,
                Step::Idle if answer.is_complete() => {}
                // It hangs; whoever asked has the longer breath.
                Step::Idle => self.wait(|| Some(Duration::MAX))?,
            }
        }
        Ok(())
    }

    fn tell(&mut self, answer: &mut Answer, event: Event) -> io::Result<()> {
        let event = match event {
            // As an engine whose machine fails: without another byte to anybody.
            Event::Fault(_) => std::process::exit(1),
            Event::Token { .. } if self.engine.arguments.fault == Fault::HugeToken => {
                Event::Token {
                    text: "a".repeat(HUGE_TOKEN_BYTES).into(),
                }
            }
            event => event,
        };
        let is_cut = matches!(event, Event::Token { .. })
            && self.engine.arguments.fault == Fault::CutAfter(answer.tokens());
        for chunk in answer.tell(event) {
            self.connection.stream(chunk.as_bytes(), &mut self.out);
        }
        if is_cut {
            self.out.truncate(self.out.len() / 2);
            self.flush()?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.flush()
    }

    /// Waits as long as there is a rest, and keeps what the client says meanwhile. It is an error if
    /// that leaves.
    fn wait(&mut self, rest: impl Fn() -> Option<Duration>) -> io::Result<()> {
        while let Some(rest) = rest().filter(|rest| !rest.is_zero()) {
            self.link
                .socket()
                .set_read_timeout(Some(rest.min(LONGEST_WAIT)))?;
            match self.read() {
                Ok(true) => {}
                Ok(false) => return Err(io::ErrorKind::ConnectionAborted.into()),
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
        self.link.socket().set_read_timeout(None)
    }

    /// Takes what the client says; `false` when it has closed its side.
    fn read(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 16 * 1024];
        let count = self.link.read(&mut bytes)?;
        self.connection.receive(&bytes[..count]);
        Ok(count > 0)
    }

    fn refuse(&mut self, status: u16, message: &str) -> io::Result<()> {
        self.reply(
            status,
            &json!({"error": {"message": message, "code": status}}),
        )
    }

    fn reply(&mut self, status: u16, body: &Value) -> io::Result<()> {
        self.send(status, "application/json", &body.to_string())
    }

    fn send(&mut self, status: u16, content_type: &str, body: &str) -> io::Result<()> {
        let head = Response {
            status,
            fields: &[("Content-Type", content_type)],
        };
        self.connection
            .respond(&head, body.as_bytes(), &mut self.out);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.link.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }
}

impl Engine {
    /// What the script is like; whoever asks brings the seed of a text.
    fn options(&self) -> mock::Options {
        mock::Options {
            first_token: Duration::from_millis(self.arguments.first_token_ms),
            token_interval: match self.arguments.tokens_per_s {
                0 => Duration::ZERO,
                rate => Duration::from_secs(1) / rate,
            },
            fault: self.arguments.fault.core(),
            ..mock::Options::default()
        }
    }
}

/// More than anybody waits at a time, and little enough for every kernel.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Which of the two it is depends on the system.
fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// A stream whose first line is a comment that does not end.
const DRIPPING_BODY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: ";
/// How long a byte is waited for where they come one by one.
const DRIP_INTERVAL: Duration = Duration::from_millis(20);

const LOADING: &str = "it takes no requests";
const NO_ROUTE: &str = "there is no such route";
