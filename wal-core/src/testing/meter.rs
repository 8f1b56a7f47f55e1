//! What a piece of code takes: bytes of memory and reads of a source.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::sink::{Listing, LogSource, SinkError};

thread_local! {
    /// Bytes that this thread has allocated less those it has freed, and the most since the last
    /// call of [`Heap::peak`].
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// The system's allocator, counting for each thread what it holds. Of use as the
/// `#[global_allocator]` of a test binary only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heap;

impl Heap {
    /// Runs `work`, and returns the most bytes that the calling thread held meanwhile beyond those
    /// it held before; 0 if [`Heap`] is not the global allocator.
    pub fn peak<R>(work: impl FnOnce() -> R) -> (R, usize) {
        let before = HELD.get().0;
        HELD.set((before, before));
        let result = work();
        (result, (HELD.get().1 - before).unsigned_abs())
    }
}

/// Counts, unless the thread is ending.
fn count(bytes: isize) {
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

// SAFETY: every call goes to the system's allocator as it is, and its answer comes back as it is;
// counting allocates nothing (the cell is initialised at compile time and has no destructor).
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as isize - layout.size() as isize);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's obligations are the same.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// A source that counts how often it is read.
pub struct Reads<'a> {
    source: &'a dyn LogSource,
    count: Cell<u64>,
}

impl<'a> Reads<'a> {
    /// Reads from `source`.
    #[must_use]
    pub fn of(source: &'a dyn LogSource) -> Self {
        Self { source, count: Cell::new(0) }
    }

    /// Calls of [`LogSource::read_at`] so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.get()
    }
}

impl std::fmt::Debug for Reads<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reads").field("count", &self.count).finish_non_exhaustive()
    }
}

impl LogSource for Reads<'_> {
    fn list(&self) -> Result<Listing, SinkError> {
        self.source.list()
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        self.count.set(self.count.get() + 1);
        self.source.read_at(sequence, offset, buf)
    }
}
