//! redb's pages, read without redb: what of a damaged file can still be read.
//!
//! redb opens a file whole or not at all. Its format (version 3, `docs/design.md` of redb) is simple enough to do better:
//! B-trees in which every parent holds its children's checksums (XXH3, 128 bits), found from a head that
//! holds the last two commits. A page that is not what its parent says is passed over, with
//! all that is below it; what is told of the others is what was written.
//!
//! Only reads. Knows nothing of what our tables mean.

mod head;
mod node;

use std::{collections::BTreeMap, fs::File, io, os::unix::fs::FileExt as _};

use xxhash_rust::xxh3::xxh3_128;

pub use self::head::{Commit, Head};
use self::node::{Node, u32_at, u64_at, u128_at};

const PAGE_BYTES: u64 = 4096;
/// Pages of the first order in a region: redb makes no other.
const REGION_PAGES: u64 = 1 << 20;
/// The largest page is a region.
const ORDER_MAX: u64 = 20;
const HEAD_BYTES: usize = 320;

/// A B-tree: where its root is, what that hashes to, and how many rows it has.
#[derive(Clone, Copy, Debug)]
pub struct Root {
    page: u64,
    checksum: u128,
    /// Rows of the tree.
    pub rows: u64,
}

/// How wide keys and values are, where all are of one width.
#[derive(Clone, Copy, Debug, Default)]
struct Widths {
    key: Option<usize>,
    value: Option<usize>,
}

/// A table, as the tree of tables describes it.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its rows; an empty one has no tree.
    pub root: Option<Root>,
    widths: Widths,
}

/// What was found of a tree.
#[derive(Debug, Default)]
pub struct Rows {
    /// Keys and values.
    pub found: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Whether that is all.
    pub are_all: bool,
}

/// The tables of a commit, by name.
#[derive(Debug, Default)]
pub struct Tables {
    /// Those that were found.
    pub found: BTreeMap<String, Table>,
    /// Whether that is all.
    pub are_all: bool,
}

/// The file.
#[derive(Debug)]
pub struct Pages<'f> {
    file: &'f File,
    len: u64,
}

impl<'f> Pages<'f> {
    /// Those of a file.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn of(file: &'f File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }

    /// The head; none if nothing in it can be read.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn head(&self) -> io::Result<Option<Head>> {
        if self.len < PAGE_BYTES {
            return Ok(None);
        }
        let mut bytes = [0; HEAD_BYTES];
        self.file.read_exact_at(&mut bytes, 0)?;
        let head = Head::parse(&bytes, self.len);
        Ok(head.filter(|head| head.newest.or(head.older).is_some()))
    }

    /// Whether everything is there: what we wrote, and what redb keeps for itself.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn are_whole(&self, head: &Head) -> io::Result<bool> {
        let Some(newest) = head.newest.filter(|_| head.is_sound) else {
            return Ok(false);
        };
        for root in [newest.tables, newest.system] {
            let tables = self.tables_of(root)?;
            if !tables.are_all {
                return Ok(false);
            }
            for table in tables.found.values() {
                let Some(root) = table.root else { continue };
                if !self.walk(root, table.widths, &mut |_, _| {})? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The tables that a commit has.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn tables(&self, commit: Option<Commit>) -> io::Result<Tables> {
        commit.map_or(Ok(Tables::default()), |commit| {
            self.tables_of(commit.tables)
        })
    }

    fn tables_of(&self, root: Option<Root>) -> io::Result<Tables> {
        let mut tables = Tables {
            are_all: true,
            ..Tables::default()
        };
        let mut are_known = true;
        if let Some(root) = root {
            tables.are_all =
                self.walk(
                    root,
                    Widths::default(),
                    &mut |name, definition| match Table::parse(definition) {
                        Some(table) => {
                            let name = String::from_utf8_lossy(name).into_owned();
                            tables.found.insert(name, table);
                        }
                        None => are_known = false,
                    },
                )?;
        }
        tables.are_all &= are_known;
        Ok(tables)
    }

    /// The rows of a table.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn rows(&self, table: &Table) -> io::Result<Rows> {
        let mut found = BTreeMap::new();
        let are_all = match table.root {
            None => true,
            Some(root) => self.walk(root, table.widths, &mut |key, value| {
                found.insert(key.to_vec(), value.to_vec());
            })?,
        };
        Ok(Rows { found, are_all })
    }

    /// Takes every row below that can be read; whether those are all. It ends: a checksum can't hold itself, so no page is below itself.
    fn walk(
        &self,
        root: Root,
        widths: Widths,
        take: &mut dyn FnMut(&[u8], &[u8]),
    ) -> io::Result<bool> {
        let Some(bytes) = self.page(root.page)? else {
            return Ok(false);
        };
        let is_ours = |end: Option<usize>| {
            let used = end.and_then(|end| bytes.get(..end));
            used.is_some_and(|used| xxh3_128(used) == root.checksum)
        };
        match Node::parse(&bytes, widths) {
            Some(Node::Leaf(leaf)) if is_ours(leaf.end()) => {
                let rows: Option<()> = (0..leaf.count)
                    .try_for_each(|at| leaf.row(at).map(|(key, value)| take(key, value)));
                Ok(rows.is_some())
            }
            Some(Node::Branch(branch)) if is_ours(branch.end()) => {
                let mut are_all = true;
                for at in 0..=branch.count {
                    are_all &= match branch.child(at) {
                        Some(child) => self.walk(child, widths, take)?,
                        None => false,
                    };
                }
                Ok(are_all)
            }
            _ => Ok(false),
        }
    }

    /// The page of that number; none if the file does not reach so far.
    fn page(&self, number: u64) -> io::Result<Option<Vec<u8>>> {
        let order = number >> 59;
        if order > ORDER_MAX {
            return Ok(None);
        }
        let (region, index) = (number >> 20 & 0xF_FFFF, number & (0xF_FFFF >> order));
        let len = PAGE_BYTES << order;
        let start = PAGE_BYTES + region * REGION_PAGES * PAGE_BYTES + index * len;
        if start + len > self.len {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(Some(bytes))
    }
}

impl Root {
    fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            page: u64_at(bytes, 0)?,
            checksum: u128_at(bytes, 8)?,
            rows: u64_at(bytes, 24)?,
        })
    }
}

impl Table {
    /// Tables with one value a key: we have no others, and neither has redb of its own.
    fn parse(definition: &[u8]) -> Option<Self> {
        const ONE_VALUE_A_KEY: u8 = 3;
        let width = |at: usize| match definition.get(at)? {
            0 => Some(None),
            _ => u32_at(definition, at + 1).map(|width| Some(width as usize)),
        };
        let root = match definition.get(9)? {
            0 => None,
            _ => Some(Root::parse(definition.get(10..)?)?),
        };
        let table = Self {
            root,
            widths: Widths {
                key: width(42)?,
                value: width(47)?,
            },
        };
        (definition[0] == ONE_VALUE_A_KEY).then_some(table)
    }
}
