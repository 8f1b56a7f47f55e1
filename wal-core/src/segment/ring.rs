//! Reserve, commit, seal, activate: the loops around the pure transitions of [`super::word`].

use crossbeam_utils::CachePadded;

use super::buffer::{Buffer, Filler};
use super::place::{Layout, Place};
use super::word::{
    Arrived, Current, Fill, Gate, Left, Reserved, SealAttempt, State, Stripe, Tail, state,
};
use crate::format::{frame, record};
use crate::lsn::Lsn;
use crate::probe::{Event, Probe};
use crate::sink::SegmentMemory;
use crate::sync::{AtomicU8, AtomicU64, Ordering, yield_now};

/// Where records start in a segment: right behind the frame header.
pub(crate) const START: u64 = frame::HEADER_LEN as u64;

/// Stripes of a segment's count of committed bytes; a power of two. More would help more writers at
/// once, and make each sealer count more of them. A checker of orderings can do with two.
const STRIPES: usize = if cfg!(wal_loom) { 2 } else { 4 };

/// A segment: its words on lines of their own, so that reserving and committing do not disturb
/// each other, nor the fields that all writers read.
struct Segment {
    tail: CachePadded<AtomicU64>,
    stripes: [CachePadded<AtomicU64>; STRIPES],
    fill: CachePadded<AtomicU64>,
    life: CachePadded<Life>,
    buffer: Buffer,
}

/// What one life of a segment is told when it is activated (rule 3) and sealed (rule 2).
struct Life {
    gate: AtomicU8,
    sequence: AtomicU64,
    salt: AtomicU64,
    place: AtomicPlace,
    /// Position at which the segment was sealed.
    sealed: AtomicU64,
    /// Length of the frame that goes directly behind the segment; 0 for none.
    direct: AtomicU64,
    /// Where the next segment starts.
    next: AtomicPlace,
}

/// A [`Place`] in atomics: plain data, published by the words.
struct AtomicPlace {
    base: AtomicU64,
    file: AtomicU64,
    file_base: AtomicU64,
    file_capacity: AtomicU64,
}

impl AtomicPlace {
    fn new(place: Place) -> Self {
        Self {
            base: AtomicU64::new(place.base.get()),
            file: AtomicU64::new(place.file),
            file_base: AtomicU64::new(place.file_base.get()),
            file_capacity: AtomicU64::new(place.file_capacity),
        }
    }

    // Relaxed: published and read under the orderings of `tail`, `gate` and `fill`, as the table in
    // the parent module says; except for `next_lsn`.
    fn load(&self) -> Place {
        Place {
            base: Lsn::new(self.base.load(Ordering::Relaxed)),
            file: self.file.load(Ordering::Relaxed),
            file_base: Lsn::new(self.file_base.load(Ordering::Relaxed)),
            file_capacity: self.file_capacity.load(Ordering::Relaxed),
        }
    }

    fn store(&self, place: Place) {
        // Release: pairs with the Acquire in `base`.
        self.base.store(place.base.get(), Ordering::Release);
        self.file.store(place.file, Ordering::Relaxed);
        self.file_base.store(place.file_base.get(), Ordering::Relaxed);
        self.file_capacity.store(place.file_capacity, Ordering::Relaxed);
    }

    /// The base for one who may find that of a later life, and who must then find all that came
    /// before that life.
    fn base(&self) -> Lsn {
        // Acquire: pairs with the Release in `store`.
        Lsn::new(self.base.load(Ordering::Acquire))
    }
}

/// A granted reservation: what its holder needs to fill and commit it.
#[derive(Clone, Copy)]
pub(crate) struct Grant {
    slot: usize,
    sequence: u64,
    len: u64,
    /// Stream position of the reservation.
    pub(crate) lsn: Lsn,
    /// Salt of the file that it will lie in.
    pub(crate) salt: u64,
}

/// What an attempt to reserve came to.
pub(crate) enum Claim {
    /// The space is reserved.
    Granted(Grant, Filler),
    /// Nothing is reserved: segment `sequence` is closed and the next not active yet.
    Full {
        /// The closed segment.
        sequence: u64,
    },
}

/// A sealed and complete segment, as the leader of the flush finds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealed {
    pub(crate) sequence: u64,
    pub(crate) slot: usize,
    pub(crate) place: Place,
    pub(crate) salt: u64,
    /// Bytes from the frame header to the last record's end; [`START`] if it holds none.
    pub(crate) len: u64,
    /// Length of the direct frame behind it, 0 for none.
    pub(crate) direct: u64,
    /// Records in it, void ones not counted.
    pub(crate) records: u64,
}

