//! One shared word for positions, and a commit word in each record that names its stream position
//! (unsafe file: atomics in segment memory).
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering, fence};

use crossbeam_utils::CachePadded;
use wal_core::SegmentMemory;

use super::counter::hand_over;
use super::{Reserved, Words};

/// A record is committed when its first 8 bytes hold its position plus 1, so nothing has to be
/// counted or zeroed; who wants to know whether a segment is complete walks its headers.
///
/// With `HAND_OVER` a writer also learns, after its commit, whether the segment is sealed, so that
/// the last one can tell the flush. Its store and that look are a store and a load of different
/// words, which only a sequentially consistent fence keeps in order: without it both the writer
/// and the sealer may miss the other.
///
/// The prototype takes stale payload bytes that happen to equal a commit word for one. A log would
/// have to rule that out.
pub struct Tagged<const HAND_OVER: bool> {
    tail: CachePadded<AtomicU64>,
    /// The bytes granted, once sealed; `OPEN` before.
    sealed: CachePadded<AtomicU64>,
    /// Stream position of the segment.
    base: AtomicU64,
    /// How far the headers have been walked.
    walked: AtomicU64,
}

const OPEN: u64 = u64::MAX;
const CLOSED: u64 = 1 << 48;

fn word_of(memory: &SegmentMemory, at: u64) -> &AtomicU64 {
    let word = memory.as_ptr().wrapping_add(at as usize).cast::<u64>();
    // SAFETY: `at` is the start of a granted record: within the memory, a multiple of 8 of memory
    // aligned to more, and accessed by atomics only until the segment is opened anew, which
    // happens after every such access.
    unsafe { AtomicU64::from_ptr(word) }
}

// SAFETY: for `tail`, as for `Counter`. `is_complete` finds, from position 0 to the sealed end, at
// each record's start the word that its commit stored with Release, and reads with Acquire, so every
// commit happens before its return; a length is read only after its record's word was seen. It
// assumes that no stale bytes equal a commit word, which holds for the benches' payloads.
unsafe impl<const HAND_OVER: bool> Words for Tagged<HAND_OVER> {
    const HEADER: usize = 16;

    fn closed() -> Self {
        Self {
            tail: AtomicU64::new(CLOSED).into(),
            sealed: AtomicU64::new(0).into(),
            base: AtomicU64::new(0),
            walked: AtomicU64::new(0),
        }
    }

    fn open(&self, base: u64) {
        // Relaxed: published by the tail.
        self.base.store(base, Ordering::Relaxed);
        self.walked.store(0, Ordering::Relaxed);
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
    fn commit(&self, memory: &SegmentMemory, at: u64, _: u64, base: u64) {
        word_of(memory, at).store(base + at + 1, Ordering::Release);
        if HAND_OVER {
            fence(Ordering::SeqCst);
            if self.sealed.load(Ordering::Relaxed) != OPEN {
                hand_over();
            }
        }
    }

    fn seal(&self, end: u64) {
        self.sealed.store(end, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    fn is_complete(&self, memory: &SegmentMemory) -> bool {
        let end = self.sealed.load(Ordering::Acquire);
        if end == OPEN {
            return false;
        }
        let base = self.base.load(Ordering::Relaxed);
        // Relaxed: one thread at a time walks, the closer of the segment before.
        let mut at = self.walked.load(Ordering::Relaxed);
        while at < end {
            if word_of(memory, at).load(Ordering::Acquire) != base + at + 1 {
                break;
            }
            let len = memory.as_ptr().wrapping_add(at as usize + 8).cast::<u32>();
            // SAFETY: within a committed record, written before its commit word was stored.
            let len = unsafe { len.read() };
            at += (Self::HEADER as u64 + u64::from(u32::from_le(len))).next_multiple_of(8);
        }
        self.walked.store(at, Ordering::Relaxed);
        at >= end
    }
}
