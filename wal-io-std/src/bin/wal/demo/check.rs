//! What must be in the log, kept outside of it, and the check that it is.

use std::fmt;

use wal_core::Lsn;
use wal_core::format::checksum::crc32c;

use super::corpus::Corpus;
use super::stamp::Stamp;
use super::wire::Place;

/// So many faults are kept; the rest is counted.
const FAULTS_KEPT: usize = 20;

/// A way in which a log is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A record that must be there is not.
    Missing { writer: u32, seq: u64, lsn: Lsn },
    /// A record has other bytes than were appended.
    Altered { writer: u32, seq: u64, lsn: Lsn },
    /// A record is not where it was reported to be.
    Moved { writer: u32, seq: u64, lsn: Lsn, expected: Lsn },
    /// A record does not follow its writer's previous one.
    OutOfOrder { writer: u32, expected: u64, found: u64, lsn: Lsn },
    /// A record that nobody appended.
    Invented { lsn: Lsn },
    /// A batch that is not all there, or not in one piece.
    BrokenBatch { writer: u32, seq: u64, lsn: Lsn },
    /// The log cannot be read, though nobody but its own process has touched it.
    Unreadable { reason: String },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { writer, seq, lsn } => {
                write!(f, "MISSING: record {seq} of writer {writer}, durable at LSN {lsn}")
            }
            Self::Altered { writer, seq, lsn } => {
                write!(f, "ALTERED: record {seq} of writer {writer} at LSN {lsn}")
            }
            Self::Moved { writer, seq, lsn, expected } => write!(
                f,
                "MOVED: record {seq} of writer {writer} is at LSN {lsn}, but was durable at \
                 {expected}"
            ),
            Self::OutOfOrder { writer, expected, found, lsn } => write!(
                f,
                "OUT OF ORDER: record {found} of writer {writer} at LSN {lsn}, where {expected} \
                 belongs"
            ),
            Self::Invented { lsn } => write!(f, "INVENTED: nobody appended what is at LSN {lsn}"),
            Self::BrokenBatch { writer, seq, lsn } => write!(
                f,
                "BROKEN BATCH: record {seq} of writer {writer} at LSN {lsn} has not the rest of \
                 its batch around it"
            ),
            Self::Unreadable { reason } => write!(f, "UNREADABLE: {reason}"),
        }
    }
}

/// What is known of one writer's records.
#[derive(Default)]
struct Writer {
    /// The records that must be there, by sequence number.
    durable: Vec<Place>,
    /// Records with a lower sequence number have been handed to the log.
    sent: u64,
}

/// What every writer has sent and was told to be durable.
pub(crate) struct Ledger {
    writers: Vec<Writer>,
}

impl Ledger {
    pub(crate) fn new(writers: usize) -> Self {
        Self { writers: std::iter::repeat_with(Writer::default).take(writers).collect() }
    }

    /// Notes that `records` records from `first` on are about to be appended; `false` if that
    /// does not continue what was sent before.
    #[must_use]
    pub(crate) fn sent(&mut self, writer: u32, first: u64, records: u64) -> bool {
        match self.writers.get_mut(writer as usize) {
            Some(writer) if writer.sent == first => {
                writer.sent += records;
                true
            }
            _ => false,
        }
    }

    /// Notes that the records from `first` on are durable; `false` if that does not continue what
    /// was durable before, or was never sent.
    #[must_use]
    pub(crate) fn durable(&mut self, writer: u32, first: u64, places: &[Place]) -> bool {
        let Some(writer) = self.writers.get_mut(writer as usize) else { return false };
        let end = first.saturating_add(places.len() as u64);
        if first != writer.durable.len() as u64 || end > writer.sent {
            return false;
        }
        writer.durable.extend_from_slice(places);
        true
    }

    /// Records that must be there.
    pub(crate) fn durable_records(&self) -> u64 {
        self.writers.iter().map(|writer| writer.durable.len() as u64).sum()
    }

    /// Records that were sent, the durable ones included.
    pub(crate) fn sent_records(&self) -> u64 {
        self.writers.iter().map(|writer| writer.sent).sum()
    }

    /// The next sequence number of each writer.
    pub(crate) fn next(&self) -> Vec<u64> {
        self.writers.iter().map(|writer| writer.sent).collect()
    }

    /// The last durable record of each writer that has one.
    pub(crate) fn last_places(&self) -> impl Iterator<Item = (u32, u64, Place)> {
        self.writers.iter().enumerate().filter_map(|(index, writer)| {
            let place = writer.durable.last()?;
            Some((index as u32, writer.durable.len() as u64 - 1, *place))
        })
    }

