//! The newest files of a log: a log by themselves, since the oldest files of any log may be gone.

use wal_core::sink::{Listing, LogSource};
use wal_core::{Lsn, SinkError};
use wal_io_std::DirSource;

use crate::examine::File;

/// A log without its oldest files, which are not read.
#[derive(Debug)]
pub(crate) struct Newest {
    source: DirSource,
    /// Sequence number of the oldest file that is shown.
    first: u64,
}

impl Newest {
    pub(crate) const fn of(source: DirSource, first: u64) -> Self {
        Self { source, first }
    }
}

impl LogSource for Newest {
    fn list(&self) -> Result<Listing, SinkError> {
        let mut listing = self.source.list()?;
        listing.files.retain(|file| file.sequence >= self.first);
        Ok(listing)
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        self.source.read_at(sequence, offset, buf)
    }
}

/// The number of the newest file that a log can start with so that `lsn` is in it; 0 for all.
pub(crate) fn holding(files: &[File], lsn: Lsn) -> u64 {
    let starts = files.iter().filter(|file| {
        file.header.as_ref().is_ok_and(|header| header.base <= lsn) && !is_skipped(files, file)
    });
    starts.map(|file| file.sequence).max().unwrap_or(0)
}

/// Whether a later file goes on behind an earlier one than this: it is no part of the log.
fn is_skipped(files: &[File], file: &File) -> bool {
    let later = files.iter().filter(|later| later.sequence > file.sequence);
    later.filter_map(|later| later.header.as_ref().ok()).any(|header| {
        header.recovered && header.prev.map_or(0, |prev| prev.sequence) < file.sequence
    })
}
