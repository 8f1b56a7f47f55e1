//! What can go wrong, typed.

use std::path::PathBuf;
use std::sync::Arc;

use crate::lsn::Lsn;
use crate::recover::{Corruption, Cut};
use crate::sink::SinkError;

/// Everything that a log's calls report.
///
/// Match on what you handle and use the predicates for the rest; variants may be added.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option lies outside its range; nothing was opened.
    #[error("option `{name}` is {value}, but must be {expected}")]
    InvalidOption {
        /// Name of the option.
        name: &'static str,
        /// The value given.
        value: u64,
        /// The values allowed.
        expected: String,
    },
    /// A record or batch is larger than the log accepts; nothing was appended.
    #[error("a record of {len} bytes is larger than `max_record_len`, {max} bytes")]
    TooLarge {
        /// Payload bytes given (for a batch: headers included).
        len: usize,
        /// The limit in force.
        max: usize,
    },
    /// The log ends at, or would go on in a file with, a number from 2^63 on: nothing was opened. No
    /// log lives to see that, so somebody made it up. What is there can be read.
    #[error(
        "the log ends at LSN {end} and would go on in file {file}: numbers from 2^63 on are not used"
    )]
    Exhausted {
        /// Where the log ends.
        end: Lsn,
        /// Sequence number that the next file would have.
        file: u64,
    },
    /// A batch without records has no LSN.
    #[error("a batch needs at least one record")]
    EmptyBatch,
    /// A call that must not wait was given a record that does not fit a segment: such a record is
    /// written directly, which takes I/O. Use a call that waits.
    #[error(
        "a record of {len} bytes does not fit a segment, which has room for {room}: \
         it takes I/O, so append it by a call that waits"
    )]
    NeedsToWait {
        /// Stream bytes of the record or batch, headers included.
        len: usize,
        /// Stream bytes that a segment has room for.
        room: usize,
    },
    /// A `try_` call would have had to wait for a free segment; nothing was appended.
    #[error("the ring is full: appending would block")]
    WouldBlock,
    /// A write or sync failed earlier. The log accepts nothing more and acknowledges nothing
    /// more; what is durable can still be read, and reopening recovers it.
    #[error("the log is poisoned by its first failure: {first}")]
    Poisoned {
        /// The failure that poisoned the log.
        #[source]
        first: Arc<SinkError>,
    },
    /// The disk is full. Nothing acknowledged is lost and nothing appended is dropped: free some
    /// space and call again.
    #[error("the disk is full: {source}; free some space and call again")]
    NoSpace {
        /// The failure.
        source: Arc<SinkError>,
    },
    /// A sink operation failed without harm to the log (opening, reading, creating or removing a
    /// file).
    #[error(transparent)]
    Sink(Arc<SinkError>),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// Another process or handle has the log open.
    #[error("{} is locked: another process or handle has this log open", path.display())]
    Locked {
        /// The locked path.
        path: PathBuf,
    },
    /// Data that had been durable is damaged, or part of the log is missing.
    #[error(transparent)]
    Corrupt(Box<Corruption>),
    /// The end of the log is damaged, nothing tells whether it had been durable, and
    /// [`AmbiguousTail::Refuse`](crate::AmbiguousTail::Refuse) is set. Nothing was changed.
    #[error(
        "the end of the log is damaged at LSN {} ({}, offset {}, {} bytes): {}; nothing tells \
         whether these bytes had been durable, and `AmbiguousTail::Refuse` is set",
        .0.lsn, .0.path.display(), .0.offset, .0.bytes, .0.reason
    )]
    AmbiguousTail(Box<Cut>),
    /// A file was written by a newer format version.
    #[error(
        "{} has format version {found}, but this build reads up to {supported}: \
         use a newer release", path.display()
    )]
    UnsupportedFormat {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version this build reads.
        supported: u32,
    },
    /// A position before the start of the log, or in what was cut off from its tail.
    #[error("LSN {lsn} is gone: the log goes on at {first_available}")]
    Truncated {
        /// The position asked for, or that a reader had come to.
        lsn: Lsn,
        /// Where the log starts, or goes on behind what is gone.
        first_available: Lsn,
    },
    /// A position at which nothing has been appended yet.
    #[error("nothing has been appended at LSN {lsn} yet: the next record goes to {next}")]
    NotAppended {
        /// The position asked for.
        lsn: Lsn,
        /// Where the next record goes.
        next: Lsn,
    },
    /// A position whose record is not durable yet.
    #[error("LSN {lsn} is not durable yet: the log is durable up to {durable}")]
    NotDurable {
        /// The position asked for.
        lsn: Lsn,
        /// The durable watermark.
        durable: Lsn,
    },
    /// Nothing more has become durable within the time that a reader was to wait.
    #[error("timed out: nothing has become durable past {durable}")]
    TimedOut {
        /// The durable watermark.
        durable: Lsn,
    },
    /// A position that is no record's LSN.
    #[error("no record starts at LSN {lsn}")]
    NotARecord {
        /// The position asked for.
        lsn: Lsn,
    },
    /// A future waits on a sink that blocks, and the log has no executor to run it on.
    #[error(
        "waiting asynchronously needs an executor, since this sink blocks: \
         set `Options::executor`"
    )]
    NoExecutor,
}

impl Error {
    /// Whether the log can no longer be written to through any handle: poisoned or closed.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Poisoned { .. } | Self::Closed)
    }

    /// Whether the disk is full; freeing space and calling again goes on.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::NoSpace { .. } => true,
            Self::Poisoned { first } => first.is_no_space(),
            Self::Sink(source) => source.is_no_space(),
            _ => false,
        }
    }

    /// Whether the call can succeed unchanged later: the ring was full, or the disk, or the record
    /// is not durable yet, or a reader has waited long enough.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::WouldBlock
                | Self::NoSpace { .. }
                | Self::NotDurable { .. }
                | Self::TimedOut { .. }
        )
    }

    /// Whether durable data is damaged or missing.
    #[must_use]
    pub const fn is_corruption(&self) -> bool {
        matches!(self, Self::Corrupt(_))
    }

    /// The position that the error is about, where there is one.
    #[must_use]
    pub fn lsn(&self) -> Option<Lsn> {
        match self {
            Self::Truncated { lsn, .. }
            | Self::NotAppended { lsn, .. }
            | Self::NotDurable { lsn, .. }
            | Self::NotARecord { lsn } => Some(*lsn),
            Self::Corrupt(corruption) => Some(corruption.lsn),
            Self::AmbiguousTail(cut) => Some(cut.lsn),
            _ => None,
        }
    }
}

impl From<SinkError> for Error {
    /// Sorts a failure that does not poison: disk full by its own name, the rest as it is.
    fn from(source: SinkError) -> Self {
        let source = Arc::new(source);
        if source.is_no_space() { Self::NoSpace { source } } else { Self::Sink(source) }
    }
}

impl From<Corruption> for Error {
    fn from(corruption: Corruption) -> Self {
        Self::Corrupt(Box::new(corruption))
    }
}
