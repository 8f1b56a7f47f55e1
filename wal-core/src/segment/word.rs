//! The atomic words of a segment as plain values, and every transition as a pure function.
//!
//! The concurrent code only loops or fetch-adds with these functions, and a model checker applies
//! the very same ones: there is no second copy of the protocol.
//!
//! ```text
//! Current  63..11 sequence   10..1 slot   0 full: that segment is closed, and no later one active
//!
//! Tail  63..49 generation (low bits of the sequence)   48..0 position
//!       position <= capacity    open: the segment is Active
//!       position >  capacity    closed: Queued or Writing; additions change nothing
//!
//! Stripe  63..28 records   27 swept   26..0 bytes: what some of the writers have committed
//!       not swept               open: the sealer will count it
//!       swept                   counted: who commits from now on adds to the fill as well
//!
//! Fill  63..28 records   27..0 bytes:
//!       0 ..= capacity          open: bytes committed to swept stripes so far
//!       SEALED - n              sealed and all stripes counted, n bytes still being copied
//!       SEALED                  sealed and complete: to be handed over, exactly once
//!       QUEUED                  free (all ones, records included)
//!
//! Gate  0 -> 1 -> 2             the segment's predecessor was sealed, the segment is free:
//!                               two arrivals in any order, and the second one activates
//! ```

/// The segment's life as an observer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Free, waiting for its turn.
    Queued,
    /// Open for reservations.
    Active,
    /// Sealed: its last writers may still be copying, or the sink has it.
    Writing,
}

/// Which segment is, or was last, active: its sequence and, so that nobody divides, its slot; and
/// whether somebody has found it closed. Later segments have larger words, and of one segment that
/// which says full is the larger: whoever has news raises the word to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Current(pub u64);

impl Current {
    const SLOT_BITS: u32 = 10;
    const FULL: u64 = 1;

    /// Segment `sequence`, in slot `slot` (below 1024), not known to be closed.
    #[must_use]
    pub const fn new(sequence: u64, slot: usize) -> Self {
        Self((sequence << Self::SLOT_BITS | slot as u64) << 1)
    }

    /// The segment's number.
    #[must_use]
    pub const fn sequence(self) -> u64 {
        self.0 >> (Self::SLOT_BITS + 1)
    }

    /// Where the segment is in the ring.
    #[must_use]
    pub const fn slot(self) -> usize {
        (self.0 >> 1 & ((1 << Self::SLOT_BITS) - 1)) as usize
    }

    /// The same segment, known to be closed.
    #[must_use]
    pub const fn full(self) -> Self {
        Self(self.0 | Self::FULL)
    }

    /// Whether the segment is known to be closed.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.0 & Self::FULL != 0
    }
}

/// Space reserved in a segment, and which life of the slot it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tail(pub u64);

/// What a reservation met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Reserved {
    /// The space is yours, from this position on; copy, then commit.
    Granted(u64),
    /// Yours was the addition that crossed the end: the segment is closed with this many bytes,
    /// and you alone seal it and see to the next.
    Sealer(u64),
    /// The segment was closed already; nothing has changed.
    Closed,
}

/// What an attempt to seal meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum SealAttempt {
    /// Install `after`; if that succeeds you alone seal the segment, which holds `len` bytes.
    Close {
        /// The closed word.
        after: Tail,
        /// Position at which the segment ends.
        len: u64,
    },
    /// Nothing has been reserved: an empty segment is not sealed.
    Empty,
    /// Closed already, or the slot lives another life: a stale decision does nothing.
    Stale,
}

impl Tail {
    /// Bits of the position. Additions to a closed word cannot reach the generation: none is larger
    /// than a segment and a byte (2^25 bytes and one), there are at most 2^22 threads (Linux), and
    /// each makes at most two in one life, namely one on a stale path, and one before it marks the
    /// segment as full for itself and everybody.
    pub const POSITION_BITS: u32 = 49;
    const POSITION: u64 = (1 << Self::POSITION_BITS) - 1;

    /// The word of life `sequence`, open from `start`.
    #[must_use]
    pub const fn open(sequence: u64, start: u64) -> Self {
        Self(sequence << Self::POSITION_BITS | start)
    }

