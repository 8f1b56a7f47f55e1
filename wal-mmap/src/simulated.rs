//! Mappings of files on a simulated disk (unsafe file: it promises memory).
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;

use wal_core::testing::sim::{SimFile, SimMap};

use crate::mapper::{Map, Mapper};

/// Maps the files of a [`SimDisk`](wal_core::testing::sim::SimDisk): what is stored survives the
/// process, and a power loss in part, until it is flushed.
///
/// ```
/// use std::path::Path;
/// use wal_core::testing::sim::{SimDisk, Survival};
/// use wal_io_std::{FileOptions, Preparation, SimLayer};
/// use wal_mmap::{MmapSink, SimMapper};
///
/// let disk = SimDisk::new(1);
/// let files = FileOptions::default().preparation(Preparation::Inline);
/// let open = |disk: &SimDisk| {
///     let layer = SimLayer(disk.clone());
///     let sink = MmapSink::with_layer(layer, SimMapper, Path::new("/log"), &files)?;
///     wal_core::Wal::open(sink, wal_core::Options::default().file_size(1 << 20))
/// };
/// let (wal, _) = open(&disk)?;
/// wal.append_and_sync(b"acknowledged")?;
///
/// let (_, report) = open(&disk.power_loss(Survival::Nothing, 1))?;
/// assert_eq!(report.records, 1);
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SimMapper;

impl Mapper<SimFile> for SimMapper {
    type Map = SimMap;

    fn map(&self, file: &SimFile, len: usize) -> io::Result<SimMap> {
        file.map(len)
    }
}

// SAFETY: a mapping owns that many bytes of zeroed, page-aligned memory until it is dropped.
unsafe impl Map for SimMap {
    fn as_ptr(&self) -> *mut u8 {
        Self::as_ptr(self)
    }

    fn len(&self) -> usize {
        Self::len(self)
    }

    fn flush(&self, range: Range<usize>) -> io::Result<()> {
        Self::flush(self, range)
    }
}
