//! One client connection: bytes in, requests out, responses back, until one side has enough.
//!
//! A connection belongs to one shard at a time and serves one request at a time. A request about a
//! task whose home is elsewhere takes the whole connection there: the socket, the framing state
//! with its buffered bytes, and the request ([`Parcel`]). That one mechanism serves readers,
//! cancels and look-ups alike, and works for pipelined requests too, because nothing is left
//! behind: a pending read is only a wish to be told when bytes are there (io_uring's `POLL_ADD`),
//! and consumes none.

use std::{
    future::poll_fn,
    io,
    net::TcpStream as StdTcpStream,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::{net::TcpStream, timer::Timer};
use orchestratord_http::{
    Refusal,
    server::{self, Event, Phase},
};

use super::{
    Shard,
    reader::{self, OpenStream, Subscription},
    reply::Reply,
    routes::{self, Call, Outcome, Peer},
};
use crate::{
    api::error::{ApiError, Code},
    clock, logs,
};

/// Bytes taken from a socket at a time. One buffer a shard serves all its connections.
pub const READ_BYTES: usize = 16 * 1024;

/// A connection on its way to another shard.
pub struct Parcel {
    socket: OwnedFd,
    http: server::Connection,
    errand: Errand,
}

/// What a connection goes on with.
pub enum Errand {
    /// Nothing: the next request.
    Listen,
    /// A request that was read elsewhere.
    Answer(Box<Call>),
    /// A stream whose head was sent elsewhere.
    Read(Subscription),
}

/// What became of a connection.
pub enum Fate {
    /// It can take another request.
    KeptAlive,
    /// It is over.
    Closed,
    /// It goes on at the home of its errand.
    Moves(orchestratord_sched::ShardId, Errand),
}

/// A client's socket with its framing.
pub struct Connection {
    stream: TcpStream,
    peer: Peer,
    /// The framing.
    pub http: server::Connection,
    /// Bytes framed and not yet written.
    pub out: Vec<u8>,
}

/// A socket that was just accepted.
pub fn accepted(shard: &Rc<Shard>, stream: TcpStream) {
    let http = server::Connection::new(shard.limits());
    spawn(shard, stream, http, Errand::Listen);
}

/// A connection that comes from another shard.
pub fn adopt(shard: &Rc<Shard>, parcel: Parcel) {
    let socket = socket2::Socket::from(StdTcpStream::from(parcel.socket));
    spawn(shard, TcpStream::from(socket), parcel.http, parcel.errand);
}

fn spawn(shard: &Rc<Shard>, stream: TcpStream, http: server::Connection, errand: Errand) {
    let shard = Rc::clone(shard);
    let connection = Connection {
        peer: peer(&stream),
        stream,
        http,
        out: Vec::new(),
    };
    glommio::spawn_local(async move { connection.live(&shard, errand).await }).detach();
}

fn peer(stream: &TcpStream) -> Peer {
    match stream.peer_addr() {
        Ok(peer) if peer.ip().to_canonical().is_loopback() => Peer::Local,
        _ => Peer::Remote,
    }
}

impl Connection {
    async fn live(mut self, shard: &Rc<Shard>, mut errand: Errand) {
        let timeout = Some(shard.shared.settings.timeouts.write);
        if self.stream.set_write_timeout(timeout).is_err() {
            return;
        }
        loop {
            let fate = match errand {
                Errand::Listen => self.listen(shard).await,
                Errand::Answer(call) => self.answer(shard, call).await,
                Errand::Read(subscription) => reader::read(&mut self, shard, subscription).await,
            };
            errand = match fate {
                Fate::KeptAlive if !self.http.must_close() => Errand::Listen,
                Fate::KeptAlive | Fate::Closed => return self.hang_up().await,
                Fate::Moves(home, errand) => return self.depart(shard, home, errand),
            };
        }
    }

    /// Reads one request and answers it.
    async fn listen(&mut self, shard: &Rc<Shard>) -> Fate {
        match self.next_call(shard).await {
            Ok(Some(call)) => self.answer(shard, call).await,
            Ok(None) => Fate::Closed,
            Err(refusal) => self.refuse(shard, &refusal).await,
        }
    }

    /// The next request with its body, or `None` when the connection is over.
    async fn next_call(&mut self, shard: &Rc<Shard>) -> Result<Option<Box<Call>>, Refusal> {
        let mut call: Option<Box<Call>> = None;
        let mut timer = PhaseTimer::default();
        loop {
            match self.http.poll()? {
                Event::Request {
                    request,
                    expects_continue,
                } => {
                    let opened = Call::open(shard, request, self.peer);
                    if opened.is_refused() {
                        return Ok(Some(Box::new(opened)));
                    }
                    call = Some(Box::new(opened));
                    if expects_continue {
                        self.http.send_continue(&mut self.out);
                        if self.flush().await.is_err() {
                            return Ok(None);
                        }
                    }
                }
                Event::Body(bytes) => {
                    if let Some(call) = &mut call {
                        call.body.extend_from_slice(bytes);
                    }
                }
                Event::Complete => return Ok(call),
                Event::NeedMore => {
                    let phase = self.http.phase();
                    match self.read_more(shard, timer.of(shard, phase)).await {
                        Waited::Bytes => {}
                        Waited::Closed => return Ok(None),
                        Waited::TooLong if phase == Phase::Idle => return Ok(None),
                        Waited::TooLong => {
                            return Err(Refusal {
                                status: 408,
                                reason: "the request took too long to arrive",
                            });
                        }
                    }
                }
            }
        }
    }

    async fn read_more(&mut self, shard: &Rc<Shard>, timer: &mut Timer) -> Waited {
        poll_fn(|context| {
            if let Poll::Ready(read) = self.poll_receive(shard, context) {
                return Poll::Ready(match read {
                    Ok(0) | Err(_) => Waited::Closed,
                    Ok(_) => Waited::Bytes,
                });
            }
            Pin::new(&mut *timer).poll(context).map(|_| Waited::TooLong)
        })
        .await
    }

    /// Feeds what the socket has to the framing. Ready with 0 at the end of the stream.
    pub fn poll_receive(
        &mut self,
        shard: &Shard,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut buffer = shard.read_buffer.borrow_mut();
        let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
        if let Poll::Ready(Ok(count)) = &read {
            self.http.receive(&buffer[..*count]);
        }
        read
    }

    async fn answer(&mut self, shard: &Rc<Shard>, mut call: Box<Call>) -> Fate {
        loop {
            match routes::run(shard, &call) {
                Outcome::Reply(reply) => return self.reply(shard, &call, &reply).await,
                Outcome::ReplyAfterReaders(reply) => {
                    // Readers that were woken before us write before us.
                    glommio::executor().yield_task_queue_now().await;
                    return self.reply(shard, &call, &reply).await;
                }
                Outcome::Stream(subscription) => {
                    reader::open(self, shard, &call, &subscription);
                    return reader::read(self, shard, subscription).await;
                }
                Outcome::Later(later) => {
                    let open = OpenStream::new(shard);
                    let reply = routes::settle(&call, later).await;
                    drop(open);
                    return self.reply(shard, &call, &reply).await;
                }
                Outcome::Elsewhere(home) => {
                    call.hops += 1;
                    return Fate::Moves(home, Errand::Answer(call));
                }
                Outcome::InTransit(task) => shard.until_moved(task).await,
            }
        }
    }

    async fn reply(&mut self, shard: &Rc<Shard>, call: &Call, reply: &Reply) -> Fate {
        if shard.is_stopping() {
            self.http.close_after_response();
        }
        let date = shard.date();
        let fields = reply.fields(&date, &call.correlation_id);
        let head = server::Response {
            status: reply.status,
            fields: &fields,
        };
        self.http.respond(&head, &reply.body, &mut self.out);
        self.flush_and_go_on().await
    }

    /// Answers what the framing refused and closes.
    async fn refuse(&mut self, shard: &Rc<Shard>, refusal: &Refusal) -> Fate {
        let correlation_id = clock::new_id().to_string();
        let error = ApiError::new(Code::MalformedRequest(refusal.status), refusal.reason);
        logs::refused(&error, &correlation_id, None, None);
        let reply = Reply::error(&error, &correlation_id);
        let date = shard.date();
        let fields = reply.fields(&date, &correlation_id);
        let head = server::Response {
            status: reply.status,
            fields: &fields,
        };
        self.http.refuse(&head, &reply.body, &mut self.out);
        let _ = self.flush().await;
        Fate::Closed
    }

    async fn flush_and_go_on(&mut self) -> Fate {
        match self.flush().await {
            Ok(()) => Fate::KeptAlive,
            Err(_) => Fate::Closed,
        }
    }

    /// Writes everything that was framed.
    ///
    /// # Errors
    ///
    /// When the client is gone or takes nothing for the write timeout.
    pub async fn flush(&mut self) -> io::Result<()> {
        let mut written = 0;
        while written < self.out.len() {
            let rest = &self.out[written..];
            match poll_fn(|context| Pin::new(&mut self.stream).poll_write(context, rest)).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => written += count,
            }
        }
        self.out.clear();
        Ok(())
    }

    /// Closes without destroying what the client has not read yet: a socket that is closed with
    /// unread bytes in it sends a reset, which overtakes the response (RFC 9112 §9.6).
    async fn hang_up(mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write).await;
        let mut timer = Timer::new(LINGER);
        let mut scrap = [0; 1024];
        let mut patience = LINGER_READS;
        poll_fn(|context| {
            while patience > 0 {
                match Pin::new(&mut self.stream).poll_read(context, &mut scrap) {
                    Poll::Ready(Ok(1..)) => patience -= 1,
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Pin::new(&mut timer).poll(context).map(drop),
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    fn depart(self, shard: &Shard, home: orchestratord_sched::ShardId, errand: Errand) {
        let Ok(socket) = duplicate(&self.stream) else {
            // No file descriptor is left: the client sees a closed connection and asks again.
            return;
        };
        let parcel = Parcel {
            socket,
            http: self.http,
            errand,
        };
        shard.send(home, super::mailbox::Message::Adopt(Box::new(parcel)));
    }
}

/// How long a closed connection is drained.
const LINGER: Duration = Duration::from_secs(1);
/// How many reads of what the client still sends; together with the buffer a bound in bytes.
const LINGER_READS: usize = 64;

enum Waited {
    Bytes,
    Closed,
    TooLong,
}

/// One timer for each phase of a request: how long the phase may last from its beginning, not from
/// the last byte, so that a client that sends one byte at a time is not waited for forever.
#[derive(Default)]
struct PhaseTimer(Option<(Phase, Timer)>);

impl PhaseTimer {
    fn of(&mut self, shard: &Shard, phase: Phase) -> &mut Timer {
        if self.0.as_ref().is_none_or(|(running, _)| *running != phase) {
            let timeouts = &shard.shared.settings.timeouts;
            let timeout = match phase {
                Phase::Idle => timeouts.idle,
                Phase::Head => timeouts.head,
                Phase::Body | Phase::Responding | Phase::Closed => timeouts.body,
            };
            self.0 = Some((phase, Timer::new(timeout)));
        }
        let (_, timer) = self.0.as_mut().expect("it was set a line ago");
        timer
    }
}

/// A second descriptor of the socket, which outlives the executor's own.
#[expect(
    unsafe_code,
    reason = "glommio's stream lends its descriptor only as a number"
)]
fn duplicate(stream: &TcpStream) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is open for as long as `stream` is borrowed, and the borrow ends with
    // this call.
    let borrowed = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    borrowed.try_clone_to_owned()
}
