//! What a log should hold, kept the plain way: a list.
//!
//! It knows what was appended and what was acknowledged, and nothing of how a log works.

use std::collections::{BTreeMap, HashSet};

use wal_core::{Appended, Durability, Lsn};

/// A record and where it is.
pub type Found = (Lsn, Vec<u8>);

/// What was appended, what of it was acknowledged, and what may be there for all one knows.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    records: BTreeMap<Lsn, Record>,
    /// What was cut off: none of it is there, unless the device lies.
    cut_off: BTreeMap<Lsn, Record>,
    /// The device has lied.
    forgiven: bool,
    /// Calls that have not returned, or that failed: all of such a call or nothing may be there.
    maybe: Vec<Vec<Vec<u8>>>,
    /// Everything before is durable, by what calls have returned.
    durable: Lsn,
    /// Everything before has been handed to the system.
    written: Lsn,
    /// Where the log starts at the least, and at the most: truncation frees whole files.
    start: (Lsn, Lsn),
    /// A cut at this position has begun, and not ended: everything from there on may be gone.
    cutting: Option<Lsn>,
    /// No record lies between what is known and this position: it was cut off.
    floor: Lsn,
    payloads: u64,
    /// Every payload that was ever to be appended.
    ever: HashSet<Vec<u8>>,
    calls: u64,
}

/// Bytes of the stream that a record takes: a word for its length, one for its checksum, and zeros
/// up to a multiple of 8.
const fn stored(payload: &[u8]) -> u64 {
    (8 + payload.len() as u64).next_multiple_of(8)
}

#[derive(Clone, Debug)]
struct Record {
    payload: Vec<u8>,
    /// Records of one call are there together or not at all.
    call: u64,
}

