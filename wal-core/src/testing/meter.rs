//! What a scan takes: bytes of memory and reads of its source.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::error::Error;
use crate::format::record::Record;
use crate::recover::{self, Scan, ScanOptions};
use crate::sink::{Listing, LogSource, SinkError};

/// What one read brings in, at least, but for the end of a file.
const READ: u64 = 1 << 20;

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

/// Scans `source`, and makes sure that no more memory is held (if [`Heap`] is the global allocator,
/// and but for what `visit` takes) and no more reads are made than the files explain.
///
/// # Errors
///
/// As [`recover::scan`].
///
/// # Panics
///
/// If a bound is passed, or `source` cannot be listed.
pub fn scan_within_bounds(
    source: &dyn LogSource,
    options: ScanOptions,
    visit: &mut dyn FnMut(Record<'_>),
) -> Result<Scan, Error> {
    let reads = Reads { source, count: Cell::new(0) };
    let (result, peak) = Heap::peak(|| recover::scan(&reads, options, visit));
    let entries = match source.list() {
        Ok(listing) => listing.files,
        Err(error) => panic!("{error}"),
    };
    let holes = result.as_ref().map_or(0, |scan| scan.report.holes.len() as u64);
    let largest = entries.iter().map(|entry| entry.len).max().unwrap_or(0);
    let files = entries.len() as u64;
    // The window, and what is noted of each file and hole.
    let memory = largest + (16 << 10) + 2048 * (files + holes);
    assert!(peak as u64 <= memory, "{peak} bytes of memory, not {memory}");
    // Each place that is judged may have every file read, once for evidence and once for its end.
    let most = 4 * (files + holes + 2) * (files + 1) * (1 + largest / READ);
    assert!(reads.count.get() <= most, "{} reads, not {most}", reads.count.get());
    result
}

/// A source that counts how often it is read.
struct Reads<'a> {
    source: &'a dyn LogSource,
    count: Cell<u64>,
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
