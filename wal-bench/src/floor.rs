//! The floor: what an append costs at the very least, without any sharing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use wal_core::format::checksum;
use wal_core::format::record::{HEADER_LEN, stored_len};

use crate::log::{Log, Writer};

/// Copies each record, its length and its CRC-32C into a ring that one thread has for itself.
/// All threads' rings together take as much memory as the ring they are compared with.
pub struct Floor(Vec<Mutex<Ring>>);

/// A plain ring of records.
pub(crate) struct Ring {
    bytes: Vec<u8>,
    at: usize,
}

impl Ring {
    /// A ring of `len` bytes with every page present.
    pub(crate) fn new(len: usize) -> Self {
        Self { bytes: vec![1; len], at: 0 }
    }

    /// Copies a record with its header.
    #[inline]
    pub(crate) fn put(&mut self, payload: &[u8], crc: u32) {
        let stored = stored_len(payload.len());
        if self.bytes.len() - self.at < stored {
            self.at = 0;
        }
        let record = &mut self.bytes[self.at..self.at + stored];
        let header = payload.len() as u64 | u64::from(crc) << 32;
        record[..HEADER_LEN].copy_from_slice(&header.to_le_bytes());
        record[HEADER_LEN..HEADER_LEN + payload.len()].copy_from_slice(payload);
        self.at += stored;
    }
}

impl Floor {
    /// Rings for `threads` threads, `total` bytes together.
    #[must_use]
    pub fn new(threads: usize, total: usize) -> Self {
        Self((0..threads).map(|_| Mutex::new(Ring::new(total / threads))).collect())
    }
}

impl Log for Floor {
    type Writer<'a> = FloorWriter<'a>;

    fn writer(&self, thread: usize) -> FloorWriter<'_> {
        FloorWriter(self.0[thread].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One thread's ring.
pub struct FloorWriter<'a>(MutexGuard<'a, Ring>);

impl Writer for FloorWriter<'_> {
    #[inline]
    fn append(&mut self, payload: &[u8]) {
        self.0.put(payload, checksum::crc32c(payload));
    }
}