    /// The word of life `sequence`, closed.
    #[must_use]
    pub const fn closed(sequence: u64, capacity: u64) -> Self {
        Self::open(sequence, capacity + 1)
    }

    /// The position, which lies past the capacity once the segment is closed.
    #[must_use]
    pub const fn position(self) -> u64 {
        self.0 & Self::POSITION
    }

    /// Whether the word belongs to life `sequence` of its slot.
    #[must_use]
    pub const fn is_life(self, sequence: u64) -> bool {
        self.0 >> Self::POSITION_BITS == sequence & (u64::MAX >> Self::POSITION_BITS)
    }

    /// Whether the segment accepts reservations.
    #[must_use]
    pub const fn is_open(self, capacity: u64) -> bool {
        self.position() <= capacity
    }

    /// What adding `len` to this word has done. `len` is at most `capacity + 1`.
    pub const fn reserve(self, len: u64, capacity: u64) -> Reserved {
        if !self.is_open(capacity) {
            Reserved::Closed
        } else if self.position() + len <= capacity {
            Reserved::Granted(self.position())
        } else {
            Reserved::Sealer(self.position())
        }
    }

    /// How to seal life `sequence` from this word, where records start at `start`.
    pub const fn seal(self, sequence: u64, start: u64, capacity: u64) -> SealAttempt {
        if !self.is_life(sequence) || !self.is_open(capacity) {
            SealAttempt::Stale
        } else if self.position() == start {
            SealAttempt::Empty
        } else {
            SealAttempt::Close { after: Self::closed(sequence, capacity), len: self.position() }
        }
    }
}

/// Bytes that some of a segment's writers have committed and, of no part in any decision, how many
/// records they are. Writers have stripes so that they need not fetch each other's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stripe(pub u64);

impl Stripe {
    /// Nothing is committed, and nothing counted.
    pub const OPEN: Self = Self(0);
    /// What a sealer adds that counts the stripe. Every byte of a segment is committed once, so that
    /// those of a stripe stay below this.
    pub const SWEEP: u64 = 1 << (Fill::BYTES_BITS - 1);

    /// Whether a sealer had counted the stripe: who adds to it then has to add to the fill as well.
    #[must_use]
    pub const fn is_swept(self) -> bool {
        self.0 & Self::SWEEP != 0
    }

    /// What was committed, as a [step](Fill::step) of the fill.
    #[must_use]
    pub const fn step(self) -> u64 {
        self.0 & !Self::SWEEP
    }
}

/// Bytes still missing in a segment once it is sealed; and, of no part in any decision, how many
/// records the others are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fill(pub u64);

/// What a commit or a seal has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Left {
    /// Others are still copying, or the segment is not sealed.
    Others,
    /// You left last: hand the segment over.
    Last,
}

impl Fill {
    /// The bias of a sealed segment: more than twice the largest one (2^25 bytes), so that open and
    /// sealed words are told apart, and the highest bit of the bytes, which is set in no other word
    /// of a segment in use than that of a complete one.
    pub const SEALED: u64 = 1 << (Self::BYTES_BITS - 1);
    /// Bits of the bytes; of the others there are enough for any number of records.
    const BYTES_BITS: u32 = 28;
    const BYTES: u64 = (1 << Self::BYTES_BITS) - 1;
    /// A free segment.
    pub const QUEUED: Self = Self(u64::MAX);
    /// A segment that is not sealed, without commits that its sealer would miss.
    pub const OPEN: Self = Self(0);

    /// What a writer adds, to a stripe or to this word, that commits `len` bytes, which are `records`
    /// records.
    #[must_use]
    pub const fn step(len: u64, records: u64) -> u64 {
        records << Self::BYTES_BITS | len
    }

    /// What adding a [`step`](Self::step) to this word has done. One that is committed to is not
    /// free, so a look at one bit will do.
    pub const fn commit(self, step: u64) -> Left {
        if (self.0 + step) & Self::SEALED != 0 { Left::Last } else { Left::Others }
    }

    const fn bytes(self) -> u64 {
        self.0 & Self::BYTES
    }

    /// Records committed so far, in a segment that is not free.
    #[must_use]
    pub const fn records(self) -> u64 {
        self.0 >> Self::BYTES_BITS
    }

