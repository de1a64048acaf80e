//! Wakes whoever follows a folder as soon as something changes in it.
//!
//! A thread blocks on the kernel's events (inotify(7)). They are no record of what happened: some are lost
//! when too many come, and a network file system has none. So each says "look", and no more; whoever is
//! woken looks at the folder itself, and looks now and then unasked.
//!
//! While the folder does not exist, the nearest of its parents that does is watched for the next name on
//! the way. When it goes, or is moved away, it is looked for anew. The wake comes after the watch, so
//! that what the watch was too late for is seen by the look.

use std::{
    ffi::{CStr, OsStr},
    io,
    mem::MaybeUninit,
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use rustix::{
    fd::OwnedFd,
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};

use crate::{logs, panics};

/// A file is as its writer wants it, or gone. Neither its creation nor each write: half a file is no news.
const FILES: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE);
/// A name has come that may be the next on the way.
const NAMES: WatchFlags = WatchFlags::CREATE.union(WatchFlags::MOVED_TO);
/// What is watched is a folder, and tells when it is no longer at its place.
const PLACE: WatchFlags = WatchFlags::ONLYDIR
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);
/// It is no longer at its place, the kernel watches it no more, or whatever happened was lost.
const LEFT: ReadFlags = ReadFlags::DELETE_SELF
    .union(ReadFlags::QUEUE_OVERFLOW)
    .union(ReadFlags::MOVE_SELF)
    .union(ReadFlags::UNMOUNT)
    .union(ReadFlags::IGNORED);
/// Room for the events of one read: a dozen with the longest names.
const EVENTS_BYTES: usize = 4096;

/// Starts a thread that says when to look at the folder; the first time as soon as it watches. There is
/// room for one word, because one look sees all that has happened. Where nothing can be watched the
/// thread ends, and the log says why.
///
/// # Errors
///
/// When the machine gives no more threads.
pub fn watch(folder: &Path) -> io::Result<Receiver<()>> {
    let (wake, wakes) = bounded(1);
    let folder = folder.to_owned();
    panics::spawn_vital("folder", move || {
        if let Err(error) = follow(&folder, &wake) {
            logs::folder_unwatched(&folder, &error.into());
        }
    })?;
    Ok(wakes)
}

/// Watches until nobody listens.
fn follow(folder: &Path, wake: &Sender<()>) -> Result<(), Errno> {
    loop {
        // A new one each time: what the old one still watches may be anywhere by now.
        let inotify = inotify::init(CreateFlags::CLOEXEC)?;
        let watched = watch_nearest(&inotify, folder)?;
        // Full: a look is due anyway.
        if wake.try_send(()) == Err(TrySendError::Disconnected(())) {
            return Ok(());
        }
        let next = next_on_the_way(watched, folder);
        if next.is_some_and(Path::is_dir) {
            // It came before its parent was watched.
            continue;
        }
        let mut room = [MaybeUninit::uninit(); EVENTS_BYTES];
        let mut events = Reader::new(&inotify, &mut room);
        loop {
            let event = match events.next() {
                Err(Errno::INTR) => continue,
                event => event?,
            };
            let is_next = |name| next.is_some_and(|next| is_named(next, name));
            if event.events().intersects(LEFT) || event.file_name().is_some_and(is_next) {
                break;
            }
            if next.is_none() && wake.try_send(()) == Err(TrySendError::Disconnected(())) {
                return Ok(());
            }
        }
    }
}

/// Watches the folder, or else the nearest of its parents that exists; which.
fn watch_nearest<'path>(inotify: &OwnedFd, folder: &'path Path) -> Result<&'path Path, Errno> {
    let mut flags = PLACE | FILES;
    for path in folder.ancestors() {
        // The last parent of a relative path is nameless.
        let place = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        match inotify::add_watch(inotify, place, flags) {
            Ok(_) => return Ok(path),
            Err(Errno::NOENT | Errno::NOTDIR) => flags = PLACE | NAMES,
            Err(error) => return Err(error),
        }
    }
    Err(Errno::NOENT)
}

/// What is to come below the folder that is watched; nothing if it is the one that is wanted.
fn next_on_the_way<'path>(watched: &Path, folder: &'path Path) -> Option<&'path Path> {
    folder
        .ancestors()
        .find(|path| path.parent() == Some(watched))
}

fn is_named(path: &Path, name: &CStr) -> bool {
    path.file_name() == Some(OsStr::from_bytes(name.to_bytes()))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf, time::Duration};

    use super::*;

    /// Far longer than any word takes; each ends the wait at once.
    const LONG: Duration = Duration::from_secs(60);

    struct Scene {
        dir: tempfile::TempDir,
        wakes: Receiver<()>,
    }

    impl Scene {
        /// Watches `run/engines` below a new folder, in which `made` exists.
        fn new(made: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join(made)).unwrap();
            let wakes = watch(&dir.path().join("run/engines")).unwrap();
            let scene = Self { dir, wakes };
            scene.is_told();
            scene
        }

        fn path(&self, path: &str) -> PathBuf {
            self.dir.path().join(path)
        }

        fn is_told(&self) {
            self.wakes.recv_timeout(LONG).unwrap();
        }
    }

    #[test]
    fn a_file_that_is_written_moved_or_removed_is_told() {
        let scene = Scene::new("run/engines");
        fs::write(scene.path("draft"), "{}").unwrap();
        fs::rename(scene.path("draft"), scene.path("run/engines/a.json")).unwrap();
        scene.is_told();
        fs::write(scene.path("run/engines/a.json"), "{}").unwrap();
        scene.is_told();
        fs::remove_file(scene.path("run/engines/a.json")).unwrap();
        scene.is_told();
    }

    #[test]
    fn a_folder_that_comes_later_is_told() {
        let scene = Scene::new("");
        fs::create_dir(scene.path("run")).unwrap();
        scene.is_told();
        fs::create_dir(scene.path("run/engines")).unwrap();
        scene.is_told();
    }

    #[test]
    fn a_folder_that_takes_the_place_of_another_is_told() {
        let scene = Scene::new("run/engines");
        fs::create_dir(scene.path("run/new")).unwrap();
        fs::rename(scene.path("run/engines"), scene.path("run/old")).unwrap();
        scene.is_told();
        fs::rename(scene.path("run/new"), scene.path("run/engines")).unwrap();
        scene.is_told();
    }
}
