//! The head of the file: its layout, and the last two commits.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_128;

use super::{
    PAGE_BYTES, REGION_PAGES, Root,
    node::{u32_at, u64_at},
};

const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
const SLOTS: [Range<usize>; 2] = [64..192, 192..320];
const FORMAT_VERSION: u8 = 3;

/// What one commit has made of the store.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// Its place among all: each is one more than the last.
    pub number: u64,
    pub(super) tables: Option<Root>,
    pub(super) system: Option<Root>,
}

/// What the head of the file says.
#[derive(Debug)]
pub struct Head {
    /// The last commit, unless the head is damaged there.
    pub newest: Option<Commit>,
    /// The one before, of whose pages the last one has overwritten none.
    pub older: Option<Commit>,
    /// Whether redb would open the file, and take the newest commit for the newest.
    pub(super) is_sound: bool,
}

impl Head {
    pub(super) fn parse(bytes: &[u8], len: u64) -> Option<Self> {
        let flags = *bytes.get(MAGIC.len())?;
        let [is_second, needs_recovery, is_two_phase] = [1, 2, 4].map(|flag| flags & flag != 0);
        let [first, second] = SLOTS.map(|slot| bytes.get(slot).and_then(Commit::parse));
        let (primary, secondary) = match is_second {
            false => (first, second),
            true => (second, first),
        };
        let number = |commit: Option<Commit>| commit.map(|commit| commit.number);
        let is_newer = primary.is_some() && number(secondary) > number(primary);
        let (newest, older, is_told) = match (is_newer, needs_recovery && is_two_phase) {
            (false, _) => (primary, secondary, true),
            // The second phase has not been reached: nobody was told of the newer one.
            (true, true) => (primary, None, true),
            // redb looks for the newer one if it has not been closed.
            (true, false) => (secondary, primary, needs_recovery),
        };
        let both = primary.is_some() && secondary.is_some();
        Some(Self {
            newest,
            older,
            is_sound: both && is_told && has_sound_layout(bytes, len)?,
        })
    }
}

/// Whether redb, which takes these fields for granted, finds its way with them.
fn has_sound_layout(head: &[u8], len: u64) -> Option<bool> {
    let number = |at| u32_at(head, at).map(u64::from);
    let (page, region_header, region) = (number(12)?, number(16)?, number(20)?);
    let (full, trailing) = (number(24)?, number(28)?);
    let pages = full * REGION_PAGES + trailing;
    Some(
        head.starts_with(MAGIC)
            && (page, region_header, region) == (PAGE_BYTES, 0, REGION_PAGES)
            && pages > 0
            && (1 + pages) * PAGE_BYTES <= len
            && len.is_multiple_of(PAGE_BYTES),
    )
}

impl Commit {
    fn parse(slot: &[u8]) -> Option<Self> {
        let (said, checksum) = slot.split_at_checked(112)?;
        let is_whole = xxh3_128(said).to_le_bytes() == checksum && said[0] == FORMAT_VERSION;
        let root = |is_there: u8, at: usize| match is_there {
            0 => None,
            _ => Root::parse(&said[at..]),
        };
        is_whole.then(|| Self {
            number: u64_at(said, 104).unwrap_or_default(),
            tables: root(said[1], 8),
            system: root(said[2], 40),
        })
    }
}
