//! Who calls: the key that a request shows, what it opens, and how often it may be shown.

use std::time::Duration;

use orchestratord_http::server::Request;

use crate::{
    api::error::{ApiError, Code},
    identity::{Caller, Identity, Scope, Stranger},
    metrics::KeyRefusal,
    settings::Limits,
    shard::{Shard, peer::Peer},
};

/// Who asks for what `scope` covers.
pub(super) fn identify(
    shard: &Shard,
    request: &Request,
    peer: Peer,
    scope: Option<Scope>,
) -> Result<Caller, ApiError> {
    let limits = shard.shared.limits();
    let Some(scope) = scope else {
        // An open route asks for no key, and whoever calls it is nobody in particular.
        return Ok(Caller::anonymous());
    };
    let found = limits.keys.identify(presented_key(request), scope);
    // The order matters: a key that has only been compared yet must not be told right from wrong.
    let caller = judge(shard, &limits, peer, &found)
        .and_then(|()| found.map_err(|stranger| refuse(shard, stranger)))
        .map_err(|error| error.seen_from(peer.network()))?;
    if !caller.may(scope) {
        let message = format!("the key lacks the scope `{}`", scope.name());
        return Err(ApiError::new(Code::Forbidden, message));
    }
    let counted = limits.keys.count(&caller, shard.shared.clock.now());
    counted.map_err(|wait| {
        too_often(
            "the key has been used as often as it may; come back later",
            wait,
        )
    })?;
    Ok(caller)
}

fn presented_key(request: &Request) -> Option<&str> {
    let bearer = || {
        let (scheme, key) = request.fields.get("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    };
    request.fields.get("x-api-key").or_else(bearer)
}

/// Whether what became of a key may be told to where it came from.
fn judge(
    shard: &Shard,
    limits: &Limits,
    peer: Peer,
    found: &Result<Caller, Stranger>,
) -> Result<(), ApiError> {
    let (guesses, now) = (&shard.shared.guesses, shard.shared.clock.now());
    let (network, per_minute) = (peer.network(), limits.auth_failures_per_minute);
    let told = match found {
        Err(Stranger::UnknownKey) => guesses.wrong(network, per_minute, now),
        Ok(Caller {
            identity: identity @ Identity::Key(_),
            ..
        }) => guesses.right(network, identity, per_minute, now),
        // No key was shown, or none is asked for.
        Err(Stranger::NoKey) | Ok(_) => Ok(()),
    };
    told.map_err(|wait| {
        count(shard, KeyRefusal::TooMany);
        too_often(
            "too many keys that nobody has came from your address; come back later",
            wait,
        )
    })
}

fn refuse(shard: &Shard, stranger: Stranger) -> ApiError {
    let (refusal, code, message) = match stranger {
        Stranger::NoKey => (
            KeyRefusal::Missing,
            Code::MissingKey,
            "show a key in X-API-Key or as Authorization: Bearer",
        ),
        Stranger::UnknownKey => (
            KeyRefusal::Unknown,
            Code::InvalidKey,
            "the key is not a known one",
        ),
    };
    count(shard, refusal);
    ApiError::new(code, message)
}

fn count(shard: &Shard, refusal: KeyRefusal) {
    shard.shared.metrics[shard.id.0].keys.refused(refusal);
}

fn too_often(message: &str, wait: Duration) -> ApiError {
    ApiError::new(Code::RateLimited, message).after(wait)
}
