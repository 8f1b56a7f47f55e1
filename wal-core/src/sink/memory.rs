//! Segment memory: what a sink lends the ring (unsafe file: raw memory).
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::any::Any;
use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, compiler_fence};

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
    ///   for a write in flight, the kernel, and the core through other memory that
    ///   [`memory_in`](crate::SegmentSink::memory_in) has lent in the same file;
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

/// Copies `bytes` to `to`, the first four of them last and with one store, zeros standing there in
/// the meantime. Where `to` is mapped from a file, a process that dies at any instruction so leaves
/// what begins with a magic number whole, or without it. Shorter bytes, or such that `to` is not
/// aligned to 4, are just copied.
///
/// This orders the stores of one thread as its own death shows them. It says nothing about the
/// order in which a system writes pages back: a power loss may leave any of these bytes.
///
/// # Safety
///
/// `to` is valid for writes of as many bytes, which nobody else accesses, and which do not overlap
/// `bytes`.
pub unsafe fn store_head_last(to: *mut u8, bytes: &[u8]) {
    let whole = to.addr().is_multiple_of(align_of::<u32>());
    let Some((head, rest)) = bytes.split_first_chunk().filter(|_| whole) else {
        // SAFETY: the caller's promise.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        return;
    };
    #[expect(clippy::cast_ptr_alignment, reason = "looked at in the first line")]
    let first = to.cast::<u32>();
    // SAFETY: aligned, valid for writes, and nobody else accesses it.
    let first = unsafe { AtomicU32::from_ptr(first) };
    first.store(0, Ordering::Relaxed);
    // The zeros first, as the compiler sees it: a processor commits the stores of a thread in their
    // order when the thread dies.
    compiler_fence(Ordering::SeqCst);
    // SAFETY: these are the bytes behind the first four, by the caller's promise.
    let to = unsafe { to.add(head.len()) };
    // SAFETY: as above.
    unsafe { to.copy_from_nonoverlapping(rest.as_ptr(), rest.len()) };
    // Release: keeps the compiler from moving what comes before behind it. It pairs with no load:
    // whoever reads this does so in another life.
    first.store(u32::from_ne_bytes(*head), Ordering::Release);
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

    #[test]
    fn bytes_arrive_whatever_their_length_and_place() {
        for len in 0..20 {
            for at in 0..8 {
                let bytes: Vec<u8> = (1..=len).collect();
                let mut target = [0xee; 32];
                // SAFETY: up to 20 bytes from one of the first 8 lie within the array.
                let to = unsafe { target.as_mut_ptr().add(at) };
                // SAFETY: as above; the array is this test's alone.
                unsafe { store_head_last(to, &bytes) };
                let end = at + bytes.len();
                assert_eq!(target[at..end], bytes);
                assert!(target[..at].iter().chain(&target[end..]).all(|&byte| byte == 0xee));
            }
        }
    }
}
