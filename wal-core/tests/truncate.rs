//! Truncation: which files go and when, in what order, what fails, and what readers see of it.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use support::{Control, Rule, ScriptSink, assert_truncated, open, payloads, tiny};
use wal_core::format::file_header::{self, FileHeader};
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::sink::{Created, Listing, LogSource, SegmentSink, SinkError, Write};
use wal_core::{
    Appended, Error, Lsn, Options, Padding, RecoveryMode, RecoveryReport, Verdict, Wal,
};

/// One record a frame, four frames a file, each of its own content.
fn record(n: u64) -> Vec<u8> {
    let mut bytes = vec![n as u8; 3000 + n as usize % 500];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    bytes
}

/// Appends and syncs records `from..to`, a frame each.
fn fill<S: SegmentSink>(wal: &Wal<S>, from: u64, to: u64) -> Vec<Appended> {
    (from..to).map(|n| wal.append_and_sync(&record(n)).unwrap()).collect()
}

fn reopen(disk: &MemDisk) -> (Wal<MemSink>, RecoveryReport) {
    Wal::open(MemSink::open(disk).unwrap(), tiny()).unwrap()
}

fn header(disk: &MemDisk, sequence: u64) -> FileHeader {
    file_header::decode(&disk.file(sequence)).unwrap()
}

/// That the log is the records `from..to`.
fn assert_holds<S: SegmentSink>(wal: &Wal<S>, from: u64, to: u64) {
    let expected: Vec<_> = (from..to).map(record).collect();
    assert!(payloads(wal) == expected, "the log is not {from}..{to}");
}

#[test]
fn whole_files_go_and_nothing_at_or_behind_the_position() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let all = fill(&wal, 0, 18);
    assert_eq!(disk.sequences(), [1, 2, 3, 4, 5]);
    let start = |wal: &Wal<MemSink>, lsn| {
        let start = wal.truncate_before(lsn).unwrap().start;
        assert_eq!(start, wal.start_lsn());
        start
    };
    assert_eq!(start(&wal, Lsn::ZERO), Lsn::ZERO);
    // Any byte of a file's last record keeps the file.
    assert_eq!(start(&wal, Lsn::new(all[3].end.get() - 1)), Lsn::ZERO);
    assert_eq!(disk.sequences(), [1, 2, 3, 4, 5]);
    assert_eq!(start(&wal, all[3].end), header(&disk, 2).base);
    assert_eq!(disk.sequences(), [2, 3, 4, 5]);
    assert_holds(&wal, 4, 18);
    assert_eq!(start(&wal, all[13].lsn), header(&disk, 4).base);
    assert_holds(&wal, 12, 18);
    // It never goes back, and a position that lies before the start is no error.
    assert_eq!(start(&wal, Lsn::ZERO), header(&disk, 4).base);
    assert_eq!(start(&wal, Lsn::MAX), header(&disk, 5).base);
    assert_eq!(disk.sequences(), [5]);
    assert_holds(&wal, 16, 18);
    for result in [wal.read_at(all[0].lsn), wal.read_at(all[15].lsn)] {
        assert_truncated(result, wal.start_lsn());
    }
    assert_truncated(wal.iter_from(all[15].lsn).map(drop), wal.start_lsn());
    assert_eq!(wal.read_at(all[16].lsn).unwrap(), record(16));
    // Nothing lies between a file's end and the next one's start.
    assert_eq!(wal.iter_from(all[15].end).unwrap().count(), 2);
    drop(wal);
    for disk in [disk.crash(), disk.snapshot()] {
        let (wal, report) = reopen(&disk);
        assert_eq!((report.verdict, report.records), (Verdict::Clean, 2));
        assert_holds(&wal, 16, 18);
    }
}

#[test]
fn a_file_stays_until_the_header_behind_it_is_durable() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    fill(&wal, 0, 4);
    // The first file is full and durable, and the watermark stands where the second begins; what
    // the second holds is written, not synced.
    wal.append(&record(4)).unwrap();
    wal.flush().unwrap();
    assert_eq!(disk.sequences(), [1, 2]);
    assert_eq!(wal.durable_lsn(), Lsn::new(16384));
    assert_eq!(wal.truncate_before(Lsn::MAX).unwrap().start, Lsn::ZERO);
    assert_eq!(disk.sequences(), [1, 2]);
    assert_holds(&reopen(&disk.crash()).0, 0, 4);
    wal.sync().unwrap();
    assert_eq!(wal.truncate_before(Lsn::MAX).unwrap().start, header(&disk, 2).base);
    assert_eq!(disk.sequences(), [2]);
    assert_holds(&reopen(&disk.crash()).0, 4, 5);
}

