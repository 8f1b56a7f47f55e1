//! What must be in the log, kept by the parent, and the check that it is. Deliberately naive.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::front::Front;
use super::op::{Digest, Kind, Op, Shape};
use crate::error::Error;
use crate::format::record::stored_len;
use crate::lsn::Lsn;
use crate::recover::{RecoveryReport, Verdict};
use crate::sink::SegmentSink;
use crate::wal::Wal;

/// Every record that was reported, and every step that was begun.
#[derive(Debug, Default)]
pub struct Ledger {
    records: BTreeMap<Lsn, Known>,
    /// Everything up to the record here was reported durable.
    acknowledged: Option<Lsn>,
    /// How often something was.
    acknowledgements: u64,
    /// By writer: its last step, if not all of its records have been reported.
    flights: BTreeMap<u32, Flight>,
    front: Front,
    /// Payloads that may be anywhere and any number of times.
    tolerated: Vec<Digest>,
    shape: Option<Shape>,
}

/// A record whose place is known.
#[derive(Clone, Copy, Debug)]
struct Known {
    digest: Digest,
    /// The last record that is there or not together with this one.
    last_of_batch: Lsn,
}

/// Records that may or may not be in the log, anywhere behind `after`.
#[derive(Debug)]
struct Flight {
    kind: Kind,
    digests: Vec<Digest>,
    lens: Vec<usize>,
    /// So many of them are known.
    known: usize,
    after: Option<Lsn>,
}

impl Ledger {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A process begins to do what `shape` says.
    pub fn begin(&mut self, shape: Shape) {
        self.shape = Some(shape);
        self.front.begin_life();
    }

    /// Tolerates records of this payload wherever they are, for what a process appends that is
    /// none of its [`Writers`](super::Writers).
    pub fn tolerate(&mut self, payload: &[u8]) {
        self.tolerated.push(Digest::of(payload));
    }

    /// Notes a line of the victim's.
    ///
    /// # Errors
    ///
    /// If the line makes no sense: the torture itself is broken.
    pub fn note(&mut self, line: &str) -> Result<(), String> {
        self.parse(line).ok_or_else(|| format!("the victim says what makes no sense: `{line}`"))?
    }

    fn parse(&mut self, line: &str) -> Option<Result<(), String>> {
        let mut words = line.split(' ');
        let kind = words.next()?;
        let numbers: Vec<u64> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
        match (kind, &numbers[..]) {
            ("begin", &[writer, number]) => {
                let writer = u32::try_from(writer).ok()?;
                let op = Op::of(self.shape.as_ref()?, writer, number);
                let after = self.flights.get(&writer).and_then(|flight| flight.after);
                let flight = Flight {
                    kind: op.kind,
                    digests: op.payloads.iter().map(|payload| Digest::of(payload)).collect(),
                    lens: op.payloads.iter().map(Vec::len).collect(),
                    known: 0,
                    after,
                };
                self.flights.insert(writer, flight);
            }
            ("at", &[writer, lsn]) => {
                let flight = self.flights.get_mut(&u32::try_from(writer).ok()?)?;
                let (records, lsn) = flight.place(Lsn::new(lsn));
                for (at, known) in records {
                    if self.records.insert(at, known).is_some() {
                        return Some(Err(format!("DUPLICATE: two records were given LSN {at}")));
                    }
                }
                if flight.after.is_some_and(|after| after >= lsn) {
                    return Some(Err(format!("OUT OF ORDER: writer {writer} was given LSN {lsn}")));
                }
                flight.after = Some(lsn);
            }
            ("durable", &[lsn]) => {
                self.acknowledgements += 1;
                self.acknowledged = self.acknowledged.max(Some(Lsn::new(lsn)));
            }
            ("truncate", &[writer, lsn]) => {
                let lsn = Lsn::new(lsn);
                self.front.begin(u32::try_from(writer).ok()?, lsn, self.acknowledged >= Some(lsn));
            }
            ("truncated", &[writer, start]) => {
                let longest = self.shape?.longest_file();
                return self.front.end(u32::try_from(writer).ok()?, Lsn::new(start), longest);
            }
            _ => return None,
        }
        Some(Ok(()))
    }

    /// How often the victims reported something to be durable.
    #[must_use]
    pub const fn acknowledgements(&self) -> u64 {
        self.acknowledgements
    }

    /// How often the victims reported that the log was truncated.
    #[must_use]
    pub const fn truncations(&self) -> u64 {
        self.front.truncations
    }

