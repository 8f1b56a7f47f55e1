//! Log sequence numbers.

use core::fmt;

/// Log sequence number: the byte position of a record in the logical log stream.
///
/// Positions only grow. A record's LSN is the position of its header's first byte; positions
/// taken by frame headers and padding are never the LSN of a record, so LSNs have gaps. Within
/// one log file an LSN maps to a file offset by subtraction (see `spec/FORMAT.md`).
///
/// The LSN of a *durable* record is never given to another record. A position whose record was
/// lost in a crash (it was never acknowledged as durable) may be assigned again after recovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Lsn(u64);

impl Lsn {
    /// The start of every new log. No record ever has this LSN (a frame header lies there).
    pub const ZERO: Self = Self(0);
    /// The largest position; used as "no limit".
    pub const MAX: Self = Self(u64::MAX);

    /// Wraps a raw byte position.
    #[must_use]
    pub const fn new(position: u64) -> Self {
        Self(position)
    }

    /// The raw byte position.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position `bytes` further on, saturating at [`Lsn::MAX`].
    #[must_use]
    pub const fn advance(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// Bytes from `earlier` to `self`, or `None` if `earlier` lies behind `self`.
    #[must_use]
    pub const fn distance_from(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }

    /// The first multiple of `align` (a power of two) at or after `self`.
    #[must_use]
    pub(crate) const fn align_up(self, align: u64) -> Self {
        Self(self.0.saturating_add(align - 1) & !(align - 1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Lsn> for u64 {
    fn from(lsn: Lsn) -> Self {
        lsn.0
    }
}

/// Where an appended record lies: what every append returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Appended {
    /// The record's own LSN (for a batch: of its first record). Pass this to
    /// [`Wal::wait_durable`](crate::Wal::wait_durable) and [`Wal::read_at`](crate::Wal::read_at).
    pub lsn: Lsn,
    /// The position just past the record's last byte (for a batch: past its last record).
    pub end: Lsn,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn align_up_rounds_to_the_next_multiple_and_keeps_multiples() {
        assert_eq!(Lsn::new(0).align_up(8), Lsn::new(0));
        assert_eq!(Lsn::new(1).align_up(8), Lsn::new(8));
        assert_eq!(Lsn::new(4096).align_up(4096), Lsn::new(4096));
        assert_eq!(Lsn::new(4097).align_up(4096), Lsn::new(8192));
    }

    #[test]
    fn distance_is_none_backwards() {
        assert_eq!(Lsn::new(5).distance_from(Lsn::new(2)), Some(3));
        assert_eq!(Lsn::new(2).distance_from(Lsn::new(5)), None);
    }
}
