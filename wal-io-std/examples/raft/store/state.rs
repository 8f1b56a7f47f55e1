//! What the log says, in memory: where each entry lies, and the marks.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

use openraft::{LogId, RaftLogId, RaftTypeConfig};
use wal_core::Lsn;

use super::record::{Marks, Record};

/// The state that the records up to some point amount to. Appending and reopening take the same
/// steps, one [`apply`](Self::apply) for each record, so that they cannot come to different ends.
pub(crate) struct State<C: RaftTypeConfig> {
    /// The entries, by index and without holes. Their LSNs grow, too.
    places: VecDeque<Place<C>>,
    marks: Marks<C>,
    /// Where the newest marks lie, if there are any.
    marks_at: Option<Lsn>,
}

/// Where an entry lies.
pub(crate) struct Place<C: RaftTypeConfig> {
    pub(crate) log_id: LogId<C::NodeId>,
    pub(crate) lsn: Lsn,
}

/// What a record changes.
pub(crate) enum Change<C: RaftTypeConfig> {
    Entry(LogId<C::NodeId>),
    Cut(LogId<C::NodeId>),
    Marks(Marks<C>),
}

impl<C: RaftTypeConfig> Change<C> {
    pub(crate) fn of(record: &Record<C>) -> Self {
        match record {
            Record::Entry(entry) => Self::Entry(entry.get_log_id().clone()),
            Record::Cut(since) => Self::Cut(since.clone()),
            Record::Marks(marks) => Self::Marks(marks.clone()),
        }
    }
}

/// An entry that would leave a hole, or be the second of its index.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotConsecutive<C: RaftTypeConfig> {
    pub(crate) last: Option<LogId<C::NodeId>>,
    pub(crate) next: LogId<C::NodeId>,
}

impl<C: RaftTypeConfig> Default for State<C> {
    fn default() -> Self {
        Self { places: VecDeque::new(), marks: Marks::default(), marks_at: None }
    }
}

impl<C: RaftTypeConfig> State<C> {
    /// Takes the next record, which lies at `lsn`.
    pub(crate) fn apply(&mut self, lsn: Lsn, change: Change<C>) -> Result<(), NotConsecutive<C>> {
        match change {
            Change::Entry(log_id) => {
                check_next::<C>(self.places.back().map(|place| &place.log_id), &log_id)?;
                self.places.push_back(Place { log_id, lsn });
            }
            Change::Cut(since) => {
                let kept = self.places.partition_point(|place| place.log_id.index < since.index);
                self.places.truncate(kept);
            }
            Change::Marks(marks) => {
                if let Some(purged) = &marks.purged {
                    let gone =
                        self.places.partition_point(|place| place.log_id.index <= purged.index);
                    self.places.drain(..gone);
                }
                self.marks = marks;
                self.marks_at = Some(lsn);
            }
        }
        Ok(())
    }

    /// Whether these entries may follow what is there.
    pub(crate) fn check<'a>(
        &self,
        entries: impl Iterator<Item = &'a LogId<C::NodeId>>,
    ) -> Result<(), NotConsecutive<C>>
    where
        C: 'a,
    {
        let mut last = self.last();
        for next in entries {
            check_next::<C>(last, next)?;
            last = Some(next);
        }
        Ok(())
    }

    /// Whether the entries begin where those that were purged end. Holds at the end of the log, not
    /// everywhere: what the first records of it rest on may be gone, as the last ones said it may.
    pub(crate) fn check_begin(&self) -> Result<(), NotConsecutive<C>> {
        match (&self.marks.purged, self.places.front()) {
            (purged @ Some(_), Some(first)) => check_next::<C>(purged.as_ref(), &first.log_id),
            _ => Ok(()),
        }
    }

    /// Leaves out the entries that a snapshot has already.
    pub(crate) fn leave_out_purged(&self, records: &mut Vec<Record<C>>) {
        let Some(purged) = &self.marks.purged else { return };
        records.retain(|record| match record {
            Record::Entry(entry) => entry.get_log_id().index > purged.index,
            Record::Cut(_) | Record::Marks(_) => true,
        });
    }

    /// The last entry, or else the last one purged.
    pub(crate) fn last(&self) -> Option<&LogId<C::NodeId>> {
        self.places.back().map(|place| &place.log_id).or(self.marks.purged.as_ref())
    }

    pub(crate) const fn marks(&self) -> &Marks<C> {
        &self.marks
    }

    /// Whether an entry at `index` or behind it is there.
    pub(crate) fn reaches(&self, index: u64) -> bool {
        self.places.back().is_some_and(|last| last.log_id.index >= index)
    }

    /// The entries with an index in `range` that are there.
    pub(crate) fn range(&self, range: &impl RangeBounds<u64>) -> impl Iterator<Item = &Place<C>> {
        let before = |place: &Place<C>| match range.start_bound() {
            Bound::Included(&start) => place.log_id.index < start,
            Bound::Excluded(&start) => place.log_id.index <= start,
            Bound::Unbounded => false,
        };
        let from = self.places.partition_point(before);
        self.places.range(from..).take_while(move |place| range.contains(&place.log_id.index))
    }

    /// Everything before this is of no more use: only entries that were purged or cut, and marks that
    /// newer ones replace. `None` if there is nothing at all.
    pub(crate) fn needed_from(&self) -> Option<Lsn> {
        let first = self.places.front().map(|place| place.lsn);
        [first, self.marks_at].into_iter().flatten().min()
    }
}

/// Whether `next` may follow `last`.
fn check_next<C: RaftTypeConfig>(
    last: Option<&LogId<C::NodeId>>,
    next: &LogId<C::NodeId>,
) -> Result<(), NotConsecutive<C>> {
    match last {
        Some(last) if last.index.checked_add(1) != Some(next.index) => {
            Err(NotConsecutive { last: Some(last.clone()), next: next.clone() })
        }
        _ => Ok(()),
    }
}
