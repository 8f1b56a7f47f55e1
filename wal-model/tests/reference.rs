//! The real log against a naive one, call by call, crash by crash: whatever the log is told, what
//! it holds is what a list would hold, and what a crash leaves is a prefix of that which loses
//! nothing acknowledged.
#![cfg(not(any(wal_shuttle, wal_loom)))]
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use wal_core::format::file_header::{self, FileHeader};
use wal_core::format::record::stored_len;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::{Appended, Durability, Error, Lsn, Options, Padding, Verdict, Wal};

/// One call, or one turn of fate.
#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    Batch(Vec<usize>),
    /// Reserved and filled in place.
    Fill(usize),
    /// Reserved and dropped.
    Void(usize),
    Wait(Durability),
    Flush,
    Sync,
    Mark,
    /// The process dies; what the sink was given stays.
    Kill,
    /// The power fails: of what was not synced, sectors survive by the bits of a random sequence.
    Crash(u64),
    /// The last handle is dropped, and the log opened again.
    Drop,
    Close,
    /// Truncated before the record that so many follow.
    Truncate(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let small = 0..2500usize;
    let durability = prop_oneof![
        Just(Durability::Memory),
        Just(Durability::ProcessCrash),
        Just(Durability::PowerLoss)
    ];
    prop_oneof![
        6 => small.clone().prop_map(Op::Append),
        // Larger than a segment, at times than a file.
        2 => (4000..24_000usize).prop_map(Op::Append),
        3 => proptest::collection::vec(0..1500usize, 1..6).prop_map(Op::Batch),
        1 => proptest::collection::vec(1000..4000usize, 2..4).prop_map(Op::Batch),
        2 => small.clone().prop_map(Op::Fill),
        1 => small.prop_map(Op::Void),
        3 => durability.prop_map(Op::Wait),
        1 => Just(Op::Flush),
        2 => Just(Op::Sync),
        1 => Just(Op::Mark),
        1 => Just(Op::Kill),
        3 => any::<u64>().prop_map(Op::Crash),
        1 => Just(Op::Drop),
        1 => Just(Op::Close),
        2 => (0..8usize).prop_map(Op::Truncate),
    ]
}

fn options() -> impl Strategy<Value = Options> {
    let padding = prop_oneof![Just(Padding::Block), Just(Padding::Packed)];
    (2..5usize, padding).prop_map(|(segments, padding)| {
        let options = Options::default().segment_size(4096).file_size(5 * 4096);
        options.max_record_len(1 << 16).segments(segments).padding(padding)
    })
}

/// What the log should hold.
#[derive(Default)]
struct Naive {
    records: Vec<Record>,
    /// How many of them were acknowledged as durable.
    acknowledged: usize,
    /// How many were acknowledged as handed to the operating system.
    written: usize,
    calls: u64,
}

struct Record {
    lsn: Lsn,
    /// Records of one call are there together or not at all.
    call: u64,
    payload: Vec<u8>,
}

