//! The scripted engine as a stranger meets it: a process that says where it listens, and answers there.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

struct Engine {
    child: Child,
    /// Kept open: an engine whose output nobody takes would be told so.
    _stdout: BufReader<ChildStdout>,
    addr: String,
}

impl Engine {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mock-engine"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("cargo has built it");
        let mut stdout = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut banner = String::new();
        stdout
            .read_line(&mut banner)
            .expect("it says where it listens");
        let addr = banner.trim().split_once("listens on http://");
        let (_, addr) = addr.expect("the first line names an address");
        Self {
            addr: addr.to_owned(),
            child,
            _stdout: stdout,
        }
    }

    /// The whole answer, of a connection that ends with it.
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.addr).expect("it listens there");
        let asked = stream.write_all(request.as_bytes());
        asked.expect("it takes a request");
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        read.expect("it answers and closes");
        answer
    }

    fn post(&self, path: &str, body: &str) -> String {
        let length = body.len();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_says_where_it_listens_and_what_it_serves() {
    let engine = Engine::start(&["--model", "scripted"]);
    let answer = engine.ask("GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"scripted\""), "{answer}");
}

#[test]
fn the_same_seed_gives_the_same_text() {
    let engine = Engine::start(&[]);
    let ask = |seed: u32| {
        let body = format!(
            r#"{{"model":"mock","prompt":"a b","max_tokens":8,"seed":{seed},"stream":true}}"#
        );
        let answer = engine.post("/v1/completions", &body);
        let events = answer.lines().filter(|line| line.starts_with("data: "));
        let said: Vec<String> = events.map(str::to_owned).collect();
        assert!(said.len() > 8, "{answer}");
        said
    };
    assert_eq!(ask(7), ask(7));
    assert_ne!(ask(7), ask(8));
}

#[test]
fn a_fault_is_one_on_the_wire() {
    let engine = Engine::start(&["--fault", "status:500"]);
    let answer = engine.post("/v1/completions", r#"{"prompt":"a","max_tokens":1}"#);
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
}