/// The header that opening has written is durable, whether anything follows or not. No position is
/// given out twice, even when nothing but that header is left.
#[test]
fn a_log_can_be_emptied_when_it_has_just_been_opened() {
    let disk = MemDisk::new();
    let end = fill(&open(&disk, tiny()), 0, 7)[6].end;
    for _ in 0..3 {
        let (wal, _) = reopen(&disk);
        let start = wal.truncate_before(end).unwrap().start;
        assert!(start >= end);
        assert_eq!(disk.sequences().len(), 1);
        assert_holds(&wal, 0, 0);
        // As left by a crash before the next life removes it.
        assert_holds(&reopen(&disk.crash()).0, 0, 0);
    }
    let (wal, _) = reopen(&disk);
    let next = wal.append_and_sync(&record(7)).unwrap();
    assert!(next.lsn >= end);
    assert_holds(&wal, 7, 8);
    drop(wal);
    assert_holds(&reopen(&disk).0, 7, 8);
}

/// A file that opening made, and that a record too large for it passed by, holds nothing. It goes
/// all the same, in its turn: also when a later life finds it.
#[test]
fn files_without_a_frame_go_in_their_turn() {
    let disk = MemDisk::new();
    fill(&open(&disk, tiny()), 0, 6);
    let (wal, _) = reopen(&disk);
    wal.append_and_sync(&[9; 30_000]).unwrap();
    fill(&wal, 6, 7);
    assert_eq!(disk.sequences(), [1, 2, 3, 4, 5]);
    // Of this life.
    let same = disk.snapshot();
    let wal = reopen(&disk.snapshot()).0;
    drop(wal);
    let large = header(&disk, 4).base;
    // Of an earlier one.
    let (wal, _) = reopen(&same);
    for lsn in [header(&same, 2).base, large, large.advance(1), Lsn::MAX] {
        wal.truncate_before(lsn).unwrap();
        let first = same.sequences()[0];
        assert!(same.sequences() == (first..=6).collect::<Vec<_>>(), "{:?}", same.sequences());
        let (again, report) = reopen(&same.crash());
        assert_eq!(report.verdict, Verdict::Clean);
        drop(again);
    }
    assert_eq!(same.sequences(), [6]);
    for lsn in [large, Lsn::MAX] {
        let (wal, _) = reopen(&disk.snapshot());
        wal.truncate_before(lsn).unwrap();
        reopen(&disk.crash());
    }
}

/// Whatever step fails, what is left has no gap, nothing that is still needed is lost, readers find
/// the new start, and the next call removes what was left.
#[test]
fn files_go_oldest_first_and_a_failure_leaves_no_gap() {
    for failing in 0..5 {
        let disk = MemDisk::new();
        let (sink, control) = ScriptSink::open(&disk);
        let wal = Wal::open(sink, tiny()).unwrap().0;
        let all = fill(&wal, 0, 18);
        control.fail_operation(failing);
        let start = header(&disk, 4).base;
        let result = wal.truncate_before(all[12].lsn);
        if failing < 3 {
            assert!(matches!(&result, Err(Error::Sink(_))), "{result:?}");
        } else {
            assert_eq!(result.unwrap().start, start);
        }
        let left: Vec<_> = (1 + failing.min(3)..=5).collect();
        assert_eq!(disk.sequences(), left);
        let (again, report) = reopen(&disk.crash());
        assert_eq!(report.verdict, Verdict::Clean);
        assert_holds(&again, 4 * failing.min(3), 18);

        assert_eq!(wal.start_lsn(), start);
        assert_truncated(wal.read_at(all[0].lsn), start);
        assert_holds(&wal, 12, 18);
        control.fail_operation(u64::MAX);
        // Even if there is nothing more to free.
        assert_eq!(wal.truncate_before(Lsn::ZERO).unwrap().start, start);
        assert_eq!(disk.sequences(), [4, 5]);
        fill(&wal, 18, 20);
        assert_holds(&wal, 12, 20);
    }
}

