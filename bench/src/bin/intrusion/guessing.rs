//! Keys that are guessed: every wrong one is refused, soon without a word about whether it was wrong.
//!
//! One wrong key a minute is allowed here, so that the second is too many and nothing depends on how fast this is. Two
//! addresses may share a place in the daemon's table, so what holds for others is asked of several.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use orchestratord_bench::Failure;
use serde_json::Value;

use crate::findings::{Findings, require};
use crate::http2::{END_HEADERS, END_STREAM, Fate, HEADERS, Http2, block, frame};
use crate::request::{bare, json};
use crate::stage::{Stage, Victim};
use crate::wire::{Answer, Wire};

const TOKEN: &str = "orchd-worker-4f6d1c0a9b";
const GUESS: &str = "orchd-guess";
/// Wrong keys after the one that is allowed.
const GUESSES: usize = 200;
/// Addresses that guess once each, and what that may leave the daemon larger.
const ADDRESSES: u16 = 1000;
const GROWTH_BYTES_MAX: u64 = 32 << 20;
/// From where it is guessed.
const GUESSER: u16 = 0;
/// Where others call from, and how many of them may have the guesser's place by chance.
const OTHERS: std::ops::Range<u16> = 1..9;
const OTHERS_ALIKE_MAX: usize = 2;

struct Keys {
    ann: String,
    ben: String,
}

pub(crate) fn play(stage: &Stage, findings: &mut Findings) -> Result<(), Failure> {
    let (file, keys) = stage.keys("guessing", &[("ann", "data"), ("ben", "data")])?;
    let [ann, ben] =
        <[String; 2]>::try_from(keys).map_err(|_| Failure("two keys were made".to_owned()))?;
    let (keys, worker) = (Keys { ann, ben }, format!("--worker-token={TOKEN}"));
    let arguments = [
        "--engine=mock",
        "--auth-failures-per-minute=1",
        "--keys",
        &file,
        &worker,
    ];
    let victim = stage.daemon("guessing", "json", &arguments)?;
    let addr = victim.addr;
    findings.tried(
        "a key that is right",
        shows(addr, GUESSER, &keys.ann, &[200]),
    );
    findings.tried("a key that is wrong", shows(addr, GUESSER, GUESS, &[403]));
    for guess in 0..GUESSES {
        let guess = format!("{GUESS}-{guess}");
        findings.tried(
            "a key that is wrong once more",
            shows(addr, GUESSER, &guess, &[429]),
        );
    }
    findings.tried("a hit after misses", looks_like_a_miss(addr, &keys.ben));
    findings.tried(
        "a key that was right before",
        shows(addr, GUESSER, &keys.ann, &[200]),
    );
    findings.tried("a miss over HTTP/2", over_http2(addr));
    findings.tried("no key", asks(addr, GUESSER, &[], 401));
    findings.tried(
        "the workers' token after misses",
        registers(addr, GUESSER, TOKEN, 429),
    );
    findings.tried("right keys from elsewhere", from_elsewhere(addr, &keys.ben));
    for (at, near) in (1000..).zip(near(&keys.ann)) {
        findings.tried(
            &format!("the key {near:?}"),
            shows(addr, at, &near, &[403, 429]),
        );
    }
    for (at, near) in (2000..).zip(near(TOKEN)) {
        findings.tried(
            &format!("the token {near:?}"),
            is_no_worker(addr, at, &near),
        );
    }
    findings.tried("guesses from everywhere", from_everywhere(&victim));
    findings.tried("the count of guesses", is_counted(addr));
    findings.tried("keys in the log", is_silent(victim.into_log()?, &keys));
    Ok(())
}

/// An address of this machine.
fn address(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 20 + high, low, 1).into()
}

fn ask(addr: SocketAddr, from: u16, fields: &[(&str, &str)]) -> Result<Answer, Failure> {
    Wire::open_from(address(from), addr)?.ask(&bare("GET", "/v2/tasks", fields))
}

fn asks(addr: SocketAddr, from: u16, fields: &[(&str, &str)], status: u16) -> Result<(), Failure> {
    let found = ask(addr, from, fields)?.status;
    require(found == status, || {
        format!("it was answered {found}, and not {status}")
    })
}

/// Each way to show a key is one guess; they take turns.
fn shows(addr: SocketAddr, from: u16, key: &str, statuses: &[u16]) -> Result<(), Failure> {
    let bearer = format!("Bearer {key}");
    let field = match key.len() % 2 {
        0 => ("X-API-Key", key),
        _ => ("Authorization", &*bearer),
    };
    let answer = ask(addr, from, &[field])?;
    let found = answer.status;
    require(statuses.contains(&found), || {
        format!("it was answered {found}, and not {statuses:?}")
    })?;
    let wait = answer
        .field("retry-after")
        .and_then(|wait| wait.parse().ok());
    let tells_when = matches!(wait, Some(1..=60_u32));
    require(found != 429 || tells_when, || {
        format!("it was told to come back after {wait:?} seconds")
    })
}

