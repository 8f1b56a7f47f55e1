//! The directory of a log: names, listing, lock, durable names.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use wal_core::sink::{FileEntry, Listing, SinkOp};
use wal_core::{Error, SinkError};

use crate::sys::{Access, FileLayer, uninterrupted};

/// Holds the exclusive lock; its content means nothing.
pub(crate) const LOCK_NAME: &str = "lock";
/// Subdirectory with copies of what recovery cut off.
pub(crate) const SET_ASIDE_NAME: &str = "set-aside";

const SUFFIX: &str = ".wal";
const TEMPORARY_SUFFIX: &str = ".wal.tmp";
/// Digits of a sequence number in a name: enough for any `u64`, so that names sort by number.
const DIGITS: usize = 20;

/// The kernel gives up the lock of a killed process only when it has torn the process down, and
/// a child between fork and exec keeps a lock alive: so a lock that is taken is tried again for
/// about 100 ms.
const LOCK_ATTEMPTS: u32 = 11;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// What a name in the directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// A log file.
    Log(u64),
    /// A log file in the making or retired, or what is left of one.
    Temporary,
    /// The lock or the subdirectory of copies.
    Own,
    /// None of ours.
    Foreign,
}

/// Tells what a regular file called `name` is.
pub(crate) fn classify(name: &str) -> Name {
    if name == LOCK_NAME {
        Name::Own
    } else if name.strip_suffix(TEMPORARY_SUFFIX).and_then(parse_sequence).is_some() {
        Name::Temporary
    } else if let Some(sequence) = name.strip_suffix(SUFFIX).and_then(parse_sequence) {
        Name::Log(sequence)
    } else {
        Name::Foreign
    }
}

