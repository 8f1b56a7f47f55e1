//! Archives: which files are announced, when, with what range, what is kept for them, and what the
//! copies are worth.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use support::{Rule, ScriptSink, counted, open, payloads, tiny};
use wal_core::format::checksum::crc32c;
use wal_core::format::file_header;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::{Appended, Archive, Error, Lsn, Options, SealedFile, Verdict, Wal};

/// The next file if there is one by now.
fn poll(archive: &mut Archive) -> Option<SealedFile> {
    match archive.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(file)) => Some(file.unwrap()),
        Poll::Ready(None) => panic!("the archive has ended"),
        Poll::Pending => None,
    }
}

fn content(file: &SealedFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.reader().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, file.len());
    assert_eq!(crc32c(&bytes), file.checksum());
    bytes
}

/// Copies of files, by number.
#[derive(Clone, Default)]
struct Copies(BTreeMap<u64, Vec<u8>>);

impl Copies {
    fn take(&mut self, file: &SealedFile) {
        let mut bytes = content(file);
        bytes.resize(file.capacity() as usize, 0);
        // What was cut off, or held nothing.
        let from = file.follows().map_or(0, |before| before + 1);
        self.0.retain(|&sequence, _| sequence < from || sequence > file.sequence());
        self.0.insert(file.sequence(), bytes);
    }

    /// Opens a log that is made of them, and returns what it holds.
    fn restore(&self) -> Vec<Vec<u8>> {
        let disk = MemDisk::new();
        for (&sequence, bytes) in &self.0 {
            disk.put_file(sequence, bytes.clone());
        }
        let (wal, report) =
            Wal::open(MemSink::open(&disk).unwrap(), Options::default().seed(7)).unwrap();
        assert!(report.holes.is_empty() && report.foreign.is_empty(), "{report}");
        payloads(&wal)
    }
}

/// Appends and syncs records, a frame each, four frames a file.
fn fill(wal: &Wal<MemSink>, from: u8, count: u8) -> Vec<Appended> {
    (from..from + count).map(|n| wal.append_and_sync(&[n; 3500]).unwrap()).collect()
}

fn expected(count: u8) -> Vec<Vec<u8>> {
    (0..count).map(|n| vec![n; 3500]).collect()
}

fn base(disk: &MemDisk, sequence: u64) -> Lsn {
    file_header::decode(&disk.file(sequence)).unwrap().base
}

#[test]
fn each_file_is_announced_once_in_order_with_its_range_and_checksum() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let mut archive = wal.archive("backup", Lsn::ZERO).unwrap();
    let (mut copies, mut last, mut count) = (Copies::default(), None, 0);
    let mut end = Lsn::ZERO;
    for n in 0..22_u8 {
        let before = std::mem::replace(&mut end, wal.append_and_sync(&[n; 3500]).unwrap().end);
        // The record of a fifth frame begins another file.
        let due = n > 0 && n % 4 == 0;
        let Some(file) = poll(&mut archive) else {
            assert!(!due, "record {n}");
            continue;
        };
        assert!(due, "record {n}");
        count += 1;
        assert_eq!((file.sequence(), file.follows()), (count, last));
        assert_eq!((file.start(), file.capacity()), (base(&disk, count), 5 * 4096));
        assert_eq!(file.end(), before);
        assert!(file.len() <= file.capacity());
        // What counts is what a power loss would leave.
        assert_eq!(content(&file), disk.crash().file(count)[..file.len() as usize]);
        copies.take(&file);
        assert_eq!(copies.restore(), expected(n));
        assert!(poll(&mut archive).is_none(), "once");
        last = Some(count);
        file.done();
    }
    assert_eq!(count, 5);
}

#[test]
fn a_file_is_not_announced_before_all_of_it_is_durable_and_then_wakes_once() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let wal = Wal::open(sink, tiny().segments(4)).unwrap().0;
    let mut archive = wal.archive("backup", Lsn::ZERO).unwrap();
    let (count, waker) = counted();
    let context = &mut Context::from_waker(&waker);
    assert!(archive.poll_next(context).is_pending());
    let syncs = control.syncs();
    for n in 0..10_u8 {
        wal.append(&[n; 3500]).unwrap();
        wal.flush().unwrap();
        assert!(archive.poll_next(context).is_pending(), "record {n}");
    }
    // Two files are written, and a third begun; a sync of the first alone would be told of, too.
    assert_eq!((disk.sequences(), control.syncs(), count.calls()), (vec![1, 2, 3], syncs, 0));
    wal.sync().unwrap();
    assert_eq!(count.calls(), 1);
    for sequence in [1, 2] {
        let file = poll(&mut archive).unwrap();
        assert_eq!(file.sequence(), sequence);
        assert_eq!(content(&file), disk.crash().file(sequence)[..file.len() as usize]);
    }
    // Syncs that complete no file are no news to it.
    assert!(archive.poll_next(context).is_pending());
    wal.append(b"x").unwrap();
    wal.sync().unwrap();
    assert_eq!(count.calls(), 1);
}