/// A right key that was not shown from there before is answered to the letter as a wrong one.
fn looks_like_a_miss(addr: SocketAddr, key: &str) -> Result<(), Failure> {
    let hit = comparable(ask(addr, GUESSER, &[("X-API-Key", key)])?);
    let miss = comparable(ask(addr, GUESSER, &[("X-API-Key", GUESS)])?);
    require(hit == miss, || {
        format!("a hit was answered {hit:?}, and a miss {miss:?}")
    })
}

/// Without what differs from one request to the next: ids, and how long to wait.
fn comparable(answer: Answer) -> (u16, Vec<String>, Value) {
    let mut body = answer.json();
    for changing in ["correlation_id", "retry_after_ms"] {
        body[changing] = Value::Null;
    }
    let names = answer.fields.into_iter().map(|(name, _)| name);
    (answer.status, names.collect(), body)
}

fn over_http2(addr: SocketAddr) -> Result<(), Failure> {
    let head = block(&[
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/v2/tasks"),
        (b":authority", b"a"),
        (b"x-api-key", GUESS.as_bytes()),
    ]);
    let mut connection = Http2::open_from(address(GUESSER), addr)?;
    connection.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
    let [fate] = connection.fates([1])?;
    require(fate == Fate::Answered(429), || {
        format!("it met with {fate:?}")
    })
}

fn register(addr: SocketAddr, from: u16, token: &str) -> Result<u16, Failure> {
    let request = json(
        "POST",
        "/v2/workers/register",
        &[("X-API-Key", token)],
        b"{}",
    );
    Ok(Wire::open_from(address(from), addr)?.ask(&request)?.status)
}

fn registers(addr: SocketAddr, from: u16, token: &str, status: u16) -> Result<(), Failure> {
    let found = register(addr, from, token)?;
    require(found == status, || {
        format!("it was answered {found}, and not {status}")
    })
}

fn is_no_worker(addr: SocketAddr, from: u16, token: &str) -> Result<(), Failure> {
    let found = register(addr, from, token)?;
    require(matches!(found, 403 | 429), || {
        format!("it was answered {found}")
    })
}

fn from_elsewhere(addr: SocketAddr, key: &str) -> Result<(), Failure> {
    let mut refused = 0;
    for from in OTHERS {
        let key_opens = ask(addr, from, &[("X-API-Key", key)])?.status == 200;
        // What the token opens finds fault with the body.
        let token_opens = register(addr, from, TOKEN)? == 400;
        refused += usize::from(!key_opens || !token_opens);
    }
    require(refused <= OTHERS_ALIKE_MAX, || {
        format!("{refused} of {OTHERS:?} were refused")
    })
}

/// What is nearly a key.
fn near(key: &str) -> Vec<String> {
    let at = key.len() / 2;
    vec![
        key[1..].to_owned(),
        key[..key.len() - 1].to_owned(),
        format!("{key}0"),
        format!("0{key}"),
        key.to_uppercase(),
        format!("{key},{key}"),
        format!("{key} {key}"),
        format!("\"{key}\""),
        format!("{}x{}", &key[..at], &key[at + 1..]),
        format!("Bearer {key}"),
        format!("{key}%00"),
        "x".repeat(8000),
    ]
}

/// A table that grew with each address would show.
fn from_everywhere(victim: &Victim) -> Result<(), Failure> {
    let before = victim.resident_bytes_max()?;
    for at in 0..ADDRESSES {
        shows(victim.addr, 3000 + at, GUESS, &[403, 429])?;
    }
    let growth = victim.resident_bytes_max()?.saturating_sub(before);
    require(growth <= GROWTH_BYTES_MAX, || {
        format!("the daemon grew by {growth} bytes")
    })
}

fn is_counted(addr: SocketAddr) -> Result<(), Failure> {
    let metrics = Wire::open(addr)?.ask(&bare("GET", "/metrics", &[]))?;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("auth_failures_total{"));
    let counted: f64 = counted
        .filter_map(|line| line.split(' ').next_back()?.parse::<f64>().ok())
        .sum();
    let least = f64::from(ADDRESSES) + GUESSES as f64;
    require(counted >= least, || {
        format!("{counted} refusals were counted, and not {least}")
    })
}

fn is_silent(log: Vec<u8>, keys: &Keys) -> Result<(), Failure> {
    let log = String::from_utf8_lossy(&log).into_owned();
    for secret in [&*keys.ann, &*keys.ben, TOKEN, GUESS] {
        require(!log.contains(secret), || {
            "a key stands in the log".to_owned()
        })?;
    }
    let refused = log.matches("\"network\":\"127.20.0.1\"").count();
    require(refused >= GUESSES, || {
        format!("the log tells of {refused} refusals from the guesser")
    })
}
