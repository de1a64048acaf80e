//! What one scenario knows: its daemon, who holds which key, what was asked and what came back.
//!
//! A feature writes `{task}` for what only the run can know. [`World::fill`] puts the known word in;
//! the words are `{dir}` (the scenario's folder), `{model}` (what its engine serves), and whatever
//! its steps have named: tasks, files, ports.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use cucumber::gherkin::Step;
use serde_json::json;
use tempfile::TempDir;

use crate::client::{self, Answer, Request};
use crate::connection::Connection;
use crate::daemon::{Daemon, Exit};
use crate::description;
use crate::engine::Engine;
use crate::expectation::Expectations;
use crate::farewell;
use crate::http2::Http2;
use crate::mirror::Mirror;
use crate::secrets::Secrets;
use crate::sequence;
use crate::steps::load::Load;
use crate::stream::Stream;

/// How much of the log a failure shows: the last seconds of a scenario, not its whole crowd.
const LOG_LINES_SHOWN: usize = 40;

/// The state of one scenario.
#[derive(cucumber::World)]
#[world(init = Self::new)]
pub struct World {
    /// Ends before `dir` goes: fields drop in their order.
    daemon: Option<Daemon>,
    /// The folder of the scenario.
    pub(crate) dir: TempDir,
    /// How the daemon ended, if it did.
    pub(crate) exit: Option<Exit>,
    /// What a command printed that somebody ran.
    pub(crate) printed: String,
    /// What each `{word}` stands for.
    pub(crate) words: BTreeMap<String, String>,
    /// The key of each named caller.
    pub(crate) keys: BTreeMap<String, String>,
    /// Fields that every request carries.
    pub(crate) carried: Vec<(String, String)>,
    /// Variables of its daemon's environment.
    pub(crate) environment: Vec<(String, String)>,
    /// What its daemon may never write down.
    pub(crate) secrets: RefCell<Secrets>,
    /// The request sent last.
    pub(crate) request: Option<Request>,
    /// Every answer, oldest first.
    pub(crate) answers: Vec<Answer>,
    /// The stream that each caller reads.
    pub(crate) streams: BTreeMap<String, Stream>,
    /// The connection that the client writes on by hand, and the methods it awaits answers to.
    pub(crate) conversation: Option<(Connection, VecDeque<String>)>,
    /// The connection that all requests share, if the scenario wants HTTP/2.
    pub(crate) http2: Option<Http2>,
    /// What readers of several streams at once have seen, by what they have read.
    pub(crate) seen: Vec<(String, Vec<u8>)>,
    /// Somebody else's program on a port that the daemon would like.
    pub(crate) neighbour: Option<TcpListener>,
    /// What a crowd of clients saw.
    pub(crate) load: Option<Load>,
    /// How many series its metrics had.
    pub(crate) series: Option<usize>,
    /// The engines beside the daemon.
    pub(crate) engines: BTreeMap<String, Engine>,
    /// The servers of files beside it.
    pub(crate) mirrors: BTreeMap<String, Mirror>,
}

impl World {
    fn new() -> io::Result<Self> {
        let dir = TempDir::with_prefix("orchestratord-bdd-")?;
        let words = BTreeMap::from([("dir".to_owned(), dir.path().display().to_string())]);
        Ok(Self {
            daemon: None,
            dir,
            exit: None,
            printed: String::new(),
            words,
            keys: BTreeMap::new(),
            carried: Vec::new(),
            environment: Vec::new(),
            secrets: RefCell::default(),
            request: None,
            answers: Vec::new(),
            streams: BTreeMap::new(),
            conversation: None,
            http2: None,
            seen: Vec::new(),
            neighbour: None,
            load: None,
            series: None,
            engines: BTreeMap::new(),
            mirrors: BTreeMap::new(),
        })
    }

    /// Starts the scenario's daemon; it may refuse, which is kept as its exit. One that a background
    /// has started makes way for it: they share a folder.
    pub(crate) fn start(&mut self, arguments: &str) -> Result<(), String> {
        if self.daemon.take().is_some() {
            farewell::all_gone();
        }
        let arguments = self.fill(arguments)?;
        let embedded = arguments.contains("--engine embedded");
        self.words.insert(
            "model".to_owned(),
            if embedded { "tales" } else { "mock" }.to_owned(),
        );
        match Daemon::start(self.dir.path(), &arguments, &self.environment)
            .map_err(|error| error.to_string())?
        {
            Ok(daemon) => self.daemon = Some(daemon),
            Err(exit) => self.exit = Some(exit),
        }
        Ok(())
    }

    /// The scenario's daemon.
    pub(crate) fn daemon(&mut self) -> Result<&mut Daemon, String> {
        match (&mut self.daemon, &self.exit) {
            (Some(daemon), _) => Ok(daemon),
            (None, Some(exit)) => Err(format!(
                "the daemon refused to start, code {:?}\n{}",
                exit.code, exit.stderr
            )),
            (None, None) => Err("the scenario has no daemon; say `Given a daemon`".to_owned()),
        }
    }

    /// Where the daemon listens.
    pub(crate) fn addr(&mut self) -> Result<SocketAddr, String> {
        self.daemon().map(|daemon| daemon.addr)
    }

