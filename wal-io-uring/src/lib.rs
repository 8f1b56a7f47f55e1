#![doc = include_str!("../README.md")]

#[cfg(not(target_os = "linux"))]
compile_error!("wal-io-uring needs Linux; wal-io-std has the same interface and needs only Unix");

mod any;
mod features;
mod flight;
mod kernel;
mod memory;
mod options;
pub mod queue;
mod sink;
mod state;
mod unavailable;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wal_core::{Error, Options, RecoveryReport};

pub use any::{AnySink, open_or_std};
pub use features::{Activity, Features};
pub use kernel::{KernelQueue, probe};
pub use options::{Durable, UringOptions};
pub use sink::UringSink;
pub use unavailable::Unavailable;

/// A log in files, written through io_uring.
pub type Wal = wal_core::Wal<UringSink>;

/// Opens the log in `dir`, which is made if it is absent, and recovers it.
///
/// Blocks for I/O: syncs and reads every log file that is there.
///
/// # Errors
///
/// [`Error::Locked`] if the log is open elsewhere; [`Error::Sink`] whose cause is an
/// [`Unavailable`] if this process cannot use io_uring: [`open_or_std`] does without then.
/// Otherwise as for [`wal_core::Wal::open`].
pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<(Wal, RecoveryReport), Error> {
    open_with(dir, options, &UringOptions::default())
}

/// Like [`open`], with options of the ring and of the files.
///
/// # Errors
///
/// As for [`open`].
pub fn open_with(
    dir: impl AsRef<Path>,
    options: Options,
    uring: &UringOptions,
) -> Result<(Wal, RecoveryReport), Error> {
    wal_core::Wal::open(UringSink::open(dir.as_ref(), uring)?, options)
}

/// Locks a mutex whose data no panic leaves half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