/// Lets removals pass when it is dropped, so that a test that fails does not wait for one.
struct Unblock<'a>(&'a Control);

impl Drop for Unblock<'_> {
    fn drop(&mut self) {
        self.0.on_remove(Rule::Pass);
    }
}

/// The table of files lets go of all at once; the removal is one file after the other.
#[test]
fn each_removal_is_over_before_the_next_one_begins() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let wal = Wal::open(sink, tiny()).unwrap().0;
    let all = fill(&wal, 0, 18);
    control.on_remove(Rule::Block);
    thread::scope(|scope| {
        let unblock = Unblock(&control);
        let one = scope.spawn(|| wal.truncate_before(all[8].lsn).unwrap());
        control.await_blocked();
        assert_eq!(disk.sequences(), [1, 2, 3, 4, 5]);
        // Nobody else waits for it: not who appends, not who syncs, not who reads.
        fill(&wal, 18, 24);
        assert_holds(&wal, 8, 24);
        assert_truncated(wal.read_at(all[7].lsn), header(&disk, 3).base);
        assert_eq!(disk.sequences(), [1, 2, 3, 4, 5, 6]);
        // Another truncation does.
        let other = scope.spawn(|| wal.truncate_before(all[12].lsn).unwrap());
        drop(unblock);
        assert_eq!(one.join().unwrap().start, Lsn::new(32768));
        assert_eq!(other.join().unwrap().start, Lsn::new(49152));
    });
    assert_eq!(disk.sequences(), [4, 5, 6]);
    assert_holds(&wal, 12, 24);
}

#[test]
fn a_closed_or_poisoned_log_keeps_everything() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let wal = Wal::open(sink, tiny()).unwrap().0;
    let all = fill(&wal, 0, 9);
    control.on_sync(Rule::Fail(ErrorKind::Other));
    wal.append_and_sync(&record(9)).unwrap_err();
    assert!(matches!(wal.truncate_before(all[8].lsn), Err(Error::Poisoned { .. })));
    assert_eq!((disk.sequences(), wal.start_lsn()), (vec![1, 2, 3], Lsn::ZERO));
    drop(wal);

    let (wal, _) = reopen(&disk.crash());
    let handle = wal.clone();
    wal.close().unwrap();
    assert!(matches!(handle.truncate_before(all[8].lsn), Err(Error::Closed)));
    assert_holds(&handle, 0, 9);
}

/// A log that has found no room to go on in opens all the same, perhaps to be truncated.
#[test]
fn the_newest_file_stays_until_the_next_one_is_there() {
    let disk = MemDisk::new();
    let all = fill(&open(&disk, tiny()), 0, 14);
    let (sink, control) = ScriptSink::open(&disk);
    control.on_create(Rule::Fail(ErrorKind::StorageFull));
    let (wal, _) = Wal::open(sink, tiny()).unwrap();
    let newest = header(&disk, 4).base;
    assert_eq!(wal.truncate_before(Lsn::MAX).unwrap().start, newest);
    assert_eq!(disk.sequences(), [4]);
    assert_holds(&wal, 12, 14);
    for left in [disk.crash(), disk.snapshot()] {
        let (wal, report) = reopen(&left);
        assert_eq!((report.start, report.end), (newest, all[13].end), "{report}");
        assert_holds(&wal, 12, 14);
    }
    control.on_create(Rule::Pass);
    fill(&wal, 14, 15);
    assert!(wal.truncate_before(Lsn::MAX).unwrap().start > newest);
    assert_eq!(disk.sequences(), [5]);
    assert_holds(&reopen(&disk.crash()).0, 14, 15);
}