impl Naive {
    fn payload(&self, len: usize) -> Vec<u8> {
        let mut x = self.calls.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let byte = |_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        };
        (0..len).map(byte).collect()
    }

    /// Notes a call that has appended `payloads` where it says.
    fn append(&mut self, appended: Appended, payloads: Vec<Vec<u8>>) {
        let mut lsn = appended.lsn;
        for payload in payloads {
            assert!(self.records.last().is_none_or(|last| last.lsn < lsn), "LSNs grow");
            let stored = stored_len(payload.len()) as u64;
            self.records.push(Record { lsn, call: self.calls, payload });
            lsn = lsn.advance(stored);
        }
        assert_eq!(lsn, appended.end);
        self.calls += 1;
    }

    /// Everything before `start` is gone, after a call that gave up what lies before `lsn`.
    fn truncate(&mut self, lsn: Lsn, start: Lsn) {
        let gone = self.records.iter().take_while(|record| record.lsn < start).count();
        assert!(self.records[..gone].iter().all(|record| record.lsn < lsn), "more is gone");
        self.records.drain(..gone);
        self.acknowledged = self.acknowledged.saturating_sub(gone);
        self.written = self.written.saturating_sub(gone);
    }

    fn all_are_written(&mut self) {
        self.written = self.records.len();
    }

    fn all_are_durable(&mut self) {
        self.acknowledged = self.records.len();
        self.all_are_written();
    }

    /// Holds what was recovered against what was there, of which the first `safe` must be, and goes
    /// on with it.
    fn recover(&mut self, wal: &Wal<MemSink>, safe: usize) {
        let found: Vec<_> = wal.iter_from(wal.start_lsn()).unwrap().map(|r| r.unwrap()).collect();
        assert!(found.len() >= safe, "{safe} records were safe, {} are there", found.len());
        assert!(found.len() <= self.records.len(), "more is there than was appended");
        for (found, record) in found.iter().zip(&self.records) {
            assert_eq!(found.lsn, record.lsn);
            assert!(found.payload == record.payload, "{} has changed", record.lsn);
        }
        if let Some(lost) = self.records.get(found.len())
            && let Some(kept) = found.len().checked_sub(1)
        {
            assert!(self.records[kept].call != lost.call, "half of a batch is there");
        }
        self.records.truncate(found.len());
        self.all_are_durable();
    }

    /// What can be read while the log is open is what is durable.
    fn check(&self, wal: &Wal<MemSink>) {
        let (written, durable) = (wal.written_lsn(), wal.durable_lsn());
        assert!(durable <= written && written <= wal.next_lsn());
        let is_safe = |count: usize, mark| count == 0 || self.records[count - 1].lsn < mark;
        assert!(is_safe(self.acknowledged, durable) && is_safe(self.written, written));
        let readable = self.records.iter().take_while(|record| record.lsn < durable);
        let mut found = wal.iter_from(wal.start_lsn()).unwrap();
        for record in readable {
            let read = found.next().unwrap().unwrap();
            assert!(read.lsn == record.lsn && read.payload == record.payload);
        }
        assert!(found.next().is_none(), "a record that is not durable can be read");
    }
}

/// What a power loss leaves if each sector that was not synced survives by a bit of its own.
fn lose_power(disk: &MemDisk, seed: u64) -> MemDisk {
    const SECTOR: usize = 512;
    let mut x = seed | 1;
    let after = disk.crash();
    for sequence in disk.sequences() {
        let (written, mut bytes) = (disk.file(sequence), after.file(sequence));
        for (at, sector) in written.chunks(SECTOR).enumerate() {
            let old = &mut bytes[at * SECTOR..][..sector.len()];
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            if old != sector && x & 64 != 0 {
                old.copy_from_slice(sector);
            }
        }
        after.put_file(sequence, bytes);
    }
    after
}

/// Makes sure that the runs, taken together, meet what they are for.
#[derive(Default)]
struct Met {
    lost: AtomicUsize,
    torn: AtomicUsize,
    ambiguous: AtomicUsize,
    truncated: AtomicUsize,
    recycled: AtomicUsize,
    large: AtomicUsize,
}

static MET: Met = Met {
    lost: AtomicUsize::new(0),
    torn: AtomicUsize::new(0),
    ambiguous: AtomicUsize::new(0),
    truncated: AtomicUsize::new(0),
    recycled: AtomicUsize::new(0),
    large: AtomicUsize::new(0),
};

fn meet(what: &AtomicUsize, met: bool) {
    what.fetch_add(usize::from(met), Ordering::Relaxed);
}

struct Run {
    disk: MemDisk,
    options: Options,
    wal: Wal<MemSink>,
    naive: Naive,
}

fn open(disk: &MemDisk, options: &Options) -> (Wal<MemSink>, Verdict) {
    let (wal, report) = Wal::open(MemSink::open(disk).unwrap(), options.clone()).unwrap();
    (wal, report.verdict)
}

impl Run {
    fn new(options: Options) -> Self {
        let disk = MemDisk::new();
        let wal = open(&disk, &options).0;
        Self { disk, options, wal, naive: Naive::default() }
    }

    /// Opens what is on `disk`, of which the first `safe` records must be there.
    fn reopen(&mut self, disk: MemDisk, safe: usize) {
        let verdict;
        self.disk = disk;
        (self.wal, verdict) = open(&self.disk, &self.options);
        let before = self.naive.records.len();
        self.naive.recover(&self.wal, safe);
        meet(&MET.lost, self.naive.records.len() < before);
        meet(&MET.torn, verdict == Verdict::Torn);
        meet(&MET.ambiguous, verdict == Verdict::Ambiguous);
    }

