//! Cutting a log back: what goes, what stays, what is never given out again, and what of it a crash,
//! a failure and a reader meet.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::{Control, Rule, ScriptSink, assert_truncated, open, payloads, tiny};
use wal_core::format::file_header;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::sink::{LogSource, SegmentSink, SinkOp};
use wal_core::testing::agree::{agree, naively};
use wal_core::{Appended, Error, Lsn, RecoveryMode, RecoveryReport, Verdict, Wal};

/// One record a frame, four frames a file, each of its own content.
fn record(n: u64) -> Vec<u8> {
    let mut bytes = vec![n as u8; 3000 + n as usize % 500];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    bytes
}

fn fill<S: SegmentSink>(wal: &Wal<S>, from: u64, to: u64) -> Vec<Appended> {
    (from..to).map(|n| wal.append_and_sync(&record(n)).unwrap()).collect()
}

fn scripted(disk: &MemDisk) -> (Wal<ScriptSink>, Control) {
    let (sink, control) = ScriptSink::open(disk);
    (Wal::open(sink, tiny()).unwrap().0, control)
}

/// Opens what a crash has left.
fn reopen(disk: &MemDisk) -> (Wal<MemSink>, RecoveryReport) {
    second_opinion(disk);
    Wal::open(MemSink::open(disk).unwrap(), tiny()).unwrap()
}

/// The reader that was written from the format alone must agree.
fn second_opinion(disk: &MemDisk) {
    let mut records = Vec::new();
    let found = wal_core::recover::scan(disk, Default::default(), &mut |record| {
        records.push((record.lsn, record.payload.to_vec()));
    });
    agree(&found, &records, &naively(disk).unwrap()).unwrap();
}

#[track_caller]
fn assert_holds<S: SegmentSink>(wal: &Wal<S>, numbers: impl IntoIterator<Item = u64>) {
    let expected: Vec<_> = numbers.into_iter().map(record).collect();
    let found: Vec<u64> = payloads(wal).iter().map(|p| u64::from(p[0])).collect();
    assert!(payloads(wal) == expected, "the log holds {found:?}");
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

/// Records, batches and void records of one frame: the log can end between any two of them.
#[test]
fn a_frame_is_cut_between_its_records_and_nowhere_else() {
    let write = |wal: &Wal<MemSink>| {
        let mut ends = vec![];
        ends.push(wal.append(&[1; 100]).unwrap());
        drop(wal.reserve(50).unwrap());
        ends.push(wal.append_batch(&[[2; 40], [3; 40]]).unwrap());
        ends.push(wal.append(&[]).unwrap());
        ends.push(wal.append(&[5; 10]).unwrap());
        drop(wal.reserve(7).unwrap());
        wal.sync().unwrap();
        ends
    };
    let tags = |wal: &Wal<MemSink>| -> Vec<u8> {
        payloads(wal).iter().map(|payload| payload.first().copied().unwrap_or(4)).collect()
    };
    let end = {
        let wal = open(&MemDisk::new(), tiny());
        write(&wal);
        wal.next_lsn()
    };
    let mut cuts = 0;
    for position in 0..end.get() {
        let (disk, lsn) = (MemDisk::new(), Lsn::new(position));
        let wal = open(&disk, tiny());
        let all = write(&wal);
        let within = |record: &Appended| record.lsn < lsn && lsn < record.end;
        let kept = match all.iter().filter(|record| record.end <= lsn).count() {
            0 => 0,
            // The batch is the second, and counts for two.
            1 => 1,
            more => more + 1,
        };
        match wal.truncate_after(lsn) {
            Err(Error::NotARecord { lsn: at }) => {
                assert!(at == lsn && all.iter().any(within), "{lsn} is no boundary");
                assert_eq!(tags(&wal), [1, 2, 3, 4, 5]);
                continue;
            }
            result => _ = result.unwrap(),
        }
        cuts += 1;
        assert!(!all.iter().any(within), "{lsn} is within a record");
        assert_eq!(tags(&wal), [1, 2, 3, 4, 5][..kept], "cut at {lsn}");
        wal.append_and_sync(&[9]).unwrap();
        drop(wal);
        let (wal, report) = reopen(&disk.crash());
        assert_eq!(report.verdict, Verdict::Clean, "{report}");
        assert_eq!(tags(&wal), [&[1, 2, 3, 4, 5][..kept], &[9]].concat());
    }
    assert!(cuts > 100, "{cuts}");
}

#[test]
fn what_is_not_there_is_not_cut() {
    let disk = MemDisk::new();
    let (wal, control) = scripted(&disk);
    assert_eq!(wal.truncate_after(Lsn::ZERO).unwrap(), Lsn::ZERO);
    let all = fill(&wal, 0, 6);
    let (next, files) = (wal.next_lsn(), disk.sequences());
    let calls = (control.creates(), control.writes(), control.syncs());
    for lsn in [all[5].end, next, Lsn::MAX] {
        assert_eq!(wal.truncate_after(lsn).unwrap(), next);
    }
    assert_eq!(calls, (control.creates(), control.writes(), control.syncs()));
    assert_eq!((wal.next_lsn(), disk.sequences()), (next, files));
    // Once more the same, and what was appended since is at or behind the position, too.
    let next = wal.truncate_after(all[2].end).unwrap();
    assert_eq!(wal.truncate_after(all[2].end).unwrap(), next);
    assert_eq!(wal.truncate_after(all[4].lsn).unwrap(), next);
    fill(&wal, 6, 8);
    assert!(wal.truncate_after(all[3].lsn).unwrap() > next);
    assert_holds(&wal, 0..3);
}

/// Everything before the position is made durable first, wherever that is in a segment.
#[test]
fn what_is_kept_is_durable_and_what_is_not_written_yet_is_cut_as_well() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let kept = wal.append(&record(0)).unwrap();
    wal.append(&record(1)).unwrap();
    assert!(wal.durable_lsn() <= kept.lsn);
    let next = wal.truncate_after(kept.end).unwrap();
    assert!(wal.durable_lsn() >= next);
    assert_holds(&wal, 0..1);
    let (wal, report) = reopen(&disk.crash());
    assert_eq!(report.verdict, Verdict::Clean);
    assert_holds(&wal, 0..1);
}

