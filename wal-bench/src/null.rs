//! A sink that stores nothing, so that what is measured is the ring alone.

use std::path::PathBuf;
use std::time::Duration;

use wal_core::sink::{Created, Listing, LogSource, SegmentSink, SinkError, Write};
use wal_core::{Options, Wal};

/// Completes every write inline and forgets it.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullSink {
    /// How long a sync takes, asleep.
    sync: Duration,
}

impl NullSink {
    /// A log on this sink with a ring of `segments` segments of `segment_size` bytes.
    ///
    /// # Panics
    ///
    /// If the shape is not one that [`Options`] accepts.
    #[must_use]
    pub fn wal(segment_size: usize, segments: usize) -> Wal<Self> {
        Self::slow_wal(segment_size, segments, Duration::ZERO)
    }

    /// The same where a sync takes a while, as on a device, but no processor's time.
    ///
    /// # Panics
    ///
    /// As [`wal`](Self::wal).
    #[must_use]
    pub fn slow_wal(segment_size: usize, segments: usize, sync: Duration) -> Wal<Self> {
        let options = Options::default()
            .segment_size(segment_size)
            .segments(segments)
            // No bench lives long enough to see a second file.
            .file_size(Options::MAX_FILE_SIZE);
        match Wal::open(Self { sync }, options) {
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
        if !self.sync.is_zero() {
            std::thread::sleep(self.sync);
        }
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