    /// Starts to check a log against this.
    pub(crate) fn check<'a>(&'a self, corpus: &'a Corpus) -> Check<'a> {
        Check {
            ledger: self,
            corpus,
            found: self.writers.iter().map(|_| Found::default()).collect(),
            batch: None,
            faults: Faults::default(),
        }
    }

    /// Takes over what a check has found: all of it must be there from now on, acknowledged or
    /// not, and whatever else was sent is gone for good.
    pub(crate) fn settle(&mut self, recovered: Recovered) {
        for (writer, durable) in self.writers.iter_mut().zip(recovered.places) {
            writer.sent = durable.len() as u64;
            writer.durable = durable;
        }
    }
}

/// The faults found, up to a limit.
#[derive(Default)]
pub(crate) struct Faults {
    pub(crate) kept: Vec<Fault>,
    pub(crate) total: u64,
}

impl Faults {
    /// The one fault of a log that cannot be read.
    pub(crate) fn unreadable(reason: String) -> Self {
        Self { kept: vec![Fault::Unreadable { reason }], total: 1 }
    }

    fn push(&mut self, fault: Fault) {
        self.total += 1;
        if self.kept.len() < FAULTS_KEPT {
            self.kept.push(fault);
        }
    }
}

/// The records of each writer in a log without faults.
pub(crate) struct Recovered {
    places: Vec<Vec<Place>>,
}

/// What a check has seen of one writer.
#[derive(Default)]
struct Found {
    /// The sequence number that comes next.
    next: u64,
    /// By sequence number.
    places: Vec<Option<Place>>,
}

/// A check under way: shown every record of a log, in the order of the log.
pub(crate) struct Check<'a> {
    ledger: &'a Ledger,
    corpus: &'a Corpus,
    found: Vec<Found>,
    /// The record before, if its batch goes on.
    batch: Option<(Stamp, Lsn)>,
    faults: Faults,
}