#[test]
fn a_start_that_moved_bounds_the_cut() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let all = fill(&wal, 0, 14);
    let start = wal.truncate_before(all[9].lsn).unwrap().start;
    assert_truncated(wal.truncate_after(all[3].lsn), start);
    assert_holds(&wal, 8..14);
    // Nothing is left of the log but that it goes on.
    let next = wal.truncate_after(start).unwrap();
    assert_eq!((wal.start_lsn(), disk.sequences().len()), (next, 1));
    assert_truncated(wal.cursor_from(all[10].lsn).map(drop), next);
    let (empty, report) = reopen(&disk.crash());
    assert!(report.records == 0 && empty.next_lsn() >= next, "{report}");
    fill(&wal, 20, 26);
    assert_holds(&wal, 20..26);
    assert_holds(&reopen(&disk.crash()).0, 20..26);
    wal.truncate_before(Lsn::MAX).unwrap();
    assert_holds(&reopen(&disk.crash()).0, 24..26);
}

/// What opening begins is vacant when the cut comes: it names the old end, and must not be believed.
#[test]
fn a_file_that_opening_began_does_not_bring_back_what_is_cut() {
    let disk = MemDisk::new();
    let all = fill(&open(&disk, tiny()), 0, 6);
    let (wal, control) = scripted(&disk);
    control.on_remove(Rule::Fail(ErrorKind::Other));
    match wal.truncate_after(all[2].end) {
        Err(Error::Sink(cause)) => assert_eq!(cause.op, SinkOp::Remove),
        other => panic!("{other:?}"),
    }
    // Cut all the same.
    assert_holds(&wal, 0..3);
    let next = wal.next_lsn();
    assert!(disk.sequences().len() > 3, "nothing was left behind");
    let vacant = disk.crash();
    fill(&wal, 10, 12);
    drop(wal);
    for (disk, more) in [(vacant, 0), (disk.crash(), 2), (disk.snapshot(), 2)] {
        let (wal, report) = reopen(&disk);
        assert_eq!((report.verdict, report.records), (Verdict::Clean, 3 + more), "{report}");
        assert!(wal.next_lsn() >= next);
        assert_holds(&wal, (0..3).chain(10..10 + more));
        drop(wal);
        assert_eq!(reopen(&disk.crash()).1.records, 3 + more);
    }
}

