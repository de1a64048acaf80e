//! What an engine prints, kept in a file that does not grow for ever.
//!
//! When the file is full it makes way for a new one, and the one before it goes: so at least the last
//! [`BYTES_MAX`] are there, and at most twice as many.

use std::{
    fs::{self, File},
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    path::{Path, PathBuf},
};

use crate::panics;

/// Bytes of a file.
const BYTES_MAX: usize = 4 << 20;
const READ_BYTES: usize = 16 * 1024;

/// The folder of the files.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("engines")
}

/// The file of a replica's engine there.
pub fn file_name(pool_id: &str, replica_id: &str) -> String {
    format!("{pool_id}-{replica_id}.log")
}

/// Where an engine may print. What it prints goes into the file of that name in the folder, until
/// everybody who may print there has ended.
///
/// # Errors
///
/// When the folder or the file can't be written, or the machine gives no pipe or thread.
pub fn keep(folder: &Path, name: &str) -> io::Result<PipeWriter> {
    fs::create_dir_all(folder)?;
    let path = folder.join(name);
    let file = renew(&path)?;
    let (printed, print) = io::pipe()?;
    panics::spawn_vital("output", move || copy(printed, file, &path))?;
    Ok(print)
}

fn copy(mut printed: PipeReader, mut file: File, path: &Path) {
    let (mut buffer, mut written) = (vec![0; READ_BYTES], 0);
    while let Ok(count @ 1..) = printed.read(&mut buffer) {
        if written + count > BYTES_MAX
            && let Ok(next) = renew(path)
        {
            (file, written) = (next, 0);
        }
        // A full disk costs the engine's words, not the engine: it must be able to go on printing.
        let _ = file.write_all(&buffer[..count]);
        written += count;
    }
}

/// An empty file; the one that was there stays under another name.
fn renew(path: &Path) -> io::Result<File> {
    if path.exists() {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    File::create(path)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_last_words_are_kept_and_the_first_make_way() {
        let dir = tempfile::tempdir().unwrap();
        let mut print = keep(dir.path(), "gpu-r0.log").unwrap();
        let line = [b'x'; 1024];
        for _ in 0..3 * BYTES_MAX / line.len() {
            print.write_all(&line).unwrap();
        }
        print.write_all(b"last words").unwrap();
        drop(print);
        let path = dir.path().join("gpu-r0.log");
        let ends_well = || fs::read(&path).unwrap_or_default().ends_with(b"last words");
        while !ends_well() {
            thread::yield_now();
        }
        let bytes = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(bytes(&path) <= BYTES_MAX as u64);
        assert!(bytes(&path.with_extension("log.old")) <= BYTES_MAX as u64);
    }
}
