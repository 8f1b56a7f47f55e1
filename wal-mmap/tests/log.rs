//! A whole log in mapped files: written, closed, dropped, reopened, by this backend and others.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::fs;
use std::path::Path;
use std::thread;

use wal_core::format::record::Record;
use wal_core::read::Log;
use wal_core::recover::ScanOptions;
use wal_core::sink::{Created, SegmentSink, Write};
use wal_core::{AmbiguousTail, Durability, Error, Lsn, Options, Padding, Verdict, Wal};
use wal_io_std::DirSource;
use wal_mmap::{FileOptions, MmapSink, Preparation, open};

/// Segments smaller than a page of the file, so that their memory is one another's neighbour.
fn small() -> Options {
    let options = Options::default().segment_size(8192).segments(4).file_size(64 << 10);
    options.ambiguous_tail(AmbiguousTail::Refuse)
}

fn payloads<S: SegmentSink>(wal: &Wal<S>) -> Vec<Vec<u8>> {
    wal.iter_from(wal.start_lsn()).unwrap().map(|r| r.unwrap().payload).collect()
}

fn log_files(dir: &Path) -> Vec<u64> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap());
    let files = entries.filter(|e| e.file_name().to_str().unwrap().ends_with(".wal"));
    files.map(|e| e.metadata().unwrap().len()).collect()
}

/// Small records, some that fill a segment, some that are larger; some waited for.
fn work<S: SegmentSink>(wal: &Wal<S>, life: u8) -> Vec<Vec<u8>> {
    let writer = |t: u8| {
        let mut mine = Vec::new();
        for i in 0..100u8 {
            let len = if i == 50 { 100_000 } else { usize::from(i) * 7 };
            let bytes = vec![life ^ t ^ i; len];
            let lsn = match i % 3 {
                0 => wal.append(&bytes).unwrap().lsn,
                1 => wal.append_batch(&[&bytes]).unwrap().lsn,
                _ => {
                    drop(wal.reserve(40).unwrap());
                    let mut room = wal.reserve(len).unwrap();
                    room.copy_from_slice(&bytes);
                    room.commit().unwrap().lsn
                }
            };
            match i % 10 {
                0 => wal.wait_durable(lsn).unwrap(),
                5 => wal.wait(lsn, Durability::ProcessCrash).unwrap(),
                _ => {}
            }
            mine.push((lsn, bytes));
        }
        mine
    };
    let mut all: Vec<_> = thread::scope(|scope| {
        let writers: Vec<_> = (0..4).map(|t| scope.spawn(move || writer(t))).collect();
        writers.into_iter().flat_map(|w| w.join().unwrap()).collect()
    });
    wal.sync().unwrap();
    all.sort();
    all.into_iter().map(|(_, bytes)| bytes).collect()
}

#[test]
fn many_writers_over_many_files_and_lives() {
    for padding in [Padding::Block, Padding::Packed] {
        let dir = tempfile::tempdir().unwrap();
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for life in 0..4u8 {
            let (wal, report) = open(dir.path(), small().padding(padding)).unwrap();
            assert!(payloads(&wal) == expected);
            let closed = life > 0 && life % 2 == 1;
            assert_eq!(report.verdict == Verdict::Closed, closed, "{report}");
            expected.extend(work(&wal, life));
            assert!(payloads(&wal) == expected);
            if life % 2 == 0 {
                wal.close().unwrap();
            }
        }
        assert!(log_files(dir.path()).len() > 8);
    }
}

/// Files are retired and used again while writers store in the mapping of the newest.
#[test]
fn truncation_recycles_mapped_files() {
    for recycle in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let files = FileOptions::default().recycle(recycle);
        let (wal, _) = wal_mmap::open_with(dir.path(), small(), &files).unwrap();
        let mut last = Vec::new();
        for life in 0..6 {
            last = work(&wal, life);
            wal.truncate_before(wal.durable_lsn()).unwrap();
        }
        drop(wal);
        let (wal, report) = open(dir.path(), small()).unwrap();
        assert!(report.verdict == Verdict::Clean && report.cut.is_none(), "{report}");
        let kept = payloads(&wal);
        assert!(last.ends_with(&kept), "{} records", kept.len());
    }
}

/// Each backend goes on where another has stopped, with and without a close.
#[test]
fn the_backends_read_each_others_logs() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for life in 0..6u8 {
        let close = life < 2;
        if life % 2 == 0 {
            let (wal, report) = open(dir.path(), small()).unwrap();
            assert!(payloads(&wal) == expected && report.cut.is_none(), "{report}");
            expected.extend(work(&wal, life));
            close.then(|| wal.close().unwrap());
        } else {
            let (wal, report) = wal_io_std::open(dir.path(), small()).unwrap();
            assert!(payloads(&wal) == expected && report.cut.is_none(), "{report}");
            expected.extend(work(&wal, life));
            close.then(|| wal.close().unwrap());
        }
    }
    let mut read = Vec::new();
    let source = DirSource::open(dir.path()).unwrap();
    let visit = &mut |record: Record<'_>| read.push(record.payload.to_vec());
    Log::scan(source, ScanOptions::default(), visit).unwrap();
    assert!(read == expected, "without any backend");
    let (wal, _) = open(dir.path(), small()).unwrap();
    assert!(payloads(&wal) == expected);
}

