#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(not(unix))]
compile_error!("wal-io-std needs a Unix system: positioned writes and synced directories");

mod aside;
mod dir;
mod options;
mod prepare;
mod sink;
mod source;
pub mod sys;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use options::{FileOptions, Preparation};
pub use sink::FileSink;
pub use source::DirSource;

/// Locks a mutex whose data no panic leaves half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
