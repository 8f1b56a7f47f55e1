//! A disk that does what disks and systems do to a log: a simulator.
//!
//! A [`SimDisk`] is a small file system. Its writes go to a cache; only a sync takes them, sector by
//! sector, to the device, and names to the directory. An [`Image`] is the disk at one moment, and
//! [`Image::power_loss`] one of the many states that a power loss at this moment can leave: of what no
//! sync has covered, any sectors of 512 bytes, any lengths and any names survive. A
//! [plan](SimDisk::plan) makes single calls go [wrong](Fault). Nothing here takes time or is left to
//! chance: the same calls with the same seeds give the same disk.
//!
//! A log gets onto it in two ways: through [`SimSink`], which keeps several writes in flight and ends
//! them in any order; or through the calls of a file backend (`wal-io-std` has them, with its
//! feature `testing`).
//!
//! Not modelled: a device that tears within 512 bytes, or one that says it has synced and has not.

mod disk;
mod fault;
mod file;
mod image;
mod inode;
mod map;
mod names;
mod random;
mod sink;
#[cfg(test)]
mod tests;

pub use disk::SimDisk;
pub use fault::{Call, CallKind, Fault, Rates, Struck};
pub use file::{Listed, SimFile};
pub use image::{Image, Survival};
pub use map::SimMap;
pub use random::Random;
pub use sink::{SimOptions, SimSink};

use crate::error::Error;
use crate::testing::Store;
use std::path::PathBuf;

/// A store for suites: a fault-free disk with writes in flight, whose power losses keep of what was
/// not synced what a seed says.
impl Store for SimDisk {
    type Sink = SimSink;

    fn new() -> Self {
        Self::new(1)
    }

    fn open(&self) -> Result<SimSink, Error> {
        SimSink::open(self, SimOptions::default())
    }

    fn power_loss(&self) -> Option<Self> {
        let seed = self.calls();
        Some(Self::power_loss(self, Survival::Random(seed), seed))
    }

    fn plant_foreign(&self) -> Option<PathBuf> {
        let path = PathBuf::from("/log/notes.txt");
        self.put_file(&path, b"none of the log's".to_vec());
        Some(path)
    }

    fn process_crash(&self) -> Option<Self> {
        Some(Self::process_crash(self, self.calls()))
    }
}
