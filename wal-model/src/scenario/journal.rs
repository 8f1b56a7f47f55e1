//! What a run appended and what it was told, and whether an image of the disk agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use wal_core::sink::SegmentSink;
use wal_core::{Lsn, Wal};

/// Record `index` of `writer`: says whose it is, and has the bytes of no other.
pub(super) fn payload(writer: u8, index: u8, len: usize) -> Vec<u8> {
    let filled = (0..len.max(2)).map(|at| match at {
        0 => writer,
        1 => index,
        _ => (at as u8).wrapping_mul(writer | 1).wrapping_add(index),
    });
    filled.collect()
}

/// How much was acknowledged: everything up to and including the record at a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// Told to survive power loss.
    pub(super) durable: Option<Lsn>,
    /// Told to survive the process.
    pub(super) written: Option<Lsn>,
}

/// Written to by all threads of a run; no scheduling point within.
#[derive(Default)]
pub(super) struct Journal(Mutex<State>);

#[derive(Default)]
struct State {
    appended: BTreeMap<Lsn, Vec<u8>>,
    /// Positions of the records of each batch.
    batches: Vec<Vec<Lsn>>,
    /// Records whose append failed: a poisoned log may hold them all the same.
    failed: BTreeSet<Vec<u8>>,
    marks: Marks,
    /// Everything before this may be gone.
    truncated: Lsn,
}

impl Journal {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record has been appended at `lsn`.
    pub(super) fn appended(&self, lsn: Lsn, payload: Vec<u8>) {
        let before = self.state().appended.insert(lsn, payload);
        assert!(before.is_none(), "LSN {lsn} was given to two records");
    }

    /// A batch has been appended.
    pub(super) fn appended_batch(&self, records: Vec<(Lsn, Vec<u8>)>) {
        self.state().batches.push(records.iter().map(|record| record.0).collect());
        for (lsn, payload) in records {
            self.appended(lsn, payload);
        }
    }

    /// An append has failed.
    pub(super) fn failed(&self, payload: Vec<u8>) {
        self.state().failed.insert(payload);
    }

    /// Everything up to and including the record at `lsn` was said to survive power loss.
    pub(super) fn durable(&self, lsn: Lsn) {
        let marks = &mut self.state().marks;
        marks.durable = marks.durable.max(Some(lsn));
    }

    /// The same, to survive the process.
    pub(super) fn written(&self, lsn: Lsn) {
        let marks = &mut self.state().marks;
        marks.written = marks.written.max(Some(lsn));
    }

    /// The log is about to be truncated before `lsn`.
    pub(super) fn truncated(&self, lsn: Lsn) {
        let mut state = self.state();
        state.truncated = state.truncated.max(lsn);
    }

    pub(super) fn marks(&self) -> Marks {
        self.state().marks
    }

    /// The last record appended so far.
    pub(super) fn last(&self) -> Option<Lsn> {
        self.state().appended.last_key_value().map(|(&lsn, _)| lsn)
    }

    /// The first record behind `lsn`, if it lies before `end`.
    pub(super) fn between(&self, lsn: Option<Lsn>, end: Lsn) -> Option<Lsn> {
        let state = self.state();
        let mut behind = state.appended.keys().filter(|&&found| Some(found) > lsn);
        behind.next().copied().filter(|&first| first < end)
    }

    /// Some record appended so far.
    pub(super) fn nth(&self, n: usize) -> Option<(Lsn, Vec<u8>)> {
        let state = self.state();
        let count = state.appended.len();
        let found = state.appended.iter().nth(n.checked_rem(count)?);
        found.map(|(&lsn, payload)| (lsn, payload.clone()))
    }

    /// Holds what a log now contains against what was appended: a prefix of it, up to `acked` at
    /// least, without more than was truncated, byte for byte, and of each batch all or nothing.
    /// Every append has returned by now.
    pub(super) fn check<S: SegmentSink>(&self, wal: &Wal<S>, acked: Option<Lsn>, what: &str) {
        let records = match wal.iter_from(wal.start_lsn()) {
            Ok(records) => records.collect::<Result<Vec<_>, _>>(),
            Err(error) => Err(error),
        };
        let found: BTreeMap<Lsn, Vec<u8>> = match records {
            Ok(records) => records.into_iter().map(|r| (r.lsn, r.payload)).collect(),
            Err(error) => panic!("{what}: reading it fails: {error}"),
        };
        let start = wal.start_lsn();
        self.check_from(start, &found, what);
        let state = self.state();
        let lost = state.appended.range(state.truncated.min(start)..start).next();
        assert!(lost.is_none(), "{what}: {lost:?} is gone, truncated before {}", state.truncated);
        let end = found.last_key_value().or(state.appended.range(..start).next_back());
        let end = end.map(|(&lsn, _)| lsn);
        assert!(end >= acked, "{what}: {acked:?} was acknowledged, and the log ends at {end:?}");
    }

    /// Whether `found` is a prefix of what was appended.
    pub(super) fn check_prefix(&self, found: &BTreeMap<Lsn, Vec<u8>>, what: &str) {
        self.check_from(Lsn::ZERO, found, what);
    }

    /// Whether `found` is a prefix of what was appended at or behind `start`.
    pub(super) fn check_from(&self, start: Lsn, found: &BTreeMap<Lsn, Vec<u8>>, what: &str) {
        let state = self.state();
        let Some((&end, _)) = found.last_key_value() else { return };
        for (lsn, payload) in state.appended.range(start..=end) {
            match found.get(lsn) {
                Some(there) => assert!(there == payload, "{what}: the record at {lsn} has changed"),
                None => panic!("{what}: the record at {lsn} is missing before {end}"),
            }
        }
        for (lsn, payload) in found {
            assert!(
                state.appended.contains_key(lsn) || state.failed.contains(payload),
                "{what}: the record at {lsn} was never appended"
            );
        }
        for batch in &state.batches {
            let there = batch.iter().filter(|lsn| found.contains_key(lsn)).count();
            let whole = batch.iter().filter(|&&lsn| lsn >= start).count();
            assert!(there == 0 || there == whole, "{what}: a part of batch {batch:?}");
        }
    }
}
