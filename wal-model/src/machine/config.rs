//! What is checked: how many writers, what they do, what may go wrong.

use wal_core::Lsn;
use wal_core::segment::place::{Layout, Place};

use super::bug::Bug;

/// Bytes of a frame header, and of a record unless a machine says otherwise.
pub const UNIT: u64 = 64;

/// Where records start in a segment.
pub const START: u64 = UNIT;

/// One call of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// Appends a record: `Wal::append`.
    Append,
    /// Reserves a record and drops the reservation.
    Void,
    /// Appends a record in a frame of its own.
    Direct,
    /// Waits until everything appended before is durable: `Wal::sync`.
    Sync,
    /// Waits until the writer's last record is durable: `Wal::wait_durable`.
    Wait,
    /// Closes the log.
    Close,
}

impl Op {
    /// Whether the call takes space, so that only an open log accepts it.
    pub(super) const fn appends(self) -> bool {
        !matches!(self, Self::Sync | Self::Wait)
    }

    /// Whether the call claims a frame of its own.
    pub(super) const fn claims(self) -> bool {
        matches!(self, Self::Direct | Self::Close)
    }
}

/// A model to check.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Segments of the ring.
    pub segments: usize,
    /// The shape of the log.
    pub layout: Layout,
    /// Stripes of a segment's count of committed bytes.
    pub stripes: usize,
    /// Bytes of a record.
    pub record: u64,
    /// Bytes of a frame that a writer claims for a record of its own.
    pub direct: u64,
    /// What each writer does.
    pub programs: Vec<Vec<Op>>,
    /// Writes in flight at once.
    pub depth: usize,
    /// Whether the sink starts writes without waiting for them, and makes each durable by itself.
    pub starts: bool,
    /// Whether writes and syncs can fail.
    pub failures: bool,
    /// Whether the sink can refuse to create a file, once.
    pub refusals: bool,
    /// Whether the machine can crash.
    pub crashes: bool,
    /// Whether the owner of a direct frame can give it up.
    pub gives_up: bool,
    /// Whether states that differ only in which of the like writers is which count as one. Sound
    /// since no writer's number occurs anywhere but as its place in the list of writers.
    pub symmetric: bool,
    /// A fault of the protocol.
    pub bug: Bug,
}

impl Machine {
    /// Writers that all do the same, over segments of one record and files of two segments, with
    /// failures and crashes.
    #[must_use]
    pub fn new(writers: usize, segments: usize, program: &[Op]) -> Self {
        Self::mixed(segments, vec![program.to_vec(); writers])
    }

    /// Writers of which each has its own program.
    #[must_use]
    pub fn mixed(segments: usize, programs: Vec<Vec<Op>>) -> Self {
        Self {
            segments,
            stripes: 1,
            layout: Layout { segment: 0, file: 0, align: UNIT },
            record: UNIT,
            direct: 2 * UNIT,
            programs,
            depth: 1,
            starts: false,
            failures: true,
            refusals: false,
            crashes: true,
            gives_up: true,
            symmetric: true,
            bug: Bug::None,
        }
        .with_records(1)
    }

    /// The same with a fault.
    #[must_use]
    pub fn with(mut self, bug: Bug) -> Self {
        self.bug = bug;
        self
    }

    /// The same with segments of so many records, and files of two segments.
    #[must_use]
    pub const fn with_records(mut self, records: u64) -> Self {
        self.layout.segment = START + records * self.record;
        self.layout.file = 4096 + 2 * self.layout.segment;
        self
    }

    /// Records that fit a segment.
    #[must_use]
    pub const fn records(&self) -> u64 {
        (self.layout.segment - START) / self.record
    }

    /// Bytes of the frame that a call claims for itself; a close mark is a header alone.
    pub(super) const fn claimed(&self, op: Op) -> u64 {
        match op {
            Op::Direct => self.direct,
            Op::Close => START,
            _ => 0,
        }
    }

    /// Where the log begins.
    #[must_use]
    pub const fn first(&self) -> Place {
        Place { base: Lsn::ZERO, file: 1, file_base: Lsn::ZERO, file_capacity: self.layout.file }
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    /// The stripe that a writer commits to in its call number `done`. A thread may use any, in any
    /// order, and those that run the same program need not use different ones.
    pub(super) const fn stripe(&self, program: usize, done: usize) -> usize {
        (program + done) % self.stripes
    }

    /// Slot of a segment.
    #[must_use]
    pub const fn slot(&self, sequence: u64) -> usize {
        (sequence % self.segments as u64) as usize
    }

    /// The first multiple of the alignment at or after `position`; the model's own arithmetic, to
    /// hold that of the log against.
    pub(crate) const fn align_up(&self, position: u64) -> u64 {
        position.div_ceil(self.layout.align) * self.layout.align
    }
}
