//! A page of a B-tree: rows, or children.

use super::{Root, Widths};

pub(super) enum Node<'p> {
    Leaf(Leaf<'p>),
    Branch(Branch<'p>),
}

/// Rows: where keys end, where values end, keys, values; the ends only of what is not all of one width.
pub(super) struct Leaf<'p> {
    page: &'p [u8],
    widths: Widths,
    pub(super) count: usize,
}

/// Children, one more than keys: checksums, pages, where keys end if not all are of one width, keys.
pub(super) struct Branch<'p> {
    page: &'p [u8],
    key_width: Option<usize>,
    pub(super) count: usize,
}

impl<'p> Node<'p> {
    /// An empty one is none: redb writes none.
    pub(super) fn parse(page: &'p [u8], widths: Widths) -> Option<Self> {
        let count = u16::from_le_bytes([*page.get(2)?, *page.get(3)?]).into();
        let key_width = widths.key;
        match page[0] {
            _ if count == 0 => None,
            1 => Some(Self::Leaf(Leaf {
                page,
                widths,
                count,
            })),
            2 => Some(Self::Branch(Branch {
                page,
                key_width,
                count,
            })),
            _ => None,
        }
    }
}

impl<'p> Leaf<'p> {
    fn ends(width: Option<usize>, count: usize) -> usize {
        width.map_or(4 * count, |_| 0)
    }

    fn key_end(&self, at: usize) -> Option<usize> {
        let Widths { key, value } = self.widths;
        let keys = 4 + Self::ends(key, self.count) + Self::ends(value, self.count);
        match key {
            Some(width) => Some(keys + width * at),
            None if at == 0 => Some(keys),
            None => u32_at(self.page, 4 * at).map(|end| end as usize),
        }
    }

    fn value_end(&self, at: usize) -> Option<usize> {
        let values = self.key_end(self.count)?;
        match self.widths.value {
            Some(width) => Some(values + width * at),
            None if at == 0 => Some(values),
            None => {
                let ends = Self::ends(self.widths.key, self.count);
                u32_at(self.page, ends + 4 * at).map(|end| end as usize)
            }
        }
    }

    pub(super) fn row(&self, at: usize) -> Option<(&'p [u8], &'p [u8])> {
        let key = self.page.get(self.key_end(at)?..self.key_end(at + 1)?)?;
        let value = self
            .page
            .get(self.value_end(at)?..self.value_end(at + 1)?)?;
        Some((key, value))
    }

    pub(super) fn end(&self) -> Option<usize> {
        self.value_end(self.count)
    }
}

impl Branch<'_> {
    pub(super) fn child(&self, at: usize) -> Option<Root> {
        let children = self.count + 1;
        Some(Root {
            checksum: u128_at(self.page, 8 + 16 * at)?,
            page: u64_at(self.page, 8 + 16 * children + 8 * at)?,
            rows: 0,
        })
    }

    pub(super) fn end(&self) -> Option<usize> {
        let keys = 8 + 24 * (self.count + 1);
        match self.key_width {
            Some(width) => Some(keys + width * self.count),
            None => u32_at(self.page, keys + 4 * (self.count - 1)).map(|end| end as usize),
        }
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(super) fn u128_at(bytes: &[u8], at: usize) -> Option<u128> {
    Some(u128::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
