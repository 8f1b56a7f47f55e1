//! The standard library's primitives: what a log runs on.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::AtomicUsize;

pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::OnceLock;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
pub(crate) use std::sync::{Mutex, MutexGuard};
pub(crate) use std::thread::{Thread, current, park, yield_now};
pub(crate) use std::thread_local;

/// Watches nothing and compiles to nothing.
#[derive(Clone)]
pub(crate) struct Tracker;

impl Tracker {
    #[inline(always)]
    pub(crate) const fn new(_len: usize) -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) const fn from(&self, _at: usize) -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) const fn read(&self, _range: Range<usize>) {}

    #[inline(always)]
    pub(crate) const fn write(&self, _range: Range<usize>) {}
}

/// A number of the calling thread, by which threads are spread over what they share: the first that
/// asks gets 1, the next 2, and so on.
#[inline]
pub(crate) fn lane() -> usize {
    thread_local! {
        /// 0 is a thread that has not asked yet.
        static LANE: Cell<usize> = const { Cell::new(0) };
    }
    match LANE.get() {
        0 => first_lane(&LANE),
        lane => lane,
    }
}

#[cold]
fn first_lane(of_thread: &'static std::thread::LocalKey<Cell<usize>>) -> usize {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    // Relaxed: a number and nothing else.
    of_thread.set(LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
    of_thread.get()
}
