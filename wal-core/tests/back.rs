//! Reading backwards: the same records in the opposite order, from any place, whatever the log has
//! been through and goes through meanwhile.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proptest::prelude::*;
use support::{assert_truncated, open, tiny};
use wal_core::read::Log;
use wal_core::recover::ScanOptions;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::testing::meter::Heap;
use wal_core::{Appended, Error, Lsn, Options, Padding, Record, RecoveryMode, Wal};

#[global_allocator]
static HEAP: Heap = Heap;

fn forward(wal: &Wal<MemSink>) -> Vec<Record> {
    wal.iter_from(wal.start_lsn()).unwrap().map(Result::unwrap).collect()
}

fn back(wal: &Wal<MemSink>, lsn: Lsn) -> Vec<Record> {
    wal.iter_back_from(lsn).unwrap().map(Result::unwrap).collect()
}

/// From the end, from every record and its end, and from places that are neither.
#[track_caller]
fn assert_reverse(wal: &Wal<MemSink>) {
    let all = forward(wal);
    let before = |lsn: Lsn| {
        let older = all.iter().rev().filter(|record| record.lsn < lsn);
        older.cloned().collect::<Vec<_>>()
    };
    assert!(back(wal, Lsn::MAX) == before(Lsn::MAX), "from the end, it is another log");
    for record in &all {
        let within = record.lsn.advance(8);
        for lsn in [record.lsn, Lsn::new(record.lsn.get() - 1), within, record.end] {
            if lsn >= wal.start_lsn() {
                assert!(back(wal, lsn) == before(lsn), "from {lsn}, it is another log");
            }
        }
    }
    let start = wal.start_lsn();
    assert_eq!(back(wal, start), []);
}

/// What a log goes through.
#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    Batch(Vec<usize>),
    Void(usize),
    Sync,
    Mark,
    Reopen,
    /// Truncated before a record, at so many thousandths of what is there.
    Before(usize),
    /// Cut back to a record, likewise.
    After(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..2500usize).prop_map(Op::Append),
        2 => (4000..24_000usize).prop_map(Op::Append),
        3 => proptest::collection::vec(0..1500usize, 1..6).prop_map(Op::Batch),
        1 => proptest::collection::vec(1000..4000usize, 2..4).prop_map(Op::Batch),
        1 => (0..2500usize).prop_map(Op::Void),
        3 => Just(Op::Sync),
        1 => Just(Op::Mark),
        1 => Just(Op::Reopen),
        1 => (0..1000usize).prop_map(Op::Before),
        1 => (0..1000usize).prop_map(Op::After),
    ]
}

