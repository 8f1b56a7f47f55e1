//! The sink contract over real files, made ahead of need by the helper thread and without it, through
//! the page cache and past it, and over files of a simulated disk, which can lose its power.

mod with_a_helper {
    use super::Directory;

    wal_core::sink_conformance!(Directory<true>);
}

mod without {
    use super::Directory;

    wal_core::sink_conformance!(Directory<false>);
}

mod direct {
    use super::Directory;

    wal_core::sink_conformance!(Directory<true, true>);
}

mod simulated {
    use super::Simulated;

    wal_core::sink_conformance!(Simulated<false>);
}

mod simulated_direct {
    use super::Simulated;

    wal_core::sink_conformance!(Simulated<true>);
}

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wal_core::Error;
use wal_core::testing::Store;
use wal_core::testing::sim::{SimDisk, Survival};
use wal_io_std::{FileOptions, FileSink, Io, Preparation, SimLayer};

/// A directory that goes with the value.
struct Directory<const HELPER: bool, const DIRECT: bool = false>(TempDir);

fn options(direct: bool) -> FileOptions {
    FileOptions::default().io(if direct { Io::Direct } else { Io::Buffered })
}

impl<const HELPER: bool, const DIRECT: bool> Store for Directory<HELPER, DIRECT> {
    type Sink = FileSink;

    fn new() -> Self {
        Self(TempDir::new().expect("a directory for the test"))
    }

    fn open(&self) -> Result<FileSink, Error> {
        let preparation = if HELPER { Preparation::Thread } else { Preparation::Inline };
        FileSink::open(self.0.path(), &options(DIRECT).preparation(preparation))
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

/// A disk whose power losses keep of what was not synced what a seed says.
struct Simulated<const DIRECT: bool>(SimDisk);

impl<const DIRECT: bool> Store for Simulated<DIRECT> {
    type Sink = FileSink<SimLayer>;

    fn new() -> Self {
        Self(SimDisk::new(1))
    }

    fn open(&self) -> Result<Self::Sink, Error> {
        let layer = SimLayer(self.0.clone());
        FileSink::with_layer(layer, Path::new("/log"), &options(DIRECT))
    }

    fn power_loss(&self) -> Option<Self> {
        let seed = self.0.calls();
        Some(Self(self.0.power_loss(Survival::Random(seed), seed)))
    }

    fn process_crash(&self) -> Option<Self> {
        Some(Self(self.0.process_crash(self.0.calls())))
    }

    fn plant_foreign(&self) -> Option<PathBuf> {
        let path = PathBuf::from("/log/notes.txt");
        self.0.put_file(&path, b"no log file".to_vec());
        Some(path)
    }
}