    /// The text with each `{word}` replaced. Braces around anything else are left alone: JSON has them.
    pub(crate) fn fill(&self, text: &str) -> Result<String, String> {
        let filled = self.put_in(text);
        let braced = filled.split('{').skip(1);
        let mut words = braced.filter_map(|rest| rest.split_once('}'));
        match words.find(|(word, _)| is_word(word)) {
            Some((word, _)) => Err(format!("nothing in this scenario is called {word} yet")),
            None => Ok(filled),
        }
    }

    /// The text with each known `{word}` replaced, and all others left as they are.
    pub(crate) fn put_in(&self, text: &str) -> String {
        let put_in = |text: String, (word, value): (&String, &String)| {
            text.replace(&format!("{{{word}}}"), value)
        };
        self.words.iter().fold(text.to_owned(), put_in)
    }

    /// The rows of a step's table, filled.
    pub(crate) fn rows(&self, step: &Step) -> Result<Vec<Vec<String>>, String> {
        let rows = step.table.iter().flat_map(|table| &table.rows);
        rows.map(|row| row.iter().map(|cell| self.fill(cell)).collect())
            .collect()
    }

    /// A step's table of expectations, filled.
    pub(crate) fn expectations(&self, step: &Step) -> Result<Expectations, String> {
        self.rows(step).and_then(|rows| Expectations::read(&rows))
    }

    /// A request as `caller` would send it: with their key, what all requests carry, and JSON.
    pub(crate) fn compose(
        &self,
        caller: &str,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> Result<Request, String> {
        let mut headers = self.carried.clone();
        let key = self.keys.get(caller);
        headers.extend(key.map(|key| ("X-API-Key".to_owned(), key.clone())));
        let typed = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-type");
        if body.is_some() && !headers.iter().any(typed) {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        let (method, path) = (method.to_owned(), self.fill(path)?);
        let body = body.map(|body| self.fill(body.trim())).transpose()?;
        let mut secrets = self.secrets.borrow_mut();
        key.into_iter().for_each(|key| secrets.plant(key));
        body.iter().for_each(|body| secrets.plant_asked(body));
        Ok(Request {
            method,
            path,
            headers,
            body,
        })
    }

    /// A request for a small task, with the fields of a step's table put over it.
    pub(crate) fn compose_task(&self, caller: &str, step: &Step) -> Result<Request, String> {
        let model = self.words.get("model");
        let mut task = json!({"model_ref": model, "prompt": "Once upon a time", "max_tokens": 8});
        for field in self.rows(step)? {
            let [name, value] = field.as_slice() else {
                return Err(format!("a field is | name | JSON |, not {field:?}"));
            };
            task[name] = serde_json::from_str(value)
                .map_err(|_| format!("{name}: `{value}` is not JSON"))?;
        }
        self.compose(caller, "POST", "/v2/tasks", Some(&task.to_string()))
    }

    /// Sends a request and keeps both it and its answer.
    pub(crate) fn send(&mut self, request: Request) -> Result<&Answer, String> {
        let addr = self.addr()?;
        let answer = match &self.http2 {
            Some(http2) => http2.send(&request)?,
            None => client::send(addr, &request)?,
        };
        description::check(addr, &request, &answer)?;
        self.request = Some(request);
        self.answers.push(answer);
        self.answer()
    }

    /// The answer that came last.
    pub(crate) fn answer(&self) -> Result<&Answer, String> {
        self.answers
            .last()
            .ok_or_else(|| "nothing has been asked yet".to_owned())
    }

    /// The first line of its daemon's log that tells a secret: a key or a prompt that was sent, or a
    /// text that was read.
    pub(crate) fn told_secret(&self) -> Option<String> {
        let mut secrets = self.secrets.borrow_mut();
        for stream in self.streams.values() {
            secrets.plant_text(&stream.events);
        }
        let log = match (&self.daemon, &self.exit) {
            (Some(daemon), _) => daemon.log(),
            (None, Some(exit)) => exit.stderr.clone(),
            (None, None) => return None,
        };
        secrets.told(&log).map(str::to_owned)
    }

    /// What `caller` reads or has read.
    pub(crate) fn stream(&mut self, caller: &str) -> Result<&mut Stream, String> {
        self.streams
            .get_mut(caller)
            .ok_or_else(|| format!("{caller} reads no stream"))
    }
}

/// Shown when a step has failed: the last answer, what was read, and how the log ends.
impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(answer) = self.answers.last() {
            let Answer {
                status, headers, ..
            } = answer;
            writeln!(f, "last answer: {status} {headers:?}\n{}", answer.text())?;
        }
        for (caller, stream) in &self.streams {
            let events = sequence::outline(&stream.events);
            writeln!(f, "read by {caller}: {events}")?;
        }
        if let Some(daemon) = &self.daemon {
            let log = daemon.log();
            let last = log.lines().count().saturating_sub(LOG_LINES_SHOWN);
            writeln!(f, "the daemon's log ends:")?;
            log.lines()
                .skip(last)
                .try_for_each(|line| writeln!(f, "{line}"))?;
        }
        Ok(())
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}