    /// Truncations after which the log started further on than anyone had reported before.
    #[must_use]
    pub const fn freeing_truncations(&self) -> u64 {
        self.front.freeing
    }

    /// Whether the process that began last has not reported the end of a truncation.
    #[must_use]
    pub fn is_truncating(&self) -> bool {
        self.front.is_truncating()
    }

    /// Checks what recovery made of the log that the victims left, reading all of it, and settles:
    /// what is there now has to stay, and what is not is gone for good.
    ///
    /// # Errors
    ///
    /// What is wrong, and where.
    pub fn settle<S: SegmentSink>(
        &mut self,
        wal: &Wal<S>,
        report: &RecoveryReport,
    ) -> Result<(), String> {
        let legal = match report.verdict {
            Verdict::New => self.records.is_empty() || self.acknowledged.is_none(),
            Verdict::Closed | Verdict::Clean | Verdict::Torn | Verdict::Ambiguous => true,
            Verdict::Salvaged => false,
        };
        if !legal {
            return Err(format!("no death of a process leaves this: {report}"));
        }
        let found = read_all(wal).map_err(|error| format!("UNREADABLE: {error}"))?;
        if found.len() as u64 != report.records {
            return Err(format!("{} records can be read, but {report}", found.len()));
        }
        self.hold(&found, report.start..report.end)?;
        self.flights.clear();
        Ok(())
    }

    /// [`settle`](Self::settle), with the records in the order of the log, which reaches from `start`
    /// to `end`.
    fn hold(
        &mut self,
        found: &[(Lsn, Digest)],
        Range { start, end }: Range<Lsn>,
    ) -> Result<(), String> {
        self.front.check(start)?;
        let mut there = BTreeSet::new();
        let mut batch: Option<(u32, Lsn)> = None;
        for &(lsn, digest) in found {
            if there.last().is_some_and(|last| *last >= lsn) || lsn < start || lsn >= end {
                return Err(format!("OUT OF ORDER: LSN {lsn} follows {:?}", there.last()));
            }
            there.insert(lsn);
            if let Some((writer, at)) = batch {
                batch = self.continue_batch(writer, at, lsn, digest)?;
                continue;
            }
            if let Some(known) = self.records.get(&lsn) {
                if known.digest != digest {
                    return Err(format!("ALTERED: the record at LSN {lsn} has other bytes"));
                }
                continue;
            }
            let candidate = self.flights.iter_mut().find(|(_, flight)| {
                flight.digests.get(flight.known) == Some(&digest)
                    && flight.kind != Kind::GivenUp
                    && flight.after.is_none_or(|after| after < lsn)
            });
            let Some((&writer, flight)) = candidate else {
                if self.tolerated.contains(&digest) {
                    self.records.insert(lsn, Known { digest, last_of_batch: lsn });
                    continue;
                }
                return Err(format!("INVENTED: nobody appended what is at LSN {lsn}"));
            };
            flight.after = Some(lsn);
            flight.known += 1;
            if flight.kind == Kind::Batch {
                batch = Some((writer, lsn.advance(stored_len(flight.lens[0]) as u64)));
            }
            self.records.insert(lsn, Known { digest, last_of_batch: lsn });
        }
        if let Some((writer, at)) = batch {
            return Err(format!("BROKEN BATCH: one of writer {writer} ends before LSN {at}"));
        }
        for (&lsn, known) in &self.records {
            if (lsn < start) != (known.last_of_batch < start) {
                return Err(format!("BROKEN BATCH: the log starts inside of one, at {start}"));
            }
            // As a truncation was asked for: the front has been checked.
            if lsn < start {
                continue;
            }
            let acknowledged = self.acknowledged.is_some_and(|acknowledged| lsn <= acknowledged);
            if acknowledged && !there.contains(&lsn) {
                return Err(format!("LOST: the record at LSN {lsn} was durable"));
            }
            if lsn < end && !there.contains(&lsn) {
                return Err(format!("NO PREFIX: LSN {lsn} is missing, the log ends at {end}"));
            }
            if (lsn < end) != (known.last_of_batch < end) {
                return Err(format!("BROKEN BATCH: the log ends inside of one, at {end}"));
            }
        }
        self.records.retain(|lsn, _| (start..end).contains(lsn));
        self.front.settle(start);
        // Opening has made all of it durable.
        self.acknowledged = self.acknowledged.max(there.last().copied());
        Ok(())
    }