impl Oracle {
    /// A payload of `len` bytes that no other call has, if it is long enough to tell.
    pub fn payload(&mut self, len: usize) -> Vec<u8> {
        self.payloads += 1;
        let mut x = self.payloads.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let byte = |_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        };
        let payload: Vec<u8> = (0..len).map(byte).collect();
        self.ever.insert(payload.clone());
        payload
    }

    /// Whether each of these was appended at some time, wherever it is found.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn knows(&self, found: &[Found]) -> Result<(), String> {
        match found.iter().find(|(_, payload)| !self.ever.contains(payload)) {
            Some((lsn, payload)) => Err(format!("{} bytes at {lsn} are nobody's", payload.len())),
            None => Ok(()),
        }
    }

    /// A call begins that appends these.
    pub fn begin(&mut self, payloads: &[Vec<u8>]) {
        self.maybe.push(payloads.to_vec());
    }

    /// The call that began last was refused: nothing of it is there.
    pub fn refused(&mut self) {
        self.maybe.pop();
    }

    /// The call that began last has returned.
    ///
    /// # Panics
    ///
    /// If it got a place that another record has, or one before a record that is there.
    pub fn appended(&mut self, appended: Appended) {
        let payloads = self.maybe.pop().unwrap_or_default();
        self.calls += 1;
        let call = self.calls;
        let mut lsn = appended.lsn;
        for payload in payloads {
            let end = lsn.advance(stored(&payload));
            let taken = self.records.range(lsn..end).next();
            assert!(taken.is_none() && lsn >= self.floor, "{lsn} was given twice");
            self.records.insert(lsn, Record { payload, call });
            lsn = end;
        }
        assert_eq!(lsn, appended.end, "the end of a call's records");
    }

    /// A wait for everything before `lsn` has returned.
    pub fn acknowledge(&mut self, lsn: Lsn, durability: Durability) {
        match durability {
            Durability::PowerLoss => self.durable = self.durable.max(lsn),
            Durability::ProcessCrash => self.written = self.written.max(lsn),
            _ => {}
        }
    }

    /// Truncation before `lsn` begins: the log may start there from now on.
    pub fn truncate(&mut self, lsn: Lsn) {
        self.start.1 = self.start.1.max(lsn);
    }

    /// Truncation has returned: the log starts at `first`.
    ///
    /// # Panics
    ///
    /// If that is behind what was asked for.
    pub fn truncated(&mut self, first: Lsn) {
        assert!(first <= self.start.1, "more was freed than was asked for");
        self.start.0 = self.start.0.max(first);
    }

    /// A cut at `lsn` begins: everything from there on may be gone from now on.
    pub fn cut(&mut self, lsn: Lsn) {
        self.cutting = Some(lsn);
    }

    /// The cut was refused.
    pub fn was_not_cut(&mut self) {
        self.cutting = None;
    }

    /// The cut has returned: what lay behind it is gone for good, and the log goes on at `next`.
    pub fn was_cut(&mut self, next: Lsn) {
        if let Some(lsn) = self.cutting.take() {
            self.cut_off.append(&mut self.records.split_off(&lsn));
            self.floor = self.floor.max(next);
            self.durable = self.durable.max(lsn);
            self.started_anew(next);
        }
    }

    /// If a cut has left nothing but what may be freed, the log may start behind it.
    fn started_anew(&mut self, start: Lsn) {
        if self.records.range(self.start.1..).next().is_none() {
            self.start.1 = self.start.1.max(start);
        }
    }

    /// Nothing is at this position or further on that is not known; nothing before it is given out.
    #[must_use]
    pub const fn floor(&self) -> Lsn {
        self.floor
    }

    /// The LSN of the newest record.
    #[must_use]
    pub fn last(&self) -> Option<Lsn> {
        self.records.keys().next_back().copied()
    }

    /// The LSN of the record `back` before the newest.
    #[must_use]
    pub fn nth_last(&self, back: usize) -> Option<Lsn> {
        self.records.keys().rev().nth(back).copied()
    }

    /// The LSN of the first record of the call that has appended the record `back` before the newest.
    #[must_use]
    pub fn call_before(&self, back: usize) -> Option<Lsn> {
        let call = self.records.get(&self.nth_last(back)?)?.call;
        self.records.iter().find(|(_, record)| record.call == call).map(|(&lsn, _)| lsn)
    }

    /// Everything that was acknowledged as durable, as far as the log still has to hold it.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.records.range(self.start.1..self.durable.max(self.start.1)).count()
    }

    /// Holds what was recovered, from `start` up to `end`, against what should be there, and goes
    /// on from it: what is gone is gone, and what is there is durable.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn recover(
        &mut self,
        (start, end): (Lsn, Lsn),
        found: &[Found],
        survived: Durability,
    ) -> Result<(), String> {
        if let Some(cut) = self.cutting.take().filter(|&cut| end <= cut || start > cut) {
            // It got through, or what lay behind was lost without it, and is then given out again.
            self.cut_off.append(&mut self.records.split_off(&cut));
            (self.durable, self.written) = (self.durable.min(cut), self.written.min(cut));
            self.started_anew(start);
        }
        let safe = match survived {
            Durability::ProcessCrash => self.durable.max(self.written),
            _ => self.durable,
        };
        // An empty log may start further on than it did: where it goes on.
        if let Some((lost, _)) = self.records.range(self.start.1..start.max(self.start.1)).next()
            && (*lost < safe || !found.is_empty())
        {
            return Err(format!("the log starts at {start}, behind {lost}"));
        }
        self.records = self.records.split_off(&start);
        if let Some((lost, _)) = self.records.range(end.max(start)..).next()
            && *lost < safe
        {
            return Err(format!("{lost} was acknowledged, and the log ends at {end}"));
        }
        let mut kept = BTreeMap::new();
        let mut rest = found;
        while let Some((lsn, payload)) = rest.first() {
            let back = self.cut_off.get(lsn).filter(|_| self.forgiven);
            match self.records.remove(lsn).or_else(|| back.cloned()) {
                Some(record) if record.payload == *payload => {
                    kept.insert(*lsn, record);
                    rest = &rest[1..];
                }
                Some(_) => return Err(format!("the record at {lsn} has changed")),
                None => {
                    let count = self.unconfirmed(rest)?;
                    self.calls += 1;
                    for (lsn, payload) in &rest[..count] {
                        let record = Record { payload: payload.clone(), call: self.calls };
                        kept.insert(*lsn, record);
                    }
                    rest = &rest[count..];
                }
            }
        }
        if let Some((missing, _)) = self.records.range(..end).next() {
            return Err(format!("the record at {missing} is missing before the end, {end}"));
        }
        if let (Some((_, last)), Some((lost, next))) =
            (kept.iter().next_back(), self.records.iter().next())
            && last.call == next.call
        {
            return Err(format!("a batch is there in part: {lost} is missing"));
        }
        self.records = kept;
        self.maybe.clear();
        (self.durable, self.written, self.start) = (end, end, (start, start));
        Ok(())
    }

    /// Nothing has to be there any more, and what was cut off may be: the device has lied.
    pub fn forgive(&mut self) {
        self.forgiven = true;
        (self.durable, self.written, self.floor) = (Lsn::ZERO, Lsn::ZERO, Lsn::ZERO);
    }

    /// Whether all of these were appended, wherever something between them is missing. A device that
    /// has lost where the log was cut back to brings back what was cut off.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn holds(&mut self, found: &[Found]) -> Result<(), String> {
        let mut rest = found;
        while let Some((lsn, payload)) = rest.first() {
            let is_in = |records: &BTreeMap<Lsn, Record>| {
                records.get(lsn).is_some_and(|record| record.payload == *payload)
            };
            let count = if is_in(&self.records) || is_in(&self.cut_off) {
                1
            } else if self.records.contains_key(lsn) {
                return Err(format!("the record at {lsn} has changed"));
            } else {
                self.unconfirmed(rest)?
            };
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Finds the unconfirmed call that left these records, and the number of them.
    fn unconfirmed(&mut self, found: &[Found]) -> Result<usize, String> {
        let is_here = |call: &Vec<Vec<u8>>| {
            call.len() <= found.len() && call.iter().zip(found).all(|(a, (_, b))| a == b)
        };
        match self.maybe.iter().position(is_here) {
            Some(at) => Ok(self.maybe.remove(at).len()),
            None => {
                let (lsn, payload) = &found[0];
                Err(format!("nobody appended the {} bytes at {lsn}, or not all", payload.len()))
            }
        }
    }
}
