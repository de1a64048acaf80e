//! One connection of HTTP/2, through a library that knows nothing of us.
//!
//! Steps block, and so does everything here. In between nothing runs: what has arrived stays with the
//! kernel, and a stream that no step reads opens no window.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

use crate::claim::{PATIENCE, eventually};
use crate::client::{Answer, Request};

/// The window of the whole connection: streams that nobody reads must not fill it.
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;

/// Heads of answers are far shorter than a request that is meant to be too long.
const HEAD_MAX: u32 = 1024 * 1024;

/// Turns of the connection's task that take a frame all the way, with room to spare.
const TURNS: usize = 8;

/// An open connection; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Http2(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    runtime: Runtime,
    requests: SendRequest<Payload>,
    pings: Mutex<PingPong>,
    end: Mutex<JoinHandle<Result<(), h2::Error>>>,
}

type Payload = std::io::Cursor<Vec<u8>>;

/// The body of an answer, read piece by piece. Dropping it resets the stream.
#[derive(Debug)]
pub(crate) struct Body {
    connection: Http2,
    stream: Option<RecvStream>,
    over: bool,
}

impl Http2 {
    /// Connects to the daemon, with prior knowledge.
    pub(crate) fn open(addr: SocketAddr) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let connect = async {
            let socket = TcpStream::connect(addr)
                .await
                .map_err(|error| error.to_string())?;
            socket
                .set_nodelay(true)
                .map_err(|error| error.to_string())?;
            let shaken = Builder::new()
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_header_list_size(HEAD_MAX)
                .handshake(socket)
                .await;
            let (requests, mut connection) = shaken.map_err(|error| error.to_string())?;
            let pings = connection.ping_pong().ok_or("the pings are taken")?;
            Ok::<_, String>((requests, pings, tokio::spawn(connection)))
        };
        let (requests, pings, end) = in_time(&runtime, connect)??;
        let connection = Self(Arc::new(Inner {
            runtime,
            requests,
            pings: Mutex::new(pings),
            end: Mutex::new(end),
        }));
        // From here on the connection rests until a step has something to say.
        connection.run(connection.ping())?;
        Ok(connection)
    }

    /// Sends `request` and reads the whole answer, whatever its status.
    pub(crate) fn send(&self, request: &Request) -> Result<Answer, String> {
        self.run(async {
            let (head, mut body) = self.ask(request).await?;
            let mut content = Vec::new();
            while let Some(bytes) = read_on(&mut body).await? {
                content.extend(bytes);
            }
            Ok(Answer {
                body: content,
                ..head
            })
        })
    }

    /// Sends `request` and reads the head of the answer.
    pub(crate) fn open_body(&self, request: &Request) -> Result<(Answer, Body), String> {
        let (head, stream) = self.run(self.ask(request))?;
        let body = Body {
            connection: self.clone(),
            stream: Some(stream),
            over: false,
        };
        Ok((head, body))
    }

    /// Sends all `requests` before it reads any answer, then reads all answers side by side.
    pub(crate) fn send_all(&self, requests: &[Request]) -> Result<Vec<Answer>, String> {
        self.run(async {
            let mut asked = Vec::new();
            for request in requests {
                asked.push(self.begin(request).await?.0);
            }
            let mut answers = Vec::new();
            for answer in asked {
                answers.push(split(answer.await.map_err(told)?));
            }
            poll_fn(|context| poll_bodies(&mut answers, context)).await?;
            Ok(answers.into_iter().map(|(answer, _)| answer).collect())
        })
    }

    /// Sends the head of `request`, promises a body, and reads the answer that comes without one.
    pub(crate) fn send_head(&self, request: &Request) -> Result<Answer, String> {
        self.run(async {
            let mut requests = self.0.requests.clone().ready().await.map_err(told)?;
            let begun = requests.send_request(head(request)?, false);
            let (answer, _body) = begun.map_err(told)?;
            let (mut answer, mut stream) = split(answer.await.map_err(told)?);
            poll_fn(|context| poll_body(&mut stream, &mut answer.body, context)).await?;
            Ok(answer)
        })
    }

    /// Begins `request` without its body, waits until the daemon knows of it, and resets it.
    pub(crate) fn begin_and_reset(&self, request: &Request) -> Result<(), String> {
        self.run(async {
            let mut requests = self.0.requests.clone().ready().await.map_err(told)?;
            let begun = requests.send_request(head(request)?, false);
            let (_answer, mut body) = begun.map_err(told)?;
            self.ping().await?;
            body.send_reset(Reason::CANCEL);
            Ok(())
        })
    }

    /// The farewell that the daemon has said, once no new stream can be begun.
    pub(crate) fn farewell(&self) -> Result<Reason, String> {
        eventually(|| {
            self.take_turns();
            let refused = self.run(async { Ok(self.0.requests.clone().ready().await.err()) })?;
            match refused {
                Some(error) if error.is_go_away() && error.is_remote() => error
                    .reason()
                    .ok_or_else(|| "a farewell has a reason".to_owned()),
                Some(error) => Err(told(error)),
                None => Err("the daemon goes on taking streams".to_owned()),
            }
        })
    }

    /// Waits until the connection is over; how, the farewell tells.
    pub(crate) fn await_end(&self) -> Result<(), String> {
        self.run(poll_fn(|context| {
            let mut end = lock(&self.0.end);
            Pin::new(&mut *end).poll(context).map(|_| Ok(()))
        }))
    }

    /// Takes to the socket what is ready for it, and from it what has arrived.
    fn take_turns(&self) {
        // Nothing here can fail but the connection, and who uses that next is told.
        let _ = self.run(async {
            for _ in 0..TURNS {
                yield_now().await;
            }
            Ok(())
        });
    }

    /// Waits until the daemon has read all frames so far: it answers to a ping in their order.
    async fn ping(&self) -> Result<(), String> {
        lock(&self.0.pings)
            .send_ping(Ping::opaque())
            .map_err(told)?;
        poll_fn(|context| lock(&self.0.pings).poll_pong(context))
            .await
            .map(|_| ())
            .map_err(told)
    }

    async fn ask(&self, request: &Request) -> Result<(Answer, RecvStream), String> {
        let (answer, _) = self.begin(request).await?;
        Ok(split(answer.await.map_err(told)?))
    }

    async fn begin(
        &self,
        request: &Request,
    ) -> Result<(ResponseFuture, SendStream<Payload>), String> {
        let mut requests = self.0.requests.clone().ready().await.map_err(told)?;
        let begun = requests.send_request(head(request)?, request.body.is_none());
        let (answer, mut stream) = begun.map_err(told)?;
        if let Some(body) = &request.body {
            let body = Payload::new(body.clone().into_bytes());
            stream.send_data(body, true).map_err(told)?;
        }
        Ok((answer, stream))
    }

    fn run<T>(&self, future: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        in_time(&self.0.runtime, future)?
    }
}