    /// What a sealer adds when `reserved` bytes were reserved in all, of which it has found so many
    /// in the stripes.
    #[must_use]
    pub const fn seal_bias(reserved: u64, stripes: u64) -> u64 {
        Self::SEALED - reserved + stripes
    }

    /// What adding this [bias](Self::seal_bias) to this word has done.
    pub const fn seal(self, bias: u64) -> Left {
        self.commit(bias)
    }

    /// Whether every reserved byte of a sealed segment is committed.
    #[must_use]
    pub const fn is_complete(self) -> bool {
        self.bytes() == Self::SEALED
    }

    /// Whether the sealer has said where the segment ends (in this life or, once the segment is
    /// free, in the last).
    #[must_use]
    pub const fn is_sealed(self) -> bool {
        self.bytes() > Self::SEALED / 2
    }

    /// Bytes reserved and not committed, when `reserved` bytes were reserved so far and so many are
    /// in the stripes that no sealer has counted: the writers in flight, in bytes.
    #[must_use]
    pub const fn in_flight(self, reserved: u64, stripes: u64) -> u64 {
        if self.0 == Self::QUEUED.0 {
            0
        } else if self.is_sealed() {
            Self::SEALED - self.bytes()
        } else {
            reserved - self.bytes() - stripes
        }
    }
}

/// The state that two words spell.
#[must_use]
pub const fn state(tail: Tail, fill: Fill, capacity: u64) -> State {
    if tail.is_open(capacity) {
        State::Active
    } else if fill.0 == Fill::QUEUED.0 {
        State::Queued
    } else {
        State::Writing
    }
}

/// Who has arrived at a segment's gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gate(pub u8);

/// What an arrival at a gate means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Arrived {
    /// The other party will activate the segment.
    First,
    /// You activate the segment.
    Second,
}

impl Gate {
    /// Nobody has arrived.
    pub const SHUT: Self = Self(0);
    /// The segment is free and its predecessor is still open.
    pub const FREE: Self = Self(1);

