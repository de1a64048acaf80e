//! Models' files on this disk, each under what it hashes to.
//!
//! ```text
//! blobs/<sha256>.gguf         a whole file: it gets this name when it is known to be what it says
//! references/<sha256>.json    which file a reference means, by the digest of the reference's text
//! partial/<key>               what has come of a file so far, and beside it
//! partial/<key>.json          of which file that is,
//! partial/<key>.lock          and who fetches it: this or another daemon, one at a time
//! ```
//!
//! Every name appears by a rename, so that nobody finds half of anything, and a crash leaves a partial
//! file that the next download goes on with.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::range::Had;
use crate::{api, digest::Digest};

/// Engines tell by it what kind of file it is.
const ENDING: &str = "gguf";

/// The folder of models' files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    dir: PathBuf,
}

/// Which file a reference means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The reference.
    pub reference: String,
    /// What the file hashes to.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// The entity tag that it was sent with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When it came, in milliseconds since 1970.
    pub fetched_ms: u64,
}

/// What has come of a file so far. Whoever has it is the only one.
pub struct Partial {
    path: PathBuf,
    file: File,
    bytes: u64,
    note: Note,
    _lock: File,
}

/// Of which file the bytes are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Note {
    etag: Option<String>,
    bytes_total: Option<u64>,
}

impl Cache {
    /// In this folder, which need not be there yet.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the file of that digest is or would be.
    pub fn blob(&self, digest: Digest) -> PathBuf {
        let name = format!("{}.{ENDING}", digest.hex());
        self.dir.join("blobs").join(name)
    }

    /// Which file the reference means, if that is here.
    pub fn entry(&self, reference: &str) -> Option<Entry> {
        let entry: Entry = read(&self.entry_file(reference))?;
        let is_here = self.holds(entry.digest) == Some(entry.bytes);
        (is_here && entry.reference == reference).then_some(entry)
    }

    /// How long the file of that digest is, if it is here.
    pub fn holds(&self, digest: Digest) -> Option<u64> {
        let found = fs::metadata(self.blob(digest)).ok()?;
        found.is_file().then_some(found.len())
    }

    /// Every reference whose file is here, by name.
    ///
    /// # Errors
    ///
    /// When the folder can't be read.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let files = match fs::read_dir(self.dir.join("references")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files?,
        };
        let files = files.collect::<Result<Vec<_>, _>>()?;
        let entries = files.iter().filter_map(|file| read(&file.path()));
        let mut entries: Vec<Entry> = entries
            .filter(|entry: &Entry| self.holds(entry.digest).is_some())
            .collect();
        entries.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok(entries)
    }

    /// Notes which file a reference means.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn put(&self, entry: &Entry) -> io::Result<()> {
        let file = self.entry_file(&entry.reference);
        let folder = self.folder("references")?;
        let draft = tempfile::NamedTempFile::new_in(&folder)?;
        draft.as_file().write_all(&api::json(entry))?;
        draft.as_file().sync_all()?;
        draft.persist(file).map_err(|error| error.error)?;
        sync(&folder)
    }

    /// Forgets a reference, and removes its file if no other reference means it. What it meant.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn remove(&self, reference: &str) -> io::Result<Option<Entry>> {
        let file = self.entry_file(reference);
        let entry: Option<Entry> = read(&file);
        absent_is_fine(fs::remove_file(&file))?;
        if let Some(entry) = &entry {
            let mut others = self.entries()?.into_iter();
            if others.all(|other| other.digest != entry.digest) {
                absent_is_fine(fs::remove_file(self.blob(entry.digest)))?;
            }
        }
        Ok(entry)
    }

    /// Under which name a download is kept until it is whole: those of one file have one.
    pub fn key(reference: &str, digest: Option<Digest>) -> String {
        let digest = digest.unwrap_or_else(|| Digest::of(reference.as_bytes()));
        digest.hex()
    }

    /// What has come so far under this key; nothing while somebody else is at it.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn partial(&self, key: &str) -> io::Result<Option<Partial>> {
        let path = self.folder("partial")?.join(key);
        let mut open = OpenOptions::new();
        open.read(true).write(true).create(true).truncate(false);
        let lock_file = path.with_extension("lock");
        let lock = open.open(&lock_file)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever had it before may have removed the file since: then others lock another.
        let is_same = |found: fs::Metadata| Ok(found.ino() == lock.metadata()?.ino());
        if !fs::metadata(&lock_file).and_then(is_same).unwrap_or(false) {
            return Ok(None);
        }
        let mut file = open.open(&path)?;
        let bytes = file.seek(SeekFrom::End(0))?;
        Ok(Some(Partial {
            note: read(&path.with_extension("json")).unwrap_or_default(),
            path,
            file,
            bytes,
            _lock: lock,
        }))
    }

    /// A whole file gets its name.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn adopt(&self, partial: Partial, digest: Digest) -> io::Result<()> {
        let folder = self.folder("blobs")?;
        partial.file.sync_all()?;
        fs::rename(&partial.path, self.blob(digest))?;
        sync(&folder)?;
        partial.discard()
    }

    /// Throws away what has come of a file that is not whole, unless somebody is at it.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn discard(&self, reference: &str, digest: Option<Digest>) -> io::Result<()> {
        let key = Self::key(reference, digest);
        match self.partial(&key)? {
            Some(partial) => partial.discard(),
            None => Ok(()),
        }
    }

    fn entry_file(&self, reference: &str) -> PathBuf {
        let name = format!("{}.json", Digest::of(reference.as_bytes()).hex());
        self.dir.join("references").join(name)
    }

    fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.dir.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