    /// Looks at the record that comes while a batch nobody reported is not over.
    fn continue_batch(
        &mut self,
        writer: u32,
        at: Lsn,
        lsn: Lsn,
        digest: Digest,
    ) -> Result<Option<(u32, Lsn)>, String> {
        let broken = || format!("BROKEN BATCH: one of writer {writer} ends before LSN {at}");
        let flight = self.flights.get_mut(&writer).ok_or_else(broken)?;
        if lsn != at || flight.digests.get(flight.known) != Some(&digest) {
            return Err(broken());
        }
        let next = at.advance(stored_len(flight.lens[flight.known]) as u64);
        flight.known += 1;
        flight.after = Some(lsn);
        self.records.insert(lsn, Known { digest, last_of_batch: lsn });
        Ok((flight.known < flight.digests.len()).then_some((writer, next)))
    }
}

impl Flight {
    /// The next record lies at `lsn`, and with it all of a batch; returns them and the last place.
    fn place(&mut self, lsn: Lsn) -> (Vec<(Lsn, Known)>, Lsn) {
        let count = if self.kind == Kind::Batch { self.digests.len() } else { 1 };
        let mut places = vec![lsn];
        for len in &self.lens[self.known..self.known + count - 1] {
            places.push(places[places.len() - 1].advance(stored_len(*len) as u64));
        }
        let last_of_batch = places[count - 1];
        let digests = &self.digests[self.known..];
        let known = digests.iter().map(|&digest| Known { digest, last_of_batch });
        let records = places.into_iter().zip(known).collect();
        self.known += count;
        (records, last_of_batch)
    }
}