/// How many segments are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Occupancy {
    pub(crate) queued: usize,
    pub(crate) active: usize,
    pub(crate) writing: usize,
}

/// Tells what a writer's step obliges it to do beyond the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub(crate) struct Duty {
    /// A segment was activated: wake who waits for space.
    pub(crate) activated: bool,
    /// A segment was handed over: wake who flushes.
    pub(crate) handed_over: bool,
}

impl Duty {
    pub(crate) const NONE: Self = Self { activated: false, handed_over: false };

    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            activated: self.activated | other.activated,
            handed_over: self.handed_over | other.handed_over,
        }
    }
}

/// Asks for memory that lies in the file at a segment's place, if there is any. Must not block.
pub(crate) trait Lend: Fn(&Place) -> Option<SegmentMemory> {}

impl<F: Fn(&Place) -> Option<SegmentMemory>> Lend for F {}

/// The ring of segments.
pub(crate) struct Ring<P> {
    current: CachePadded<AtomicU64>,
    segments: Box<[Segment]>,
    layout: Layout,
    salt_seed: u64,
    probe: P,
}

impl<P: Probe> Ring<P> {
    /// A ring over `buffers` (2 to 1024 of them, each `layout.segment` bytes) whose first segment
    /// is active at `first`.
    pub(crate) fn new(
        buffers: Vec<Buffer>,
        layout: Layout,
        first: Place,
        salt_seed: u64,
        probe: P,
    ) -> Self {
        let segments: Box<[Segment]> = buffers
            .into_iter()
            .enumerate()
            .map(|(slot, buffer)| Segment {
                tail: CachePadded::new(AtomicU64::new(Tail::closed(slot as u64, layout.segment).0)),
                stripes: std::array::from_fn(|_| CachePadded::new(AtomicU64::new(Stripe::OPEN.0))),
                fill: CachePadded::new(AtomicU64::new(Fill::QUEUED.0)),
                life: CachePadded::new(Life {
                    gate: AtomicU8::new(Gate::FREE.0),
                    sequence: AtomicU64::new(slot as u64),
                    salt: AtomicU64::new(0),
                    place: AtomicPlace::new(first),
                    sealed: AtomicU64::new(0),
                    direct: AtomicU64::new(0),
                    next: AtomicPlace::new(first),
                }),
                buffer,
            })
            .collect();
        let ring = Self {
            current: CachePadded::new(AtomicU64::new(Current::new(0, 0).0)),
            segments,
            layout,
            salt_seed,
            probe,
        };
        // In memory of its own: its file is not made yet.
        ring.activate(0, 0, first, &|_| None);
        ring
    }

