//! From a stream of HTTP/2 to a [`Call`].

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use glommio::{sync::Permit, timer::Timer};
use h2::RecvStream;
use orchestratord_http::{
    Limits, Refusal,
    server::{Parts, Request},
};

use super::{Common, WINDOW_BYTES};
use crate::shard::{exchange::Gone, routes::Call};

/// Why there is no call.
pub(super) enum Failed {
    /// The request is not one that is answered; this is.
    Refused(Refusal),
    /// The client has taken it back.
    Gone,
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Gone> for Failed {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// Reads a head as if it had come in lines.
pub(super) fn head(
    request: &http::Request<RecvStream>,
    limits: &Limits,
) -> Result<Request, Refusal> {
    let uri = request.uri();
    let parts = Parts {
        method: request.method().as_str(),
        target: uri.path_and_query().map_or("", |target| target.as_str()),
        authority: uri.authority().map(|authority| authority.as_str()),
        has_body: !request.body().is_end_stream(),
    };
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    Request::from_parts(&parts, fields, limits)
}

/// Reads the body to its end, or until there is no memory for it.
pub(super) async fn body(
    common: &Common,
    call: &mut Call,
    body: &mut RecvStream,
) -> Result<(), Failed> {
    let mut timer = Timer::new(common.shard.shared.limits().timeouts.body);
    let body_max = common.shard.limits().body_max;
    let mut turn = None;
    while let Some(bytes) = in_time(&mut timer, |context| body.poll_data(context)).await? {
        let bytes: Bytes = bytes.map_err(|_| Gone)?;
        // An error says that the stream is over, which the next look will find too.
        let _ = body.flow_control().release_capacity(bytes.len());
        let length = call.body.len() + bytes.len();
        if length as u64 > body_max {
            return Err(Refusal::BODY_TOO_LONG.into());
        }
        call.take_body(&bytes);
        if call.is_refused() {
            return Ok(());
        }
        if turn.is_none() && length >= WINDOW_BYTES as usize {
            turn = Some(turn_at_long_bodies(common, &mut timer).await?);
        }
    }
    Ok(())
}

async fn turn_at_long_bodies<'c>(
    common: &'c Common,
    timer: &mut Timer,
) -> Result<Permit<'c>, Failed> {
    let mut acquire = std::pin::pin!(common.long_bodies.acquire_permit(1));
    in_time(timer, |context| acquire.as_mut().poll(context))
        .await?
        // It is never closed while a stream lives.
        .map_err(|_| Failed::Gone)
}

async fn in_time<T>(
    timer: &mut Timer,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Result<T, Refusal> {
    poll_fn(|context| {
        if let Poll::Ready(ready) = poll(context) {
            return Poll::Ready(Ok(ready));
        }
        Pin::new(&mut *timer)
            .poll(context)
            .map(|_| Err(Refusal::TOO_SLOW))
    })
    .await
}
