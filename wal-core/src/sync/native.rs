//! The standard library's primitives: what a log runs on.

use std::ops::Range;

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
