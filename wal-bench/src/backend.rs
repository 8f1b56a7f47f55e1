//! The backends to choose from, and work that any of them can be given.

use std::fmt;
use std::path::Path;

use clap::ValueEnum;
use wal_core::{Error, Options, RecoveryReport, SegmentSink, Wal};
use wal_io_std::{FileOptions, Io};

/// Where a log is kept, and how it gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Files, written through the page cache and synced
    Std,
    /// Files, written past the page cache by writes that are durable when they return
    Direct,
    /// The same writes through io_uring
    Uring,
    /// Files mapped into memory
    Mmap,
}

/// The name of a value on the command line.
pub fn name(value: impl ValueEnum) -> String {
    // None of this program's is skipped.
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// What opening a log returns.
pub type Opened<S> = Result<(Wal<S>, RecoveryReport), Error>;

/// Something done with a log, whatever its backend.
pub trait Work {
    /// What comes of it.
    type Output;

    /// Does it with logs that `open` opens.
    fn with<S: SegmentSink>(
        self,
        open: impl Fn(&Path, Options) -> Opened<S> + Sync,
    ) -> Self::Output;
}

impl Backend {
    /// Does `work` with logs of this backend.
    ///
    /// # Errors
    ///
    /// Why this backend is not to be had here at all.
    pub fn with<W: Work>(self, work: W) -> Result<W::Output, String> {
        match self {
            Self::Std => Ok(work.with(|dir, options| wal_io_std::open(dir, options))),
            Self::Direct => Ok(work.with(|dir, options| {
                wal_io_std::open_with(dir, options, &FileOptions::default().io(Io::Direct))
            })),
            #[cfg(target_os = "linux")]
            Self::Uring => {
                wal_io_uring::probe().map_err(|why| why.to_string())?;
                Ok(work.with(|dir, options| wal_io_uring::open(dir, options)))
            }
            #[cfg(not(target_os = "linux"))]
            Self::Uring => Err("io_uring needs Linux".to_owned()),
            Self::Mmap => Ok(work.with(|dir, options| wal_mmap::open(dir, options))),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&name(*self))
    }
}
