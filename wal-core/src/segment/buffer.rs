//! Raw access to segment memory (unsafe file: the copies).
//!
//! Rule numbers refer to the access rules of the [parent module](super).
#![allow(unsafe_code)]

use std::io::IoSlice;
use std::slice;

use crate::format::record;
use crate::sink::SegmentMemory;
use crate::sync::Tracker;

/// The memory of one segment of a ring.
pub(crate) struct Buffer {
    memory: SegmentMemory,
    tracker: Tracker,
}

impl Buffer {
    pub(crate) fn new(memory: SegmentMemory) -> Self {
        let tracker = Tracker::new(memory.len());
        Self { memory, tracker }
    }

    /// Gives access to a granted range.
    ///
    /// # Safety
    ///
    /// - `at..at + len` was granted to the caller by this segment's tail and is not committed yet
    ///   (rule 1), and no other `Filler` exists for it;
    /// - `at` is a multiple of 8 and the range lies within the segment.
    pub(crate) unsafe fn filler(&self, at: usize, len: usize) -> Filler {
        debug_assert!(at.is_multiple_of(record::ALIGN) && at + len <= self.memory.len());
        // SAFETY: `at` lies within the memory, by the caller's promise.
        let ptr = unsafe { self.memory.as_ptr().add(at) };
        Filler { ptr, len, tracker: self.tracker.from(at) }
    }

    /// The first `len` bytes of a complete segment, to be finished and written.
    ///
    /// # Safety
    ///
    /// - The segment is complete and the caller leads the flush (rule 4), so that no writer and no
    ///   other leader touches the memory;
    /// - no other slice of it is in use, and no write in flight covers it;
    /// - `len` is at most the segment's capacity.
    #[expect(clippy::mut_from_ref, reason = "exclusive by rule 4")]
    pub(crate) unsafe fn complete(&self, len: usize) -> &mut [u8] {
        debug_assert!(len <= self.memory.len());
        self.tracker.write(0..len);
        // SAFETY: the memory is valid and initialised for its whole length (contract of
        // `SegmentMemory`), and nobody else accesses it, by the caller's promise.
        unsafe { slice::from_raw_parts_mut(self.memory.as_ptr(), len) }
    }
}

/// Exclusive access to one granted range of a segment, until it is committed.
pub(crate) struct Filler {
    ptr: *mut u8,
    len: usize,
    /// Of this range.
    tracker: Tracker,
}

// SAFETY: a filler is plain exclusive access to bytes (rule 1), which any one thread may use; what
// keeps the memory alive travels with it (see `Reservation` and `Wal::append`).
unsafe impl Send for Filler {}
// SAFETY: `&Filler` only permits `payload`, a read of bytes that are changed through `&mut` only.
unsafe impl Sync for Filler {}

impl Filler {
    /// Bytes granted.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Copies `parts` behind the header at `at` and zeroes the padding behind them. `at` is a
    /// record's start within the range.
    ///
    /// # Panics
    ///
    /// If the record does not fit the range.
    pub(crate) fn copy(&mut self, at: usize, parts: &[IoSlice<'_>]) {
        let mut to = at + record::HEADER_LEN;
        for part in parts {
            self.put(to, part);
            to += part.len();
        }
        self.zero(to);
    }

    /// Zeroes the padding behind the payload, `len` bytes long, of the range's only record.
    ///
    /// # Panics
    ///
    /// If the record does not fit the range.
    pub(crate) fn zero_padding(&mut self, len: usize) {
        self.zero(record::HEADER_LEN + len);
    }

    /// Zeroes from `from` to the next record's start.
    fn zero(&mut self, from: usize) {
        let end = from.next_multiple_of(record::ALIGN);
        self.put(from, &[0; record::ALIGN][..end - from]);
    }

    /// Writes `bytes` at `to`.
    ///
    /// # Panics
    ///
    /// If they do not fit the range.
    fn put(&mut self, to: usize, bytes: &[u8]) {
        assert!(to + bytes.len() <= self.len, "record outgrows its reservation");
        self.tracker.write(to..to + bytes.len());
        // SAFETY: `to` lies within the range, checked in the line above.
        let to = unsafe { self.ptr.add(to) };
        // SAFETY: `bytes.len()` bytes from `to` lie within the range, as checked above; it is
        // exclusively ours, so `bytes`, a live shared slice, cannot overlap it; a copy of bytes
        // needs no alignment.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Writes the header of the record at `at`.
    ///
    /// # Panics
    ///
    /// If it does not fit the range.
    pub(crate) fn put_header(&mut self, at: usize, header: [u8; record::HEADER_LEN]) {
        self.put(at, &header);
    }

    /// The payload bytes of the range's only record, `len` of them.
    ///
    /// # Panics
    ///
    /// If they do not fit the range.
    pub(crate) fn payload(&self, len: usize) -> &[u8] {
        let ptr = self.payload_at(len);
        self.tracker.read(record::HEADER_LEN..record::HEADER_LEN + len);
        // SAFETY: `len` bytes from there lie within the range, checked in `payload_at`, are
        // initialised, and are changed only through `&mut self`.
        unsafe { slice::from_raw_parts(ptr, len) }
    }

    /// The same bytes, to be written.
    ///
    /// # Panics
    ///
    /// If they do not fit the range.
    pub(crate) fn payload_mut(&mut self, len: usize) -> &mut [u8] {
        let ptr = self.payload_at(len);
        self.tracker.write(record::HEADER_LEN..record::HEADER_LEN + len);
        // SAFETY: as in `payload`, and `&mut self` makes the access exclusive.
        unsafe { slice::from_raw_parts_mut(ptr, len) }
    }

    fn payload_at(&self, len: usize) -> *mut u8 {
        assert!(record::HEADER_LEN + len <= self.len, "payload outgrows its reservation");
        // SAFETY: the header's end lies within the range, checked in the line above.
        unsafe { self.ptr.add(record::HEADER_LEN) }
    }
}