fn parse_sequence(digits: &str) -> Option<u64> {
    let plain = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

pub(crate) fn file_name(sequence: u64) -> String {
    format!("{sequence:020}{SUFFIX}")
}

/// Puts operation and place to a system's error.
pub(crate) fn at(
    op: SinkOp,
    file: Option<u64>,
    path: &Path,
    offset: Option<u64>,
) -> impl Fn(io::Error) -> SinkError {
    move |source| SinkError { op, file, path: Some(path.to_owned()), offset, source }
}

/// An open log directory.
#[derive(Debug)]
pub(crate) struct Dir<L: FileLayer> {
    pub(crate) layer: L,
    path: PathBuf,
    /// Kept open, so that an error of writing the directory back reaches our next sync, and that
    /// another directory in its place is noticed.
    handle: L::File,
}

/// The lock of a directory, released when dropped.
#[derive(Debug)]
pub(crate) struct DirLock<L: FileLayer> {
    pub(crate) file: L::File,
}

impl<L: FileLayer> Dir<L> {
    /// Opens the directory, which must exist.
    pub(crate) fn open(layer: L, path: &Path) -> Result<Self, SinkError> {
        let handle =
            uninterrupted(|| layer.open_dir(path)).map_err(at(SinkOp::Open, None, path, None))?;
        Ok(Self { layer, path: path.to_owned(), handle })
    }

    /// Opens the directory after making it, and those above it, durably.
    pub(crate) fn create(layer: L, path: &Path) -> Result<Self, SinkError> {
        create_durably(&layer, path).map_err(at(SinkOp::Open, None, path, None))?;
        Self::open(layer, path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file_path(&self, sequence: u64) -> PathBuf {
        self.path.join(file_name(sequence))
    }

    pub(crate) fn temporary_path(&self, sequence: u64) -> PathBuf {
        self.path.join(format!("{sequence:020}{TEMPORARY_SUFFIX}"))
    }

    /// Takes the exclusive lock.
    pub(crate) fn lock(&self) -> Result<DirLock<L>, Error> {
        let path = self.path.join(LOCK_NAME);
        let failed = at(SinkOp::Lock, None, &path, None);
        let file =
            uninterrupted(|| self.layer.open(&path, Access::UpdateOrCreate)).map_err(&failed)?;
        for attempt in 0..LOCK_ATTEMPTS {
            if attempt > 0 {
                thread::sleep(LOCK_PAUSE);
            }
            if uninterrupted(|| self.layer.try_lock(&file)).map_err(&failed)? {
                return Ok(DirLock { file });
            }
        }
        Err(Error::Locked { path: self.path.clone() })
    }

    /// Refuses if the path names another directory by now, or none: what is made there would not
    /// be part of this log.
    pub(crate) fn check(&self) -> io::Result<()> {
        if uninterrupted(|| self.layer.is_at(&self.handle, &self.path))? {
            return Ok(());
        }
        let message = "the log's directory was moved, removed or replaced while the log is open";
        Err(io::Error::new(ErrorKind::NotFound, message))
    }

    /// Refuses if the lock has lost its name: then another process can take one of that name.
    pub(crate) fn check_lock(&self, lock: &DirLock<L>) -> io::Result<()> {
        if uninterrupted(|| self.layer.is_at(&lock.file, &self.path.join(LOCK_NAME)))? {
            return Ok(());
        }
        let message = "the log's lock was removed or replaced while the log is open";
        Err(io::Error::new(ErrorKind::NotFound, message))
    }

    /// Lists log files, foreign names, and leftovers of files in the making.
    pub(crate) fn list(&self) -> Result<(Listing, Vec<PathBuf>), SinkError> {
        let entries = uninterrupted(|| self.layer.list(&self.path)).map_err(at(
            SinkOp::List,
            None,
            &self.path,
            None,
        ))?;
        let (mut listing, mut temporary) = (Listing::default(), Vec::new());
        for entry in entries {
            let path = self.path.join(&entry.name);
            let name = match entry.name.to_str() {
                Some(SET_ASIDE_NAME) if !entry.is_file => Name::Own,
                Some(name) if entry.is_file => classify(name),
                _ => Name::Foreign,
            };
            match name {
                Name::Log(sequence) => {
                    listing.files.push(FileEntry { sequence, len: entry.len, path });
                }
                Name::Temporary => temporary.push(path),
                Name::Own => {}
                Name::Foreign => listing.foreign.push(path),
            }
        }
        listing.files.sort_unstable_by_key(|file| file.sequence);
        listing.foreign.sort_unstable();
        Ok((listing, temporary))
    }

    /// Makes the names in the directory survive power loss.
    pub(crate) fn sync(&self) -> io::Result<()> {
        uninterrupted(|| self.layer.sync_dir(&self.handle))
    }

    /// Opens log file `sequence`.
    pub(crate) fn open_file(&self, sequence: u64, access: Access) -> Result<L::File, SinkError> {
        let path = self.file_path(sequence);
        uninterrupted(|| self.layer.open(&path, access)).map_err(self.failed(
            SinkOp::Open,
            sequence,
            None,
        ))
    }

    /// Puts operation and place in log file `sequence` to a system's error.
    pub(crate) fn failed(
        &self,
        op: SinkOp,
        sequence: u64,
        offset: Option<u64>,
    ) -> impl Fn(io::Error) -> SinkError {
        move |source| at(op, Some(sequence), &self.file_path(sequence), offset)(source)
    }
}

/// Makes `path` a directory whose own name survives power loss.
///
/// The parent is synced even if the directory is there already: whoever made it may have died
/// before syncing. A parent that may not be read cannot be synced by its own; then this leaves
/// the durability of the name to whoever made the directory.
fn create_durably<L: FileLayer>(layer: &L, path: &Path) -> io::Result<()> {
    let made = match uninterrupted(|| layer.create_dir(path)) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
                return Err(error);
            };
            create_durably(layer, parent)?;
            match uninterrupted(|| layer.create_dir(path)) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => true,
            }
        }
        Err(error) => return Err(error),
    };
    // The physical parent, whatever `path` looks like.
    match uninterrupted(|| layer.open_dir(&path.join(".."))) {
        Ok(parent) => uninterrupted(|| layer.sync_dir(&parent)),
        Err(error) if error.kind() == ErrorKind::PermissionDenied && !made => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        for sequence in [0, 1, 42, u64::MAX] {
            assert_eq!(classify(&file_name(sequence)), Name::Log(sequence));
            assert_eq!(classify(&format!("{}.tmp", file_name(sequence))), Name::Temporary);
        }
        assert_eq!(file_name(42), "00000000000000000042.wal");
        assert_eq!(classify("lock"), Name::Own);
        let foreign = [
            "",
            ".wal",
            "1.wal",
            "000000000000000000042.wal",
            "+0000000000000000042.wal",
            "99999999999999999999.wal",
            "0000000000000000004a.wal",
            "00000000000000000042.WAL",
            "00000000000000000042.wal.bak",
            "00000000000000000042.tmp",
            "notes.txt",
            "lock.wal",
        ];
        for name in foreign {
            assert_eq!(classify(name), Name::Foreign, "{name}");
        }
    }
}
