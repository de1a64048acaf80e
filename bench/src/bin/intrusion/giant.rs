//! Everything that a client can make grow, grown beyond its limit: by a little, by a lot, and without an end.
//!
//! Each is refused with the status that says why. Where that leaves in doubt where the next message begins, the
//! connection ends; where it does not, an honest request on it is answered. What is refused is not sent
//! back, and all of it together leaves the daemon about as large as it was.

use std::net::SocketAddr;

use orchestratord_bench::Failure;

use crate::findings::{Findings, require};
use crate::giants::{self, HEAD};
use crate::http2::{Fate, Http2};
use crate::request::{bare, json};
use crate::stage::{Stage, Victim};
use crate::wire::{Answer, Wire};

/// What is sent of something without an end. Whoever has not been cut off by then is read for ever.
const ENDLESS_BYTES: usize = 16 << 20;
/// The most that an answer to a refused request says.
const REFUSAL_BYTES_MAX: usize = 2048;
/// Connections that hold what they may at the same time.
const HOLDERS: usize = 200;
/// What all of this may leave the daemon larger: a head for each holder, and the buffers of those that were served.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

pub(crate) fn play(stage: &Stage, findings: &mut Findings) -> Result<(), Failure> {
    let victim = stage.daemon("giant", "json", &["--engine=mock"])?;
    let addr = victim.addr;
    honest(addr)?;
    let before = victim.resident_bytes_max()?;
    for (name, status, bytes) in giants::at_the_bound() {
        findings.tried(&name, is_answered(addr, status, &bytes));
    }
    for (name, status, bytes) in giants::beyond_the_bound() {
        findings.tried(&name, is_the_end(addr, status, &bytes));
    }
    for (name, status, start, unit) in giants::without_an_end() {
        findings.tried(
            &format!("{name} without an end"),
            is_cut_off(addr, status, &start, &unit),
        );
    }
    for (target, takes) in giants::ROUTES {
        for (name, body) in giants::documents(takes) {
            let request = json("POST", target, &[], body.as_bytes());
            findings.tried(
                &format!("{name} to {target}"),
                is_answered(addr, 400, &request),
            );
        }
    }
    for (name, frames) in giants::frames() {
        findings.tried(&format!("HTTP/2, {name}"), is_refused(addr, &frames));
    }
    findings.tried("many heads that are not whole", hold(&victim, before));
    Ok(())
}

/// The daemon answers somebody who asks for nothing unusual.
fn honest(addr: SocketAddr) -> Result<(), Failure> {
    let answer = Wire::open(addr)?.ask(&bare("GET", "/livez", &[]))?;
    require(answer.status == 200, || {
        format!("an honest request was answered {}", answer.status)
    })
}

/// It is answered in few words, and the connection goes on.
fn is_answered(addr: SocketAddr, status: u16, bytes: &[u8]) -> Result<(), Failure> {
    let mut wire = Wire::open(addr)?;
    let answer = wire.ask(bytes)?;
    check(&answer, status)?;
    let next = wire.ask(&bare("GET", "/livez", &[]))?.status;
    require(next == 200, || {
        format!("what follows it was answered {next}")
    })
}

/// It is answered in few words, and that is the end of the connection.
fn is_the_end(addr: SocketAddr, status: u16, bytes: &[u8]) -> Result<(), Failure> {
    let mut wire = Wire::open(addr)?;
    let _ = wire.send(bytes);
    ends_with(wire, status)
}

fn is_cut_off(addr: SocketAddr, status: u16, start: &[u8], unit: &[u8]) -> Result<(), Failure> {
    let mut wire = Wire::open(addr)?;
    let piece = unit.repeat((64 * 1024 / unit.len()).max(1));
    let mut sent = start.len();
    let mut takes = wire.send(start);
    while takes && sent < ENDLESS_BYTES {
        takes = wire.send(&piece);
        sent += piece.len();
    }
    require(!takes, || format!("{sent} bytes of it were taken"))?;
    ends_with(wire, status)
}

fn ends_with(mut wire: Wire, status: u16) -> Result<(), Failure> {
    let answer = wire.answer()?;
    let answer = answer.ok_or_else(|| Failure("it was not answered".to_owned()))?;
    check(&answer, status)?;
    let more = wire.answer()?;
    require(more.is_none(), || {
        "the connection goes on after it".to_owned()
    })
}

fn check(answer: &Answer, status: u16) -> Result<(), Failure> {
    require(answer.status == status, || {
        format!("it was answered {}, and not {status}", answer.status)
    })?;
    let len = answer.body.len();
    require(len <= REFUSAL_BYTES_MAX, || {
        format!("it was answered with {len} bytes")
    })
}

fn is_refused(addr: SocketAddr, frames: &[u8]) -> Result<(), Failure> {
    let mut connection = Http2::open(addr)?;
    let _ = connection.send(frames);
    let [fate] = connection.fates([1])?;
    let is_refused = matches!(fate, Fate::Answered(413 | 431) | Fate::Reset | Fate::Ended);
    require(is_refused, || format!("it met with {fate:?}"))?;
    honest(addr)
}

/// As large a head as may be, but for its end, on many connections at a time.
fn hold(victim: &Victim, before: u64) -> Result<(), Failure> {
    let head = bare("GET", "/livez", &[("X", &"x".repeat(HEAD - 1024))]);
    let holders: Vec<Wire> = (0..HOLDERS)
        .map(|_| {
            let mut wire = Wire::open(victim.addr)?;
            wire.send(&head[..head.len() - 2]);
            Ok(wire)
        })
        .collect::<Result<_, Failure>>()?;
    honest(victim.addr)?;
    let growth = victim.resident_bytes_max()?.saturating_sub(before);
    drop(holders);
    require(growth <= GROWTH_BYTES_MAX, || {
        format!("the daemon grew by {growth} bytes")
    })
}
