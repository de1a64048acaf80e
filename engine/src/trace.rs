//! W3C Trace Context: under which trace a request runs (<https://www.w3.org/TR/trace-context/>, version 00).

use std::fmt;

use crate::clock;

/// The id of a trace: 16 bytes, not all of them zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

impl TraceId {
    /// The caller's trace. A field that does not say one well is as good as none (§3.2.2.2); then a new
    /// trace begins here.
    pub fn of(traceparent: Option<&str>) -> Self {
        traceparent
            .and_then(Self::parse)
            .unwrap_or_else(|| Self(clock::new_id().as_u128()))
    }

    /// A trace as it is written in a log line or in the journal.
    pub fn written(text: &str) -> Self {
        hex(text, 32).map_or_else(|| Self::of(None), Self)
    }

    /// The field of a request that we make for the caller's: the same trace, a new span in it.
    pub fn new_span(self) -> String {
        format!("00-{self}-{:016x}-01", clock::new_span())
    }

    /// Reads `version "-" trace-id "-" parent-id "-" flags`. Later versions may go on behind a dash (§3.2.4).
    fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.splitn(5, '-');
        let version = hex(parts.next()?, 2)?;
        let trace = hex(parts.next()?, 32)?;
        let parent = hex(parts.next()?, 16)?;
        hex(parts.next()?, 2)?;
        let has_more = parts.next().is_some();
        let valid = version != 0xff && !(version == 0 && has_more) && trace != 0 && parent != 0;
        valid.then_some(Self(trace))
    }
}

/// Lower case only (§3.2.2.1), exactly so many digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != digits || !text.bytes().all(is_hex) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_said_trace_is_the_callers() {
        for traceparent in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like",
        ] {
            let trace = TraceId::of(Some(traceparent));
            assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        }
    }

    #[test]
    fn what_we_ask_for_a_caller_is_a_new_span_of_the_callers_trace() {
        let trace = TraceId::of(None);
        let (one, other) = (trace.new_span(), trace.new_span());
        assert_ne!(one, other);
        for traceparent in [one, other] {
            assert_eq!(TraceId::parse(&traceparent), Some(trace), "{traceparent}");
        }
    }

    #[test]
    fn anything_else_begins_a_new_one() {
        for traceparent in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceId::parse(traceparent), None, "{traceparent}");
        }
        assert_ne!(TraceId::of(None), TraceId::of(None));
    }
}