#[test]
fn what_was_not_shipped_stays_and_what_is_done_goes_in_any_order() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    fill(&wal, 0, 18);
    let mut archive = wal.archive("slow", wal.start_lsn()).unwrap();
    let start = |wal: &Wal<MemSink>| wal.truncate_before(Lsn::MAX).unwrap().start;
    assert_eq!(start(&wal), Lsn::ZERO);
    assert_eq!(wal.truncate_before(Lsn::MAX).unwrap().held_by.unwrap().name.as_ref(), "slow");
    let [one, two, three] = [(); 3].map(|()| archive.next().unwrap().unwrap());
    assert_eq!(start(&wal), Lsn::ZERO);
    two.done();
    assert_eq!((start(&wal), archive.held_from()), (Lsn::ZERO, Lsn::ZERO));
    one.done();
    // With the second, which was done before.
    assert_eq!(start(&wal), base(&disk, 3));
    assert_eq!(archive.held_from(), three.start());
    // A file in hand is kept without its archive, even one that was let fall before.
    drop(archive.next().unwrap().unwrap());
    drop(archive);
    assert_eq!(start(&wal), base(&disk, 3));
    assert_eq!(content(&three).len() as u64, three.len());
    three.done();
    assert_eq!((start(&wal), wal.pinned_by().len()), (base(&disk, 5), 0));
}

#[test]
fn a_file_that_was_let_fall_stays_until_the_archive_is_gone() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    fill(&wal, 0, 14);
    let mut archive = wal.archive("slow", Lsn::ZERO).unwrap();
    drop(archive.next().unwrap().unwrap());
    archive.next().unwrap().unwrap().done();
    archive.next().unwrap().unwrap().done();
    assert_eq!(wal.truncate_before(Lsn::MAX).unwrap().start, Lsn::ZERO);
    // Who takes it up where it was comes by it again.
    let mut again = wal.archive("again", archive.held_from()).unwrap();
    drop(archive);
    assert_eq!(again.next().unwrap().unwrap().sequence(), 1);
    drop(again);
    assert_eq!(wal.truncate_before(Lsn::MAX).unwrap().start, base(&disk, 4));
}

#[test]
fn after_reopening_what_was_not_done_is_announced_again_the_same() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    fill(&wal, 0, 14);
    let (mut copies, mut position) = (Copies::default(), Lsn::ZERO);
    let mut archive = wal.archive("backup", position).unwrap();
    let told = |file: &SealedFile| (file.sequence(), file.start(), file.end(), file.checksum());
    let first = archive.next().unwrap().unwrap();
    copies.take(&first);
    position = first.end().max(position);
    first.done();
    let rest = [(); 2].map(|()| told(&archive.next().unwrap().unwrap()));
    assert!(poll(&mut archive).is_none());
    drop(archive);
    wal.close().unwrap();

    // The file that it was closed in, too: the log goes on in another one.
    let wal = open(&disk, tiny());
    let mut archive = wal.archive("backup", position).unwrap();
    for expected in rest {
        let file = archive.next().unwrap().unwrap();
        assert_eq!(told(&file), expected);
        copies.take(&file);
        file.done();
    }
    let file = archive.next().unwrap().unwrap();
    assert_eq!((file.sequence(), file.follows()), (4, Some(3)));
    copies.take(&file);
    assert_eq!(copies.restore(), expected(14));
    position = file.end();
    file.done();
    assert!(poll(&mut archive).is_none());
    drop(archive);
    assert!(poll(&mut wal.archive("backup", position).unwrap()).is_none());
    assert!(matches!(
        {
            wal.truncate_before(Lsn::MAX).unwrap();
            wal.archive("backup", Lsn::ZERO)
        },
        Err(Error::Truncated { lsn: Lsn::ZERO, .. })
    ));
}

