//! Cutting a log back: what goes, what stays, what is never given out again, and what of it a crash,
//! a failure and a reader meet.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::io::ErrorKind;
use std::thread;

use support::{Control, Rule, ScriptSink, open, payloads, tiny};
use wal_core::format::file_header;
use wal_core::sink::SegmentSink;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::{Appended, Error, Lsn, Options, Padding, RecoveryReport, Verdict, Wal};

/// One record a frame, four frames a file, each of its own content.
fn record(n: u64) -> Vec<u8> {
    let mut bytes = vec![n as u8; 3000 + n as usize % 500];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    bytes
}

fn fill<S: SegmentSink>(wal: &Wal<S>, from: u64, to: u64) -> Vec<Appended> {
    (from..to).map(|n| wal.append_and_sync(&record(n)).unwrap()).collect()
}

fn reopen(disk: &MemDisk) -> (Wal<MemSink>, RecoveryReport) {
    Wal::open(MemSink::open(disk).unwrap(), tiny()).unwrap()
}

#[track_caller]
fn assert_holds<S: SegmentSink>(wal: &Wal<S>, numbers: impl IntoIterator<Item = u64>) {
    let expected: Vec<_> = numbers.into_iter().map(record).collect();
    let found: Vec<u64> = payloads(wal).iter().map(|p| u64::from(p[0])).collect();
    assert!(payloads(wal) == expected, "the log holds {found:?}");
}

#[track_caller]
fn assert_truncated<T: std::fmt::Debug>(result: Result<T, Error>, first: Lsn) {
    match result {
        Err(Error::Truncated { lsn, first_available }) => {
            assert_eq!(first_available, first);
            assert!(lsn < first);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_at_and_behind_the_position_goes_and_no_position_is_given_out_again() {
    for (at, kept) in [(0, 0), (1, 1), (3, 3), (4, 4), (5, 5), (16, 16), (17, 17)] {
        for end in [false, true] {
            let disk = MemDisk::new();
            let wal = open(&disk, tiny());
            let all = fill(&wal, 0, 18);
            let behind = wal.next_lsn();
            let (lsn, kept) = if end { (all[at].end, kept + 1) } else { (all[at].lsn, kept) };
            let next = wal.truncate_after(lsn).unwrap();
            if kept == 18 {
                assert_eq!((next, wal.next_lsn()), (behind, behind));
                continue;
            }
            assert!(next > behind && next == wal.next_lsn(), "{next} is not behind {behind}");
            assert_holds(&wal, 0..kept);
            assert_truncated(wal.read_at(all[17].lsn), next);
            // What a crash leaves now, with and without anything behind the cut.
            let cut = [disk.crash(), disk.snapshot()];
            let more = fill(&wal, 18, 24);
            assert!(more[0].lsn > next);
            assert_holds(&wal, (0..kept).chain(18..24));
            drop(wal);
            for left in cut {
                let (wal, report) = reopen(&left);
                assert_eq!((report.records, report.verdict), (kept, Verdict::Clean), "{report}");
                assert!(report.set_aside.is_empty(), "{report}");
                assert!(wal.next_lsn() >= next, "positions are given out again");
                assert_holds(&wal, 0..kept);
                fill(&wal, 30, 32);
                drop(wal);
                assert_holds(&reopen(&left.crash()).0, (0..kept).chain(30..32));
            }
            let (wal, report) = reopen(&disk.crash());
            assert_eq!(report.verdict, Verdict::Clean);
            assert_holds(&wal, (0..kept).chain(18..24));
        }
    }
}
