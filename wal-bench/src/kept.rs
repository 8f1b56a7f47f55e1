//! A sink in memory that keeps the newest bytes, for readers to follow.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use wal_core::sink::{Created, Listing, LogSource, SegmentSink, SinkError, Write};
use wal_core::{Options, Wal};

/// Bytes of a file.
const FILE: u64 = 16 << 20;
/// Files kept.
const FILES: u64 = 4;
const WORD: usize = size_of::<u64>();

/// Completes every write inline, and keeps the last four files of 16 MiB. Nobody waits for anybody:
/// who reads what is just being replaced gets some of both, and sees by the checksum that it has come
/// too late.
pub struct KeepSink {
    words: Box<[AtomicU64]>,
}

impl KeepSink {
    /// A log on this sink, with the default ring.
    ///
    /// # Panics
    ///
    /// If the log does not open.
    #[must_use]
    pub fn wal() -> Wal<Self> {
        // Stored to, so that no round meets memory for the first time.
        let words = (0..FILES * FILE / WORD as u64).map(AtomicU64::new).collect();
        let options = Options::default().file_size(FILE);
        match Wal::open(Self { words }, options) {
            Ok((wal, _)) => wal,
            Err(error) => crate::log::fail(&error),
        }
    }

    /// The words of a file from byte `offset` on.
    fn from(&self, file: u64, offset: u64) -> &[AtomicU64] {
        &self.words[(file % FILES * FILE + offset) as usize / WORD..]
    }
}

impl LogSource for KeepSink {
    fn list(&self) -> Result<Listing, SinkError> {
        Ok(Listing::default())
    }

    fn read_at(&self, file: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        // What is read begins with a frame or a record, at a multiple of 8.
        for (bytes, word) in buf.chunks_mut(WORD).zip(self.from(file, offset)) {
            // Relaxed: who reads has seen the watermark that covers what was written.
            let word = word.load(Ordering::Relaxed).to_ne_bytes();
            bytes.copy_from_slice(&word[..bytes.len()]);
        }
        Ok(buf.len())
    }
}

impl SegmentSink for KeepSink {
    fn blocks(&self) -> bool {
        false
    }

    fn create(&self, _: u64, _: u64) -> Result<Created, SinkError> {
        Ok(Created::Zeroed)
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        let mut words = self.from(write.file, write.offset).iter();
        for part in write.parts {
            // Records that fit into segments come in whole blocks.
            for (bytes, word) in part.as_chunks::<WORD>().0.iter().zip(&mut words) {
                // Relaxed: as above.
                word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
            }
        }
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
