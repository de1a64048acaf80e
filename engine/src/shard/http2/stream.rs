//! One stream: a request, and the way its answer goes.
//!
//! What is sent waits here until the client has opened a window for it, a batch at most, and is
//! handed to `h2` only then: so a client that takes nothing stalls its own stream and fills nothing.

use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use glommio::timer::Timer;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_LENGTH};
use orchestratord_http::Refusal;

use super::{
    Common,
    request::{self, Failed},
};
use crate::{
    panics::contained,
    shard::{
        Shard,
        exchange::{self, Errand, Exchange, Fate, Gone},
        reader::BATCH_BYTES,
        relay,
        reply::Reply,
        routes::{self, Call},
    },
};

/// Serves a request that has just begun.
pub(super) fn begin(
    common: &Rc<Common>,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let common = Rc::clone(common);
    let stream = Stream {
        respond,
        body: None,
        is_head: request.method() == http::Method::HEAD,
        out: Vec::new(),
        write_timeout: common.shard.shared.limits().timeouts.write,
    };
    let live = async move { stream.live(&common, request).await };
    glommio::spawn_local(contained(live)).detach();
}

struct Stream {
    respond: SendResponse<Bytes>,
    /// Where the answer's body goes, once its head was sent.
    body: Option<SendStream<Bytes>>,
    /// The client wants the head only.
    is_head: bool,
    /// What was put and not sent yet.
    out: Vec<u8>,
    write_timeout: Duration,
}

impl Stream {
    async fn live(mut self, common: &Common, request: http::Request<RecvStream>) {
        let shard = &common.shard;
        let mut begun = None;
        match self.call(common, request, &mut begun).await {
            Ok(call) => self.serve(shard, call).await,
            Err(Failed::Refused(refusal)) => self.refuse(shard, &refusal, begun.as_deref()).await,
            Err(Failed::Gone) => {}
        }
        common.patience.note(self.body.is_some());
    }

    /// The request with its body, or without one that is not worth reading. One that is refused after
    /// its head was read is left in `begun`.
    async fn call(
        &mut self,
        common: &Common,
        request: http::Request<RecvStream>,
        begun: &mut Option<Box<Call>>,
    ) -> Result<Box<Call>, Failed> {
        let head = request::head(&request, &common.shard.limits())?;
        let expects_continue = head.expects_continue();
        let call = begun.insert(Box::new(Call::open(&common.shard, head, common.peer)));
        if !call.is_refused() {
            if expects_continue {
                self.go_on()?;
            }
            let mut body = request.into_body();
            request::body(common, call, &mut body).await?;
        }
        Ok(begun.take().expect("it was put there above"))
    }

    /// Tells a client that holds its body back to send it (RFC 9110 §10.1.1).
    fn go_on(&mut self) -> Result<(), Gone> {
        let mut interim = http::Response::new(());
        *interim.status_mut() = StatusCode::CONTINUE;
        self.respond.send_informational(interim).map_err(|_| Gone)
    }

    async fn serve(&mut self, shard: &Rc<Shard>, call: Box<Call>) {
        let correlation_id = call.correlation_id.clone();
        if let Fate::Moves(home, errand) = exchange::run(self, shard, Errand::Answer(call)).await {
            relay::follow(self, shard, &correlation_id, home, errand).await;
        }
    }

    async fn refuse(&mut self, shard: &Shard, refusal: &Refusal, begun: Option<&Call>) {
        let (reply, correlation_id) = routes::misread(refusal, begun);
        // Whoever is gone already needs no answer.
        let _ = self.reply(shard, &correlation_id, reply).await;
    }

    fn send_head(&mut self, head: http::Response<()>, is_all: bool) -> Result<(), Gone> {
        let body = self.respond.send_response(head, is_all).map_err(|_| Gone)?;
        self.body = Some(body);
        Ok(())
    }

    /// Sends what was put as the client opens its window, and then perhaps the end.
    async fn send(&mut self, is_end: bool) -> Result<(), Gone> {
        let mut rest = Bytes::from(mem::take(&mut self.out));
        while !rest.is_empty() {
            let window = self.window(rest.len()).await?;
            let piece = rest.split_to(window.min(rest.len()));
            let is_last = is_end && rest.is_empty();
            self.body()?.send_data(piece, is_last).map_err(|_| Gone)?;
            if is_last {
                return Ok(());
            }
        }
        let body = self.body()?;
        if is_end {
            return body.send_data(Bytes::new(), true).map_err(|_| Gone);
        }
        // What was set aside of the connection's window and not used is for the other streams.
        body.reserve_capacity(0);
        Ok(())
    }

    /// Waits until there is a window, and says how wide it is: at most `wanted`, at least one byte.
    async fn window(&mut self, wanted: usize) -> Result<usize, Gone> {
        let mut timer = None;
        let timeout = self.write_timeout;
        let body = self.body()?;
        body.reserve_capacity(wanted);
        poll_fn(|context| {
            if body.capacity() > 0 {
                return Poll::Ready(Ok(body.capacity()));
            }
            match body.poll_capacity(context) {
                Poll::Ready(Some(Ok(window))) => return Poll::Ready(Ok(window)),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(Gone)),
                Poll::Pending => {}
            }
            let timer = timer.get_or_insert_with(|| Timer::new(timeout));
            if Pin::new(timer).poll(context).is_pending() {
                return Poll::Pending;
            }
            body.send_reset(Reason::CANCEL);
            Poll::Ready(Err(Gone))
        })
        .await
    }

    fn body(&mut self) -> Result<&mut SendStream<Bytes>, Gone> {
        self.body.as_mut().ok_or(Gone)
    }
}

impl Exchange for Stream {
    async fn reply(
        &mut self,
        shard: &Shard,
        correlation_id: &str,
        reply: Reply,
    ) -> Result<(), Gone> {
        let mut head = head(shard, correlation_id, &reply);
        if reply.status != 204 {
            let length = HeaderValue::from(reply.body.len());
            head.headers_mut().insert(CONTENT_LENGTH, length);
        }
        let is_all = self.is_head || reply.body.is_empty();
        self.send_head(head, is_all)?;
        if is_all {
            return Ok(());
        }
        self.out = reply.body;
        self.send(true).await
    }

    fn open(&mut self, shard: &Shard, correlation_id: &str, reply: Reply) -> Result<(), Gone> {
        self.send_head(head(shard, correlation_id, &reply), self.is_head)
    }

    async fn room(&mut self) -> Result<usize, Gone> {
        let window = self.window(BATCH_BYTES).await?;
        Ok(window.min(BATCH_BYTES))
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.send(false).await
    }

    async fn finish(&mut self) -> Result<(), Gone> {
        if self.is_head {
            return Ok(());
        }
        self.send(true).await
    }

    fn poll_gone(&mut self, _: &Shard, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.body {
            Some(body) => body.poll_reset(context).map(drop),
            None => self.respond.poll_reset(context).map(drop),
        }
    }
}

/// The head of an answer. HTTP/2 writes names in lower case, which [`HeaderName`] sees to, and has no
/// fields about the connection (RFC 9113 §8.2.2), of which a [`Reply`] has none.
fn head(shard: &Shard, correlation_id: &str, reply: &Reply) -> http::Response<()> {
    let mut head = http::Response::new(());
    *head.status_mut() = StatusCode::from_u16(reply.status).expect("codes have three digits");
    let date = shard.date();
    for (name, value) in reply.fields(&date, correlation_id) {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("our names are tokens");
        let value = HeaderValue::from_str(value)
            .expect("values are ours, or visible ASCII of the client's");
        head.headers_mut().append(name, value);
    }
    head
}