/// They would be taken for what follows the new end, were they used again.
#[test]
fn files_that_were_cut_off_and_resisted_go_with_the_next_truncation_and_are_not_used_again() {
    let refusals: [fn(&Control, Rule); 2] = [Control::on_remove, Control::on_list];
    for (refuse, before) in refusals.into_iter().flat_map(|r| [(r, true), (r, false)]) {
        let disk = MemDisk::new();
        let (wal, control) = scripted(&disk);
        let all = fill(&wal, 0, 14);
        // The log has no room for that either, and is cut all the same.
        refuse(&control, Rule::Fail(ErrorKind::StorageFull));
        match wal.truncate_after(all[2].end) {
            Err(Error::Sink(cause)) => assert_eq!(cause.op, SinkOp::Remove),
            other => panic!("{other:?}"),
        }
        assert_holds(&wal, 0..3);
        assert!(disk.sequences().len() > 4, "{:?}", disk.sequences());
        if before {
            assert!(matches!(wal.truncate_before(Lsn::MAX), Err(Error::Sink(_))));
        }
        refuse(&control, Rule::Pass);
        if !before {
            fill(&wal, 20, 21);
            wal.truncate_after(all[1].end).unwrap();
            assert_eq!(disk.sequences().len(), 2);
            assert_holds(&wal, 0..2);
            continue;
        }
        let next = wal.next_lsn();
        assert_eq!(wal.truncate_before(Lsn::MAX).unwrap().start, next);
        assert_eq!(disk.sequences().len(), 1);
        // Too large for the new file, which stays vacant; and the one behind it is only just made.
        wal.append(&vec![1; 30_000]).unwrap();
        wal.append(&record(0)).unwrap();
        control.on_write(Rule::Fail(ErrorKind::Other));
        wal.sync().unwrap_err();
        let (wal, report) = reopen(&disk.crash());
        assert!(report.records == 0 && wal.next_lsn() >= next, "{report}");
    }
}

/// Opening puts them aside once there is room to go on: so they have to be there until then.
#[test]
fn what_opening_is_to_put_aside_stays_for_that_when_the_log_is_truncated() {
    let disk = MemDisk::new();
    let (wal, control) = scripted(&disk);
    let all = fill(&wal, 0, 10);
    control.on_remove(Rule::Fail(ErrorKind::Other));
    wal.truncate_after(all[2].end).unwrap_err();
    fill(&wal, 10, 18);
    drop(wal);
    let (wal, control) = {
        let (sink, control) = ScriptSink::open(&disk);
        control.on_create(Rule::Fail(ErrorKind::StorageFull));
        (Wal::open(sink, tiny()).unwrap().0, control)
    };
    assert_holds(&wal, (0..3).chain(10..18));
    wal.truncate_before(Lsn::MAX).unwrap();
    assert_holds(&wal, 14..18);
    control.on_create(Rule::Pass);
    fill(&wal, 18, 19);
    assert_eq!(disk.sequences().len(), 2);
    assert_holds(&wal, 14..19);
    assert_holds(&reopen(&disk.crash()).0, 14..19);
}

/// The stream goes on further on behind a hole as it does behind a cut, but readers are led over it.
#[test]
fn a_hole_in_what_was_kept_is_not_taken_for_what_was_cut_off() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let all = fill(&wal, 0, 14);
    wal.truncate_before(all[4].lsn).unwrap();
    let next = wal.truncate_after(all[5].lsn).unwrap();
    let start = wal.start_lsn();
    drop(wal);
    let mut bytes = disk.file(2);
    bytes[5000] ^= 1;
    disk.put_file(2, bytes);
    assert!(matches!(Wal::open(MemSink::open(&disk).unwrap(), tiny()), Err(Error::Corrupt(_))));
    let options = tiny().recovery(RecoveryMode::Salvage);
    let (wal, report) = Wal::open(MemSink::open(&disk).unwrap(), options).unwrap();
    assert_eq!((report.holes.len(), wal.start_lsn()), (1, start), "{report}");
    assert_holds(&wal, []);
    assert!(fill(&wal, 20, 21)[0].lsn > next);
    assert_holds(&wal, 20..21);
    // As it can be read without opening it.
    drop(wal);
    assert_holds(&reopen(&disk).0, 20..21);
}

