//! Event streams: what is written is what is read, by every reader, wherever it joins.

use orchestratord_http::sse::{self, Decoder};
use orchestratord_http::sse_log::{Audience, Cursor, Log};
use proptest::collection::vec;
use proptest::prelude::*;

/// An event: the same for both audiences, or not.
#[derive(Clone, Debug)]
struct Happening {
    plain: String,
    verbose: Option<String>,
}

impl Happening {
    fn data(&self, audience: Audience) -> &str {
        match (&self.verbose, audience) {
            (Some(verbose), Audience::Verbose) => verbose,
            _ => &self.plain,
        }
    }

    fn append_to(&self, log: &mut Log) -> u64 {
        match &self.verbose {
            Some(verbose) => log.append_by_audience("e", self.plain.as_bytes(), verbose.as_bytes()),
            None => log.append("e", self.plain.as_bytes()),
        }
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    // Lines of any text: what ends a line stays out, as a reader sees each such end as LF.
    let text = "[^\r\n]{0,20}";
    (text, proptest::option::weighted(0.3, text))
        .prop_map(|(plain, verbose)| Happening { plain, verbose })
}

proptest! {
    #[test]
    fn an_event_written_is_the_event_read(
        happenings in vec("[^\r]{0,30}", 0..10),
        piece_len in 1_usize..40,
    ) {
        let mut stream = Vec::new();
        for (id, data) in (0..).zip(&happenings) {
            sse::encode(&mut stream, id, "e", data.as_bytes());
            sse::comment(&mut stream, data);
        }
        let mut decoder = Decoder::new(1000);
        let mut expected = (0_u64..).zip(&happenings);
        for mut piece in stream.chunks(piece_len) {
            while let Some(event) = decoder.decode(&mut piece).unwrap() {
                let (id, data) = expected.next().expect("no event is made up");
                let id = id.to_string();
                prop_assert_eq!(event.id, id.as_bytes());
                prop_assert_eq!(event.event, b"e");
                prop_assert_eq!(event.data, data.as_bytes());
            }
        }
        prop_assert_eq!(expected.next(), None, "no event is lost");
    }

    /// Readers join at any point of a growing log, read at their own pace, and see the suffix they
    /// asked for, whole, in order, once.
    #[test]
    fn a_reader_sees_exactly_the_suffix_it_asked_for(
        happenings in vec(happening(), 1..12),
        verbose in any::<bool>(),
        seen in proptest::option::of(0_usize..12),
        joins_at in 0_usize..12,
        bytes_max in 1_usize..200,
    ) {
        let audience = if verbose { Audience::Verbose } else { Audience::Plain };
        // A reader has seen only what there was when it joins.
        let joins_at = joins_at.min(happenings.len());
        let seen = seen.filter(|seen| *seen < joins_at);
        let mut cursor = match seen {
            Some(seen) => Cursor::after(seen as u64, audience),
            None => Cursor::from_start(audience),
        };

        let mut log = Log::new();
        let mut read = Vec::new();
        for (index, happening) in happenings.iter().enumerate() {
            prop_assert_eq!(happening.append_to(&mut log), index as u64);
            if index >= joins_at {
                read.extend_from_slice(log.read(&mut cursor, bytes_max));
            }
        }
        log.close("end", b"");
        while !log.is_drained(&cursor) {
            let run = log.read(&mut cursor, bytes_max);
            prop_assert!(!run.is_empty());
            read.extend_from_slice(run);
        }
        prop_assert!(log.read(&mut cursor, bytes_max).is_empty());

        let mut expected = Vec::new();
        let first = seen.map_or(0, |seen| seen + 1);
        for (index, happening) in happenings.iter().enumerate().skip(first) {
            sse::encode(&mut expected, index as u64, "e", happening.data(audience).as_bytes());
        }
        sse::encode(&mut expected, happenings.len() as u64, "end", b"");
        prop_assert_eq!(read.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}