    /// What adding one arrival to this word has done.
    pub const fn arrive(self) -> Arrived {
        if self.0 == 0 { Arrived::First } else { Arrived::Second }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAP: u64 = 1000;

    #[test]
    fn a_reservation_up_to_the_very_end_is_granted_and_one_byte_more_seals() {
        let at = Tail::open(3, 900);
        assert_eq!(at.reserve(100, CAP), Reserved::Granted(900));
        assert_eq!(at.reserve(101, CAP), Reserved::Sealer(900));
        let full = Tail::open(3, CAP);
        assert!(full.is_open(CAP));
        assert_eq!(full.reserve(8, CAP), Reserved::Sealer(CAP));
        assert_eq!(Tail::closed(3, CAP).reserve(8, CAP), Reserved::Closed);
    }

    #[test]
    fn seal_refuses_empty_closed_and_stale_segments() {
        let seal = |tail: Tail, sequence| tail.seal(sequence, 64, CAP);
        assert_eq!(seal(Tail::open(3, 64), 3), SealAttempt::Empty);
        assert_eq!(seal(Tail::open(3, 72), 4), SealAttempt::Stale);
        assert_eq!(seal(Tail::closed(3, CAP), 3), SealAttempt::Stale);
        let after = Tail::closed(3, CAP);
        assert_eq!(seal(Tail::open(3, 72), 3), SealAttempt::Close { after, len: 72 });
        // The generation keeps the low 16 bits of the sequence.
        assert!(Tail::open(3 + (1 << 16), 64).is_life(3));
    }

    #[test]
    fn states_are_told_from_the_words() {
        assert_eq!(state(Tail::open(0, 64), Fill::OPEN, CAP), State::Active);
        assert_eq!(state(Tail::closed(0, CAP), Fill::OPEN, CAP), State::Writing);
        assert_eq!(state(Tail::closed(0, CAP), Fill(Fill::SEALED), CAP), State::Writing);
        assert_eq!(state(Tail::closed(0, CAP), Fill::QUEUED, CAP), State::Queued);
        let complete = |fill: Fill| (fill.is_sealed(), fill.is_complete());
        assert_eq!(complete(Fill::OPEN), (false, false));
        assert_eq!(complete(Fill(Fill::seal_bias(8, 0))), (true, false));
        assert_eq!(complete(Fill(Fill::SEALED)), (true, true));
        assert_eq!(complete(Fill::QUEUED), (true, false));
    }

    #[test]
    fn a_later_segment_is_a_larger_word_whether_the_earlier_is_full_or_not() {
        let (seen, next) = (Current::new(7, 1023), Current::new(8, 0));
        assert!(seen.0 < seen.full().0 && seen.full().0 < next.0);
        assert_eq!((seen.full().sequence(), seen.full().slot()), (7, 1023));
        assert_eq!((next.sequence(), next.slot()), (8, 0));
        assert!(seen.full().is_full() && seen.full().full().is_full() && !next.is_full());
    }

    #[test]
    fn a_gate_opens_at_the_second_arrival() {
        assert_eq!(Gate::SHUT.arrive(), Arrived::First);
        assert_eq!(Gate::FREE.arrive(), Arrived::Second);
    }

    proptest! {
        /// Any interleaving of additions elects one sealer, grants disjoint gapless ranges, and
        /// one last leaver, whichever stripes its writers have.
        #[test]
        fn one_sealer_and_one_last_leaver(
            lens in proptest::collection::vec(8u64..400, 1..40),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 1..80),
            lanes in proptest::collection::vec(0usize..3, 40),
        ) {
            let mut tail = Tail::open(7, 64);
            let mut fill = Fill::OPEN;
            let (mut granted, mut sealed, mut lasts) = (Vec::new(), None, 0);
            for len in lens {
                match tail.reserve(len, CAP) {
                    Reserved::Granted(at) => granted.push((at, len)),
                    Reserved::Sealer(end) => prop_assert!(sealed.replace(end).is_none()),
                    Reserved::Closed => prop_assert!(sealed.is_some()),
                }
                tail = Tail(tail.0 + len);
            }
            let mut next = 64;
            for &(at, len) in &granted {
                prop_assert_eq!(at, next);
                next += len;
            }
            let reserved = next - 64;
            prop_assert!(sealed.is_none_or(|end| end == next));
            // Commit in any order, with the steps of the seal somewhere among the commits.
            let mut stripes = [Stripe::OPEN; 3];
            let (mut swept, mut records) = (Vec::new(), 0);
            let mut todo: Vec<Option<u64>> = granted.iter().map(|g| Some(g.1)).collect();
            todo.push(None);
            for (pick, lane) in order.iter().zip(&lanes).map(|(&pick, &lane)| (pick, lane)).cycle() {
                if todo.is_empty() { break; }
                let index = pick.index(todo.len());
                let mut left = Left::Others;
                match todo[index] {
                    Some(len) => {
                        todo.swap_remove(index);
                        // Void, single, or a batch: of no consequence.
                        let step = Fill::step(len, len % 3);
                        records += len % 3;
                        let before = stripes[lane];
                        stripes[lane] = Stripe(before.0 + step);
                        if before.is_swept() {
                            left = fill.commit(step);
                            fill = Fill(fill.0 + step);
                        }
                    }
                    None if swept.len() < stripes.len() => {
                        let stripe = &mut stripes[swept.len()];
                        swept.push(stripe.step());
                        stripe.0 += Stripe::SWEEP;
                    }
                    None => {
                        todo.swap_remove(index);
                        let bias = Fill::seal_bias(reserved, swept.iter().sum());
                        left = fill.seal(bias);
                        fill = Fill(fill.0 + bias);
                    }
                }
                lasts += u32::from(left == Left::Last);
                prop_assert_eq!(left == Left::Last, todo.is_empty());
                let counted = if fill.is_sealed() { 0 } else {
                    let open = stripes.iter().filter(|stripe| !stripe.is_swept());
                    open.map(|stripe| stripe.step()).chain(swept.iter().copied()).sum()
                };
                let bytes = Fill(counted).bytes();
                prop_assert_eq!(
                    fill.in_flight(reserved, bytes),
                    todo.iter().flatten().sum::<u64>()
                );
                prop_assert_eq!(fill.records() + Fill(counted).records(), records);
            }
            prop_assert_eq!(lasts, 1);
            prop_assert!(fill.is_complete());
        }
    }
}
