//! Mapped files (unsafe file: raw memory).
//!
//! A mapping is a copy of the file in memory. Whatever is stored there is in the file's cache by
//! the next call that the disk takes, and before any image of it is made: the death of the process
//! loses none of it, a power loss whichever sectors no flush has covered.
#![allow(unsafe_code)]

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::disk::State;
use super::fault::{CallKind, failed_sync};
use super::file::SimFile;
use super::inode::{Inode, SECTOR};
use crate::sink::SegmentMemory;

/// Pages begin at multiples of this.
const PAGE: usize = 4096;

/// A mapping of the first bytes of a file, which it keeps open.
#[derive(Debug)]
pub struct SimMap {
    memory: Arc<Mapped>,
    file: SimFile,
}

/// What the disk knows of a mapping.
#[derive(Debug)]
pub(super) struct Mapped {
    inode: u64,
    memory: SegmentMemory,
    len: usize,
}

impl SimFile {
    /// Maps the first `len` bytes of the file, which must be that long.
    ///
    /// # Errors
    ///
    /// If it is not, or is a directory, or there is no memory; and as for any call, see
    /// [the disk](super::SimDisk).
    pub fn map(&self, len: usize) -> io::Result<SimMap> {
        let number = self.number()?;
        let mapped = self.call(CallKind::Map, (0, len), |state, inode, _| {
            let Some(bytes) = inode.bytes().get(..len) else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            let memory = SegmentMemory::heap(len.next_multiple_of(PAGE), PAGE)?;
            // SAFETY: the memory is longer than `len`, and nobody else has it yet.
            unsafe { memory.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), len) };
            let mapped = Arc::new(Mapped { inode: number, memory, len });
            state.maps.push(Arc::downgrade(&mapped));
            Ok(mapped)
        })?;
        Ok(SimMap { memory: mapped, file: self.again() })
    }

    /// What else of [`write_at`](Self::write_at): a mapping shows what is written to its file.
    pub(super) fn show(&self, parts: &[IoSlice<'_>], offset: u64, len: usize) {
        let state = self.disk().state();
        let Ok(number) = self.number() else { return };
        for mapped in state.maps.iter().filter_map(Weak::upgrade) {
            let from = offset as usize;
            if mapped.inode != number || from >= mapped.len {
                continue;
            }
            let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            let len = len.min(mapped.len - from);
            // SAFETY: within the mapping. Who writes to a mapped file has those bytes to itself, as
            // with a real one.
            let to = unsafe { mapped.memory.as_ptr().add(from) };
            // SAFETY: as above.
            unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), len) };
        }
    }
}

impl SimMap {
    /// The first byte, aligned to a page; valid until the mapping is dropped.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.memory.memory.as_ptr()
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.memory.len == 0
    }

    /// Makes the pages that hold these bytes, and no others, survive power loss.
    ///
    /// # Errors
    ///
    /// As a sync of the file, see [the disk](super::SimDisk).
    pub fn flush(&self, range: Range<usize>) -> io::Result<()> {
        let span = (range.start as u64, range.len());
        self.file.call(CallKind::Sync, span, |state, inode, fault| {
            if let Some(error) = failed_sync(fault) {
                inode.fail_sync(&mut state.random);
                return Err(error);
            }
            inode.sync_range(range.start / PAGE * PAGE..range.end.next_multiple_of(PAGE));
            Ok(())
        })
    }
}

impl Drop for SimMap {
    /// What was stored stays in the file.
    fn drop(&mut self) {
        self.file.disk().state().store_maps();
    }
}

impl State {
    /// Brings what is in mappings to the cache.
    pub(super) fn store_maps(&mut self) {
        self.maps.retain(|mapped| mapped.strong_count() > 0);
        for mapped in self.maps.iter().filter_map(Weak::upgrade) {
            if let Some(inode) = self.image.inodes.get_mut(&mapped.inode) {
                mapped.store(inode);
            }
        }
    }

    /// Panics if a file is to be cut while somebody has it mapped: the next store would end the
    /// process.
    ///
    /// # Panics
    ///
    /// See above.
    pub(super) fn assert_not_mapped(&self, inode: u64, len: usize) {
        let mut maps = self.maps.iter().filter_map(Weak::upgrade);
        let cut = maps.any(|mapped| mapped.inode == inode && mapped.len > len);
        assert!(!cut, "SIGBUS: a file is cut under a mapping");
    }
}

impl Mapped {
    /// Writes the sectors that differ from those in the cache.
    fn store(&self, inode: &mut Inode) {
        for start in (0..self.len).step_by(SECTOR) {
            let mut sector = [0; SECTOR];
            for (index, word) in sector.chunks_exact_mut(8).enumerate() {
                word.copy_from_slice(&self.word(start + 8 * index).to_ne_bytes());
            }
            let len = SECTOR.min(self.len - start).min(inode.bytes().len().saturating_sub(start));
            if inode.bytes()[start..start + len] != sector[..len] {
                inode.write(start, &sector[..len]);
            }
        }
    }

    /// Eight bytes, which others may be storing to: read at once, as a device does.
    fn word(&self, at: usize) -> u64 {
        // SAFETY: `at` is a multiple of 8 and lies within the memory, whose length is a multiple
        // of the page.
        let at = unsafe { self.memory.as_ptr().add(at) };
        #[expect(clippy::cast_ptr_alignment, reason = "a multiple of 8 in aligned memory")]
        let word = at.cast::<u64>();
        // SAFETY: aligned, valid, and read by one instruction, whatever others do meanwhile.
        unsafe { AtomicU64::from_ptr(word) }.load(Ordering::Relaxed)
    }
}