impl Partial {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The entity tag of the file that they are of.
    pub fn etag(&self) -> Option<&str> {
        self.note.etag.as_deref()
    }

    /// The length of that file, if it was told.
    pub fn bytes_total(&self) -> Option<u64> {
        self.note.bytes_total
    }

    /// What can be asked for beside it.
    pub fn had(&self, is_checked: bool) -> Had<'_> {
        Had {
            bytes: self.bytes,
            etag: self.etag(),
            is_checked,
        }
    }

    /// From here on another file comes, from its beginning.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn begin(&mut self, etag: Option<String>, bytes_total: Option<u64>) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.bytes = 0;
        self.note = Note { etag, bytes_total };
        fs::write(self.path.with_extension("json"), api::json(&self.note))
    }

    /// More has come.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// What it hashes to, as the disk has it.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn digest(&self) -> io::Result<Digest> {
        File::open(&self.path).and_then(Digest::of_stream)
    }

    /// Throws away what is left of it, the lock last.
    ///
    /// # Errors
    ///
    /// When the disk fails.
    pub fn discard(self) -> io::Result<()> {
        for ending in ["", "json", "lock"] {
            absent_is_fine(fs::remove_file(self.path.with_extension(ending)))?;
        }
        Ok(())
    }
}

/// What can't be read counts as absent: it is written anew.
fn read<T: DeserializeOwned>(file: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

fn absent_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A rename is on the disk when its folder is.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = "hf:org/tale";

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("models"));
        (dir, cache)
    }

    fn keep(cache: &Cache, reference: &str, bytes: &[u8]) -> Entry {
        let digest = Digest::of(bytes);
        let mut partial = cache
            .partial(&Cache::key(reference, None))
            .unwrap()
            .unwrap();
        partial.begin(None, None).unwrap();
        partial.append(bytes).unwrap();
        cache.adopt(partial, digest).unwrap();
        let entry = Entry {
            reference: reference.to_owned(),
            digest,
            bytes: u64::try_from(bytes.len()).unwrap(),
            etag: None,
            fetched_ms: 7,
        };
        cache.put(&entry).unwrap();
        entry
    }

    fn files(cache: &Cache, folder: &str) -> usize {
        fs::read_dir(cache.dir().join(folder)).map_or(0, Iterator::count)
    }

    #[test]
    fn a_reference_means_the_file_that_came_for_it() {
        let (_dir, cache) = cache();
        assert_eq!(cache.entry(REFERENCE), None);
        assert_eq!(cache.entries().unwrap(), []);
        let entry = keep(&cache, REFERENCE, b"a tale");
        assert_eq!(cache.entry(REFERENCE), Some(entry.clone()));
        assert_eq!(fs::read(cache.blob(entry.digest)).unwrap(), b"a tale");
        assert_eq!(files(&cache, "partial"), 0);
        fs::write(cache.blob(entry.digest), "half").unwrap();
        assert_eq!(cache.entry(REFERENCE), None, "it is shorter than it was");
    }

    #[test]
    fn a_file_goes_with_its_last_reference() {
        let (_dir, cache) = cache();
        let entry = keep(&cache, REFERENCE, b"a tale");
        keep(&cache, "hf:org/other", b"a tale");
        assert_eq!(cache.remove(REFERENCE).unwrap(), Some(entry.clone()));
        assert!(cache.holds(entry.digest).is_some());
        cache.remove("hf:org/other").unwrap();
        assert!(cache.holds(entry.digest).is_none());
        assert_eq!(cache.remove(REFERENCE).unwrap(), None);
        assert_eq!(files(&cache, "references") + files(&cache, "partial"), 0);
    }

    #[test]
    fn what_has_come_is_gone_on_with_by_one_at_a_time() {
        let (_dir, cache) = cache();
        let mut partial = cache.partial("key").unwrap().unwrap();
        partial.begin(Some("\"v1\"".to_owned()), Some(6)).unwrap();
        partial.append(b"a t").unwrap();
        assert!(cache.partial("key").unwrap().is_none());
        drop(partial);
        let mut partial = cache.partial("key").unwrap().unwrap();
        assert_eq!((partial.bytes(), partial.etag()), (3, Some("\"v1\"")));
        partial.append(b"ale").unwrap();
        assert_eq!(partial.digest().unwrap(), Digest::of(b"a tale"));
    }
}
