//! A whole log in files: written, closed, crashed, reopened.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::fs;
use std::path::Path;
use std::thread;

use wal_core::{Error, Options, Verdict};
use wal_io_std::{Wal, open};

fn small() -> Options {
    Options::default().segment_size(8192).segments(2).file_size(64 << 10)
}

fn payloads(wal: &Wal) -> Vec<Vec<u8>> {
    wal.iter_from(wal.start_lsn()).unwrap().map(|r| r.unwrap().payload).collect()
}

fn log_files(dir: &Path) -> usize {
    let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
    names.filter(|n| n.to_str().unwrap().ends_with(".wal")).count()
}

#[test]
fn many_writers_over_many_files_and_lives() {
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
                            let a = wal.append(&bytes).unwrap();
                            if i % 10 == 0 {
                                wal.wait_durable(a.lsn).unwrap();
                            }
                            mine.push((a.lsn, bytes));
                        }
                        mine
                    })
                })
                .collect();
            writers.into_iter().flat_map(|w| w.join().unwrap()).collect()
        });
        wal.sync().unwrap();
        all.sort();
        expected.extend(all.into_iter().map(|(_, bytes)| bytes));
        assert!(payloads(&wal) == expected);
        if life % 2 == 0 {
            wal.close().unwrap();
        }
    }
    assert!(log_files(dir.path()) > 8);
}

/// A closed log is proved to be whole, and takes no more disk than it needs.
#[test]
fn closing_marks_the_end_and_gives_back_the_rest_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    for n in 1..4u64 {
        let (wal, report) = open(dir.path(), Options::default()).unwrap();
        assert_eq!(report.verdict, if n == 1 { Verdict::New } else { Verdict::Closed });
        wal.append(b"one record").unwrap();
        wal.close().unwrap();
    }
    let sizes: Vec<u64> = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| e.file_name().to_str().unwrap().ends_with(".wal"))
        .map(|e| e.metadata().unwrap().len())
        .collect();
    assert_eq!(sizes.iter().filter(|&&len| len == 3 * 4096).count(), 3, "{sizes:?}");
}

/// Opening and closing without appending leaves no trail of files.
#[test]
fn idle_lives_do_not_pile_up_files() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let (wal, _) = open(dir.path(), small()).unwrap();
        drop(wal);
    }
    assert!(log_files(dir.path()) <= 2, "{}", log_files(dir.path()));
    assert!(!dir.path().join("set-aside").exists());
}

#[test]
fn a_second_opener_is_told_who_is_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = open(dir.path(), small()).unwrap();
    let error = open(dir.path(), small()).unwrap_err();
    assert!(matches!(&error, Error::Locked { path } if path.starts_with(dir.path())), "{error}");
    drop(first);
    open(dir.path(), small()).unwrap();
}
