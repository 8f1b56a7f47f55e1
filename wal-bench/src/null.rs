//! A sink that stores nothing, so that what is measured is the ring alone.

use std::path::PathBuf;

use wal_core::sink::{Created, Listing, LogSource, SegmentSink, SinkError, Write};
use wal_core::{Options, Wal};

/// Completes every write inline and forgets it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullSink;

impl NullSink {
    /// A log on this sink with a ring of `segments` segments of `segment_size` bytes.
    ///
    /// # Panics
    ///
    /// If the shape is not one that [`Options`] accepts.
    #[must_use]
    pub fn wal(segment_size: usize, segments: usize) -> Wal<Self> {
        let options = Options::default()
            .segment_size(segment_size)
            .segments(segments)
            // No bench lives long enough to see a second file.
            .file_size(Options::MAX_FILE_SIZE);
        match Wal::open(Self, options) {
            Ok((wal, _)) => wal,
            Err(error) => crate::log::fail(&error),
        }
    }
}

impl LogSource for NullSink {
    fn list(&self) -> Result<Listing, SinkError> {
        Ok(Listing::default())
    }

    fn read_at(&self, _: u64, _: u64, _: &mut [u8]) -> Result<usize, SinkError> {
        Ok(0)
    }
}

impl SegmentSink for NullSink {
    fn blocks(&self) -> bool {
        false
    }

    fn create(&self, _: u64, _: u64) -> Result<Created, SinkError> {
        Ok(Created::Zeroed)
    }

    fn write(&self, _: &Write<'_>) -> Result<(), SinkError> {
        Ok(())
    }

    fn sync(&self) -> Result<(), SinkError> {
        Ok(())
    }

    fn set_aside(&self, _: u64, _: u64, _: u64) -> Result<PathBuf, SinkError> {
        Ok(PathBuf::new())
    }

    fn set_aside_file(&self, _: u64) -> Result<PathBuf, SinkError> {
        Ok(PathBuf::new())
    }

    fn remove_unused(&self, _: u64) -> Result<(), SinkError> {
        Ok(())
    }

    fn retire(&self, _: u64) -> Result<(), SinkError> {
        Ok(())
    }
}