impl Body {
    /// Whether the body has come to its end.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Waits for the next bytes. Empty: the body is over.
    pub(crate) fn take(&mut self) -> Result<Vec<u8>, String> {
        let stream = self.stream.as_mut().ok_or("the stream was reset")?;
        let bytes = self.connection.run(read_on(stream))?;
        self.over = bytes.is_none();
        Ok(bytes.unwrap_or_default())
    }

    /// Waits until the daemon resets the stream, and opens no window meanwhile.
    pub(crate) fn await_reset(&mut self) -> Result<(), String> {
        let stream = self.stream.as_mut().ok_or("the stream was reset")?;
        self.connection.run(async {
            loop {
                match stream.data().await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) if error.is_reset() && error.is_remote() => return Ok(()),
                    Some(Err(error)) => return Err(told(error)),
                    None => return Err("the stream came to its end".to_owned()),
                }
            }
        })
    }

    /// Takes what has arrived, without waiting for more.
    pub(crate) fn take_arrived(&mut self) -> Result<Vec<u8>, String> {
        self.connection.take_turns();
        let stream = self.stream.as_mut().ok_or("the stream was reset")?;
        let mut arrived = Vec::new();
        let over = self.connection.run(poll_fn(|context| {
            Poll::Ready(match poll_body(stream, &mut arrived, context) {
                Poll::Ready(read) => read.map(|()| true),
                Poll::Pending => Ok(false),
            })
        }))?;
        self.over = over;
        Ok(arrived)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.stream = None;
        self.connection.take_turns();
    }
}

fn poll_bodies(
    answers: &mut [(Answer, RecvStream)],
    context: &mut Context<'_>,
) -> Poll<Result<(), String>> {
    let mut all = Poll::Ready(Ok(()));
    for (answer, stream) in answers {
        match poll_body(stream, &mut answer.body, context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => all = Poll::Pending,
        }
    }
    all
}

/// Reads what is there; ready at the end of the body.
fn poll_body(
    stream: &mut RecvStream,
    body: &mut Vec<u8>,
    context: &mut Context<'_>,
) -> Poll<Result<(), String>> {
    while let Some(bytes) = ready!(stream.poll_data(context)) {
        let bytes = bytes.map_err(told)?;
        body.extend_from_slice(&bytes);
        let released = stream.flow_control().release_capacity(bytes.len());
        released.map_err(told)?;
    }
    Poll::Ready(Ok(()))
}

async fn read_on(stream: &mut RecvStream) -> Result<Option<Vec<u8>>, String> {
    let Some(bytes) = stream.data().await else {
        return Ok(None);
    };
    let bytes = bytes.map_err(told)?;
    let released = stream.flow_control().release_capacity(bytes.len());
    released.map_err(told)?;
    Ok(Some(bytes.to_vec()))
}

fn in_time<T>(runtime: &Runtime, future: impl Future<Output = T>) -> Result<T, String> {
    runtime
        .block_on(async { timeout(PATIENCE, future).await })
        .map_err(|_| format!("nothing came for {} s", PATIENCE.as_secs()))
}

/// Only one thread comes here; it is the world that must be able to move.
fn lock<T>(it: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    it.lock()
        .expect("a step that panics is the scenario's last")
}

fn told(error: h2::Error) -> String {
    format!("HTTP/2: {error}")
}

fn head(request: &Request) -> Result<http::Request<()>, String> {
    let mut head = http::Request::builder()
        .method(request.method.as_str())
        .uri(format!("http://localhost{}", request.path));
    for (name, value) in &request.headers {
        head = head.header(name, value);
    }
    if let Some(body) = &request.body {
        head = head.header("content-length", body.len());
    }
    head.body(()).map_err(|error| error.to_string())
}

fn split(answer: http::Response<RecvStream>) -> (Answer, RecvStream) {
    let (head, body) = answer.into_parts();
    let fields = head.headers.iter();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let head = Answer {
        status: head.status.as_u16(),
        headers: fields
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body: Vec::new(),
    };
    (head, body)
}
