//! The ring and the parker by themselves, for a model checker (`--cfg wal_loom` only; no part of
//! the interface).
#![allow(unsafe_code)]
#![allow(missing_docs, reason = "each wraps the item of the same name")]

use std::sync::{Mutex, PoisonError};

use crate::format::file_header::BLOCK_LEN;
use crate::lsn::Lsn;
use crate::probe::{Event, Probe};
use crate::segment::place::{Layout, Place};
use crate::segment::{self, Buffer, Claim, Duty, Filler, Grant};
use crate::sink::SegmentMemory;
use crate::sync;

/// Where records start in a segment.
pub const START: u64 = segment::START;

/// A ring whose first segment fills its file: from the second on, all have another salt.
pub struct Ring(segment::Ring<HandOvers>);

/// Which segments were handed over, in order; invisible to the checker.
#[derive(Default)]
struct HandOvers(Mutex<Vec<u64>>);

impl Probe for HandOvers {
    fn event(&self, event: Event) {
        if let Event::HandOver { sequence } = event {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sequence);
        }
    }
}

/// What a step obliges its caller to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Duties {
    pub activated: bool,
    pub handed_over: bool,
}

impl From<Duty> for Duties {
    fn from(duty: Duty) -> Self {
        Self { activated: duty.activated, handed_over: duty.handed_over }
    }
}

fn memory(len: u64) -> SegmentMemory {
    match SegmentMemory::heap(len as usize, 8) {
        Ok(memory) => memory,
        Err(error) => panic!("{error}"),
    }
}

/// Lends every other file's segments memory of another address, as a sink may.
fn lend(place: &Place) -> Option<SegmentMemory> {
    place.file.is_multiple_of(2).then(|| memory(place.file_capacity - BLOCK_LEN as u64))
}

/// A granted range, to be committed.
pub struct Granted {
    grant: Grant,
    filler: Filler,
}

/// A complete segment, as the leader finds it.
#[derive(Clone, Copy, Debug)]
pub struct Sealed {
    pub sequence: u64,
    pub place: Place,
    pub salt: u64,
    pub len: u64,
    pub direct: u64,
    slot: usize,
}

/// A range claimed for a frame of its own.
#[derive(Clone, Copy, Debug)]
pub struct Direct {
    pub sequence: u64,
    pub place: Place,
    pub salt: u64,
}

impl Ring {
    /// A ring of `segments` segments of `len` bytes, aligned to 8, open at position 0.
    ///
    /// # Panics
    ///
    /// If there is no memory.
    #[must_use]
    pub fn new(segments: usize, len: u64) -> Self {
        let buffers = (0..segments).map(|_| Buffer::new(memory(len))).collect();
        let layout = Layout { segment: len, file: 4096, align: 8 };
        let first = Place { base: Lsn::ZERO, file: 1, file_base: Lsn::ZERO, file_capacity: 4096 };
        Self(segment::Ring::new(buffers, layout, first, 7, HandOvers::default()))
    }

    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.0.layout()
    }

    #[must_use]
    pub const fn salt(&self, file: u64) -> u64 {
        self.0.salt(file)
    }

    /// The segments handed over so far, ascending.
    #[must_use]
    pub fn handed_over(&self) -> Vec<u64> {
        let mut sequences = self.0.probe().0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sequences.sort_unstable();
        sequences
    }

    #[must_use]
    pub fn current(&self) -> u64 {
        self.0.current()
    }

    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.0.next_lsn()
    }

    /// `Err` names the closed segment that was met.
    pub fn reserve(&self, len: u64) -> (Result<Granted, u64>, Duties) {
        let (claim, duty) = self.0.reserve(len, || true, lend);
        let claim = match claim {
            Claim::Granted(grant, filler) => Ok(Granted { grant, filler }),
            Claim::Full { sequence } => Err(sequence),
        };
        (claim, duty.into())
    }

    pub fn commit(&self, granted: Granted, lane: usize) -> Duties {
        self.0.commit(granted.grant, granted.filler, 1, lane).into()
    }

    pub fn claim_direct(&self, len: u64) -> (Result<Direct, u64>, Duties) {
        let (claim, duty) = self.0.claim_direct(len, || true, lend);
        let direct =
            |d: segment::Direct| Direct { sequence: d.sequence, place: d.place, salt: d.salt };
        (claim.map(direct), duty.into())
    }

    pub fn seal_active(&self, upto: Lsn) -> Duties {
        self.0.seal_active(upto, || true, lend).into()
    }

    #[must_use]
    pub fn sealed(&self, sequence: u64) -> Option<Sealed> {
        let s = self.0.sealed(sequence)?;
        let (sequence, slot) = (s.sequence, s.slot);
        Some(Sealed { sequence, place: s.place, salt: s.salt, len: s.len, direct: s.direct, slot })
    }

    /// The bytes of a complete segment.
    ///
    /// # Safety
    ///
    /// The caller is the only leader and has not recycled the segment.
    #[must_use]
    pub unsafe fn complete(&self, sealed: &Sealed) -> Vec<u8> {
        // SAFETY: the segment is complete, since it was found sealed, and the caller leads.
        unsafe { self.0.buffer(sealed.slot).complete(sealed.len as usize) }.to_vec()
    }

    /// Whether that activated the segment anew.
    pub fn recycle(&self, sealed: &Sealed) -> bool {
        self.0.recycle(sealed.sequence, sealed.slot, lend)
    }
}

impl Granted {
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        self.grant.lsn
    }

    #[must_use]
    pub const fn salt(&self) -> u64 {
        self.grant.salt
    }

    /// Fills the whole range with `byte`, header included.
    pub fn fill(&mut self, byte: u8) {
        let room = self.filler.len() - crate::format::record::HEADER_LEN;
        self.filler.put_header(0, [byte; crate::format::record::HEADER_LEN]);
        self.filler.payload_mut(room).fill(byte);
    }
}

/// Puts its thread to sleep until it is woken.
pub struct Parker(sync::Parker);

impl Parker {
    #[must_use]
    pub fn current() -> Self {
        Self(sync::Parker::current())
    }

    #[must_use]
    pub const fn waker(&self) -> &std::task::Waker {
        self.0.waker()
    }

    pub fn park(&self) {
        self.0.park();
    }
}