/// Crashes right when a file is announced, or right after the next was begun: the next life
/// announces it with the same range and bytes.
#[test]
fn a_crash_changes_nothing_of_what_was_announced() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let mut archive = wal.archive("backup", Lsn::ZERO).unwrap();
    let mut copies = Copies::default();
    let mut crashes = 0;
    for n in 0..26_u8 {
        // Sizes that make frames of their own length, and some of their own file.
        let len = [3500, 100, 7000, 30_000][usize::from(n) % 4];
        let appended = wal.append(&vec![n; len]).unwrap();
        let crashed = [disk.crash(), disk.snapshot()];
        wal.wait_durable(appended.lsn).unwrap();
        while let Some(file) = poll(&mut archive) {
            copies.take(&file);
            for crashed in crashed.iter().chain([&disk.crash(), &disk.snapshot()]) {
                let crashed = crashed.snapshot();
                // Not there yet, or not whole: then it was not announced.
                if !crashed.sequences().contains(&file.sequence()) {
                    continue;
                }
                let wal = open(&crashed, tiny().seed(9));
                let mut archive = wal.archive("backup", file.start()).unwrap();
                let again = archive.next().unwrap().unwrap();
                assert_eq!(again.sequence(), file.sequence());
                if again.end() == file.end() {
                    assert_eq!(
                        (again.checksum(), content(&again)),
                        (file.checksum(), content(&file))
                    );
                    crashes += 1;
                } else {
                    // The crash came before its end.
                    assert!(again.end() < file.end());
                }
            }
            file.done();
        }
    }
    assert!(crashes > 20, "{crashes}");
    let held = payloads(&wal);
    let restored = copies.restore();
    assert!(restored.len() > 15 && restored == held[..restored.len()]);
}

/// A file that opening began and that holds nothing, because the first record had no room in it, is a
/// link of the chain.
#[test]
fn a_file_without_records_is_shipped_and_kept_like_any_other() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let mut copies = Copies::default();
    let mut archive = wal.archive("backup", Lsn::ZERO).unwrap();
    let large = vec![1; 40_000];
    wal.append_and_sync(&large).unwrap();
    wal.truncate_before(Lsn::MAX).unwrap();
    let empty = poll(&mut archive).unwrap();
    assert_eq!((empty.sequence(), empty.start(), empty.end()), (1, Lsn::ZERO, Lsn::ZERO));
    assert_eq!(empty.len(), 4096);
    copies.take(&empty);
    empty.done();
    drop(archive);
    // Nobody knows whether it was done.
    let mut archive = wal.archive("backup", Lsn::ZERO).unwrap();
    fill(&wal, 0, 4);
    for sequence in [1, 2] {
        let file = poll(&mut archive).unwrap();
        assert_eq!(file.sequence(), sequence);
        copies.take(&file);
        file.done();
    }
    assert_eq!(copies.restore(), [large]);
    drop(archive);
    // In the middle, where the file before ends just where this one begins.
    wal.close().unwrap();
    let wal = open(&disk, tiny());
    let start = wal.next_lsn();
    let mut archive = wal.archive("backup", start).unwrap();
    wal.append_and_sync(&vec![2; 40_000]).unwrap();
    fill(&wal, 0, 4);
    wal.truncate_before(Lsn::MAX).unwrap();
    let file = poll(&mut archive).unwrap();
    assert_eq!((file.start(), file.end()), (start, start));
}

#[test]
fn a_damaged_file_is_not_shipped_and_is_tried_again() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    fill(&wal, 0, 6);
    let mut archive = wal.archive("backup", Lsn::ZERO).unwrap();
    let bit = 8 * (4096 + 4096 + 500);
    disk.flip_bit(1, bit);
    for _ in 0..2 {
        match archive.next() {
            Err(Error::Corrupt(corruption)) => assert_eq!(corruption.file, 1),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(wal.truncate_before(Lsn::MAX).unwrap().start, Lsn::ZERO);
    disk.flip_bit(1, bit);
    let file = archive.next().unwrap().unwrap();
    let mut copy = content(&file);
    // Damage that comes later is found by whoever reads to the end.
    disk.flip_bit(1, bit);
    let error = file.reader().read_to_end(&mut copy).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains(".wal has checksum"), "{error}");
    // One that is cut short is missed at once.
    disk.truncate_file(1, 9000);
    let error = file.reader().read_to_end(&mut copy).unwrap_err();
    assert!(error.to_string().contains("file shorter"), "{error}");
}

