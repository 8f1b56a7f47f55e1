#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(not(unix))]
compile_error!("wal-io-std needs a Unix system: positioned writes and synced directories");

mod aside;
mod dir;
pub mod direct;
pub mod files;
mod options;
mod prepare;
pub mod restore;
#[cfg(feature = "testing")]
mod simulated;
mod sink;
mod source;
pub mod sys;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wal_core::{Error, Options, RecoveryReport};

pub use options::{FileOptions, Io, Preparation};
#[cfg(feature = "testing")]
pub use simulated::SimLayer;
pub use sink::FileSink;
pub use source::DirSource;

/// A log in files.
pub type Wal = wal_core::Wal<FileSink>;

/// Opens the log in `dir`, which is made if it is absent (its parent is not), and recovers it.
///
/// Blocks for I/O: syncs and reads every log file that is there.
///
/// # Errors
///
/// [`Error::Locked`] if the log is open elsewhere; otherwise as for [`wal_core::Wal::open`].
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
    wal_core::Wal::open(FileSink::open(dir.as_ref(), files)?, options)
}

/// Locks a mutex whose data no panic leaves half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
