//! Which record can follow which.

use super::{Header, MIN_LSN, Record};
use crate::format::record;
use crate::lsn::Lsn;

/// How far an export has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    to: Lsn,
    /// The next record lies here or behind.
    pub(super) after: Lsn,
    /// Whether the last record's batch goes on, with a record right here.
    pub(super) batch: bool,
}

impl Order {
    pub(super) fn new(header: &Header) -> Self {
        Self { to: header.to, after: header.from.max(MIN_LSN), batch: false }
    }

    /// Takes `record` for the next one, if it can be.
    pub(super) fn admit(&mut self, record: &Record<'_>) -> bool {
        let lsn = record.lsn;
        let follows = if self.batch { lsn == self.after } else { lsn >= self.after };
        let aligned = lsn.get().is_multiple_of(record::ALIGN as u64);
        // The end saturates where there is no position any more.
        let fits = lsn < self.to && record.end() < Lsn::MAX;
        if !(follows && aligned && fits) {
            return false;
        }
        (self.after, self.batch) = (record.end(), record.more);
        true
    }
}
