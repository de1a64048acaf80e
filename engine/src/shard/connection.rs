//! One connection of HTTP/1.1: bytes in, requests out, responses back, until one side has enough.
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
use orchestratord_sched::ShardId;

use super::{
    Shard,
    exchange::{self, Errand, Exchange, Fate, Gone},
    greeting::{self, Greeting},
    http2,
    peer::Peer,
    reader,
    reply::Reply,
    routes::{self, Call},
};
use crate::{panics::contained, shared::connections::Place};

/// Bytes taken from a socket at a time. One buffer a shard serves all its connections.
pub const READ_BYTES: usize = 16 * 1024;
/// What is kept for the next answer when one was written: heads and tokens fit, and a connection that rests
/// costs no more, however long an answer it once had.
const KEPT_BYTES: usize = 4 * 1024;

/// Requests that a connection is answered before the shard's others have their turn.
const TURN_REQUESTS: u64 = 16;

/// A connection on its way to another shard.
pub struct Parcel {
    socket: OwnedFd,
    place: Place,
    http: server::Connection,
    errand: Errand,
}

/// A client's socket with its framing.
struct Connection {
    stream: TcpStream,
    peer: Peer,
    http: server::Connection,
    /// Bytes framed and not yet written.
    out: Vec<u8>,
    place: Place,
}

/// A socket that was just accepted.
pub fn accepted(shard: &Rc<Shard>, stream: TcpStream, place: Place) {
    let shard = Rc::clone(shard);
    let live = async move { greet(&shard, stream, place).await };
    glommio::spawn_local(contained(live)).detach();
}

/// A socket for which there is no place: its client is told so.
pub fn turned_away(shard: &Rc<Shard>, stream: TcpStream, place: Place) {
    let shard = Rc::clone(shard);
    shard.shared.metrics[shard.id.0]
        .connections_refused
        .increment();
    let tell = async move {
        let http = server::Connection::new(shard.limits());
        let mut connection = Connection::new(stream, http, place);
        let (reply, correlation_id) = routes::no_place();
        connection.part(&shard, &reply, &correlation_id).await;
        hang_up_within(REFUSED_LINGER, connection.stream).await;
    };
    glommio::spawn_local(contained(tell)).detach();
}

/// Finds out what the client speaks, and goes on in that.
async fn greet(shard: &Rc<Shard>, mut stream: TcpStream, place: Place) {
    let timeout = Some(shard.shared.limits().timeouts.write);
    if stream.set_write_timeout(timeout).is_err() {
        return;
    }
    let peer = Peer::of(&stream);
    match greeting::read(shard, &mut stream).await {
        // In a box: what it needs is far more than a connection of HTTP/1.1 should set aside.
        Greeting::Http2(begun) => Box::pin(http2::serve(shard, stream, peer, begun)).await,
        Greeting::Http1(begun) => {
            let mut http = server::Connection::new(shard.limits());
            http.receive(&begun);
            Connection::new(stream, http, place).live(shard, None).await;
        }
        Greeting::Silence => {}
    }
}

/// A connection that comes from another shard.
pub fn adopt(shard: &Rc<Shard>, parcel: Parcel) {
    let shard = Rc::clone(shard);
    let Parcel {
        socket,
        place,
        http,
        errand,
    } = parcel;
    let stream = TcpStream::from(socket2::Socket::from(StdTcpStream::from(socket)));
    let live = async move {
        let timeout = Some(shard.shared.limits().timeouts.write);
        if stream.set_write_timeout(timeout).is_ok() {
            Connection::new(stream, http, place)
                .live(&shard, Some(errand))
                .await;
        }
    };
    glommio::spawn_local(contained(live)).detach();
}

impl Connection {
    fn new(stream: TcpStream, http: server::Connection, place: Place) -> Self {
        Self {
            peer: Peer::of(&stream),
            stream,
            http,
            out: Vec::new(),
            place,
        }
    }

    /// Serves the errand that it came with, then one request after the other.
    async fn live(mut self, shard: &Rc<Shard>, mut errand: Option<Errand>) {
        for count in 1_u64.. {
            if count % TURN_REQUESTS == 0 {
                // A pipeline that never ends would not let anybody else run.
                glommio::executor().yield_now().await;
            }
            let errand = match errand.take() {
                Some(errand) => errand,
                None => {
                    let mut begun = None;
                    match self.next_call(shard, &mut begun).await {
                        Ok(Some(call)) => Errand::Answer(call),
                        Ok(None) => return hang_up(self.stream).await,
                        Err(refusal) => {
                            self.refuse(shard, &refusal, begun.as_deref()).await;
                            return hang_up(self.stream).await;
                        }
                    }
                }
            };
            match exchange::run(&mut self, shard, errand).await {
                Fate::Answered if !self.http.must_close() => {}
                Fate::Answered | Fate::Gone => return hang_up(self.stream).await,
                Fate::Moves(home, errand) => return self.depart(shard, home, errand),
            }
        }
    }

