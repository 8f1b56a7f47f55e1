//! What is checked: how many writers, what they do, what may go wrong.

use wal_core::Lsn;
use wal_core::segment::place::{Layout, Place};

use super::bug::Bug;

/// Bytes of a frame header, and of every record in the model.
pub const UNIT: u64 = 64;

/// Where records start in a segment.
pub const START: u64 = UNIT;

/// One call of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Appends a record.
    Append,
    /// Appends a record and waits until it is durable.
    Sync,
    /// Reserves a record and drops the reservation.
    Void,
    /// Appends a record in a frame of its own.
    Direct,
}

/// A model to check.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Segments of the ring.
    pub segments: usize,
    /// Records that fit a segment.
    pub records: u64,
    /// Full segments that fit a file.
    pub per_file: u64,
    /// What each writer does.
    pub programs: Vec<Vec<Op>>,
    /// Writes in flight at once.
    pub depth: usize,
    /// Whether writes and syncs can fail.
    pub failures: bool,
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
            records: 1,
            per_file: 2,
            programs,
            depth: 1,
            failures: true,
            crashes: true,
            gives_up: true,
            symmetric: true,
            bug: Bug::None,
        }
    }

    /// The same with a fault.
    #[must_use]
    pub fn with(mut self, bug: Bug) -> Self {
        self.bug = bug;
        self
    }

    /// The shape of the log.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        let segment = START + self.records * UNIT;
        Layout { segment, file: 4096 + self.per_file * segment, align: UNIT }
    }

    /// Bytes of a direct frame: its header and one record.
    pub const DIRECT: u64 = 2 * UNIT;

    /// Where the log begins.
    #[must_use]
    pub const fn first(&self) -> Place {
        Place { base: Lsn::ZERO, file: 1, file_base: Lsn::ZERO, file_capacity: self.layout().file }
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    /// Slot of a segment.
    #[must_use]
    pub const fn slot(&self, sequence: u64) -> usize {
        (sequence % self.segments as u64) as usize
    }
}

/// The first multiple of the alignment at or after `position`; the model's own arithmetic, to hold
/// that of the log against.
pub(super) const fn align_up(position: u64) -> u64 {
    position.div_ceil(UNIT) * UNIT
}
