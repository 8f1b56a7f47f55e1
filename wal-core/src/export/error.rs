//! What can be wrong with an export.

use std::fmt;
use std::io;

use crate::error::Error;
use crate::lsn::Lsn;

/// What is wrong at a place of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The bytes end before the closing mark: the rest is missing.
    Unfinished,
    /// A checksum is not that of everything before it.
    Checksum,
    /// A field has a value that no writer produces.
    Field,
    /// The record lies outside the range of the export, or not behind the record before it.
    Order,
    /// The closing mark counts other records than there are.
    Count,
    /// Bytes follow the closing mark.
    Trailing,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unfinished => "it ends before its closing mark, so the rest is missing",
            Self::Checksum => "the checksum of everything up to there does not match",
            Self::Field => "a field has a value that no writer produces",
            Self::Order => "a record lies outside the range, or not behind the one before it",
            Self::Count => "the closing mark counts other records than there are",
            Self::Trailing => "bytes follow the closing mark",
        })
    }
}

/// Why an export cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// Reading or writing the export failed.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// The log that is exported cannot be read, or does not have the range.
    #[error(transparent)]
    Log(Error),
    /// The bytes are something else.
    #[error("these bytes are not an export of a log: they do not begin like one")]
    NotAnExport,
    /// Written by a newer version.
    #[error(
        "the export has version {found}, but this build reads up to {supported}: use a newer release"
    )]
    Version {
        /// Its version.
        found: u32,
        /// The newest version that this build reads.
        supported: u32,
    },
    /// The export is damaged or not whole.
    #[error("the export is damaged at byte {offset}: {damage}")]
    Damaged {
        /// Where the part begins that is bad: the header, a record, or the closing mark.
        offset: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// A record is longer than the reader was told to accept.
    #[error("a record of {len} bytes at byte {offset} of the export is longer than {max} bytes")]
    TooLarge {
        /// Where the record begins.
        offset: u64,
        /// Bytes of its payload.
        len: usize,
        /// The limit given.
        max: usize,
    },
    /// A record given to a [`Writer`](super::Writer) does not belong where it was given: outside the
    /// range, not behind the record before it, or in the middle of a batch.
    #[error("a record at LSN {lsn} cannot follow {after} in this export")]
    OutOfOrder {
        /// Its LSN.
        lsn: Lsn,
        /// The end of the record before it, or where the range begins.
        after: Lsn,
    },
    /// The last record given to a [`Writer`](super::Writer) says that its batch goes on.
    #[error("the export ends in the middle of a batch")]
    UnfinishedBatch,
}

impl ExportError {
    pub(super) const fn damaged(offset: u64, damage: Damage) -> Self {
        Self::Damaged { offset, damage }
    }

    /// Whether the export itself is damaged or not whole.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}
