#![doc = include_str!("../README.md")]

#[cfg(not(unix))]
compile_error!("wal-mmap needs a Unix system: shared mappings and synced directories");

mod mapped;
pub mod mapper;
#[cfg(feature = "testing")]
mod simulated;
mod sink;

use std::path::Path;

use wal_core::{Error, Options, RecoveryReport};

#[cfg(feature = "testing")]
pub use simulated::SimMapper;
pub use sink::MmapSink;
pub use wal_io_std::{FileOptions, Preparation};

/// A log in mapped files.
pub type Wal = wal_core::Wal<MmapSink>;

/// Opens the log in `dir`, which is made if it is absent (its parent is not), and recovers it.
///
/// Blocks for I/O: syncs and reads every log file that is there.
///
/// # Errors
///
/// [`Error::Locked`] if the log is open elsewhere; [`Error::Sink`] with
/// [`Unsupported`](std::io::ErrorKind::Unsupported) on a file system that cannot overwrite in
/// place; otherwise as for [`wal_core::Wal::open`].
pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<(Wal, RecoveryReport), Error> {
    open_with(dir, options, &FileOptions::default())
}

/// Like [`open`], with options of the files themselves.
///
/// # Errors
///
/// As for [`open`].
pub fn open_with(
    dir: impl AsRef<Path>,
    options: Options,
    files: &FileOptions,
) -> Result<(Wal, RecoveryReport), Error> {
    wal_core::Wal::open(MmapSink::open(dir, files)?, options)
}
