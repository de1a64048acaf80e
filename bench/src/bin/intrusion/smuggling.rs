//! Every published trick, end to end: one message that two programs read in two ways.
//!
//! Each is followed on its connection by a canary, an honest request. There is one reading: either the trick
//! is refused and the connection ends with that, or it is answered and so is the canary, as what it is. Where
//! the daemon answers, a stranger must find as many requests. Each trick is sent at once and byte by byte.

use orchestratord_bench::Failure;

use crate::findings::{Findings, require};
use crate::http2_tricks;
use crate::request::bare;
use crate::stage::Stage;
use crate::tricks::{self, SMUGGLED, Trick};
use crate::wire::Wire;
use crate::witness;

const CANARY: &str = "canary";

pub(crate) fn play(stage: &Stage, findings: &mut Findings) -> Result<(), Failure> {
    let victim = stage.daemon("smuggling", "json", &["--engine=mock"])?;
    for trick in tricks::all() {
        for (how, piece_len) in [("at once", usize::MAX), ("byte by byte", 1)] {
            let wire = Wire::open(victim.addr)?;
            findings.tried(
                &format!("{}, {how}", trick.name),
                try_out(wire, &trick, piece_len),
            );
        }
    }
    http2_tricks::play(victim.addr, findings)
}

fn try_out(mut wire: Wire, trick: &Trick, piece_len: usize) -> Result<(), Failure> {
    let canary = bare("GET", "/livez", &[("X-Correlation-Id", CANARY)]);
    let bytes = [&*trick.bytes, &canary].concat();
    // Who is refused may not get all of it across.
    let _ = bytes
        .chunks(piece_len.min(bytes.len()))
        .all(|piece| wire.send(piece));
    let mut answers = Vec::new();
    let mut canary = None;
    while canary.is_none()
        && let Some(answer) = wire.answer()?
    {
        let id = answer.field("x-correlation-id").unwrap_or_default();
        if id == CANARY {
            canary = Some(answer.status);
        } else {
            answers.push((answer.status, id == SMUGGLED));
        }
    }
    require(answers == trick.answers, || {
        format!("it was answered {answers:?}, and not {:?}", trick.answers)
    })?;
    let expected = (!trick.is_the_end).then_some(200);
    require(canary == expected, || {
        format!("what follows it was answered {canary:?}, and not {expected:?}")
    })?;
    let witnessed = witness::requests(&trick.bytes);
    require(trick.is_the_end || witnessed == Some(answers.len()), || {
        format!(
            "a stranger finds {witnessed:?} requests, and not {}",
            answers.len()
        )
    })
}
