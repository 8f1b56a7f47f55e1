//! Segment memory: what a sink lends the ring (unsafe file: raw memory).
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::any::Any;
use std::fmt;
use std::io;
use std::ptr::NonNull;

/// The memory of one ring segment, owned exclusively by whoever holds this value.
pub struct SegmentMemory {
    ptr: NonNull<u8>,
    len: usize,
    /// Frees the memory when dropped.
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: the memory is owned exclusively through this value (the contract of `from_raw`), holds
// plain bytes without thread affinity, and its owner is itself `Send`.
unsafe impl Send for SegmentMemory {}
// SAFETY: a shared reference gives out no access by itself: `as_ptr` returns a pointer, and
// dereferencing it is its user's unsafe promise.
unsafe impl Sync for SegmentMemory {}

struct Heap {
    ptr: NonNull<u8>,
    layout: Layout,
}

// SAFETY: `Heap` is the sole owner of its allocation and only ever frees it.
unsafe impl Send for Heap {}
// SAFETY: `Heap` has no method that takes `&self`.
unsafe impl Sync for Heap {}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: `ptr` came from `alloc_zeroed` with this very layout and is freed only here.
        unsafe { dealloc(self.ptr.as_ptr(), self.layout) }
    }
}

impl SegmentMemory {
    /// Zeroed heap memory of `len` bytes, aligned to `align` bytes and at least to a cache-line
    /// pair (128).
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if `len` is 0 or `align` is no power of two;
    /// [`io::ErrorKind::OutOfMemory`] if the allocator has no such block.
    pub fn heap(len: usize, align: usize) -> io::Result<Self> {
        if len == 0 || !align.is_power_of_two() {
            let message = format!("segment memory of {len} bytes aligned to {align}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let layout = Layout::from_size_align(len, align.max(128))
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        // SAFETY: the layout has a size above zero, checked in the lines above.
        let raw = unsafe { alloc_zeroed(layout) };
        let ptr = NonNull::new(raw).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { ptr, len, _owner: Box::new(Heap { ptr, layout }) })
    }

    /// Memory that `owner` keeps alive until it is dropped.
    ///
    /// # Safety
    ///
    /// - `ptr` is valid for reads and writes of `len` bytes for as long as `owner` lives;
    /// - nothing else reads or writes these bytes while the value lives, except the sink itself
    ///   for a write in flight, or the kernel;
    /// - the bytes are initialised;
    /// - `ptr` is aligned to at least 8 bytes.
    #[must_use]
    pub unsafe fn from_raw(
        ptr: NonNull<u8>,
        len: usize,
        owner: Box<dyn Any + Send + Sync>,
    ) -> Self {
        Self { ptr, len, _owner: owner }
    }

    /// The first byte.
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for SegmentMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentMemory").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heap_memory_is_zeroed_aligned_and_refuses_nonsense() {
        let memory = SegmentMemory::heap(8192, 4096).unwrap();
        assert_eq!(memory.as_ptr() as usize % 4096, 0);
        // SAFETY: the memory is 8192 initialised bytes that only this test touches.
        let bytes = unsafe { std::slice::from_raw_parts(memory.as_ptr(), memory.len()) };
        assert!(bytes.iter().all(|&b| b == 0));
        assert!(SegmentMemory::heap(0, 8).is_err());
        assert!(SegmentMemory::heap(8, 3).is_err());
    }
}