/// The header was durable before anything was written behind it. So what is there proves damage, and
/// neither brings back what was cut off nor goes with the header.
#[test]
fn damage_to_the_header_of_a_cut_is_known_by_what_follows_it() {
    for reopened in [false, true] {
        let disk = MemDisk::new();
        let mut wal = open(&disk, tiny());
        let all = fill(&wal, 0, 6);
        let next = wal.truncate_after(all[2].lsn).unwrap();
        if reopened {
            drop(wal);
            wal = reopen(&disk).0;
        }
        fill(&wal, 10, 11);
        drop(wal);
        let newest = *disk.sequences().last().unwrap();
        for byte in [0, 50, 4095] {
            let disk = disk.snapshot();
            let mut bytes = disk.file(newest);
            bytes[byte] ^= 1;
            disk.put_file(newest, bytes);
            second_opinion(&disk);
            match Wal::open(MemSink::open(&disk).unwrap(), tiny()) {
                Err(Error::Corrupt(found)) => assert_eq!((found.file, found.proof), (newest, next)),
                other => panic!("{:?}", other.map(|(_, report)| report)),
            }
        }
    }
}

/// What a record too large for it has left vacant behind a cut is no file to cut back to: the log
/// would start in what was cut off.
#[test]
fn a_log_that_is_empty_once_more_starts_where_it_goes_on() {
    for reopened in [false, true] {
        let disk = MemDisk::new();
        let mut wal = open(&disk, tiny());
        let all = fill(&wal, 0, 6);
        wal.truncate_before(all[4].lsn).unwrap();
        wal.truncate_after(all[4].lsn).unwrap();
        let large = wal.append_and_sync(&vec![1; 30_000]).unwrap();
        if reopened {
            drop(wal);
            wal = reopen(&disk).0;
        }
        let next = wal.truncate_after(large.lsn).unwrap();
        assert_eq!((wal.start_lsn(), disk.sequences().len()), (next, 1));
        assert_holds(&wal, []);
        fill(&wal, 7, 9);
        assert_holds(&wal, 7..9);
        let (wal, report) = reopen(&disk.crash());
        assert_eq!(report.verdict, Verdict::Clean, "{report}");
        assert_holds(&wal, 7..9);
    }
}

