//! A scripted engine behind the OpenAI API, on a real socket: `mock-engine [--tokens-per-s N] …`.
//!
//! It is what the daemon is tested and measured with where a model would only be slow. Each connection
//! has a thread. Every request leaves a line on stderr that says what was asked and under which trace.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use orchestratord_gpu::{
    Event, Generation, Input, LocalEngine as _, Sampling, SequenceKey, Step, mock,
};
use orchestratord_http::server::{self, Connection, Request, Response};
use orchestratord_http::{Limits, Method};
use serde_json::{Value, json};

/// A scripted engine behind the OpenAI API.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// Where to listen; port 0 takes a free one, and the first line printed says which.
    #[arg(long, default_value = "127.0.0.1:0")]
    addr: SocketAddr,
    /// What it calls its model.
    #[arg(long, default_value = "mock")]
    model: String,
    /// From a request to its first token.
    #[arg(long, default_value_t = 0)]
    first_token_ms: u64,
    /// Tokens a second and request; 0 is as fast as it can.
    #[arg(long, default_value_t = 0)]
    tokens_per_s: u32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mock-engine can't listen on {}: {error}", arguments.addr);
            ExitCode::from(2)
        }
    }
}

fn serve(arguments: &Arguments) -> io::Result<()> {
    let listener = TcpListener::bind(arguments.addr)?;
    println!("mock-engine listens on http://{}", listener.local_addr()?);
    for stream in listener.incoming().flatten() {
        let arguments = arguments.clone();
        // A connection that breaks is its client's loss, and is told by nobody.
        thread::spawn(move || converse(stream, &arguments));
    }
    Ok(())
}

/// Answers one request after the other until the client goes.
fn converse(mut stream: TcpStream, arguments: &Arguments) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(Limits::default());
    let (mut bytes, mut out) = ([0; 16 * 1024], Vec::new());
    let (mut asked, mut body) = (None, Vec::new());
    loop {
        match connection.poll() {
            Ok(server::Event::NeedMore) => match stream.read(&mut bytes)? {
                0 => return Ok(()),
                count => connection.receive(&bytes[..count]),
            },
            Ok(server::Event::Request { request, .. }) => asked = Some(request),
            Ok(server::Event::Body(piece)) => body.extend_from_slice(piece),
            Ok(server::Event::Complete) => {
                let request = asked
                    .take()
                    .expect("a body follows the head of its request");
                let body = std::mem::take(&mut body);
                Answering {
                    stream: &mut stream,
                    connection: &mut connection,
                    out: &mut out,
                    arguments,
                }
                .answer(&request, &body)?;
                if connection.must_close() {
                    return Ok(());
                }
            }
            Err(refusal) => return Err(io::Error::other(refusal.reason)),
        }
    }
}

/// One answer.
struct Answering<'c> {
    stream: &'c mut TcpStream,
    connection: &'c mut Connection,
    out: &'c mut Vec<u8>,
    arguments: &'c Arguments,
}

impl Answering<'_> {
    fn answer(&mut self, request: &Request, body: &[u8]) -> io::Result<()> {
        let path: Vec<_> = request.target.segments().collect();
        let path: Vec<&str> = path.iter().map(|segment| &**segment).collect();
        match (request.method, path.as_slice()) {
            (Method::Get, ["health"]) => self.reply(200, &json!({"status": "ok"})),
            (Method::Get, ["v1", "models"]) => {
                let model = json!({"id": self.arguments.model, "object": "model"});
                self.reply(200, &json!({"object": "list", "data": [model]}))
            }
            (Method::Post, ["v1", "completions"]) => self.complete(request, body),
            _ => self.refuse(404, "there is no such route"),
        }
    }

    fn complete(&mut self, request: &Request, body: &[u8]) -> io::Result<()> {
        let asked: Value = match serde_json::from_slice(body) {
            Ok(asked) => asked,
            Err(_) => return self.refuse(400, "the body is no JSON"),
        };
        let trace = request.fields.get("traceparent");
        eprintln!("{}", json!({"model": asked["model"], "traceparent": trace}));
        let (Some(prompt), Some(max_tokens)) =
            (asked["prompt"].as_str(), asked["max_tokens"].as_u64())
        else {
            return self.refuse(400, "`prompt` and `max_tokens` are needed");
        };
        let seed = asked["seed"].as_u64().unwrap_or_default();
        self.generate(prompt, u32::try_from(max_tokens).unwrap_or(u32::MAX), seed)
    }

    fn generate(&mut self, prompt: &str, max_tokens: u32, seed: u64) -> io::Result<()> {
        let mut engine = mock::Engine::new(mock::Options {
            first_token: Duration::from_millis(self.arguments.first_token_ms),
            token_interval: match self.arguments.tokens_per_s {
                0 => Duration::ZERO,
                rate => Duration::from_secs(1) / rate,
            },
            ..mock::Options::default()
        });
        let start = Instant::now();
        let generation = generation(prompt, max_tokens, seed);
        let admitted = engine.admit(Duration::ZERO, SequenceKey(0), generation);
        admitted.map_err(io::Error::other)?;
        self.begin_stream();
        loop {
            let mut said = Vec::new();
            let step = engine.step(start.elapsed(), &mut |_, event| said.push(event));
            said.iter().for_each(|event| self.tell(event));
            self.flush()?;
            match step {
                Step::Again => {}
                Step::At(when) => thread::sleep(when.saturating_sub(start.elapsed())),
                Step::Idle => break,
            }
        }
        self.connection.stream(b"data: [DONE]\n\n", self.out);
        self.connection.end_stream(self.out);
        self.flush()
    }

    fn tell(&mut self, event: &Event) {
        let chunk = match event {
            Event::Token { text } => json!({"choices": [{"index": 0, "text": text.as_str()}]}),
            Event::End { finish, usage } => json!({
                "choices": [{"index": 0, "text": "", "finish_reason": finish.name()}],
                "usage": {
                    "prompt_tokens": usage.prompt_tokens,
                    "completion_tokens": usage.completion_tokens,
                },
            }),
            Event::Started { .. } | Event::Fault(_) => return,
        };
        let chunk = format!("data: {chunk}\n\n");
        self.connection.stream(chunk.as_bytes(), self.out);
    }

    fn begin_stream(&mut self) {
        let head = Response {
            status: 200,
            fields: &[("Content-Type", "text/event-stream")],
        };
        self.connection.begin_stream(&head, self.out);
    }

    fn refuse(&mut self, status: u16, message: &str) -> io::Result<()> {
        self.reply(status, &json!({"error": {"message": message}}))
    }

    fn reply(&mut self, status: u16, body: &Value) -> io::Result<()> {
        let head = Response {
            status,
            fields: &[("Content-Type", "application/json")],
        };
        let body = body.to_string();
        self.connection.respond(&head, body.as_bytes(), self.out);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(self.out)?;
        self.out.clear();
        Ok(())
    }
}

fn generation(prompt: &str, max_tokens: u32, seed: u64) -> Generation {
    Generation {
        input: Input::Prompt(prompt.to_owned()),
        max_tokens,
        sampling: Sampling {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            seed,
        },
        stop: Vec::new(),
        session: None,
        reuse: false,
        traceparent: None,
    }
}
