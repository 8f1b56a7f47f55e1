//! A whole log through io_uring: written, closed, opened again, by this backend and the other.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::fs;
use std::path::Path;
use std::thread;

use wal_core::{Error, Lsn, Options, SegmentSink};
use wal_io_std::{FileOptions, Io};
use wal_io_uring::{AnySink, Durable, UringOptions, UringSink, open, open_or_std, open_with};

fn small() -> Options {
    Options::default().segment_size(8192).segments(4).depth(3).file_size(64 << 10)
}

/// Says so and is false where io_uring cannot be used.
fn available() -> bool {
    match wal_io_uring::probe() {
        Ok(()) => true,
        Err(why) => {
            eprintln!("skipped: {why}");
            false
        }
    }
}

fn payloads<S: SegmentSink>(wal: &wal_core::Wal<S>) -> Vec<Vec<u8>> {
    wal.iter_from(wal.start_lsn()).unwrap().map(|record| record.unwrap().payload).collect()
}

#[test]
fn many_writers_over_many_files_and_lives() {
    if !available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut expected: Vec<Vec<u8>> = Vec::new();
    for life in 0..4u8 {
        let (wal, report) = open(dir.path(), small()).unwrap();
        assert_eq!(report.records as usize, expected.len());
        assert!(payloads(&wal) == expected);
        let mut all: Vec<_> = thread::scope(|scope| {
            let writers: Vec<_> = (0..4u8)
                .map(|t| {
                    let wal = &wal;
                    scope.spawn(move || {
                        let mut mine = Vec::new();
                        for i in 0..100u8 {
                            let len = if i == 50 { 100_000 } else { usize::from(i) * 7 };
                            let bytes = vec![life ^ t ^ i; len];
                            let appended = wal.append(&bytes).unwrap();
                            if i % 10 == 0 {
                                wal.wait_durable(appended.lsn).unwrap();
                            }
                            mine.push((appended.lsn, bytes));
                        }
                        mine
                    })
                })
                .collect();
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
        });
        wal.sync().unwrap();
        all.sort();
        expected.extend(all.into_iter().map(|(_, bytes)| bytes));
        assert!(payloads(&wal) == expected);
        if life % 2 == 0 {
            wal.close().unwrap();
        }
    }
}

/// Appends, truncates and fills files again; what is left is returned.
fn live<S: SegmentSink>(wal: wal_core::Wal<S>, life: u8) -> Vec<Vec<u8>> {
    let mut lsn = Lsn::ZERO;
    for n in 0..60u8 {
        lsn = wal.append(&vec![life ^ n; 1000 + usize::from(n) * 50]).unwrap().lsn;
        if n % 20 == 19 {
            wal.sync().unwrap();
            wal.truncate_before(lsn).unwrap();
        }
    }
    wal.append(&[life; 10]).unwrap();
    wal.sync().unwrap();
    let there = payloads(&wal);
    assert!(there.len() >= 2 && wal.durable_lsn() > lsn);
    wal.close().unwrap();
    there
}

/// One format: each backend opens what the other has written, over files used again.
#[test]
fn either_backend_opens_what_the_other_wrote() {
    if !available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut there: Vec<Vec<u8>> = Vec::new();
    for life in 0..9u8 {
        let files = FileOptions::default().io(if life == 4 { Io::Direct } else { Io::Buffered });
        let uring = UringOptions::default().bypass_cache(life != 6);
        there = match life % 3 {
            1 => {
                let (wal, _) = wal_io_std::open_with(dir.path(), small(), &files).unwrap();
                assert!(payloads(&wal).ends_with(&there), "life {life}");
                live(wal, life)
            }
            _ => {
                let (wal, _) = open_with(dir.path(), small(), &uring).unwrap();
                assert!(payloads(&wal).ends_with(&there), "life {life}");
                live(wal, life)
            }
        };
    }
}

#[test]
fn a_second_opener_is_told_who_is_in_the_way() {
    if !available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = open(dir.path(), small()).unwrap();
    for error in [
        open(dir.path(), small()).unwrap_err(),
        wal_io_std::open(dir.path(), small()).unwrap_err(),
        open_or_std(dir.path(), small(), &UringOptions::default()).unwrap_err(),
    ] {
        assert!(matches!(&error, Error::Locked { path } if path == dir.path()), "{error}");
    }
    drop(first);
    let (wal, _) = open_or_std(dir.path(), small(), &UringOptions::default()).unwrap();
    assert!(matches!(wal.sink(), AnySink::Uring(_)));
}

#[test]
fn what_is_used_can_be_chosen_and_is_said() {
    if !available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let features = |options: UringOptions| {
        let (wal, _) = open_with(dir.path(), small(), &options).unwrap();
        wal.append_and_sync(b"a record").unwrap();
        wal.sink().features()
    };
    let plain = features(UringOptions::default().register(false));
    assert_eq!((plain.registered_segments, plain.registered_files), (0, false));
    let buffered = features(UringOptions::default().bypass_cache(false));
    assert!(!buffered.direct && !buffered.durable_writes && buffered.missing.is_empty());
    let per_sync = features(UringOptions::default().durable(Durable::PerSync));
    assert!(!per_sync.durable_writes);
    // Without the page cache between, frames are whole blocks.
    let sink = UringSink::open(dir.path(), &UringOptions::default()).unwrap();
    assert!(sink.alignment() >= 512 || !sink.features().direct);
    if sink.features().direct {
        let packed = small().padding(wal_core::Padding::Packed);
        let error = wal_core::Wal::open(sink, packed).unwrap_err();
        assert!(matches!(error, Error::InvalidOption { name: "padding", .. }), "{error}");
    }
}

/// Removing the newest file underneath is noticed before anything in it is acknowledged.
#[test]
fn a_removed_file_is_noticed() {
    if !available() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = open(dir.path(), small()).unwrap();
    wal.append_and_sync(b"before").unwrap();
    remove_log_files(dir.path());
    let error = wal.append_and_sync(b"behind").unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    assert!(error.to_string().contains("removed or replaced"), "{error}");
}

fn remove_log_files(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some("wal".as_ref()) {
            fs::remove_file(path).unwrap();
        }
    }
}