/// Each call that changes the disk fails in turn: the log is cut or not, and says which.
#[test]
fn a_failure_at_any_step_leaves_the_log_as_it_was_or_cut() {
    let (mut whole, mut cut) = (0, 0);
    for step in 0.. {
        let disk = MemDisk::new();
        let (wal, control) = scripted(&disk);
        let all = fill(&wal, 0, 14);
        control.fail_operation(step);
        let result = wal.truncate_after(all[5].lsn);
        drop(wal);
        let survivors: Vec<_> = [disk.crash(), disk.snapshot()]
            .iter()
            .map(|disk| {
                let (wal, _) = reopen(disk);
                let found = payloads(&wal).len() as u64;
                assert_holds(&wal, 0..found);
                found
            })
            .collect();
        match result {
            Ok(_) => {
                assert_eq!(survivors, [5, 5]);
                break;
            }
            Err(Error::Sink(cause)) if cause.op == SinkOp::Remove => {
                assert_eq!(survivors, [5, 5]);
                cut += 1;
            }
            Err(Error::Poisoned { .. }) => {
                assert!(survivors.iter().all(|&found| found == 5 || found == 14));
                whole += 1;
            }
            Err(Error::Sink(cause)) => {
                assert_eq!((cause.op, &survivors[..]), (SinkOp::Create, &[14, 14][..]));
                whole += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(whole >= 3 && cut >= 2, "{whole} before, {cut} behind");
}

#[test]
fn on_a_full_disk_nothing_is_cut_and_the_log_goes_on() {
    let disk = MemDisk::new();
    let (wal, control) = scripted(&disk);
    let all = fill(&wal, 0, 6);
    control.on_create(Rule::Fail(ErrorKind::StorageFull));
    assert!(matches!(wal.truncate_after(all[2].lsn), Err(Error::NoSpace { .. })));
    assert_holds(&wal, 0..6);
    control.on_create(Rule::Pass);
    fill(&wal, 6, 9);
    assert_holds(&wal, 0..9);
    assert_holds(&reopen(&disk.crash()).0, 0..9);
    wal.truncate_after(all[2].lsn).unwrap();
    fill(&wal, 9, 11);
    assert_holds(&wal, [0, 1, 9, 10]);
}

#[test]
fn a_log_that_takes_no_more_is_not_cut() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let all = fill(&wal, 0, 3);
    let other = wal.clone();
    wal.close().unwrap();
    assert!(matches!(other.truncate_after(all[0].lsn), Err(Error::Closed)));
    assert_holds(&other, 0..3);
}

/// Records larger than a segment have files of their own, of any size.
#[test]
fn large_records_are_cut_like_any_other() {
    for kept in 0..5 {
        let disk = MemDisk::new();
        let wal = open(&disk, tiny());
        let sizes = [100_000, 10, 300_000, 5000, 1 << 20];
        let all: Vec<_> =
            sizes.iter().map(|&len| wal.append_and_sync(&vec![7; len]).unwrap()).collect();
        let behind = wal.next_lsn();
        let next = wal.truncate_after(all[kept].lsn).unwrap();
        assert!(next > behind);
        wal.append_and_sync(&vec![8; 200_000]).unwrap();
        let found: Vec<_> = payloads(&wal).iter().map(Vec::len).collect();
        assert_eq!(found, [&sizes[..kept], &[200_000]].concat());
        drop(wal);
        let (wal, _) = reopen(&disk.crash());
        let found: Vec<_> = payloads(&wal).iter().map(Vec::len).collect();
        assert_eq!(found, [&sizes[..kept], &[200_000]].concat());
    }
}

/// Writes that are in flight when the cut comes are waited for.
#[test]
fn writes_in_flight_are_over_before_the_cut() {
    for kept in [2, 5] {
        let disk = MemDisk::new();
        let (sink, control) = ScriptSink::open(&disk);
        let wal = Wal::open(sink, tiny().segments(8).depth(3)).unwrap().0;
        control.hold(3);
        let all: Vec<_> = (0..6).map(|n| wal.append(&record(n)).unwrap()).collect();
        wal.truncate_after(all[kept].lsn).unwrap();
        assert_holds(&wal, 0..kept as u64);
        fill(&wal, 10, 12);
        assert_holds(&wal, (0..kept as u64).chain(10..12));
        drop(wal);
        assert_holds(&reopen(&disk.crash()).0, (0..kept as u64).chain(10..12));
    }
}

/// A reader that was behind the new end is told; one that was not reads on across the cut, also if
/// it stands right there, has the bytes behind it in its buffer, or waits at the end of the log.
#[test]
fn readers_meet_the_cut() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let mut all: Vec<_> = (0..8).map(|n| wal.append(&[n; 200]).unwrap()).collect();
    wal.sync().unwrap();
    all.extend((8..16).map(|n| wal.append_and_sync(&[n; 3000]).unwrap()));
    for at in [4, 8, 12] {
        let mut readers: Vec<_> = (0..=all.len())
            .map(|count| {
                let mut cursor = wal.cursor_from(Lsn::ZERO).unwrap();
                for _ in 0..count {
                    cursor.next().unwrap().unwrap();
                }
                (count, cursor)
            })
            .collect();
        let mut ahead = wal.cursor_from(wal.next_lsn()).unwrap();
        let next = wal.truncate_after(all[at].lsn).unwrap();
        let more = wal.append_and_sync(b"more").unwrap();
        for (count, cursor) in &mut readers {
            for expected in all[..at].iter().skip(*count) {
                let entry = cursor.next().unwrap().unwrap();
                assert_eq!(entry.lsn, expected.lsn, "{count} of {at}");
            }
            if *count > at {
                for _ in 0..2 {
                    assert_truncated(cursor.next().map(|_| ()), next);
                }
                continue;
            }
            assert_eq!(cursor.next().unwrap().map(|entry| entry.lsn), Some(more.lsn));
            assert!(cursor.next().unwrap().is_none());
        }
        assert_truncated(ahead.next().map(|_| ()), next);
        assert_truncated(wal.read_at(all[at].lsn), next);
        assert_truncated(wal.cursor_from(all[at].end).map(drop), next);
        // As before, but for a gap in the numbers.
        wal.truncate_after(more.lsn).unwrap();
        all.truncate(at);
        all.extend((at..16).map(|n| wal.append_and_sync(&[n as u8; 3000]).unwrap()));
    }
}

/// A file that a sink prepares ahead holds nothing that could pass for what follows the cut.
#[test]
fn no_file_that_was_cut_off_is_used_again() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let all = fill(&wal, 0, 14);
    wal.truncate_after(all[5].lsn).unwrap();
    let last = disk.sequences().last().copied().unwrap();
    wal.sink().create(last + 1, disk.file(last).len() as u64).unwrap();
    let (wal, report) = reopen(&disk.crash());
    assert_eq!(report.verdict, Verdict::Clean, "{report}");
    assert_holds(&wal, 0..5);
}