    pub(crate) const fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) const fn probe(&self) -> &P {
        &self.probe
    }

    /// The salt of file `sequence`: a fixed random function of the log's seed, so that whoever
    /// activates a segment knows it without asking (splitmix64's finaliser).
    pub(crate) const fn salt(&self, file: u64) -> u64 {
        let mut x = self.salt_seed ^ file.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    const fn slot_after(&self, slot: usize) -> usize {
        if slot + 1 == self.segments.len() { 0 } else { slot + 1 }
    }

    /// Which segment is, or was last, active: a number to compare, by which nothing is found.
    pub(crate) fn current(&self) -> u64 {
        Current(self.current.load(Ordering::Relaxed)).sequence()
    }

    /// Reserves `len` bytes, a multiple of 8 and at most the segment's room: one addition, unless
    /// a segment ends. Never waits. `may_rotate` is asked by a sealer before the next segment is
    /// activated, `lend` by its activator for memory at its place.
    #[inline]
    pub(crate) fn reserve(
        &self,
        len: u64,
        may_rotate: impl Fn() -> bool,
        lend: impl Lend,
    ) -> (Claim, Duty) {
        let mut duty = Duty::NONE;
        loop {
            // Acquire: pairs with the Release in `raise`, so that the tail is not found closed for
            // being that of an earlier life.
            let current = Current(self.current.load(Ordering::Acquire));
            // Nobody adds to a word that is known to be closed: that bounds how far additions can
            // push it (see `Tail::POSITION_BITS`).
            if current.is_full() {
                return (Claim::Full { sequence: current.sequence() }, duty);
            }
            let segment = &self.segments[current.slot()];
            // Acquire: pairs with the Release store in `activate`.
            let before = Tail(segment.tail.fetch_add(len, Ordering::Acquire));
            match before.reserve(len, self.layout.segment) {
                Reserved::Granted(at) => {
                    return (self.grant(segment, current, at, len), duty);
                }
                Reserved::Sealer(end) => {
                    duty = duty.and(self.seal(current.slot(), end, 0, &may_rotate, &lend).1);
                }
                Reserved::Closed => self.mark_full(current),
            }
        }
    }

    /// Says that the segment seen is closed, unless a later one is active already.
    #[cold]
    fn mark_full(&self, seen: Current) {
        // Relaxed: who reads this goes to sleep over it, or looks on; it continues the release of
        // whoever raised the word to the segment seen.
        self.current.fetch_max(seen.full().0, Ordering::Relaxed);
    }

    #[inline]
    fn grant(&self, segment: &Segment, seen: Current, at: u64, len: u64) -> Claim {
        // Relaxed: published by the tail that granted us (rule 3).
        let salt = segment.life.salt.load(Ordering::Relaxed);
        let base = segment.life.place.base.load(Ordering::Relaxed);
        let sequence = segment.life.sequence.load(Ordering::Relaxed);
        if sequence != seen.sequence() {
            // We came by a stale path, perhaps before the activator raised `current`. Whoever
            // learns of our record must find its segment: `next_lsn` above all.
            self.raise(sequence, seen.slot());
        }
        let grant = Grant { slot: seen.slot(), sequence, len, lsn: Lsn::new(base + at), salt };
        self.probe.event(Event::Reserve { sequence, lsn: grant.lsn, len });
        #[expect(unsafe_code, reason = "the one place that turns a grant into access")]
        // SAFETY: the tail has just granted `at..at + len` to this call alone; both are multiples
        // of 8, since `START` and every length is, and end within the capacity.
        let filler = unsafe { segment.buffer.filler(at as usize, len as usize) };
        Claim::Granted(grant, filler)
    }

    /// Commits a reservation whose bytes are filled, with so many `records`; 0 if they are void.
    /// Threads of different `lane`s do not get into each other's way.
    #[inline]
    pub(crate) fn commit(&self, grant: Grant, filler: Filler, records: u64, lane: usize) -> Duty {
        debug_assert_eq!(filler.len() as u64, grant.len);
        let Grant { slot, sequence, lsn, len, .. } = grant;
        self.probe.event(Event::Commit { sequence, lsn, len });
        let segment = &self.segments[slot];
        let step = Fill::step(len, records);
        // Release: pairs with the Acquire in `sweep`; carries the bytes just filled, and those of all
        // who added before, since additions continue each other's releases.
        let stripe = &segment.stripes[lane % STRIPES];
        let before = Stripe(stripe.fetch_add(step, Ordering::Release));
        if before.is_swept() { self.commit_late(segment, sequence, step) } else { Duty::NONE }
    }

    /// Commits what the sealer has not counted.
    #[cold]
    fn commit_late(&self, segment: &Segment, sequence: u64, step: u64) -> Duty {
        // Release: pairs with the Acquire in `sealed`, as above.
        match Fill(segment.fill.fetch_add(step, Ordering::Release)).commit(step) {
            Left::Others => Duty::NONE,
            Left::Last => self.hand_over(sequence),
        }
    }

    fn hand_over(&self, sequence: u64) -> Duty {
        self.probe.event(Event::HandOver { sequence });
        Duty { activated: false, handed_over: true }
    }

    /// Closes the active segment and claims `direct` bytes of the stream right behind it, as one
    /// frame of their own, even if it is empty. Fails like [`reserve`](Self::reserve) if no segment is active.
    pub(crate) fn claim_direct(
        &self,
        direct: u64,
        may_rotate: impl Fn() -> bool,
        lend: impl Lend,
    ) -> (Result<Direct, u64>, Duty) {
        loop {
            // Orderings as in `reserve`.
            let current = Current(self.current.load(Ordering::Acquire));
            if current.is_full() {
                return (Err(current.sequence()), Duty::NONE);
            }
            let segment = &self.segments[current.slot()];
            let capacity = self.layout.segment;
            // More than any segment holds: crosses the end wherever the tail stands.
            let before = Tail(segment.tail.fetch_add(capacity + 1, Ordering::Acquire));
            if let Reserved::Sealer(end) = before.reserve(capacity + 1, capacity) {
                let (claimed, duty) = self.seal(current.slot(), end, direct, &may_rotate, &lend);
                return (Ok(claimed), duty);
            }
            self.mark_full(current);
        }
    }

    /// Seals the active segment, unless it is empty or its records all start at or behind `upto`.
    pub(crate) fn seal_active(
        &self,
        upto: Lsn,
        may_rotate: impl Fn() -> bool,
        lend: impl Lend,
    ) -> Duty {
        loop {
            // Relaxed: whoever wants a record sealed has learned of it, and so of its segment.
            let current = Current(self.current.load(Ordering::Relaxed));
            let segment = &self.segments[current.slot()];
            // Acquire: pairs with the Release store in `activate`.
            let word = segment.tail.load(Ordering::Acquire);
            let (start, capacity) = (START, self.layout.segment);
            match Tail(word).seal(current.sequence(), start, capacity) {
                SealAttempt::Close { after, len } => {
                    // Of the word's life or a later one. All before a later one is sealed already,
                    // so whoever wants no more than that needs nothing done, either.
                    // Relaxed: an older one is ruled out by the load of the word.
                    let base = Lsn::new(segment.life.place.base.load(Ordering::Relaxed));
                    if base.advance(START) >= upto {
                        return Duty::NONE;
                    }
                    // Acquire: as for the load, which has read the very same store unless the
                    // generation has gone round since (no test gets there). No release: closing
                    // publishes nothing. At most a segment's worth of reservations can make this
                    // fail before it is full.
                    let closed = segment.tail.compare_exchange_weak(
                        word,
                        after.0,
                        Ordering::Acquire,
                        Ordering::Relaxed,
                    );
                    if closed.is_ok() {
                        return self.seal(current.slot(), len, 0, &may_rotate, &lend).1;
                    }
                }
                SealAttempt::Empty => return Duty::NONE,
                SealAttempt::Stale => {
                    // Relaxed: as above.
                    if self.current() == current.sequence() {
                        return Duty::NONE;
                    }
                }
            }
        }
    }

    /// The sealer's duty (rule 2): says what follows, activates it or leaves that to whoever frees
    /// its slot, and only then lets the segment be complete. Waits for nobody.
    #[cold]
    fn seal(
        &self,
        slot: usize,
        len: u64,
        direct: u64,
        may_rotate: impl Fn() -> bool,
        lend: &impl Lend,
    ) -> (Direct, Duty) {
        let segment = &self.segments[slot];
        // Relaxed: published by the tail that we closed (rule 3).
        let sequence = segment.life.sequence.load(Ordering::Relaxed);
        let place = segment.life.place.load();
        let rotation = self.layout.rotate(place, len, direct);
        // Relaxed: published by the gate's and the fill's additions below.
        segment.life.sealed.store(len, Ordering::Relaxed);
        segment.life.direct.store(direct, Ordering::Relaxed);
        segment.life.next.store(rotation.next);

        self.probe.event(Event::Seal { sequence, len });
        let mut duty = Duty::NONE;
        if may_rotate() {
            duty.activated = self.arrive(sequence + 1, self.slot_after(slot), lend);
        }
        let bias = Fill::seal_bias(len - START, Self::sweep(segment));
        // Release: pairs with the Acquire in `sealed` and `next_lsn`; carries what the stripes had,
        // too.
        let fill = Fill(segment.fill.fetch_add(bias, Ordering::Release));
        if fill.seal(bias) == Left::Last {
            duty = duty.and(self.hand_over(sequence));
        }
        let at = rotation.direct.unwrap_or(rotation.next);
        (Direct { sequence, place: at, salt: self.salt(at.file) }, duty)
    }

    /// Counts what is committed to the stripes, each of which sends later commits to the fill.
    fn sweep(segment: &Segment) -> u64 {
        // Acquire: pairs with the Release of every commit that is counted.
        let sweep = |stripe: &AtomicU64| stripe.fetch_add(Stripe::SWEEP, Ordering::Acquire);
        segment.stripes.iter().map(|stripe| Stripe(sweep(stripe)).step()).sum()
    }

    /// Arrives at the gate of segment `sequence` and activates it if the other party has.
    fn arrive(&self, sequence: u64, slot: usize, lend: &impl Lend) -> bool {
        let gate = &self.segments[slot].life.gate;
        // AcqRel: whoever comes second sees all that the first did before it came: the sealer's
        // `next`, or the end of the leader's reads.
        match Gate(gate.fetch_add(1, Ordering::AcqRel)).arrive() {
            Arrived::First => false,
            Arrived::Second => {
                let before = if slot == 0 { self.segments.len() - 1 } else { slot - 1 };
                self.activate(sequence, slot, self.segments[before].life.next.load(), lend);
                true
            }
        }
    }

    /// Opens a segment (rule 3): everything a writer needs first, the tail next, `current` last.
    fn activate(&self, sequence: u64, slot: usize, place: Place, lend: &impl Lend) {
        let segment = &self.segments[slot];
        let lent = lend(&place).filter(|lent| self.fits(lent));
        #[expect(unsafe_code, reason = "the one place that chooses a life's memory")]
        // SAFETY: we are the activator (rule 3), the tail is opened below, and what was lent fits.
        unsafe {
            segment.buffer.begin(lent);
        }
        // Relaxed: published by the tail's Release below.
        segment.life.place.store(place);
        segment.life.sequence.store(sequence, Ordering::Relaxed);
        segment.life.salt.store(self.salt(place.file), Ordering::Relaxed);
        segment.life.gate.store(Gate::SHUT.0, Ordering::Relaxed);
        for stripe in &segment.stripes {
            stripe.store(Stripe::OPEN.0, Ordering::Relaxed);
        }
        segment.fill.store(Fill::OPEN.0, Ordering::Relaxed);
        self.probe.event(Event::Activate { sequence, base: place.base });
        // Release: pairs with the Acquire of whoever reserves, seals or asks.
        segment.tail.store(Tail::open(sequence, START).0, Ordering::Release);
        self.raise(sequence, slot);
    }

    /// Whether memory that was lent is such that a segment can use it.
    fn fits(&self, lent: &SegmentMemory) -> bool {
        lent.len() as u64 >= self.layout.segment
            && lent.as_ptr().addr().is_multiple_of(record::ALIGN)
    }

    /// Makes `current` name at least this segment. A maximum, not a store: a writer that came by a
    /// stale path may already have filled this segment and activated the next.
    fn raise(&self, sequence: u64, slot: usize) {
        // Release: pairs with the Acquire in `reserve`, `claim_direct` and `next_lsn`, so that who
        // learns of the segment finds it open.
        self.current.fetch_max(Current::new(sequence, slot).0, Ordering::Release);
    }

    /// Segment `sequence` if it is sealed and every writer has left it; the leader asks in order.
    pub(crate) fn sealed(&self, sequence: u64) -> Option<Sealed> {
        let slot = (sequence % self.segments.len() as u64) as usize;
        let segment = &self.segments[slot];
        // Not by `current`, which lags behind while an activator is between its last two steps.
        // Relaxed: this leader, or one it took over from, has freed the slot's earlier life, so
        // behind the tail of this one `fill` cannot be that of another.
        if !Tail(segment.tail.load(Ordering::Relaxed)).is_life(sequence) {
            return None;
        }
        // Acquire: pairs with the Release of every commit and of the seal.
        let complete = Fill(segment.fill.load(Ordering::Acquire));
        if !complete.is_complete() {
            return None;
        }
        // Relaxed: published by the fill (rule 4).
        let len = segment.life.sealed.load(Ordering::Relaxed);
        let direct = segment.life.direct.load(Ordering::Relaxed);
        Some(Sealed {
            sequence,
            slot,
            place: segment.life.place.load(),
            salt: segment.life.salt.load(Ordering::Relaxed),
            len,
            direct,
            records: complete.records(),
        })
    }

    /// How the segments stand, each looked at by itself.
    pub(crate) fn occupancy(&self) -> Occupancy {
        let mut found = Occupancy::default();
        for segment in &self.segments {
            // Relaxed: a picture that nobody acts upon.
            let tail = Tail(segment.tail.load(Ordering::Relaxed));
            let fill = Fill(segment.fill.load(Ordering::Relaxed));
            match state(tail, fill, self.layout.segment) {
                State::Queued => found.queued += 1,
                State::Active => found.active += 1,
                State::Writing => found.writing += 1,
            }
        }
        found
    }

    /// The memory of a complete segment; see [`Buffer::finish`].
    pub(crate) const fn buffer(&self, slot: usize) -> &Buffer {
        &self.segments[slot].buffer
    }

    /// Frees a segment that the leader is done with; returns whether that activated it anew.
    pub(crate) fn recycle(&self, sequence: u64, slot: usize, lend: impl Lend) -> bool {
        self.probe.event(Event::Recycle { sequence });
        #[expect(unsafe_code, reason = "the one place that ends a segment's life")]
        // SAFETY: the leader is done with the segment and frees it only below (rule 4).
        unsafe {
            self.segments[slot].buffer.end();
        }
        // Release: pairs with the Acquire in `next_lsn`, which may meet this in place of the seal.
        // The activator comes behind the gate's AcqRel.
        self.segments[slot].fill.store(Fill::QUEUED.0, Ordering::Release);
        self.arrive(sequence + self.segments.len() as u64, slot, &lend)
    }

    /// Where the next record goes at the earliest: the position just past everything reserved.
    /// Waits only while another thread is between closing a segment and saying where it ended.
    pub(crate) fn next_lsn(&self) -> Lsn {
        loop {
            // Acquire, all five: what is loaded is of this segment's life or a later one. A later
            // one stores it only after the segment was recycled, which is after `current` was
            // raised past it: so that shows below.
            let current = Current(self.current.load(Ordering::Acquire));
            let segment = &self.segments[current.slot()];
            let tail = Tail(segment.tail.load(Ordering::Acquire));
            let base = segment.life.place.base();
            // The seal's or the recycling's Release: both say where the segment ended.
            let fill = Fill(segment.fill.load(Ordering::Acquire));
            let next = segment.life.next.base();
            // Relaxed: ordered by the five before it.
            if self.current() != current.sequence() {
                continue;
            }
            if tail.is_open(self.layout.segment) {
                let position = tail.position();
                return if position == START { base } else { base.advance(position) };
            }
            if fill.is_sealed() {
                return next;
            }
            yield_now();
        }
    }
}