/// A file that could not be read at all goes with those before it, and a hole is not given up
/// before the position is behind it.
#[test]
fn what_a_salvage_could_not_read_goes_in_its_turn() {
    let disk = MemDisk::new();
    let all = fill(&open(&disk, tiny()), 0, 14);
    let mut bytes = disk.file(2);
    bytes[..4096].fill(1);
    disk.put_file(2, bytes);
    assert!(matches!(Wal::open(MemSink::open(&disk).unwrap(), tiny()), Err(Error::Corrupt(_))));
    let salvage = || {
        let options = tiny().recovery(RecoveryMode::Salvage);
        Wal::open(MemSink::open(&disk).unwrap(), options).unwrap()
    };
    let (wal, report) = salvage();
    assert_eq!(report.holes.len(), 1);
    assert_eq!(wal.truncate_before(all[3].end).unwrap().start, Lsn::ZERO);
    assert_eq!(wal.truncate_before(all[8].lsn).unwrap().start, header(&disk, 3).base);
    assert_eq!(disk.sequences(), [3, 4, 5]);
    assert_holds(&wal, 8, 14);
    drop(wal);
    // The log is sound again.
    assert_holds(&reopen(&disk).0, 8, 14);
}

/// A sink within which something happens while it reads.
struct Racing {
    inner: MemSink,
    then: Mutex<Option<Then>>,
}

struct Then {
    /// How many reads go well first.
    after: u32,
    /// Give out other bytes than those that are there.
    garble: bool,
    /// Read first, and let it happen afterwards.
    late: bool,
    happens: Box<dyn FnOnce() + Send>,
}

impl LogSource for Racing {
    fn list(&self) -> Result<Listing, SinkError> {
        self.inner.list()
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        let mut then = self.then.lock().unwrap();
        let now = then.as_mut().is_some_and(|then| match then.after.checked_sub(1) {
            Some(after) => {
                then.after = after;
                false
            }
            None => true,
        });
        let then = if now { then.take() } else { None };
        let Some(Then { garble, late, happens, .. }) = then else {
            return self.inner.read_at(sequence, offset, buf);
        };
        let before = self.inner.read_at(sequence, offset, buf);
        happens();
        if garble {
            // As if through a handle that was opened before: the file is another one by now.
            buf.fill(0x5a);
        }
        if late || garble { before } else { self.inner.read_at(sequence, offset, buf) }
    }
}

impl SegmentSink for Racing {
    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        self.inner.create(sequence, capacity)
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        self.inner.write(write)
    }

    fn sync(&self) -> Result<(), SinkError> {
        self.inner.sync()
    }

    fn set_aside(&self, sequence: u64, offset: u64, len: u64) -> Result<PathBuf, SinkError> {
        self.inner.set_aside(sequence, offset, len)
    }

    fn set_aside_file(&self, sequence: u64) -> Result<PathBuf, SinkError> {
        self.inner.set_aside_file(sequence)
    }

    fn remove_unused(&self, sequence: u64) -> Result<(), SinkError> {
        self.inner.remove_unused(sequence)
    }

    fn retire(&self, sequence: u64) -> Result<(), SinkError> {
        self.inner.retire(sequence)
    }
}

