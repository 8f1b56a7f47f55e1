//! The ring that all prototypes share (unsafe file: the copies).
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use wal_core::SegmentMemory;

use crate::log::{Log, Writer, fail};

/// What a reservation met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The bytes from this position on belong to the caller until it commits.
    Granted(u64),
    /// The caller alone has closed the segment, with this many bytes granted.
    Closer(u64),
    /// The segment is closed.
    Closed,
}

/// The words of a segment: who may write where, and when everybody has.
///
/// # Safety
///
/// - Between an [`open`](Self::open) and the next, `reserve` grants disjoint ranges below
///   `capacity`, returns [`Reserved::Closer`] exactly once, and grants nothing after that;
/// - a grant happens after the `open` that it belongs to;
/// - `is_complete` returns `true` only if everything granted since the last `open` is committed,
///   or nothing ever was; those commits then happen before its return;
/// - `commit` and `is_complete` access `memory` in no other way than by atomics in the headers of
///   granted records, and reads of what was published through these.
pub unsafe trait Words: Send + Sync {
    /// Bytes of a record's header; a multiple of 8, at least 8. The last 8 hold length and
    /// checksum, the ones before belong to the words.
    const HEADER: usize;

    /// The words of a segment that is closed and complete.
    fn closed() -> Self;

    /// Opens a complete segment whose first byte has stream position `base`.
    fn open(&self, base: u64);

    /// Reserves `len` bytes, at most `capacity`.
    fn reserve(&self, len: u64, capacity: u64) -> Reserved;

    /// Commits the range of a grant, filled except for what belongs to the words.
    fn commit(&self, memory: &SegmentMemory, at: u64, len: u64, base: u64);

    /// Says that `end` bytes were granted in all; the closer's duty.
    fn seal(&self, end: u64);

    /// Whether everything granted is committed.
    fn is_complete(&self, memory: &SegmentMemory) -> bool;
}

struct Segment<W> {
    words: W,
    life: CachePadded<Life>,
    memory: SegmentMemory,
}

/// Written before each opening, and published by it.
#[derive(Default)]
struct Life {
    /// Which opening this is, counted over all segments.
    sequence: AtomicU64,
    /// Stream position of the segment's first byte.
    base: AtomicU64,
}

/// A ring of segments under the words `W`.
pub struct ProtoRing<W> {
    /// Sequence of the opening to append to.
    current: CachePadded<AtomicU64>,
    segments: Box<[Segment<W>]>,
    capacity: u64,
}

impl<W: Words> ProtoRing<W> {
    /// A ring of `count` segments, a power of two above 1, of `capacity` bytes, a multiple of 8.
    ///
    /// # Panics
    ///
    /// If there is no memory or the shape is wrong.
    #[must_use]
    pub fn new(capacity: usize, count: usize) -> Self {
        assert!(count >= 2 && count.is_power_of_two() && capacity.is_multiple_of(8));
        let segments: Box<[Segment<W>]> = (0..count)
            .map(|_| match SegmentMemory::heap(capacity, 4096) {
                Ok(memory) => Segment { words: W::closed(), life: CachePadded::default(), memory },
                Err(error) => fail(&error),
            })
            .collect();
        segments[0].words.open(0);
        Self { current: CachePadded::default(), segments, capacity: capacity as u64 }
    }

    /// Appends one record.
    ///
    /// # Panics
    ///
    /// If the record does not fit a segment.
    #[inline]
    pub fn append(&self, payload: &[u8]) {
        let crc = crc_fast::crc32_iscsi(payload);
        let len = (W::HEADER + payload.len()).next_multiple_of(8) as u64;
        assert!(len <= self.capacity, "record larger than a segment");
        loop {
            // Acquire: pairs with the Release in `rotate`.
            let sequence = self.current.load(Ordering::Acquire);
            let segment = self.segment(sequence);
            match segment.words.reserve(len, self.capacity) {
                Reserved::Granted(at) => {
                    // Relaxed: published by the opening that the grant happens after.
                    let base = segment.life.base.load(Ordering::Relaxed);
                    let header = payload.len() as u64 | u64::from(crc) << 32;
                    let from = at as usize + W::HEADER;
                    let to = segment.memory.as_ptr().wrapping_add(from);
                    // SAFETY: `at..at + len` lies within the segment and belongs to this call
                    // alone until `commit` (contract of `Words`); it holds header, payload and
                    // padding, and the header's last 8 bytes start at `from - 8`.
                    unsafe {
                        to.wrapping_sub(8)
                            .copy_from_nonoverlapping(header.to_le_bytes().as_ptr(), 8)
                    };
                    // SAFETY: as above; `payload` is a live slice outside of the segment.
                    unsafe { to.copy_from_nonoverlapping(payload.as_ptr(), payload.len()) };
                    segment.words.commit(&segment.memory, at, len, base);
                    return;
                }
                Reserved::Closer(end) => self.rotate(segment, end),
                Reserved::Closed => {
                    let mut pause = Pause::default();
                    // Relaxed: only to wait for news.
                    while self.current.load(Ordering::Relaxed) == sequence {
                        pause.wait();
                    }
                }
            }
        }
    }