/// Writers, a reader and cuts at once: each record is there from the cut that follows it or not at
/// all, and none of them comes back.
#[test]
fn writers_readers_and_cuts_at_once() {
    let disk = MemDisk::new();
    at_once(&disk, open(&disk, tiny().segments(4)));
}

#[test]
fn writers_readers_and_cuts_at_once_with_writes_in_flight() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    control.hold(3);
    at_once(&disk, Wal::open(sink, tiny().segments(4).depth(3)).unwrap().0);
}

fn found<S: SegmentSink>(wal: &Wal<S>) -> BTreeMap<Lsn, Vec<u8>> {
    let all = wal.iter_from(wal.start_lsn()).unwrap();
    all.map(Result::unwrap).map(|record| (record.lsn, record.payload)).collect()
}

fn at_once<S: SegmentSink>(disk: &MemDisk, wal: Wal<S>) {
    let over = AtomicBool::new(false);
    let mut cuts = Vec::new();
    let written: Vec<Vec<(Appended, Vec<u8>)>> = thread::scope(|scope| {
        let writers: Vec<_> = (0..3_u32)
            .map(|writer| {
                let (wal, over) = (&wal, &over);
                scope.spawn(move || {
                    let mut written = Vec::new();
                    for index in 0.. {
                        if over.load(Ordering::SeqCst) {
                            break;
                        }
                        let payload = support::payload(writer, index, 2500);
                        let appended = wal.append(&payload).unwrap();
                        if index % 3 == 0 {
                            wal.wait_durable(appended.lsn).unwrap();
                        }
                        written.push((appended, payload));
                    }
                    written
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let (mut from, mut told) = (Lsn::ZERO, 0);
            while !over.load(Ordering::SeqCst) {
                let mut cursor = match wal.cursor_from(from) {
                    // Cut off once more before anything followed.
                    Err(Error::Truncated { first_available, .. }) => {
                        from = first_available;
                        continue;
                    }
                    cursor => cursor.unwrap(),
                };
                loop {
                    match cursor.next() {
                        Ok(Some(entry)) => assert!(entry.lsn >= from),
                        Ok(None) if over.load(Ordering::SeqCst) => break,
                        Ok(None) => thread::yield_now(),
                        Err(Error::Truncated { first_available, .. }) => {
                            (from, told) = (first_available, told + 1);
                            break;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            told
        });
        while cuts.len() < 40 {
            // A few records before the end, wherever that is by now.
            let durable = wal.durable_lsn();
            let back = Lsn::new(durable.get().saturating_sub(20_000));
            let near =
                wal.iter_from(back.max(cuts.last().map_or(Lsn::ZERO, |cut: &(_, Lsn)| cut.1)));
            let Some(at) = near.unwrap().next() else { continue };
            let lsn = at.unwrap().lsn;
            cuts.push((lsn, wal.truncate_after(lsn).unwrap()));
        }
        over.store(true, Ordering::SeqCst);
        assert!(reader.join().unwrap() > 0, "no reader has met a cut");
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    wal.sync().unwrap();
    let is_cut = |lsn: Lsn| cuts.iter().any(|&(from, to)| from <= lsn && lsn < to);
    let expected: BTreeMap<Lsn, Vec<u8>> = written
        .into_iter()
        .flatten()
        .filter(|(appended, _)| !is_cut(appended.lsn))
        .map(|(appended, payload)| (appended.lsn, payload))
        .collect();
    assert!(found(&wal) == expected);
    // The files of what was cut off are gone.
    let listed = disk.list().unwrap().files;
    let bases: Vec<_> = listed
        .iter()
        .filter_map(|file| file_header::decode(&disk.file(file.sequence)).ok())
        .map(|header| header.base)
        .collect();
    assert!(!bases.iter().any(|&base| cuts.iter().any(|&(from, to)| from < base && base < to)));
    drop(wal);
    assert!(found(&reopen(&disk.crash()).0) == expected);
}
