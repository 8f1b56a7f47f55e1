//! Raw access to segment memory (unsafe file: the copies).
//!
//! Rule numbers refer to the access rules of the [parent module](super).
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::io::IoSlice;
use std::slice;

use crate::format::{frame, record};
use crate::sink::{SegmentMemory, store_head_last};
use crate::sync::Tracker;

/// The memory of one segment of a ring: its own, or for a life what the sink has lent it.
pub(crate) struct Buffer {
    own: SegmentMemory,
    life: UnsafeCell<Life>,
    /// Of the bytes.
    tracker: Tracker,
    /// Of `life`.
    life_tracker: Tracker,
}

/// Where the bytes of one life of a segment are.
struct Life {
    ptr: *mut u8,
    /// Kept, if that is where they are.
    _lent: Option<SegmentMemory>,
}

// SAFETY: what is shared is `life`. The activator alone writes it, before it opens the tail that
// grants anybody access (rule 3), and the leader, once no writer is left in the segment and until it
// lets the next activator come (rule 4); everyone else only reads, between the two.
unsafe impl Sync for Buffer {}
// SAFETY: nothing in it belongs to a thread; the pointer is into memory that is `Send`.
unsafe impl Send for Buffer {}

impl Buffer {
    pub(crate) fn new(own: SegmentMemory) -> Self {
        let tracker = Tracker::new(own.len());
        let life = UnsafeCell::new(Life { ptr: own.as_ptr(), _lent: None });
        Self { own, life, tracker, life_tracker: Tracker::new(record::ALIGN) }
    }

    /// Begins a life of the segment, in memory that was lent for it or, without, in its own.
    ///
    /// # Safety
    ///
    /// - The caller activates the segment (rule 3), and has not opened its tail yet;
    /// - `lent` has the length of a segment, and is aligned to 8.
    pub(crate) unsafe fn begin(&self, lent: Option<SegmentMemory>) {
        debug_assert!(lent.as_ref().is_none_or(|lent| lent.len() >= self.own.len()));
        let ptr = lent.as_ref().unwrap_or(&self.own).as_ptr();
        self.life_tracker.write(0..record::ALIGN);
        // SAFETY: the activator has `life` to itself, by the caller's promise.
        unsafe { *self.life.get() = Life { ptr, _lent: lent } };
    }

    /// Ends a life of the segment: gives back what was lent.
    ///
    /// # Safety
    ///
    /// The caller leads the flush and is done with the segment, which it has not freed yet (rule 4).
    pub(crate) unsafe fn end(&self) {
        self.life_tracker.write(0..record::ALIGN);
        // SAFETY: the leader has `life` to itself, by the caller's promise.
        unsafe { *self.life.get() = Life { ptr: self.own.as_ptr(), _lent: None } };
    }

    /// The first byte of the present life.
    ///
    /// # Safety
    ///
    /// The caller has access to bytes of this life, by rule 1 or rule 4.
    unsafe fn ptr(&self) -> *mut u8 {
        self.life_tracker.read(0..record::ALIGN);
        // SAFETY: valid, and nobody writes to `life` while anybody may access a byte.
        unsafe { (*self.life.get()).ptr }
    }

    /// Gives access to a granted range.
    ///
    /// # Safety
    ///
    /// - `at..at + len` was granted to the caller by this segment's tail and is not committed yet
    ///   (rule 1), and no other `Filler` exists for it;
    /// - `at` is a multiple of 8 and the range lies within the segment.
    pub(crate) unsafe fn filler(&self, at: usize, len: usize) -> Filler {
        debug_assert!(at.is_multiple_of(record::ALIGN) && at + len <= self.own.len());
        // SAFETY: a range was granted to the caller (rule 1).
        let start = unsafe { self.ptr() };
        // SAFETY: `at` lies within the memory, by the caller's promise.
        let ptr = unsafe { start.add(at) };
        Filler { ptr, len, tracker: self.tracker.from(at) }
    }

    /// The first `len` bytes of a complete segment.
    ///
    /// # Safety
    ///
    /// - The segment is complete and the caller leads the flush (rule 4), so that no writer and no
    ///   other leader touches the memory;
    /// - no other slice of it is in use, and no write in flight covers it;
    /// - `len` is at most the segment's capacity.
    #[expect(clippy::mut_from_ref, reason = "exclusive by rule 4")]
    pub(crate) unsafe fn complete(&self, len: usize) -> &mut [u8] {
        debug_assert!(len <= self.own.len());
        // SAFETY: the segment is complete, and the caller leads (rule 4).
        let ptr = unsafe { self.ptr() };
        self.tracker.write(0..len);
        // SAFETY: the memory is valid and initialised for its whole length (contract of
        // `SegmentMemory`), and nobody else accesses these bytes, by the caller's promise: memory
        // that was lent reaches into that of the next segment, but `len` does not.
        unsafe { slice::from_raw_parts_mut(ptr, len) }
    }

    /// Makes a frame of the first `len` bytes of a complete segment: zeroes what is behind them, up
    /// to `padded`, and puts the header before them. In memory that is a part of the file, the
    /// frame comes into being with the last of these stores: should the process die before, at
    /// whatever instruction, there is no frame, and behind it there is a whole one.
    ///
    /// # Safety
    ///
    /// As for [`complete`](Self::complete), with `padded` as the length; `len` is no more.
    pub(crate) unsafe fn finish(
        &self,
        header: &[u8; frame::HEADER_LEN],
        len: usize,
        padded: usize,
    ) -> &[u8] {
        // SAFETY: the caller's promise.
        let bytes = unsafe { self.complete(padded) };
        bytes[len..].fill(0);
        let (head, _) = bytes.split_at_mut(frame::HEADER_LEN);
        // SAFETY: the header's bytes are exclusively ours, as is all of `bytes`.
        unsafe { store_head_last(head.as_mut_ptr(), header) };
        bytes
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

    /// Copies `parts` behind the header at `at`, and zeroes the padding behind them. `at` is a
    /// record's start within the range; its header comes later.
    ///
    /// # Panics
    ///
    /// If the record does not fit the range.
    pub(crate) fn copy(&mut self, at: usize, parts: &[IoSlice<'_>]) {
        let mut to = at + record::HEADER_LEN;
        // The last word first, as a whole: a store, where what is left of it would take a loop.
        let end = at + record::stored_len(parts.iter().map(|part| part.len()).sum());
        self.put(end - record::ALIGN, &[0; record::ALIGN]);
        for part in parts {
            self.put(to, part);
            to += part.len();
        }
    }

    /// Zeroes the padding behind the payload, `len` bytes long, of the range's only record.
    ///
    /// # Panics
    ///
    /// If the record does not fit the range.
    pub(crate) fn zero_padding(&mut self, len: usize) {
        let from = record::HEADER_LEN + len;
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
