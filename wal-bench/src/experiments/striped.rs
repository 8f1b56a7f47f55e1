//! Positions are added to one word, finished bytes to one of several, each thread to its own
//! (unsafe file: the contract of `Words`).
#![allow(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;
use wal_core::SegmentMemory;

use super::counter::hand_over;
use super::{Reserved, Words};

const STRIPES: usize = 4;
const OPEN: u64 = u64::MAX;
const CLOSED: u64 = 1 << 48;

/// Like [`super::Counter`], but a commit stays on a line that its core has anyway, instead of
/// fetching the one that the last committer had.
///
/// A writer adds to its stripe and then looks whether the segment is sealed; the sealer says so and
/// then sums the stripes. All of it is sequentially consistent, so whoever comes last sees all the
/// others and knows that it does. On x86 that costs nothing: the addition is a full fence.
pub struct Striped {
    tail: CachePadded<AtomicU64>,
    /// The bytes granted, once sealed; `OPEN` before.
    sealed: CachePadded<AtomicU64>,
    fill: [CachePadded<AtomicU64>; STRIPES],
}

/// The calling thread's stripe: threads take turns.
#[inline]
fn stripe() -> usize {
    thread_local! {
        static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    STRIPE.with(|stripe| {
        if stripe.get() == usize::MAX {
            stripe.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        stripe.get()
    })
}

impl Striped {
    fn committed(&self) -> u64 {
        self.fill.iter().map(|stripe| stripe.load(Ordering::SeqCst)).sum()
    }
}

// SAFETY: for `tail`, as for `Counter`. The stripes only grow between two openings, and each addition
// is a Release that the loads of `committed` pair with, so a sum that equals the bytes granted means
// that everything granted is committed. `memory` is not touched.
unsafe impl Words for Striped {
    const HEADER: usize = 8;

    fn closed() -> Self {
        Self {
            tail: AtomicU64::new(CLOSED).into(),
            sealed: AtomicU64::new(0).into(),
            fill: Default::default(),
        }
    }

    fn open(&self, _: u64) {
        // Relaxed: published by the tail.
        self.fill.iter().for_each(|stripe| stripe.store(0, Ordering::Relaxed));
        self.sealed.store(OPEN, Ordering::Relaxed);
        self.tail.store(0, Ordering::Release);
    }

    #[inline]
    fn reserve(&self, len: u64, capacity: u64) -> Reserved {
        let at = self.tail.fetch_add(len, Ordering::Acquire);
        if at > capacity {
            Reserved::Closed
        } else if at + len <= capacity {
            Reserved::Granted(at)
        } else {
            Reserved::Closer(at)
        }
    }

    #[inline]
    fn commit(&self, _: &SegmentMemory, _: u64, len: u64, _: u64) {
        self.fill[stripe()].fetch_add(len, Ordering::SeqCst);
        let sealed = self.sealed.load(Ordering::SeqCst);
        if sealed != OPEN && self.committed() == sealed {
            hand_over();
        }
    }

    fn seal(&self, end: u64) {
        self.sealed.store(end, Ordering::SeqCst);
    }

    fn is_complete(&self, _: &SegmentMemory) -> bool {
        let sealed = self.sealed.load(Ordering::SeqCst);
        sealed != OPEN && self.committed() == sealed
    }
}