/// What is in memory that was lent is in the file before anybody has written it, and is no part of
/// the log until somebody does.
#[test]
fn records_without_a_frame_are_no_doubt_and_do_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = open(dir.path(), small()).unwrap();
    wal.append_and_sync(b"acknowledged").unwrap();
    // The next segments lie in the file. Full ones, an open one, and a reservation in it.
    for _ in 0..8 {
        wal.append(&[0xa5; 2000]).unwrap();
    }
    let held = wal.reserve(100).unwrap();
    let file = dir.path().join(format!("{:020}.wal", 1));
    let stored = fs::read(&file).unwrap();
    let count = stored.windows(2000).filter(|window| window.iter().all(|&b| b == 0xa5)).count();
    assert_eq!(count, 8, "records that were not written are not in the file");
    // Killed here.
    let killed = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        // What is still being prepared may get its name just now.
        if entry.path().extension().is_some_and(|extension| extension == "wal") {
            fs::copy(entry.path(), killed.path().join(entry.file_name())).unwrap();
        }
    }
    drop(held);
    for std_first in [true, false] {
        if std_first {
            let (wal, report) = wal_io_std::open(killed.path(), small()).unwrap();
            assert_eq!((report.records, report.verdict), (1, Verdict::Clean), "{report}");
            assert_eq!(payloads(&wal), [b"acknowledged"]);
            continue;
        }
        for _ in 0..2 {
            let (wal, report) = open(killed.path(), small()).unwrap();
            assert_eq!((report.records, report.verdict), (1, Verdict::Clean), "{report}");
            assert_eq!(payloads(&wal), [b"acknowledged"]);
        }
    }
    assert!(!killed.path().join("set-aside").exists());
}

/// A closed log takes no more disk than it needs: nobody has its memory any more.
#[test]
fn closing_gives_back_the_rest_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    for n in 1..4u64 {
        let (wal, report) = open(dir.path(), Options::default()).unwrap();
        assert_eq!(report.verdict, if n == 1 { Verdict::New } else { Verdict::Closed });
        for _ in 0..2 {
            wal.append_and_sync(b"one record").unwrap();
        }
        wal.close().unwrap();
    }
    let sizes = log_files(dir.path());
    assert_eq!(sizes.iter().filter(|&&len| len == 4 * 4096).count(), 3, "{sizes:?}");
}

/// Cutting a file under memory that is lent would let the next store end the process.
#[test]
fn no_file_is_cut_while_its_memory_is_lent() {
    const LEN: u64 = 64 << 10;
    let dir = tempfile::tempdir().unwrap();
    let files = FileOptions::default().preparation(Preparation::Inline);
    let sink = MmapSink::open(dir.path(), &files).unwrap();
    assert_eq!(sink.create(1, LEN).unwrap(), Created::InPlace);
    let block = [1; 4096];
    let parts = [std::io::IoSlice::new(&block)];
    sink.write(&Write { ticket: 0, file: 1, offset: 0, parts: &parts }).unwrap();
    let lent = sink.memory_in(1, 8192, 8192).unwrap();
    sink.sync().unwrap();
    sink.trim(1, 4096).unwrap();
    assert_eq!(log_files(dir.path()), [LEN]);
    // Nor is any lent from then on; given back, the file can be cut.
    assert!(sink.memory_in(1, 8192, 8192).is_none());
    drop(lent);
    sink.trim(1, 4096).unwrap();
    assert_eq!(log_files(dir.path()), [4096]);
    // And a write behind the cut is an error, not a signal.
    let behind = Write { ticket: 0, file: 1, offset: 4096, parts: &parts };
    assert!(sink.write(&behind).is_err());
}

#[test]
fn a_second_opener_is_told_who_is_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = open(dir.path(), small()).unwrap();
    let error = open(dir.path(), small()).unwrap_err();
    assert!(matches!(&error, Error::Locked { path } if path.starts_with(dir.path())), "{error}");
    assert!(matches!(wal_io_std::open(dir.path(), small()), Err(Error::Locked { .. })));
    drop(first);
    open(dir.path(), small()).unwrap();
}

/// A file that was copied with holes has them filled before it is mapped.
#[test]
fn a_file_with_holes_gets_its_space_before_it_is_mapped() {
    use std::os::unix::fs::MetadataExt;
    const LEN: u64 = 64 << 10;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("{:020}.wal", 1));
    fs::File::create(&path).unwrap().set_len(LEN).unwrap();
    let (wal, _) = open(dir.path(), small()).unwrap();
    let blocks = fs::metadata(&path).unwrap().blocks();
    assert!(blocks * 512 >= LEN, "{blocks} blocks");
    assert_eq!(wal.start_lsn(), Lsn::ZERO);
}
