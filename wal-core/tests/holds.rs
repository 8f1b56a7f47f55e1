//! Holds: who pins what, what truncation leaves them, and what it says of them.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::{open, payloads, tiny};
use wal_core::format::file_header;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::{Appended, Error, Lsn, Pin, Truncation, Wal};

/// Appends and syncs records, a frame each, four frames a file.
fn fill(wal: &Wal<MemSink>, count: usize) -> Vec<Appended> {
    (0..count).map(|n| wal.append_and_sync(&vec![n as u8; 3500]).unwrap()).collect()
}

fn base(disk: &MemDisk, sequence: u64) -> Lsn {
    file_header::decode(&disk.file(sequence)).unwrap().base
}

fn pin(name: &str, lsn: Lsn) -> Pin {
    Pin { name: name.into(), lsn }
}

#[test]
fn nothing_at_or_behind_the_lowest_hold_goes_and_the_outcome_names_it() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let all = fill(&wal, 18);
    let mut slow = wal.hold("replica", all[5].lsn).unwrap();
    let fast = wal.hold("archive", all[10].lsn).unwrap();
    assert_eq!(wal.pinned_by(), [pin("replica", all[5].lsn), pin("archive", all[10].lsn)]);

    let held = |by: Option<Pin>, start| Truncation { start, held_by: by };
    // Up to the hold's own file nothing is in the way.
    let done = wal.truncate_before(all[4].lsn).unwrap();
    assert_eq!(done, held(None, base(&disk, 2)));
    let done = wal.truncate_before(Lsn::MAX).unwrap();
    assert_eq!(done, held(Some(pin("replica", all[5].lsn)), base(&disk, 2)));
    assert_eq!(disk.sequences(), [2, 3, 4, 5]);
    assert_eq!(wal.read_at(all[5].lsn).unwrap(), [5; 3500]);

    // A hold at the very end of a file's last record does not need that file.
    slow.advance(all[7].end);
    assert_eq!(slow.lsn(), all[7].end);
    let done = wal.truncate_before(Lsn::MAX).unwrap();
    assert_eq!(done, held(Some(pin("replica", all[7].end)), base(&disk, 3)));
    // It never moves back.
    slow.advance(all[5].lsn);
    assert_eq!((slow.lsn(), slow.name()), (all[7].end, "replica"));
    slow.release();
    let done = wal.truncate_before(Lsn::MAX).unwrap();
    assert_eq!(done, held(Some(pin("archive", all[10].lsn)), base(&disk, 3)));
    // Nothing more would have gone without it: then it is not named.
    assert_eq!(wal.truncate_before(all[11].lsn).unwrap(), held(None, base(&disk, 3)));
    drop(fast);
    assert_eq!(wal.pinned_by(), []);
    assert_eq!(wal.truncate_before(Lsn::MAX).unwrap(), held(None, base(&disk, 5)));
    assert_eq!(payloads(&wal).len(), 2);
}

#[test]
fn a_hold_on_what_is_gone_is_refused() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let all = fill(&wal, 10);
    wal.truncate_before(all[8].lsn).unwrap();
    let start = wal.start_lsn();
    for lsn in [Lsn::ZERO, all[7].lsn] {
        match wal.hold("late", lsn) {
            Err(Error::Truncated { lsn: at, first_available }) => {
                assert_eq!((at, first_available), (lsn, start));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(wal.pinned_by(), []);
    // Nothing was between the last record that is gone and the start; and what is to come may be
    // held before it is there.
    let _end = wal.hold("end", all[7].end).unwrap();
    let _ahead = wal.hold("ahead", wal.next_lsn().advance(1 << 20)).unwrap();
}

#[test]
fn holds_of_one_name_and_place_are_held_each_by_itself() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let all = fill(&wal, 10);
    let one = wal.hold("twin", all[0].lsn).unwrap();
    let two = wal.hold("twin", all[0].lsn).unwrap();
    drop(one);
    assert_eq!(wal.pinned_by(), [pin("twin", all[0].lsn)]);
    assert_eq!(wal.truncate_before(Lsn::MAX).unwrap().start, Lsn::ZERO);
    drop(two);
    assert!(wal.truncate_before(Lsn::MAX).unwrap().start > Lsn::ZERO);
}

#[test]
fn a_hold_lives_in_its_process_and_does_not_keep_the_log_open() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let all = fill(&wal, 10);
    let mut hold = wal.hold("gone", all[0].lsn).unwrap();
    wal.close().unwrap();
    assert!(!disk.is_open());
    let wal = open(&disk, tiny());
    assert_eq!(wal.pinned_by(), []);
    assert!(wal.truncate_before(Lsn::MAX).unwrap().start > Lsn::ZERO);
    // Of no use any more, and no harm.
    hold.advance(all[9].end);
    hold.release();
}

/// A reader that holds the place it has come to is never overtaken, however eagerly others
/// truncate.
#[test]
fn who_holds_what_it_reads_is_never_overtaken() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let over = AtomicBool::new(false);
    let mut hold = wal.hold("reader", Lsn::ZERO).unwrap();
    let (written, read) = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut cursor, mut count) = (wal.cursor_from(Lsn::ZERO).unwrap(), 0_usize);
            loop {
                let last = over.load(Ordering::SeqCst);
                while let Some(entry) = cursor.next().unwrap() {
                    assert_eq!(entry.payload, count.to_le_bytes().repeat(300));
                    count += 1;
                    let end = entry.end;
                    hold.advance(end);
                }
                if last {
                    return count;
                }
            }
        });
        let truncating = scope.spawn(|| {
            let mut start = Lsn::ZERO;
            while !over.load(Ordering::SeqCst) {
                let done = wal.truncate_before(Lsn::MAX).unwrap();
                assert!(done.start >= start);
                start = done.start;
            }
            start
        });
        let mut written = 0_usize;
        // Until truncation has followed the reader for some files.
        while wal.start_lsn() < Lsn::new(1 << 20) {
            wal.append_and_sync(&written.to_le_bytes().repeat(300)).unwrap();
            written += 1;
        }
        over.store(true, Ordering::SeqCst);
        assert!(truncating.join().unwrap() >= Lsn::new(1 << 20));
        (written, reader.join().unwrap())
    });
    assert_eq!(written, read);
}