impl Check<'_> {
    /// Looks at the record at `lsn`.
    pub(crate) fn record(&mut self, lsn: Lsn, payload: &[u8]) {
        let stamp = Stamp::parse(payload);
        let known = stamp.and_then(|s| Some((s, self.ledger.writers.get(s.writer as usize)?)));
        let Some((stamp, sender)) = known.filter(|(s, sender)| s.seq < sender.sent) else {
            self.faults.push(Fault::Invented { lsn });
            return;
        };
        self.continue_batch(stamp, lsn);
        let Stamp { writer, seq, .. } = stamp;
        let crc = crc32c(payload);
        let whole = payload.len().checked_sub(stamp.text_len).is_some_and(|head| head <= 100)
            && stamp.payload(self.corpus) == payload;
        if let Some(expected) = sender.durable.get(seq as usize) {
            if !whole || crc != expected.crc {
                self.faults.push(Fault::Altered { writer, seq, lsn });
            }
            if lsn != expected.lsn {
                self.faults.push(Fault::Moved { writer, seq, lsn, expected: expected.lsn });
            }
        } else if !whole {
            self.faults.push(Fault::Altered { writer, seq, lsn });
        }
        let found = &mut self.found[writer as usize];
        if seq != found.next {
            self.faults.push(Fault::OutOfOrder { writer, expected: found.next, found: seq, lsn });
        }
        found.next = seq + 1;
        // Not beyond what was sent, which the child reported record by record.
        if found.places.len() <= seq as usize {
            found.places.resize(seq as usize + 1, None);
        }
        found.places[seq as usize] = Some(Place { lsn, crc });
    }

    /// Looks at a payload that was read by the LSN that record `seq` of `writer` must have.
    pub(crate) fn direct(&mut self, writer: u32, seq: u64, place: Place, payload: &[u8]) {
        if crc32c(payload) != place.crc {
            self.faults.push(Fault::Altered { writer, seq, lsn: place.lsn });
        }
    }

    /// Notes a fault found otherwise.
    pub(crate) fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Checks that batches are whole, and that nothing lies between their records.
    fn continue_batch(&mut self, stamp: Stamp, lsn: Lsn) {
        match self.batch.take() {
            Some((before, at)) => {
                let follows = stamp.writer == before.writer
                    && stamp.parts == before.parts
                    && stamp.part == before.part + 1;
                if !follows {
                    let Stamp { writer, seq, .. } = before;
                    self.faults.push(Fault::BrokenBatch { writer, seq, lsn: at });
                }
            }
            None if stamp.part != 0 => {
                let Stamp { writer, seq, .. } = stamp;
                self.faults.push(Fault::BrokenBatch { writer, seq, lsn });
            }
            None => {}
        }
        if u64::from(stamp.part) + 1 < u64::from(stamp.parts) {
            self.batch = Some((stamp, lsn));
        }
    }

    /// Ends the check: what was found, or what is wrong.
    pub(crate) fn finish(mut self) -> Result<Recovered, Faults> {
        if let Some((Stamp { writer, seq, .. }, lsn)) = self.batch.take() {
            self.faults.push(Fault::BrokenBatch { writer, seq, lsn });
        }
        let mut places = Vec::with_capacity(self.found.len());
        for (index, (found, writer)) in self.found.iter().zip(&self.ledger.writers).enumerate() {
            for (seq, place) in writer.durable.iter().enumerate() {
                if found.places.get(seq).is_none_or(Option::is_none) {
                    let (writer, seq, lsn) = (index as u32, seq as u64, place.lsn);
                    self.faults.push(Fault::Missing { writer, seq, lsn });
                }
            }
            // Without faults there are no gaps.
            places.push(found.places.iter().copied().flatten().collect());
        }
        if self.faults.total == 0 { Ok(Recovered { places }) } else { Err(self.faults) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of four records of writer 0, one of writer 1 and a batch of two of writer 1; all but
    /// the last of writer 0 were acknowledged.
    struct Case {
        corpus: Corpus,
        ledger: Ledger,
        log: Vec<(Lsn, Vec<u8>)>,
    }

    const ORDER: [(u32, u64, u32, u32); 7] = [
        (0, 0, 0, 1),
        (1, 0, 0, 1),
        (0, 1, 0, 1),
        (1, 1, 0, 2),
        (1, 2, 1, 2),
        (0, 2, 0, 1),
        (0, 3, 0, 1),
    ];

    fn case() -> Case {
        let corpus = Corpus::new(b"first line\nsecond\n\nfourth\n".to_vec()).unwrap();
        let mut ledger = Ledger::new(2);
        let mut log = Vec::new();
        for (index, (writer, seq, part, parts)) in ORDER.into_iter().enumerate() {
            let lsn = Lsn::new(64 + 100 * index as u64);
            let text_len = corpus.line_len(writer, seq);
            let payload = Stamp { writer, seq, part, parts, text_len }.payload(&corpus);
            assert!(ledger.sent(writer, seq, 1));
            if (writer, seq) != (0, 3) {
                let place = Place { lsn, crc: crc32c(&payload) };
                assert!(ledger.durable(writer, seq, &[place]));
            }
            log.push((lsn, payload));
        }
        Case { corpus, ledger, log }
    }

    impl Case {
        fn faults(&self) -> Vec<Fault> {
            let mut check = self.ledger.check(&self.corpus);
            for (lsn, payload) in &self.log {
                check.record(*lsn, payload);
            }
            check.finish().map_or_else(|faults| faults.kept, |_| Vec::new())
        }
    }

    #[test]
    fn a_whole_log_has_no_faults_with_or_without_what_was_not_acknowledged() {
        let mut case = case();
        assert_eq!(case.faults(), []);
        case.log.pop();
        assert_eq!(case.faults(), []);
    }

    #[test]
    fn a_missing_record_is_found_at_the_end_and_in_the_middle() {
        let mut last = case();
        last.log.truncate(5);
        let missing = Fault::Missing { writer: 0, seq: 2, lsn: last_lsn(5) };
        assert_eq!(last.faults(), [missing]);

        let mut middle = case();
        middle.log.remove(2);
        let faults = middle.faults();
        let missing = Fault::Missing { writer: 0, seq: 1, lsn: last_lsn(2) };
        assert!(faults.contains(&missing), "{faults:?}");
        assert!(
            faults
                .iter()
                .any(|fault| matches!(fault, Fault::OutOfOrder { expected: 1, found: 2, .. }))
        );
    }

    fn last_lsn(index: u64) -> Lsn {
        Lsn::new(64 + 100 * index)
    }

    #[test]
    fn an_altered_record_is_found_whether_acknowledged_or_not() {
        for index in [0, 6] {
            let mut case = case();
            *case.log[index].1.last_mut().unwrap() ^= 1;
            let faults = case.faults();
            assert!(matches!(faults[..], [Fault::Altered { writer: 0, .. }]), "{faults:?}");
            case.log[index].1.pop();
            assert!(matches!(case.faults()[..], [Fault::Altered { writer: 0, .. }]));
        }
    }

    #[test]
    fn an_acknowledged_record_with_another_valid_text_is_altered() {
        let mut case = case();
        let stamp = Stamp { writer: 0, seq: 1, part: 0, parts: 1, text_len: 3 };
        case.log[2].1 = stamp.payload(&case.corpus);
        assert!(matches!(case.faults()[..], [Fault::Altered { writer: 0, seq: 1, .. }]));
    }

    #[test]
    fn swapped_records_are_out_of_order_and_in_the_wrong_place() {
        let mut case = case();
        let (first, second) = (case.log[0].1.clone(), case.log[2].1.clone());
        (case.log[0].1, case.log[2].1) = (second, first);
        let faults = case.faults();
        let is_order = |fault: &&Fault| matches!(fault, Fault::OutOfOrder { writer: 0, .. });
        let is_moved = |fault: &&Fault| matches!(fault, Fault::Moved { writer: 0, .. });
        assert!(faults.iter().any(|fault| is_order(&fault)), "{faults:?}");
        assert_eq!(faults.iter().filter(is_moved).count(), 2, "{faults:?}");
    }

    #[test]
    fn a_repeated_record_is_out_of_order() {
        let mut case = case();
        let (_, payload) = case.log[6].clone();
        case.log.push((last_lsn(7), payload));
        let expected = Fault::OutOfOrder { writer: 0, expected: 4, found: 3, lsn: last_lsn(7) };
        assert_eq!(case.faults(), [expected]);
    }

    #[test]
    fn invented_records_are_found() {
        let corpus = case().corpus;
        let stamp = |writer, seq| Stamp { writer, seq, part: 0, parts: 1, text_len: 1 };
        let invented = [
            b"no head".to_vec(),
            Vec::new(),
            stamp(0, 4).payload(&corpus),
            stamp(2, 0).payload(&corpus),
            stamp(u32::MAX, u64::MAX).payload(&corpus),
        ];
        for payload in invented {
            let mut case = case();
            case.log.push((last_lsn(7), payload));
            assert_eq!(case.faults(), [Fault::Invented { lsn: last_lsn(7) }]);
        }
    }

    #[test]
    fn a_batch_must_be_whole_and_in_one_piece() {
        let mut half = case();
        half.ledger = Ledger::new(2);
        assert!(half.ledger.sent(0, 0, 4) && half.ledger.sent(1, 0, 3));
        half.log.truncate(4);
        assert!(matches!(half.faults()[..], [Fault::BrokenBatch { writer: 1, seq: 1, .. }]));

        let mut split = case();
        split.ledger = Ledger::new(2);
        assert!(split.ledger.sent(0, 0, 4) && split.ledger.sent(1, 0, 3));
        split.log.swap(4, 5);
        assert!(split.faults().iter().any(|fault| matches!(fault, Fault::BrokenBatch { .. })));
    }

    #[test]
    fn a_head_that_lies_about_its_text_is_altered_and_costs_no_memory() {
        let mut case = case();
        case.log[6].1 = format!("writer 0 seq 3 part 0/1 text {}: x", usize::MAX).into_bytes();
        assert!(matches!(case.faults()[..], [Fault::Altered { writer: 0, seq: 3, .. }]));
    }

    #[test]
    fn what_was_recovered_once_must_be_there_for_ever() {
        let mut case = case();
        let mut check = case.ledger.check(&case.corpus);
        case.log.iter().for_each(|(lsn, payload)| check.record(*lsn, payload));
        let recovered = check.finish().map_err(|faults| faults.kept).unwrap();
        case.ledger.settle(recovered);
        assert_eq!(case.ledger.durable_records(), 7);
        assert_eq!(case.ledger.next(), [4, 3]);
        case.log.pop();
        assert_eq!(case.faults(), [Fault::Missing { writer: 0, seq: 3, lsn: last_lsn(6) }]);
    }

    #[test]
    fn messages_that_contradict_earlier_ones_are_refused() {
        let mut ledger = Ledger::new(1);
        let place = Place { lsn: Lsn::new(64), crc: 0 };
        assert!(!ledger.sent(1, 0, 1) && !ledger.sent(0, 1, 1));
        assert!(!ledger.durable(0, 0, &[place]), "never sent");
        assert!(ledger.sent(0, 0, 2));
        assert!(!ledger.durable(0, 1, &[place]), "a gap");
        assert!(ledger.durable(0, 0, &[place]));
        assert!(!ledger.durable(0, 0, &[place]), "twice");
    }
}