#[test]
fn a_cut_announces_the_file_anew_that_the_log_now_ends_with() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let all = fill(&wal, 0, 18);
    let mut archive = wal.archive("backup", Lsn::ZERO).unwrap();
    let mut copies = Copies::default();
    for _ in 0..4 {
        let file = poll(&mut archive).unwrap();
        copies.take(&file);
        file.done();
    }
    assert_eq!(copies.restore(), expected(16));
    let (count, waker) = counted();
    assert!(archive.poll_next(&mut Context::from_waker(&waker)).is_pending());
    // Back to within the second of them.
    wal.truncate_after(all[6].lsn).unwrap();
    assert_eq!(count.calls(), 1);
    let again = poll(&mut archive).unwrap();
    assert_eq!((again.sequence(), again.end()), (2, all[5].end));
    // It is held again, though the hold had moved on.
    assert_eq!(wal.truncate_before(Lsn::MAX).unwrap().start, base(&disk, 2));
    let mut strays = copies.clone();
    let mut shortened = Copies::default();
    shortened.0.insert(1, copies.0[&1].clone());
    shortened.take(&again);
    assert_eq!(shortened.restore(), expected(6));
    copies.take(&again);
    again.done();
    assert!(poll(&mut archive).is_none());
    for n in 6..11 {
        wal.append_and_sync(&[n; 3500]).unwrap();
    }
    let next = poll(&mut archive).unwrap();
    assert_eq!(next.follows(), Some(2));
    copies.take(&next);
    assert_eq!(copies.0.keys().copied().collect::<Vec<_>>(), [1, 2, next.sequence()]);
    assert_eq!(copies.restore(), expected(10));
    // Copies that nobody has removed do no harm.
    assert!(strays.0.contains_key(&3) && strays.0.contains_key(&4));
    strays.0.extend(copies.0);
    assert_eq!(strays.restore(), expected(10));
    drop(next);
    drop(archive);

    // Who comes with the old position, after a restart, learns of it as well.
    let mut late = wal.archive("late", all[13].end).unwrap();
    assert_eq!(poll(&mut late).unwrap().sequence(), 2);
}

#[test]
fn a_file_in_hand_that_was_cut_is_refused() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let all = fill(&wal, 0, 10);
    let mut archive = wal.archive("backup", Lsn::ZERO).unwrap();
    let [one, two] = [(); 2].map(|()| archive.next().unwrap().unwrap());
    let mut reader = two.reader();
    reader.read_exact(&mut [0; 5000]).unwrap();
    wal.truncate_after(all[2].lsn).unwrap();
    for mut reader in [reader, one.reader(), two.reader()] {
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        let source = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
        assert!(matches!(source, Some(Error::Truncated { .. })), "{error}");
    }
    // Done or not, the next one is another.
    two.done();
    one.done();
    let again = archive.next().unwrap().unwrap();
    assert_eq!((again.sequence(), again.end()), (1, all[1].end));
    assert_eq!(archive.held_from(), Lsn::ZERO);
    again.done();
    assert_eq!(archive.held_from(), all[7].end);
}

#[test]
fn it_ends_with_the_log_and_leaves_nothing_behind() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    fill(&wal, 0, 6);
    let mut archive = wal.archive("backup", Lsn::ZERO).unwrap();
    let waiting = thread::spawn(move || {
        archive.next().unwrap().unwrap().done();
        (archive.next().unwrap().is_none(), archive)
    });
    let (count, waker) = counted();
    let mut task = wal.archive("task", Lsn::ZERO).unwrap();
    drop(poll(&mut task));
    assert!(task.poll_next(&mut Context::from_waker(&waker)).is_pending());
    let mut dropped = wal.archive("dropped", wal.next_lsn()).unwrap();
    let (unused, other) = counted();
    assert!(dropped.poll_next(&mut Context::from_waker(&other)).is_pending());
    drop(other);
    drop(dropped);
    assert_eq!(Arc::strong_count(&unused), 1, "a registration was left");
    wal.close().unwrap();
    assert!(count.calls() > 0);
    assert!(matches!(task.poll_next(&mut Context::from_waker(&waker)), Poll::Ready(None)));
    drop(task);
    let (ended, archive) = waiting.join().unwrap();
    assert!(ended && disk.is_open(), "it keeps the log open");
    drop(archive);
    assert!(!disk.is_open());

    // The last handle goes.
    let wal = open(&disk, tiny());
    let mut archive = wal.archive("backup", wal.next_lsn()).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| archive.next().unwrap().is_none());
        drop(wal);
        assert!(waiting.join().unwrap());
    });
}