/// Whatever a reader meets because its file is retired under it, it says so, and gives out nothing
/// that is not the log's: at each of its reads, gone, garbled, or just read.
#[test]
fn a_reader_that_is_overtaken_says_so_at_each_of_its_reads() {
    type Read = fn(&Wal<Racing>, Lsn) -> Result<Vec<u8>, Error>;
    let reads: [(&str, Read); 3] = [
        ("read_at", |wal, lsn| wal.read_at(lsn)),
        ("cursor", |wal, lsn| {
            let mut cursor = wal.cursor_from(lsn)?;
            let found = cursor.next().map(|entry| entry.unwrap().payload.to_vec());
            if let Err(first) = &found {
                // It stays there.
                assert_eq!(cursor.next().unwrap_err().to_string(), first.to_string());
            }
            found
        }),
        ("records", |wal, lsn| {
            let mut records = wal.iter_from(lsn)?;
            let found = records.next().unwrap().map(|record| record.payload);
            assert!(found.is_ok() || records.next().is_none());
            found
        }),
    ];
    let mut met = 0;
    for (name, read) in reads {
        for (garble, late) in [(false, false), (true, false), (false, true)] {
            for after in 0..4 {
                let inner = MemSink::open(&MemDisk::new()).unwrap();
                let sink = Racing { inner, then: Mutex::new(None) };
                let options = tiny().segment_size(64 << 10).file_size(256 << 10);
                let wal = Wal::open(sink, options).unwrap().0;
                // Large enough to take two reads by position.
                let all: Vec<_> =
                    (0..12u8).map(|n| wal.append_and_sync(&vec![n; 40_000]).unwrap()).collect();
                let inside = wal.clone();
                let happens = Box::new(move || {
                    inside.truncate_before(Lsn::MAX).unwrap();
                    // Over the very file.
                    for n in 0..12u8 {
                        inside.append_and_sync(&vec![n; 40_000]).unwrap();
                    }
                });
                let then = Then { after, garble, late, happens };
                *wal.sink().then.lock().unwrap() = Some(then);
                let result = read(&wal, all[1].lsn);
                let over = wal.sink().then.lock().unwrap().take().is_none();
                match result {
                    Ok(payload) => {
                        assert!(!over, "{name}: a file was believed that was gone by then");
                        assert!(payload == vec![1; 40_000]);
                    }
                    Err(Error::Truncated { first_available, .. }) => {
                        assert!(over && first_available == wal.start_lsn(), "{name}");
                        met += 1;
                    }
                    Err(error) => panic!("{name} {after} {garble} {late}: {error}"),
                }
            }
        }
    }
    // Two reads by position; a cursor takes one for each frame header and one for the record.
    assert_eq!(met, 3 * (2 + 3 + 3));
}

/// Who has read as far as the log was truncated goes on, whatever became of the files behind it.
#[test]
fn a_reader_that_keeps_up_is_never_overtaken() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let mut cursor = wal.cursor_from(Lsn::ZERO).unwrap();
    let mut seen = 0;
    for n in 0..40 {
        let appended = fill(&wal, n, n + 1)[0];
        let entry = cursor.next().unwrap().unwrap();
        assert!(entry.payload == record(n) && entry.end == appended.end);
        assert!(cursor.next().unwrap().is_none());
        let start = wal.truncate_before(appended.end).unwrap().start;
        seen += u64::from(start > Lsn::ZERO);
        // Nor is who comes again with the position that it had come to.
        if n % 3 == 0 {
            cursor = wal.cursor_from(appended.end).unwrap();
            assert!(cursor.next().unwrap().is_none());
        }
    }
    assert!(seen > 30 && disk.sequences().len() == 1);
    // One that does not keep up is told, between two files as well.
    let mut late = wal.cursor_from(wal.start_lsn()).unwrap();
    while late.next().unwrap().is_some() {}
    fill(&wal, 40, 50);
    let start = wal.truncate_before(Lsn::MAX).unwrap().start;
    assert_truncated(late.next().map(|entry| entry.map(|entry| entry.lsn)), start);
}

