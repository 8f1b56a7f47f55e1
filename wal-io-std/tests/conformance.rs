//! The sink contract over real files, made ahead of need by the helper thread and without it.

mod with_a_helper {
    use super::Directory;

    wal_core::sink_conformance!(Directory<true>);
}

mod without {
    use super::Directory;

    wal_core::sink_conformance!(Directory<false>);
}

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use wal_core::Error;
use wal_core::testing::Store;
use wal_io_std::{FileOptions, FileSink, Preparation};

/// A directory that goes with the value.
struct Directory<const HELPER: bool>(TempDir);

impl<const HELPER: bool> Store for Directory<HELPER> {
    type Sink = FileSink;

    fn new() -> Self {
        Self(TempDir::new().expect("a directory for the test"))
    }

    fn open(&self) -> Result<FileSink, Error> {
        let preparation = if HELPER { Preparation::Thread } else { Preparation::Inline };
        FileSink::open(self.0.path(), &FileOptions::default().preparation(preparation))
    }

    /// A copy: what the page cache has, it has for a process to come.
    fn process_crash(&self) -> Option<Self> {
        let copy = Self::new();
        for entry in fs::read_dir(self.0.path()).ok()?.flatten() {
            if entry.path().is_file() {
                fs::copy(entry.path(), copy.0.path().join(entry.file_name())).ok()?;
            }
        }
        Some(copy)
    }

    fn plant_foreign(&self) -> Option<PathBuf> {
        let path = self.0.path().join("notes.txt");
        fs::write(&path, "no log file").ok()?;
        Some(path)
    }
}