fn apply(wal: &Wal<MemSink>, op: &Op, stamp: u8) {
    let place = |thousandth: usize| {
        let all = forward(wal);
        all.get(all.len() * thousandth / 1000).map(|record| record.lsn)
    };
    match op {
        Op::Append(len) => drop(wal.append(&vec![stamp; *len]).unwrap()),
        Op::Batch(lens) => {
            let batch: Vec<_> = lens.iter().map(|&len| vec![stamp; len]).collect();
            wal.append_batch(&batch).unwrap();
        }
        Op::Void(len) => drop(wal.reserve(*len).unwrap()),
        Op::Sync => wal.sync().unwrap(),
        Op::Mark => wal.mark_durable().unwrap(),
        Op::Reopen => {}
        Op::Before(at) => drop(place(*at).map(|lsn| wal.truncate_before(lsn).unwrap())),
        Op::After(at) => {
            // A record of a batch may be no place to end.
            if let Some(lsn) = place(*at) {
                match wal.truncate_after(lsn) {
                    Ok(_) | Err(Error::NotARecord { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn backwards_is_forwards_reversed(
        ops in proptest::collection::vec(op(), 1..40),
        packed in any::<bool>(),
    ) {
        let padding = if packed { Padding::Packed } else { Padding::Block };
        let options = || tiny().max_record_len(1 << 16).padding(padding);
        let disk = MemDisk::new();
        let mut wal = open(&disk, options());
        for (stamp, op) in ops.iter().enumerate() {
            if matches!(op, Op::Reopen) {
                drop(wal);
                wal = open(&disk, options());
            }
            apply(&wal, op, stamp as u8);
        }
        wal.sync().unwrap();
        assert_reverse(&wal);
        drop(wal);
        assert_reverse(&open(&disk, options()));
    }
}

/// Frames and records larger than what is looked at in one go, and a batch of many small ones.
#[test]
fn large_frames_are_walked_in_parts_and_memory_is_bounded() {
    const MIB: usize = 1 << 20;
    let options = || {
        let options =
            Options::default().segment_size(4 * MIB).segments(2).file_size(16 * MIB as u64);
        options.max_record_len(8 * MIB)
    };
    let disk = MemDisk::new();
    let wal = open(&disk, options());
    for n in 0..3_u8 {
        // A full segment; a frame of its own with a large record; one with many, some of them large.
        for _ in 0..2000 {
            wal.append(&[n; 2000]).unwrap();
        }
        wal.append(&vec![n; 5 * MIB]).unwrap();
        let mut batch = vec![vec![n; 10]; 100_000];
        batch.push(vec![n; MIB + 1]);
        batch.push(vec![n; 400_000]);
        batch.push(Vec::new());
        wal.append_batch(&batch).unwrap();
    }
    wal.sync().unwrap();
    let all = forward(&wal);
    let mut walk = wal.iter_back_from(Lsn::MAX).unwrap();
    let (mut rest, mut most) = (&all[..], 0);
    while let Some((last, before)) = rest.split_last() {
        let (record, peak) = Heap::peak(|| walk.next().unwrap().unwrap());
        assert!(record == *last, "other than {}", last.lsn);
        most = most.max(peak - record.payload.len().min(peak));
        rest = before;
    }
    assert!(walk.next().is_none());
    // The largest record, beside the copy that was asked for; else a part and its records' places.
    assert!(most < 6 * MIB, "{most} bytes");
    let small = all.iter().rev().find(|record| record.payload.len() == 2000).unwrap();
    let mut walk = wal.iter_back_from(small.end).unwrap();
    let (_, peak) = Heap::peak(|| walk.by_ref().take(500).for_each(drop));
    assert!(peak < 2 * MIB, "{peak} bytes");
}

fn fill(wal: &Wal<MemSink>, count: usize) -> Vec<Appended> {
    (0..count).map(|n| wal.append_and_sync(&vec![n as u8; 3500]).unwrap()).collect()
}

#[test]
fn what_is_not_durable_is_not_seen_nor_what_comes_later() {
    let wal = open(&MemDisk::new(), tiny());
    assert_eq!(back(&wal, Lsn::MAX), []);
    wal.append(b"first").unwrap();
    assert_eq!(back(&wal, Lsn::MAX), []);
    wal.sync().unwrap();
    let mut walk = wal.iter_back_from(Lsn::MAX).unwrap();
    fill(&wal, 9);
    assert_eq!(walk.next().unwrap().unwrap().payload, b"first");
    assert!(walk.next().is_none() && walk.next().is_none());
}

#[test]
fn a_truncation_is_told_to_who_comes_from_below_it_and_who_meets_it() {
    let wal = open(&MemDisk::new(), tiny());
    let all = fill(&wal, 14);
    let begin = |lsn| wal.iter_back_from(lsn).unwrap();
    let (mut far, mut near, mut idle) = (begin(Lsn::MAX), begin(all[6].lsn), begin(Lsn::MAX));
    assert_eq!(far.next().unwrap().unwrap().lsn, all[13].lsn);
    let start = wal.truncate_before(all[9].lsn).unwrap().start;
    assert_truncated(wal.iter_back_from(all[7].lsn).map(drop), start);
    assert_truncated(wal.iter_back_from(Lsn::ZERO).map(drop), start);
    assert_eq!(back(&wal, start), []);
    assert_eq!(back(&wal, all[9].lsn).len(), 1);
    // What was there when the walk began is gone, whether it had been reached or not.
    assert_truncated(near.next().unwrap(), start);
    assert!(near.next().is_none());
    for walk in [&mut far, &mut idle] {
        let mut lsns = Vec::new();
        let error = loop {
            match walk.next().unwrap() {
                Ok(record) => lsns.push(record.lsn),
                Err(error) => break error,
            }
        };
        assert_eq!(lsns.last(), Some(&all[8].lsn));
        assert_truncated(Err::<(), _>(error), start);
        assert!(walk.next().is_none());
    }
    // Who begins now is at the beginning there.
    assert_eq!(back(&wal, Lsn::MAX).len(), 6);
}

#[test]
fn a_cut_is_told_to_who_has_read_what_it_takes() {
    let wal = open(&MemDisk::new(), tiny());
    let all = fill(&wal, 14);
    let begin = |lsn| wal.iter_back_from(lsn).unwrap();
    let (mut above, mut below, mut idle) = (begin(Lsn::MAX), begin(all[5].lsn), begin(Lsn::MAX));
    above.next().unwrap().unwrap();
    assert_eq!(below.next().unwrap().unwrap().lsn, all[4].lsn);
    let next = wal.truncate_after(all[5].lsn).unwrap();
    assert_truncated(above.next().unwrap(), next);
    assert!(below.map(|record| record.unwrap().lsn).eq(all[..4].iter().rev().map(|one| one.lsn)));
    // Nothing of what it would have read was cut, as it has read nothing yet.
    assert_eq!(idle.next().unwrap().unwrap().lsn, all[4].lsn);
    // A position that was cut off is one behind what is left.
    for lsn in [all[5].lsn, all[9].lsn, all[13].end, next, Lsn::MAX] {
        assert_eq!(back(&wal, lsn).len(), 5);
    }
    let more = fill(&wal, 2);
    assert_eq!(back(&wal, Lsn::MAX)[0].lsn, more[1].lsn);
    assert_reverse(&wal);
    // Nothing is left.
    let mut last = begin(Lsn::MAX);
    last.next().unwrap().unwrap();
    let next = wal.truncate_after(Lsn::ZERO).unwrap();
    assert_truncated(last.next().unwrap(), next);
    assert_eq!(idle.next().unwrap().map_err(|_| ()), Err(()));
    assert_eq!(back(&wal, Lsn::MAX), []);
}

/// Damage within a frame, to a frame's header, to a file's: salvage leads readers over the holes.
#[test]
fn holes_are_passed_over_and_damage_is_named() {
    for damage in [5000, 4096 + 8, 4096 + 70, 0] {
        let disk = MemDisk::new();
        let wal = open(&disk, tiny().segment_size(8192).file_size(4096 * 9));
        for n in 0..60_u8 {
            wal.append(&vec![n; 300 + usize::from(n)]).unwrap();
            if n % 7 == 6 {
                wal.sync().unwrap();
            }
        }
        wal.close().unwrap();
        let mut bytes = disk.file(2);
        bytes[damage] ^= 1;
        disk.put_file(2, bytes);
        let options = tiny().recovery(RecoveryMode::Salvage);
        let wal = Wal::open(MemSink::open(&disk).unwrap(), options).unwrap().0;
        let all = forward(&wal);
        assert!(all.len() > 20 && all.len() < 60, "{}", all.len());
        assert_reverse(&wal);
        let scan = ScanOptions { mode: RecoveryMode::Salvage, ..ScanOptions::default() };
        let log = Log::scan(disk.clone(), scan, &mut |_| {}).unwrap();
        let found: Vec<_> = log.iter_back_from(Lsn::MAX).unwrap().map(Result::unwrap).collect();
        assert!(found.iter().eq(all.iter().rev()));
    }
    // While the log is open, there are no holes yet.
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    fill(&wal, 9);
    // The header of the second frame, then the record of the third: found first by who comes backwards.
    for (offset, lsn, left) in [(2 * 4096 + 9, 4096, 7), (3 * 4096 + 70, 8192 + 64, 6)] {
        let mut bytes = disk.file(1);
        bytes[offset] ^= 1;
        disk.put_file(1, bytes);
        let mut walk = wal.iter_back_from(Lsn::MAX).unwrap();
        let mut count = 0;
        let error = loop {
            match walk.next().unwrap() {
                Ok(_) => count += 1,
                Err(error) => break error,
            }
        };
        let Error::Corrupt(found) = error else { panic!("{error}") };
        assert_eq!((found.lsn.get(), found.file, count), (lsn, 1, left));
    }
}

/// Every walk gives a piece of the log without gaps, in the opposite order, or is told why not.
#[test]
fn walks_go_on_beside_appends_rotation_and_truncation() {
    let wal = open(&MemDisk::new(), tiny());
    let numbered = |n: u64| {
        let mut payload = vec![n as u8; 8 + (n as usize * 677) % 5000];
        payload[..8].copy_from_slice(&n.to_le_bytes());
        payload
    };
    // Until each has been overtaken by a truncation, and for a while in any case.
    let overtaken = [AtomicBool::new(false), AtomicBool::new(false)];
    let done = AtomicBool::new(false);
    let walk = |overtaken: &AtomicBool| {
        let mut last = None;
        for record in wal.iter_back_from(Lsn::MAX).unwrap() {
            match record {
                Ok(record) => {
                    let n = u64::from_le_bytes(record.payload[..8].try_into().unwrap());
                    assert!(record.payload == numbered(n));
                    assert!(last.is_none_or(|last| last == n + 1), "{n}, {last:?}");
                    last = Some(n);
                }
                Err(Error::Truncated { lsn, first_available }) => {
                    assert!(lsn < first_available);
                    overtaken.store(true, Ordering::Relaxed);
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    thread::scope(|scope| {
        for overtaken in &overtaken {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    walk(overtaken);
                }
            });
        }
        let all_were = || overtaken.iter().all(|overtaken| overtaken.load(Ordering::Relaxed));
        for n in 0..100_000 {
            let appended = wal.append(&numbered(n)).unwrap();
            if n % 5 == 4 {
                wal.sync().unwrap();
            }
            if n % 90 == 89 {
                wal.truncate_before(Lsn::new(appended.lsn.get() - 100_000)).unwrap();
            }
            if n > 1500 && all_were() {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(overtaken.into_iter().all(AtomicBool::into_inner), "no truncation has met a walk");
}