/// Writers, readers and two who truncate, over files that are used again and again.
#[test]
fn readers_writers_and_truncations_at_once() {
    const WRITERS: u64 = 3;
    const EACH: u64 = 400;
    for depth in [1, 3] {
        let disk = MemDisk::new();
        let wal = open(&disk, tiny().segments(4).depth(depth));
        let done = AtomicU64::new(0);
        let (overtaken, read) = (AtomicU64::new(0), AtomicU64::new(0));
        let reused = AtomicBool::new(false);
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (wal, done, reused) = (&wal, &done, &reused);
                scope.spawn(move || {
                    // Until a file has been used again, however rarely the others get to run.
                    let mut n = 0;
                    while n < EACH || !reused.load(Ordering::SeqCst) {
                        let appended = wal.append(&record(writer << 32 | n)).unwrap();
                        if n % 5 == 0 {
                            wal.wait_durable(appended.lsn).unwrap();
                        }
                        n += 1;
                    }
                    wal.sync().unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = Lsn::ZERO;
                    while done.load(Ordering::SeqCst) < WRITERS {
                        let behind = wal.durable_lsn().get().saturating_sub(20_000);
                        let start = wal.truncate_before(Lsn::new(behind)).unwrap().start;
                        assert!(start >= last && start <= wal.durable_lsn());
                        last = start;
                        // All at once: the other one may be removing a file.
                        let now = disk.snapshot();
                        let recycled = now.sequences().iter().any(|&file| {
                            let header = file_header::decode(&now.file(file));
                            header.is_ok_and(|header| header.recycled)
                        });
                        reused.fetch_or(recycled, Ordering::SeqCst);
                        thread::yield_now();
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    while done.load(Ordering::SeqCst) < WRITERS {
                        let Ok(mut cursor) = wal.cursor_from(wal.start_lsn()) else { continue };
                        let mut last = [None; WRITERS as usize];
                        loop {
                            match cursor.next() {
                                Ok(Some(entry)) => {
                                    let n =
                                        u64::from_le_bytes(entry.payload[..8].try_into().unwrap());
                                    assert!(entry.payload == record(n));
                                    let before = last[(n >> 32) as usize].replace(n);
                                    assert!(before.is_none_or(|before| before + 1 == n));
                                    read.fetch_add(1, Ordering::SeqCst);
                                }
                                Ok(None) => break,
                                Err(Error::Truncated { lsn, first_available }) => {
                                    assert!(lsn < first_available);
                                    overtaken.fetch_add(1, Ordering::SeqCst);
                                    break;
                                }
                                Err(error) => panic!("{error}"),
                            }
                        }
                    }
                });
            }
        });
        println!("depth {depth}: {read:?} records read, {overtaken:?} readers overtaken");
        assert!(read.load(Ordering::SeqCst) > 0);
        let left = payloads(&wal).len();
        drop(wal);
        let (wal, report) = reopen(&disk.crash());
        assert_eq!((report.verdict, payloads(&wal).len()), (Verdict::Clean, left));
    }
}

/// Nothing torn, nothing damaged: over recycled files, too, a crash at any moment leaves a log that
/// ends cleanly, wherever among the bytes of earlier lives that is.
#[test]
fn an_honest_crash_on_recycled_files_is_clean() {
    let options = |padding| {
        Options::default().segment_size(16 << 10).segments(2).file_size(68 << 10).padding(padding)
    };
    for padding in [Padding::Block, Padding::Packed] {
        let disk = MemDisk::new();
        let open =
            |disk: &MemDisk| Wal::open(MemSink::open(disk).unwrap(), options(padding)).unwrap();
        let wal = open(&disk).0;
        let (mut random, mut recycled, mut kept) = (1u64, BTreeSet::new(), 0);
        for n in 0..300u64 {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(n | 1);
            let len = 8 + (random >> 33) as usize % if n % 9 == 0 { 30_000 } else { 3_000 };
            let mut bytes = vec![random as u8; len];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            let appended = wal.append(&bytes).unwrap();
            match random >> 62 {
                0 => wal.sync().unwrap(),
                1 => wal.flush().unwrap(),
                2 => _ = wal.truncate_before(appended.lsn).unwrap(),
                _ => {}
            }
            for after in [disk.crash(), disk.snapshot()] {
                for file in after.sequences() {
                    let header = file_header::decode(&after.file(file));
                    recycled.extend(header.is_ok_and(|header| header.recycled).then_some(file));
                }
                let (again, report) = open(&after);
                assert!(matches!(report.verdict, Verdict::Clean | Verdict::New), "{n}: {report}");
                assert_eq!((report.cut, report.set_aside.len()), (None, 0));
                let found = payloads(&again);
                kept += found.len();
                let numbers: Vec<_> =
                    found.iter().map(|p| u64::from_le_bytes(p[..8].try_into().unwrap())).collect();
                assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            }
        }
        assert!(recycled.len() > 8 && kept > 1000, "{recycled:?} {kept}");
    }
}

#[test]
fn a_truncation_that_frees_nothing_asks_nothing_of_the_sink() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let wal = Wal::open(sink, tiny()).unwrap().0;
    let all = fill(&wal, 0, 6);
    control.on_list(Rule::Fail(ErrorKind::Other));
    wal.truncate_before(all[3].lsn).unwrap();
    assert!(matches!(wal.truncate_before(all[4].lsn), Err(Error::Sink(_))));
    control.on_list(Rule::Pass);
    wal.truncate_before(all[4].lsn).unwrap();
    assert_eq!(disk.sequences(), [2]);
    control.on_list(Rule::Fail(ErrorKind::Other));
    wal.truncate_before(all[4].lsn).unwrap();
}
