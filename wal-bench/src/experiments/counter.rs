//! Two words on two lines: positions are added to one, finished bytes to the other (unsafe file:
//! the contract of `Words`, and a prefetch).
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use wal_core::SegmentMemory;

use super::{LOOK, PREFETCH, Reserved, Words};

/// The present design of `wal-core`. `HOW` says what precedes the addition: [`super::NO_LOOK`],
/// [`LOOK`] or [`PREFETCH`].
pub struct Counter<const HOW: u8> {
    /// Bytes reserved; beyond the capacity once closed.
    tail: CachePadded<AtomicU64>,
    /// Bytes committed, and `SEALED` less the bytes granted once the segment is sealed.
    fill: CachePadded<AtomicU64>,
}

const SEALED: u64 = 1 << 32;
/// Beyond every capacity, and far from overflow.
const CLOSED: u64 = 1 << 48;

// SAFETY: additions to `tail` grant disjoint ranges, one of them crosses the capacity, and none is
// granted beyond it until `open` stores 0 with Release, which the Acquire addition of every grant
// pairs with. `fill` reaches `SEALED` only when the committed bytes equal those granted (a wrapped
// sum would need 2^32 of them), by AcqRel additions that an Acquire load pairs with. `memory` is not
// touched.
unsafe impl<const HOW: u8> Words for Counter<HOW> {
    const HEADER: usize = 8;

    fn closed() -> Self {
        Self { tail: AtomicU64::new(CLOSED).into(), fill: AtomicU64::new(SEALED).into() }
    }

    fn open(&self, _: u64) {
        // Relaxed: published by the tail.
        self.fill.store(0, Ordering::Relaxed);
        self.tail.store(0, Ordering::Release);
    }

    #[inline]
    fn reserve(&self, len: u64, capacity: u64) -> Reserved {
        #[cfg(target_arch = "x86_64")]
        if HOW == PREFETCH {
            use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
            // SAFETY: a prefetch has no effect on memory, and SSE is part of the architecture.
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(self.tail.as_ptr().cast()) };
        }
        // Relaxed: only a filter.
        if (HOW == LOOK || HOW == PREFETCH) && self.tail.load(Ordering::Relaxed) > capacity {
            return Reserved::Closed;
        }
        let at = self.tail.fetch_add(len, Ordering::Acquire);
        if at > capacity {
            Reserved::Closed
        } else if at + len <= capacity {
            Reserved::Granted(at)
        } else {
            // An end at the very capacity must look closed to those behind, too; a record's length
            // is at least 8, so it does.
            Reserved::Closer(at)
        }
    }

    #[inline]
    fn commit(&self, _: &SegmentMemory, _: u64, len: u64, _: u64) {
        if self.fill.fetch_add(len, Ordering::AcqRel) + len == SEALED {
            hand_over();
        }
    }

    fn seal(&self, end: u64) {
        self.fill.fetch_add(SEALED - end, Ordering::AcqRel);
    }

    fn is_complete(&self, _: &SegmentMemory) -> bool {
        self.fill.load(Ordering::Acquire) == SEALED
    }
}

/// Stands for telling the flush.
#[cold]
#[inline(never)]
pub(super) fn hand_over() {
    std::hint::black_box(());
}