/// Every record of the log, in its order.
pub(super) fn read_all<S: SegmentSink>(wal: &Wal<S>) -> Result<Vec<(Lsn, Digest)>, Error> {
    let mut cursor = wal.cursor_from(wal.start_lsn())?;
    let mut found = Vec::new();
    while let Some(entry) = cursor.next()? {
        found.push((entry.lsn, Digest::of(entry.payload)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape::small(7, 2);

    /// The first step of writer 0 from `number` on that is of `kind`.
    fn step(kind: Kind, number: u64) -> (u64, Op) {
        let mut steps = (number..).map(|number| (number, Op::of(&SHAPE, 0, number)));
        steps.find(|(_, op)| op.kind == kind && op.payloads[0].len() > 16).unwrap()
    }

    /// Two records reported, the first of them durable; then a batch, begun and not reported.
    struct Case {
        ledger: Ledger,
        log: Vec<(Lsn, Digest)>,
        end: Lsn,
    }

    impl Case {
        /// Holds what is left of the log against the ledger.
        fn hold(&mut self) -> Result<(), String> {
            let start = self.log.first().map_or(self.end, |first| first.0);
            self.ledger.hold(&self.log, start..self.end)
        }

        /// The writer is about to truncate the log before its record `index`.
        fn truncate(&mut self, index: usize) -> Lsn {
            let lsn = self.log[index].0;
            self.ledger.note(&format!("truncate 0 {lsn}")).unwrap();
            lsn
        }
    }

    fn case() -> Case {
        let mut ledger = Ledger::new();
        ledger.begin(SHAPE);
        let (mut log, mut at) = (Vec::new(), Lsn::new(64));
        let mut put = |at: &mut Lsn, payload: &[u8]| {
            log.push((*at, Digest::of(payload)));
            let lsn = std::mem::replace(at, at.advance(stored_len(payload.len()) as u64));
            lsn.get()
        };
        let (first, one) = step(Kind::One, 0);
        let (second, two) = step(Kind::One, first + 1);
        for (number, op) in [(first, one), (second, two)] {
            ledger.note(&format!("begin 0 {number}")).unwrap();
            let lsn = put(&mut at, &op.payloads[0]);
            ledger.note(&format!("at 0 {lsn}")).unwrap();
            if number == first {
                ledger.note(&format!("durable {lsn}")).unwrap();
            }
        }
        let (number, batch) = step(Kind::Batch, second);
        ledger.note(&format!("begin 0 {number}")).unwrap();
        for payload in &batch.payloads {
            put(&mut at, payload);
        }
        Case { ledger, log, end: at }
    }

    impl Case {
        fn wrong(mut self, change: impl FnOnce(&mut Vec<(Lsn, Digest)>, &mut Lsn)) -> String {
            change(&mut self.log, &mut self.end);
            let wrong = self.ledger.hold(&self.log, Lsn::ZERO..self.end).unwrap_err();
            wrong.split(':').next().unwrap().to_owned()
        }
    }

    #[test]
    fn a_log_may_end_behind_whatever_is_durable() {
        let Case { mut ledger, log, end } = case();
        ledger.hold(&log, Lsn::ZERO..end).unwrap();
        assert_eq!(ledger.records.len(), log.len(), "what is found has to stay");
        for kept in [1, 2] {
            let Case { mut ledger, log, .. } = case();
            ledger.hold(&log[..kept], Lsn::ZERO..log[kept].0).unwrap();
            assert_eq!(ledger.records.len(), kept);
        }
    }

    #[test]
    fn what_is_wrong_is_found_by_name() {
        let other = Digest::of(b"other");
        assert_eq!(
            case().wrong(|log, end| {
                log.clear();
                *end = Lsn::ZERO;
            }),
            "LOST"
        );
        assert_eq!(case().wrong(|log, _| _ = log.remove(0)), "LOST");
        assert_eq!(case().wrong(|log, _| _ = log.remove(1)), "NO PREFIX");
        assert_eq!(case().wrong(|log, _| log[1].1 = other), "ALTERED");
        assert_eq!(case().wrong(|log, _| log.swap(0, 1)), "OUT OF ORDER");
        assert_eq!(case().wrong(|log, _| log.insert(1, log[1])), "OUT OF ORDER");
        assert_eq!(case().wrong(|log, _| _ = log.pop()), "BROKEN BATCH");
        assert_eq!(case().wrong(|log, _| log.last_mut().unwrap().1 = other), "BROKEN BATCH");
        assert_eq!(case().wrong(|log, _| log[2].1 = other), "INVENTED");
        let again = |log: &mut Vec<(Lsn, Digest)>, end: &mut Lsn| {
            log.push((*end, log[2].1));
            *end = end.advance(4096);
        };
        assert_eq!(case().wrong(again), "INVENTED", "a batch that is there twice");
    }

    #[test]
    fn what_was_settled_has_to_stay() {
        let Case { mut ledger, log, end } = case();
        ledger.hold(&log, Lsn::ZERO..end).unwrap();
        let wrong = ledger.hold(&log[..2], Lsn::ZERO..log[2].0).unwrap_err();
        assert!(wrong.starts_with("LOST"), "{wrong}");
    }

    #[test]
    fn a_log_may_start_wherever_a_truncation_stops() {
        for gone in 0..2 {
            let mut case = case();
            case.truncate(1);
            case.log.drain(..gone);
            case.hold().unwrap();
            assert_eq!(case.ledger.records.len(), case.log.len());
            assert_eq!((case.ledger.truncations(), case.ledger.is_truncating()), (0, true));
            let first = case.log.remove(0).0;
            assert!(case.hold().is_err_and(|wrong| wrong.starts_with("TOO FAR")), "{first}");
        }
    }

    #[test]
    fn what_a_truncation_leaves_or_takes_wrongly_is_found_by_name() {
        let with = |change: fn(&mut Case)| {
            let mut case = case();
            let lsn = case.truncate(1);
            case.ledger.note(&format!("truncated 0 {lsn}")).unwrap();
            case.log.remove(0);
            change(&mut case);
            let wrong = case.hold().err();
            wrong.map_or("right".to_owned(), |wrong| wrong.split(':').next().unwrap().to_owned())
        };
        assert_eq!(with(|_| {}), "right");
        assert_eq!(with(|case| _ = case.log.remove(0)), "TOO FAR");
        assert_eq!(with(|case| case.log.insert(0, (Lsn::ZERO, Digest::of(b"")))), "BACK AGAIN");
        assert_eq!(with(|case| case.log[0].1 = Digest::of(b"other")), "ALTERED");
        assert_eq!(with(|case| _ = case.log.remove(1)), "INVENTED", "the first of a batch");
        let batch = |case: &mut Case| {
            let first = case.log[1].0;
            case.ledger.note(&format!("at 0 {first}")).unwrap();
            case.truncate(2);
            case.log.drain(..2);
        };
        assert_eq!(with(batch), "BROKEN BATCH");
    }

    #[test]
    fn a_truncation_that_was_asked_for_in_an_earlier_life_is_over() {
        let mut case = case();
        case.truncate(1);
        case.hold().unwrap();
        case.log.remove(0);
        assert!(case.hold().is_err_and(|wrong| wrong.starts_with("TOO FAR")));
    }

    #[test]
    fn reports_that_cannot_be_are_refused() {
        let Case { mut ledger, .. } = case();
        let lines = ["", "at", "at 9 64", "begin 0", "durable x", "at 0 64", "truncated 0 64"];
        for line in lines {
            assert!(ledger.note(line).is_err(), "{line}");
        }
    }
}