/// A stream range claimed for one frame of its own, right behind segment `sequence`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direct {
    pub(crate) sequence: u64,
    pub(crate) place: Place,
    pub(crate) salt: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::NoProbe;

    const LAYOUT: Layout = Layout { segment: 256, file: 4096 + 2 * 256, align: 8 };

    fn ring() -> Ring<NoProbe> {
        let memory = || SegmentMemory::heap(LAYOUT.segment as usize, 8).unwrap();
        let buffers = (0..2).map(|_| Buffer::new(memory())).collect();
        let (base, file_capacity) = (Lsn::ZERO, LAYOUT.file);
        let first = Place { base, file: 1, file_base: base, file_capacity };
        Ring::new(buffers, LAYOUT, first, 7, NoProbe)
    }

    fn reserve(ring: &Ring<NoProbe>) -> Option<(Grant, Filler)> {
        match ring.reserve(64, || true, |_| None).0 {
            Claim::Granted(grant, filler) => Some((grant, filler)),
            Claim::Full { .. } => None,
        }
    }

    #[test]
    fn attempts_on_a_full_ring_leave_its_words_alone() {
        let ring = ring();
        while reserve(&ring).is_some() {}
        let words = || {
            let word = |word: &AtomicU64| word.load(Ordering::Relaxed);
            (word(&ring.current), ring.segments.iter().map(|s| word(&s.tail)).collect::<Vec<_>>())
        };
        let before = words();
        assert_eq!(Current(before.0), Current::new(1, 1).full());
        for _ in 0..100 {
            assert!(reserve(&ring).is_none());
            assert!(ring.claim_direct(8, || true, |_| None).0.is_err());
        }
        assert_eq!(words(), before);
    }

    #[test]
    fn a_segment_is_complete_when_the_last_of_all_lanes_has_left() {
        let ring = ring();
        let grants: Vec<_> = std::iter::from_fn(|| reserve(&ring)).take(3).collect();
        assert!(!ring.seal_active(Lsn::MAX, || true, |_| None).handed_over);
        for (lane, (grant, filler)) in grants.into_iter().enumerate() {
            assert!(ring.sealed(0).is_none());
            let duty = ring.commit(grant, filler, 1, lane);
            assert_eq!(duty.handed_over, lane == 2);
        }
        assert_eq!(ring.sealed(0).map(|sealed| (sealed.len, sealed.records)), Some((256, 3)));
    }

    #[test]
    fn commits_before_the_seal_and_behind_it_are_counted_once() {
        let ring = ring();
        let mut grants =
            std::iter::from_fn(|| reserve(&ring)).take(3).collect::<Vec<_>>().into_iter();
        let mut commit = |lane| {
            let (grant, filler) = grants.next().unwrap();
            ring.commit(grant, filler, 1, lane).handed_over
        };
        assert!(!commit(0) && !commit(STRIPES + 1));
        assert!(!ring.seal_active(Lsn::MAX, || true, |_| None).handed_over);
        assert!(commit(1));
        assert_eq!(ring.sealed(0).map(|sealed| sealed.records), Some(3));
    }
}