    /// The next request with its body, or `None` when the connection is over. A request that is
    /// refused after its head was read is left in `begun`.
    async fn next_call(
        &mut self,
        shard: &Rc<Shard>,
        begun: &mut Option<Box<Call>>,
    ) -> Result<Option<Box<Call>>, Refusal> {
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
                    *begun = Some(Box::new(opened));
                    if expects_continue {
                        self.http.send_continue(&mut self.out);
                        if self.write().await.is_err() {
                            return Ok(None);
                        }
                    }
                }
                Event::Body(bytes) => {
                    if let Some(call) = begun {
                        call.take_body(bytes);
                        if call.is_refused() {
                            return Ok(begun.take());
                        }
                    }
                }
                Event::Complete => return Ok(begun.take()),
                Event::NeedMore => {
                    let phase = self.http.phase();
                    match self.read_more(shard, timer.of(shard, phase)).await {
                        Waited::Bytes => {}
                        Waited::Closed => return Ok(None),
                        Waited::TooLong if phase == Phase::Idle => return Ok(None),
                        Waited::TooLong => return Err(Refusal::TOO_SLOW),
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
    fn poll_receive(
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

    /// Answers what the framing refused, for the last time.
    async fn refuse(&mut self, shard: &Shard, refusal: &Refusal, begun: Option<&Call>) {
        let (reply, correlation_id) = routes::misread(refusal, begun);
        self.part(shard, &reply, &correlation_id).await;
    }

    /// Sends the last answer.
    async fn part(&mut self, shard: &Shard, reply: &Reply, correlation_id: &str) {
        let date = shard.date();
        let fields = reply.fields(&date, correlation_id);
        let head = server::Response {
            status: reply.status,
            fields: &fields,
        };
        self.http.refuse(&head, &reply.body, &mut self.out);
        // Whoever is gone already needs no answer.
        let _ = self.write().await;
    }

    /// Writes everything that was framed.
    ///
    /// # Errors
    ///
    /// When the client is gone or takes nothing for the write timeout.
    async fn write(&mut self) -> io::Result<()> {
        let mut written = 0;
        while written < self.out.len() {
            let rest = &self.out[written..];
            match poll_fn(|context| Pin::new(&mut self.stream).poll_write(context, rest)).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => written += count,
            }
        }
        match self.out.capacity() > KEPT_BYTES {
            true => self.out = Vec::new(),
            false => self.out.clear(),
        }
        Ok(())
    }

    fn depart(self, shard: &Shard, home: ShardId, errand: Errand) {
        let Ok(socket) = descriptor(&self.stream).try_clone_to_owned() else {
            // No file descriptor is left: the client sees a closed connection and asks again.
            return;
        };
        let parcel = Parcel {
            socket,
            place: self.place,
            http: self.http,
            errand,
        };
        shard.send(home, super::mailbox::Message::Adopt(Box::new(parcel)));
    }
}

impl Exchange for Connection {
    async fn reply(
        &mut self,
        shard: &Shard,
        correlation_id: &str,
        reply: Reply,
    ) -> Result<(), Gone> {
        if shard.is_stopping() {
            self.http.close_after_response();
        }
        let date = shard.date();
        let fields = reply.fields(&date, correlation_id);
        let head = server::Response {
            status: reply.status,
            fields: &fields,
        };
        self.http.respond(&head, &reply.body, &mut self.out);
        self.flush().await
    }

    fn open(&mut self, shard: &Shard, correlation_id: &str, head: Reply) -> Result<(), Gone> {
        if shard.is_stopping() {
            self.http.close_after_response();
        }
        let date = shard.date();
        let fields = head.fields(&date, correlation_id);
        let head = server::Response {
            status: head.status,
            fields: &fields,
        };
        self.http.begin_stream(&head, &mut self.out);
        Ok(())
    }

    /// The socket's buffer is all there is to wait for, and flushing waits for it.
    async fn room(&mut self) -> Result<usize, Gone> {
        Ok(reader::BATCH_BYTES)
    }

    fn put(&mut self, bytes: &[u8]) {
        self.http.stream(bytes, &mut self.out);
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.write().await.map_err(|_| Gone)
    }

    async fn finish(&mut self) -> Result<(), Gone> {
        self.http.end_stream(&mut self.out);
        self.flush().await
    }

    /// A client that has gone sends the end of the stream. One that pipelines sends bytes: they wait
    /// for their turn, and no more are taken.
    fn poll_gone(&mut self, shard: &Shard, context: &mut Context<'_>) -> Poll<()> {
        if self.http.has_buffered() {
            return Poll::Pending;
        }
        match self.poll_receive(shard, context) {
            Poll::Ready(Ok(1..)) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Closes without destroying what the client has not read yet: a socket that is closed with
/// unread bytes in it sends a reset, which overtakes the response (RFC 9112 §9.6).
pub async fn hang_up(stream: TcpStream) {
    hang_up_within(LINGER, stream).await;
}

async fn hang_up_within(linger: Duration, mut stream: TcpStream) {
    let _ = stream.shutdown(std::net::Shutdown::Write).await;
    let mut timer = Timer::new(linger);
    let mut scrap = [0; 1024];
    let mut patience = LINGER_READS;
    poll_fn(|context| {
        while patience > 0 {
            match Pin::new(&mut stream).poll_read(context, &mut scrap) {
                Poll::Ready(Ok(1..)) => patience -= 1,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Pin::new(&mut timer).poll(context).map(drop),
            }
        }
        Poll::Ready(())
    })
    .await;
}

/// How long a closed connection is drained.
const LINGER: Duration = Duration::from_secs(1);
/// How long one is that was never served: its request is on its way or there is none.
const REFUSED_LINGER: Duration = Duration::from_millis(100);
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
            let timeouts = shard.shared.limits().timeouts;
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

/// The socket's descriptor.
#[expect(
    unsafe_code,
    reason = "glommio's stream lends its descriptor only as a number"
)]
pub(super) fn descriptor(stream: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open for as long as `stream` is borrowed, and so is what is returned.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}
