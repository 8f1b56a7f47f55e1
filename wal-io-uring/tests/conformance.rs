//! The sink contract over real files: direct and buffered, registered and not, durable with each
//! write and with each sync; and over files of a simulated disk that can lose its power, behind a
//! ring that completes writes out of order.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wal_core::Error;
use wal_core::testing::Store;
use wal_core::testing::sim::{SimDisk, Survival};
use wal_io_std::SimLayer;
use wal_io_uring::{AnySink, Durable, UringOptions, UringSink};

/// A directory that goes with the value; how it is opened.
struct Directory<const WAY: u8>(TempDir);

const DIRECT: u8 = 0;
const UNREGISTERED: u8 = 1;
const PER_SYNC: u8 = 2;
const BUFFERED: u8 = 3;

fn options(way: u8) -> UringOptions {
    let options = UringOptions::default();
    match way {
        UNREGISTERED => options.register(false),
        PER_SYNC => options.durable(Durable::PerSync),
        BUFFERED => options.bypass_cache(false),
        _ => options,
    }
}

fn copy(dir: &Path, to: &Path) -> Option<()> {
    for entry in fs::read_dir(dir).ok()?.flatten() {
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).ok()?;
        }
    }
    Some(())
}

impl<const WAY: u8> Store for Directory<WAY> {
    type Sink = AnySink;

    fn new() -> Self {
        Self(TempDir::new().expect("a directory for the test"))
    }

    fn open(&self) -> Result<AnySink, Error> {
        let sink = AnySink::open(self.0.path(), &options(WAY))?;
        if let AnySink::Std { why, .. } = &sink {
            eprintln!("skipped, and shown for wal-io-std instead: {why}");
        }
        Ok(sink)
    }

    /// A copy: what the system has, it has for a process to come.
    fn process_crash(&self) -> Option<Self> {
        let there = Self::new();
        copy(self.0.path(), there.0.path())?;
        Some(there)
    }

    fn plant_foreign(&self) -> Option<PathBuf> {
        let path = self.0.path().join("notes.txt");
        fs::write(&path, "no log file").ok()?;
        Some(path)
    }
}

/// A disk whose power losses keep of what was not synced what a seed says.
struct Simulated<const WAY: u8>(SimDisk);

impl<const WAY: u8> Store for Simulated<WAY> {
    type Sink = UringSink<support::Driven, SimLayer>;

    fn new() -> Self {
        Self(SimDisk::new(1))
    }

    fn open(&self) -> Result<Self::Sink, Error> {
        let (_, ring) = support::ring(self.0.calls());
        let layer = SimLayer(self.0.clone());
        UringSink::with_queue(ring, layer, Path::new("/log"), &options(WAY))
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

macro_rules! suites {
    ($($name:ident: $store:ty,)+) => {
        $(mod $name {
            use super::*;

            wal_core::sink_conformance!($store);
        })+
    };
}

suites! {
    direct: Directory<DIRECT>,
    unregistered: Directory<UNREGISTERED>,
    durable_per_sync: Directory<PER_SYNC>,
    buffered: Directory<BUFFERED>,
    simulated_direct: Simulated<DIRECT>,
    simulated_unregistered: Simulated<UNREGISTERED>,
    simulated_durable_per_sync: Simulated<PER_SYNC>,
    simulated_buffered: Simulated<BUFFERED>,
}
