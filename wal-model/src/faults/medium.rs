//! The ways in which a log gets onto a simulated disk.

use std::path::Path;

use wal_core::sink::SegmentSink;
use wal_core::testing::sim::{SimDisk, SimOptions, SimSink};
use wal_core::{Error, Options};
use wal_io_std::{FileOptions, FileSink, Io, Preparation, SimLayer};
#[cfg(target_os = "linux")]
use wal_io_uring::{UringOptions, UringSink};
use wal_mmap::{MmapSink, SimMapper};

#[cfg(target_os = "linux")]
use super::ring::SimQueue;

/// Where the files are on the disk, whatever the medium.
pub const DIR: &str = "/log";

/// A way to open a log on a simulated disk.
pub trait Medium: 'static {
    /// The sink.
    type Sink: SegmentSink;
    /// Its name, for reports.
    const NAME: &'static str;
    /// Writes in flight at once.
    const DEPTH: usize = 1;
    /// Whether frames may follow each other without padding.
    const PACKED: bool = true;

    /// Opens the sink.
    ///
    /// # Errors
    ///
    /// As the sink's own `open`.
    fn open(disk: &SimDisk) -> Result<Self::Sink, Error>;

    /// Options that make everything happen often: segments of one block, files of four.
    #[must_use]
    fn options() -> Options {
        Options::default()
            .segment_size(4096)
            .segments(Self::DEPTH + 2)
            .depth(Self::DEPTH)
            .file_size(5 * 4096)
            .max_record_len(1 << 16)
    }
}

/// Several writes in flight, which end in any order.
#[derive(Debug)]
pub struct Overlapped;

impl Medium for Overlapped {
    type Sink = SimSink;
    const NAME: &'static str = "overlapped";
    const DEPTH: usize = 3;

    fn open(disk: &SimDisk) -> Result<SimSink, Error> {
        SimSink::open(disk, SimOptions::default())
    }
}

/// One write at a time, for memory and offsets that are multiples of 512.
#[derive(Debug)]
pub struct Aligned;

impl Medium for Aligned {
    type Sink = SimSink;
    const NAME: &'static str = "aligned";
    const PACKED: bool = false;

    fn open(disk: &SimDisk) -> Result<SimSink, Error> {
        SimSink::open(
            disk,
            SimOptions { alignment: 512, overlapped: false, ..SimOptions::default() },
        )
    }
}

/// The file backend itself, over simulated calls of the system.
#[derive(Debug)]
pub struct Files;

impl Medium for Files {
    type Sink = FileSink<SimLayer>;
    const NAME: &'static str = "files";

    fn open(disk: &SimDisk) -> Result<Self::Sink, Error> {
        // Without the helper thread, every run of the same calls is the same.
        let options = FileOptions::default().preparation(Preparation::Inline);
        FileSink::with_layer(SimLayer(disk.clone()), Path::new(DIR), &options)
    }
}

/// The file backend with direct durable writes.
#[derive(Debug)]
pub struct Direct;

impl Medium for Direct {
    type Sink = FileSink<SimLayer>;
    const NAME: &'static str = "direct";
    const PACKED: bool = false;

    fn open(disk: &SimDisk) -> Result<Self::Sink, Error> {
        // As above.
        let options = FileOptions::default().preparation(Preparation::Inline).io(Io::Direct);
        FileSink::with_layer(SimLayer(disk.clone()), Path::new(DIR), &options)
    }
}

/// The io_uring backend, over a simulated ring: direct durable writes, several in flight.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct Ring;

#[cfg(target_os = "linux")]
impl Medium for Ring {
    type Sink = UringSink<SimQueue, SimLayer>;
    const NAME: &'static str = "ring";
    const DEPTH: usize = 3;
    const PACKED: bool = false;

    fn open(disk: &SimDisk) -> Result<Self::Sink, Error> {
        // As above.
        let files = FileOptions::default().preparation(Preparation::Inline);
        let options = UringOptions::default().files(files);
        let queue = SimQueue::new(disk, disk.calls());
        UringSink::with_queue(queue, SimLayer(disk.clone()), Path::new(DIR), &options)
    }
}

/// The memory-mapped backend, over simulated mappings: records are in the file before their frame
/// is, and a crash finds them there.
#[derive(Debug)]
pub struct Mapped;

impl Medium for Mapped {
    type Sink = MmapSink<SimLayer, SimMapper>;
    const NAME: &'static str = "mapped";

    fn open(disk: &SimDisk) -> Result<Self::Sink, Error> {
        // As above.
        let options = FileOptions::default().preparation(Preparation::Inline);
        MmapSink::with_layer(SimLayer(disk.clone()), SimMapper, Path::new(DIR), &options)
    }
}
