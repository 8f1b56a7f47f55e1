//! A scheduler that tries interleavings, one at a time and sequentially consistent.

use std::ops::Range;

pub(crate) use shuttle::hint::spin_loop;
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
pub(crate) use shuttle::thread::{Thread, current, park, yield_now};
pub(crate) use shuttle::thread_local;
// Its accesses stand next to some of the lifecycle, which the scheduler sees.
pub(crate) use std::sync::OnceLock;

/// A number of the calling thread, by which threads are spread over what they share.
pub(crate) fn lane() -> usize {
    shuttle::current::me().into()
}

/// Lets others run before each access, so that a copy made in parts is seen half done.
#[derive(Clone)]
pub(crate) struct Tracker;

impl Tracker {
    pub(crate) const fn new(_len: usize) -> Self {
        Self
    }

    pub(crate) const fn from(&self, _at: usize) -> Self {
        Self
    }

    pub(crate) fn read(&self, _range: Range<usize>) {
        step();
    }

    pub(crate) fn write(&self, _range: Range<usize>) {
        step();
    }
}

/// A scheduling point and nothing else: a yield would make the thread wait for others.
fn step() {
    let _ = AtomicBool::new(false).load(Ordering::SeqCst);
}