    /// Puts a log that nobody uses in the place of the one that is used, which is dropped.
    fn retire(&mut self) {
        self.wal = open(&MemDisk::new(), &self.options).0;
    }

    fn append(&mut self, payloads: Vec<Vec<u8>>) {
        let appended = match &payloads[..] {
            [payload] => self.wal.append(payload),
            batch => self.wal.append_batch(batch),
        };
        self.naive.append(appended.unwrap(), payloads);
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Append(len) => {
                meet(&MET.large, *len > 4096);
                self.append(vec![self.naive.payload(*len)]);
            }
            Op::Batch(lens) => {
                self.append(lens.iter().map(|len| self.naive.payload(*len)).collect());
            }
            Op::Fill(len) => {
                let payload = self.naive.payload(*len);
                let mut reservation = self.wal.reserve(*len).unwrap();
                reservation.copy_from_slice(&payload);
                let appended = reservation.commit().unwrap();
                self.naive.append(appended, vec![payload]);
            }
            Op::Void(len) => drop(self.wal.reserve(*len).unwrap()),
            Op::Wait(durability) => {
                let Some(last) = self.naive.records.last() else { return };
                self.wal.wait(last.lsn, *durability).unwrap();
                match durability {
                    Durability::ProcessCrash => self.naive.all_are_written(),
                    Durability::PowerLoss => self.naive.all_are_durable(),
                    _ => {}
                }
            }
            Op::Flush => {
                self.wal.flush().unwrap();
                self.naive.all_are_written();
            }
            Op::Sync => {
                self.wal.sync().unwrap();
                self.naive.all_are_durable();
            }
            Op::Mark => {
                self.wal.mark_durable().unwrap();
                self.naive.all_are_durable();
            }
            Op::Kill => self.reopen(self.disk.snapshot(), self.naive.written),
            Op::Crash(seed) => {
                self.reopen(lose_power(&self.disk, *seed), self.naive.acknowledged);
            }
            Op::Drop => {
                self.retire();
                // Handed over by the last handle, as far as that went without waiting: all of it.
                self.reopen(self.disk.clone(), self.naive.records.len());
            }
            Op::Close => {
                self.wal.clone().close().unwrap();
                assert!(matches!(self.wal.append(b"late"), Err(Error::Closed)));
                self.retire();
                self.reopen(self.disk.crash(), self.naive.records.len());
            }
            Op::Truncate(keep) => {
                let Some(record) = self.naive.records.iter().rev().nth(*keep) else { return };
                let lsn = record.lsn;
                let before = self.naive.records.len();
                let start = self.wal.truncate_before(lsn).unwrap().start;
                assert_eq!(start, self.wal.start_lsn());
                self.naive.truncate(lsn, start);
                meet(&MET.truncated, self.naive.records.len() < before);
                // All that may go is gone: the second file begins behind the record, or is not
                // known to be durable.
                let headers: Vec<_> = self.headers().collect();
                if let [first, second, ..] = &headers[..] {
                    assert!(first.base == start && start <= lsn);
                    assert!(second.base > lsn || second.base >= self.wal.durable_lsn());
                }
            }
        }
        meet(&MET.recycled, self.headers().any(|header| header.recycled));
        self.naive.check(&self.wal);
    }

    fn headers(&self) -> impl Iterator<Item = FileHeader> {
        let files = self.disk.sequences().into_iter();
        files.filter_map(|file| file_header::decode(&self.disk.file(file)).ok())
    }
}

#[test]
fn the_log_is_what_a_list_would_be() {
    // More by PROPTEST_CASES. A failure prints its smallest input, which is kept by making it a test.
    let standard = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let config = ProptestConfig { cases: standard.cases.max(400), ..standard };
    proptest!(config, |(
        options in options(),
        ops in proptest::collection::vec(op(), 1..50),
    )| {
        let mut run = Run::new(options);
        for op in &ops {
            run.step(op);
        }
    });
    for (what, met) in [
        ("records lost in a crash", &MET.lost),
        ("torn ends", &MET.torn),
        ("ambiguous ends", &MET.ambiguous),
        ("truncations", &MET.truncated),
        ("steps over files that were used before", &MET.recycled),
        ("records larger than a segment", &MET.large),
    ] {
        let count = met.load(Ordering::Relaxed);
        println!("{what}: {count}");
        assert!(count > 0, "{what} were never met");
    }
}
