//! What most programs would write: a mutex around a buffer.

use std::sync::{Mutex, PoisonError};

use wal_core::format::checksum;

use crate::floor::Ring;
use crate::log::{Log, Writer};

/// One ring behind one mutex. The checksum is computed outside of the lock.
pub struct MutexRing(Mutex<Ring>);

impl MutexRing {
    /// A ring of `len` bytes.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self(Mutex::new(Ring::new(len)))
    }
}

impl Log for MutexRing {
    type Writer<'a> = &'a Self;

    fn writer(&self, _: usize) -> &Self {
        self
    }
}

impl Writer for &MutexRing {
    #[inline]
    fn append(&mut self, payload: &[u8]) {
        let crc = checksum::crc32c(payload);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(payload, crc);
    }
}
