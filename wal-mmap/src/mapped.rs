//! A mapped file: what lies in it already, what is copied, what is to be flushed (unsafe file: raw
//! memory).
//!
//! # Who may touch what
//!
//! Writers own the bytes that the ring has granted them, in memory that was lent; the leader owns
//! a complete segment, and the target of any write, until that has ended. No two of these overlap,
//! since each has its own range of the stream; so nobody here ever makes a reference to mapped
//! bytes, and every access is through the raw pointer.
//!
//! # What a crash finds
//!
//! The system may write a page back at any time, in any order, with whatever the page holds at that
//! moment. To recovery that is what an unsynced page cache is: of what was stored since the last
//! flush, anything may be there after a power loss, and what was flushed is. So this backend needs
//! no order among its stores for that, and the rules of recovery hold as they are.
//!
//! The end of the process is another matter: all of its stores are there, in the order in which it
//! made them, up to some instruction. So a write stores its parts from the last to the first, and
//! the first word of each part last: the file header behind the first frame, and each header's magic
//! behind all else. There is no instant at which a frame is there in part.
#![allow(unsafe_code)]

use std::io::{self, ErrorKind};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use wal_core::sink::{SegmentMemory, Write, store_head_last};

use wal_io_std::sys::uninterrupted;

use crate::mapper::Map;
use crate::sink::lock;

/// A mapped file.
pub(crate) struct Mapped<M: Map> {
    map: M,
    /// What was written since the last flush: from the first byte of it to the last.
    dirty: Mutex<Range<usize>>,
}

impl<M: Map> Mapped<M> {
    pub(crate) fn new(map: M) -> Self {
        Self { map, dirty: Mutex::new(0..0) }
    }

    /// Where `len` bytes at `offset` of the file are in memory, if the mapping has them.
    fn at(&self, offset: u64, len: usize) -> Option<NonNull<u8>> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(len)?;
        if end > self.map.len() {
            return None;
        }
        // SAFETY: `start` lies within the mapping, or just behind it.
        NonNull::new(unsafe { self.map.as_ptr().add(start) })
    }

    /// Lends the memory that is the bytes `offset..offset + len` of the file.
    pub(crate) fn lend(self: &Arc<Self>, offset: u64, len: usize) -> Option<SegmentMemory> {
        if !offset.is_multiple_of(8) {
            return None;
        }
        let ptr = self.at(offset, len)?;
        let owner = Box::new(Arc::clone(self));
        // SAFETY: the owner keeps the mapping, in which `len` initialised bytes lie at `ptr`, which
        // is aligned to 8, as the mapping and the offset are; see "who may touch what" above.
        Some(unsafe { SegmentMemory::from_raw(ptr, len, owner) })
    }

    /// Stores the parts of a write that are not where they belong already.
    pub(crate) fn write(&self, write: &Write<'_>) -> io::Result<()> {
        let len = write.len();
        let Some(start) = self.at(write.offset, len) else {
            let message = format!(
                "{len} bytes at {} do not fit a mapping of {}",
                write.offset,
                self.map.len()
            );
            return Err(io::Error::new(ErrorKind::InvalidInput, message));
        };
        let mut end = len;
        for part in write.parts.iter().rev() {
            end -= part.len();
            // SAFETY: within the `len` bytes from `start`.
            let to = unsafe { start.as_ptr().add(end) };
            if to.cast_const() == part.as_ptr() {
                continue;
            }
            // SAFETY: the part's place lies within the mapping, and belongs to this write alone; the
            // part is elsewhere: it lies in no mapping, or at its place.
            unsafe { store_head_last(to, part) };
        }
        let start = write.offset as usize;
        let mut dirty = lock(&self.dirty);
        *dirty = if dirty.is_empty() {
            start..start + len
        } else {
            dirty.start.min(start)..dirty.end.max(start + len)
        };
        Ok(())
    }

    /// Makes every write that has ended survive power loss.
    pub(crate) fn flush(&self) -> io::Result<()> {
        // Taken first: a write that ends from here on needs another flush.
        let dirty = std::mem::take(&mut *lock(&self.dirty));
        if dirty.is_empty() {
            return Ok(());
        }
        uninterrupted(|| self.map.flush(dirty.clone()))
    }
}
