//! One word for state, writers and position, changed by a compare-exchange loop (unsafe file: the
//! contract of `Words`).
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use wal_core::SegmentMemory;

use super::counter::hand_over;
use super::{Reserved, Words};

/// Bit 63: closed. Bits 62..48: writers. Bits 47..0: position.
pub struct Packed(CachePadded<AtomicU64>);

const CLOSED: u64 = 1 << 63;
const WRITER: u64 = 1 << 48;
const POSITION: u64 = WRITER - 1;

// SAFETY: every change is one exchange of the whole word, so ranges are disjoint, one exchange sets
// the closed bit, and none succeeds after it until `open` stores an open word with Release, which
// the Acquire exchange of every grant pairs with. A closed word without writers means that all of
// them have left, by AcqRel subtractions that an Acquire load pairs with. `memory` is not touched.
unsafe impl Words for Packed {
    const HEADER: usize = 8;

    fn closed() -> Self {
        Self(AtomicU64::new(CLOSED).into())
    }

    fn open(&self, _: u64) {
        self.0.store(0, Ordering::Release);
    }

    #[inline]
    fn reserve(&self, len: u64, capacity: u64) -> Reserved {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & CLOSED != 0 {
                return Reserved::Closed;
            }
            let at = word & POSITION;
            let fits = at + len <= capacity;
            let after = if fits { word + len + WRITER } else { word | CLOSED };
            let swap =
                self.0.compare_exchange_weak(word, after, Ordering::Acquire, Ordering::Relaxed);
            match swap {
                Ok(_) if fits => return Reserved::Granted(at),
                Ok(_) => return Reserved::Closer(at),
                Err(now) => word = now,
            }
        }
    }

    #[inline]
    fn commit(&self, _: &SegmentMemory, _: u64, _: u64, _: u64) {
        let before = self.0.fetch_sub(WRITER, Ordering::AcqRel);
        if before & CLOSED != 0 && before & !(CLOSED | POSITION) == WRITER {
            hand_over();
        }
    }

    fn seal(&self, _: u64) {}

    fn is_complete(&self, _: &SegmentMemory) -> bool {
        let word = self.0.load(Ordering::Acquire);
        word & CLOSED != 0 && word & !(CLOSED | POSITION) == 0
    }
}