    #[inline]
    fn segment(&self, sequence: u64) -> &Segment<W> {
        &self.segments[sequence as usize & (self.segments.len() - 1)]
    }

    #[cold]
    fn rotate(&self, segment: &Segment<W>, end: u64) {
        // Relaxed throughout: published by the openings. Not the sequence that the caller came by:
        // that may be of an earlier life.
        let following = segment.life.sequence.load(Ordering::Relaxed) + 1;
        let base = segment.life.base.load(Ordering::Relaxed) + end;
        segment.words.seal(end);
        let next = self.segment(following);
        let mut pause = Pause::default();
        while !next.words.is_complete(&next.memory) {
            pause.wait();
        }
        next.life.sequence.store(following, Ordering::Relaxed);
        next.life.base.store(base, Ordering::Relaxed);
        next.words.open(base);
        // A maximum: a late writer may have closed the next one already. Release: pairs with the
        // Acquire in `append`.
        self.current.fetch_max(following, Ordering::Release);
    }
}

/// Spins, and lets others run now and then.
#[derive(Default)]
struct Pause(u32);

impl Pause {
    fn wait(&mut self) {
        self.0 += 1;
        if self.0.is_multiple_of(64) {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

impl<W: Words> Log for ProtoRing<W> {
    type Writer<'a>
        = &'a Self
    where
        W: 'a;

    fn writer(&self, _: usize) -> &Self {
        self
    }
}

impl<W: Words> Writer for &ProtoRing<W> {
    #[inline]
    fn append(&mut self, payload: &[u8]) {
        ProtoRing::append(self, payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::{Counter, LOOK, NO_LOOK, PREFETCH, Packed, Striped, Tagged};

    /// Fills a small ring from several threads and finds every record of each segment whole.
    fn keeps_records_whole<W: Words>() {
        const THREADS: u8 = 4;
        let ring = ProtoRing::<W>::new(512, 4);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let ring = &ring;
                scope.spawn(move || {
                    for n in 0..2000usize {
                        ring.append(&vec![thread; (n * 7 + usize::from(thread)) % 90]);
                    }
                });
            }
        });
        let mut records = 0;
        for segment in &ring.segments {
            // SAFETY: the writers are gone, and nobody else has the ring.
            let bytes = unsafe {
                std::slice::from_raw_parts(segment.memory.as_ptr(), segment.memory.len())
            };
            let mut at = 0;
            while at + W::HEADER <= bytes.len() {
                let header = &bytes[at + W::HEADER - 8..at + W::HEADER];
                let header = u64::from_le_bytes(header.try_into().unwrap());
                let (len, crc) = (header as u32 as usize, (header >> 32) as u32);
                let Some(payload) = bytes.get(at + W::HEADER..at + W::HEADER + len) else { break };
                if len >= 90 || crc_fast::crc32_iscsi(payload) != crc {
                    break;
                }
                assert!(payload.iter().all(|&b| b == payload[0] && b < THREADS));
                at += (W::HEADER + len).next_multiple_of(8);
                records += 1;
            }
            // The newest life of the open segment may be short; the others are nearly full.
            assert!(at > 512 - 90 - 24 || records > 0);
        }
        assert!(records >= 10, "{records}");
    }

    #[test]
    fn counter() {
        keeps_records_whole::<Counter<NO_LOOK>>();
        keeps_records_whole::<Counter<LOOK>>();
        keeps_records_whole::<Counter<PREFETCH>>();
    }

    #[test]
    fn packed() {
        keeps_records_whole::<Packed>();
    }

    #[test]
    fn striped() {
        keeps_records_whole::<Striped>();
    }

    #[test]
    fn tagged() {
        keeps_records_whole::<Tagged<false>>();
        keeps_records_whole::<Tagged<true>>();
    }
}
