//! io_uring where it can be used, and plain system calls where not.

use std::path::{Path, PathBuf};

use wal_core::sink::{
    Completion, Created, Listing, LogSource, SegmentSink, Spares, Submitted, Write,
};
use wal_core::{Error, Options, RecoveryReport, SegmentMemory, SinkError, Wal};
use wal_io_std::FileSink;

use crate::options::UringOptions;
use crate::sink::UringSink;
use crate::unavailable::Unavailable;

/// Opens the log in `dir` through io_uring, or through [`wal_io_std`] if this process cannot use
/// io_uring: in a container that forbids it, or on an old kernel. [`Wal::sink`] says which it is.
/// The files are the same, and the next opening may choose differently.
///
/// Nothing else is a reason to do without: a log that is locked or damaged is so either way. The
/// files are made as `uring` says, and written as its [`FileOptions::io`] says if it is without
/// io_uring.
///
/// [`FileOptions::io`]: wal_io_std::FileOptions::io
///
/// # Errors
///
/// As for [`open`](crate::open), but never that io_uring cannot be used.
pub fn open_or_std(
    dir: impl AsRef<Path>,
    options: Options,
    uring: &UringOptions,
) -> Result<(Wal<AnySink>, RecoveryReport), Error> {
    Wal::open(AnySink::open(dir.as_ref(), uring)?, options)
}

/// Either backend.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnySink {
    /// Through io_uring.
    Uring(Box<UringSink>),
    /// Through plain system calls, and why: what io_uring lacks here.
    Std {
        /// The sink.
        sink: Box<FileSink>,
        /// Why it is not the other one.
        why: String,
    },
}

impl AnySink {
    /// A sink over io_uring, or else over plain system calls. See [`open_or_std`].
    ///
    /// # Errors
    ///
    /// As for [`UringSink::open`], but never that io_uring cannot be used.
    pub fn open(dir: &Path, options: &UringOptions) -> Result<Self, Error> {
        match UringSink::open(dir, options) {
            Ok(sink) => Ok(Self::Uring(Box::new(sink))),
            Err(error) => match Unavailable::of(&error) {
                Some(unavailable) => {
                    let why = unavailable.to_string();
                    Ok(Self::Std { sink: Box::new(FileSink::open(dir, &options.files)?), why })
                }
                None => Err(error),
            },
        }
    }
}

/// Calls the same method of whichever it is.
macro_rules! either {
    ($self:ident, $sink:ident => $call:expr) => {
        match $self {
            AnySink::Uring($sink) => $call,
            AnySink::Std { sink: $sink, .. } => $call,
        }
    };
}

impl LogSource for AnySink {
    fn list(&self) -> Result<Listing, SinkError> {
        either!(self, sink => sink.list())
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        either!(self, sink => sink.read_at(sequence, offset, buf))
    }
}

impl SegmentSink for AnySink {
    fn alignment(&self) -> usize {
        either!(self, sink => sink.alignment())
    }

    fn blocks(&self) -> bool {
        either!(self, sink => sink.blocks())
    }

    fn memory(&self, len: usize) -> Result<SegmentMemory, SinkError> {
        either!(self, sink => sink.memory(len))
    }

    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        either!(self, sink => sink.create(sequence, capacity))
    }

    fn prepare(&self, sequence: u64, capacity: u64) {
        either!(self, sink => sink.prepare(sequence, capacity));
    }

    fn spares(&self) -> Spares {
        either!(self, sink => sink.spares())
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        either!(self, sink => sink.write(write))
    }

    #[expect(unsafe_code, reason = "a sink may keep the pointers beyond the call")]
    unsafe fn submit(&self, write: &Write<'_>) -> Submitted {
        // SAFETY: the caller's promise is the same to either.
        unsafe { either!(self, sink => sink.submit(write)) }
    }

    fn reap(&self, wait: bool, done: &mut Vec<Completion>) {
        either!(self, sink => sink.reap(wait, done));
    }

    fn sync(&self) -> Result<(), SinkError> {
        either!(self, sink => sink.sync())
    }

    fn trim(&self, sequence: u64, len: u64) -> Result<(), SinkError> {
        either!(self, sink => sink.trim(sequence, len))
    }

    fn set_aside(&self, sequence: u64, offset: u64, len: u64) -> Result<PathBuf, SinkError> {
        either!(self, sink => sink.set_aside(sequence, offset, len))
    }

    fn set_aside_file(&self, sequence: u64) -> Result<PathBuf, SinkError> {
        either!(self, sink => sink.set_aside_file(sequence))
    }

    fn remove_unused(&self, sequence: u64) -> Result<(), SinkError> {
        either!(self, sink => sink.remove_unused(sequence))
    }

    fn retire(&self, sequence: u64) -> Result<(), SinkError> {
        either!(self, sink => sink.retire(sequence))
    }
}