#[test]
fn a_poisoned_log_hands_out_what_is_durable_and_then_says_why() {
    let (sink, control) = ScriptSink::open(&MemDisk::new());
    let wal = Wal::open(sink, tiny()).unwrap().0;
    let mut archive = wal.archive("backup", Lsn::ZERO).unwrap();
    for n in 0..5_u8 {
        wal.append_and_sync(&[n; 3500]).unwrap();
    }
    control.on_sync(Rule::Fail(ErrorKind::Other));
    assert!(wal.append_and_sync(b"x").is_err());
    assert_eq!(archive.next().unwrap().unwrap().sequence(), 1);
    assert!(matches!(archive.next(), Err(Error::Poisoned { .. })));
}

#[test]
fn waiting_for_a_file_can_be_given_up_and_taken_up_again() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let mut archive = wal.archive("backup", Lsn::ZERO).unwrap();
    fill(&wal, 0, 3);
    let soon = Duration::from_millis(5);
    assert!(matches!(archive.next_timeout(soon), Err(Error::TimedOut { .. })));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| archive.next_timeout(Duration::from_secs(60)));
        fill(&wal, 3, 2);
        assert_eq!(waiting.join().unwrap().unwrap().unwrap().sequence(), 1);
    });
}

/// Writers, a truncation that is eager, and one who ships: nothing is lost and nothing comes twice.
#[test]
fn one_who_ships_is_never_overtaken() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny().segments(4));
    let mut archive = wal.archive("backup", Lsn::ZERO).unwrap();
    let over = AtomicBool::new(false);
    let copies = thread::scope(|scope| {
        let shipping = scope.spawn(|| {
            let (mut copies, mut next) = (Copies::default(), 1);
            while let Some(file) = archive.next().unwrap() {
                assert_eq!(file.sequence(), next);
                copies.take(&file);
                file.done();
                next += 1;
            }
            copies
        });
        let truncating = scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                wal.truncate_before(Lsn::MAX).unwrap();
            }
        });
        let writers: Vec<_> = (0..2_u8)
            .map(|writer| {
                let wal = &wal;
                scope.spawn(move || {
                    for n in 0..300_u16 {
                        let record = [&[writer], &n.to_le_bytes()[..]].concat().repeat(300);
                        wal.append_and_sync(&record).unwrap();
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        over.store(true, Ordering::SeqCst);
        truncating.join().unwrap();
        wal.clone().close().unwrap();
        shipping.join().unwrap()
    });
    let mut restored = copies.restore();
    assert!(restored.len() > 590, "{}", restored.len());
    // With the rest, all of it.
    restored.extend(payloads(&wal).into_iter().rev().take(600 - restored.len()).rev());
    for writer in 0..2 {
        let mine = restored.iter().filter(|record| record[0] == writer);
        let numbers: Vec<_> =
            mine.map(|record| u16::from_le_bytes([record[1], record[2]])).collect();
        assert_eq!(numbers, (0..300).collect::<Vec<_>>());
    }
}

/// The last file of a crashed log, cut where its torn end was: restored by itself it is what the log
/// was.
#[test]
fn a_recovered_file_is_shipped_without_its_torn_end() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    fill(&wal, 0, 2);
    wal.append_batch(&[[2; 1000], [3; 1000]]).unwrap();
    wal.append(&[4; 1000]).unwrap();
    wal.flush().unwrap();
    let crashed = disk.snapshot();
    drop(wal);
    // The last record of the last frame did not make it.
    crashed.flip_bit(1, 8 * (3 * 4096 + 64 + 2 * 1016 + 500));
    let (wal, report) = Wal::open(MemSink::open(&crashed).unwrap(), tiny()).unwrap();
    assert_eq!(report.verdict, Verdict::Ambiguous);
    let held = payloads(&wal);
    assert_eq!(held.len(), 4);
    let mut archive = wal.archive("backup", Lsn::ZERO).unwrap();
    let file = archive.next().unwrap().unwrap();
    assert_eq!(file.end(), report.end);
    let mut copies = Copies::default();
    copies.take(&file);
    assert_eq!(copies.restore(), held);
}
