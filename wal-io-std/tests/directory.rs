//! The directory: lock, listing, what open does before anything is read, setting aside.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test, too")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use support::{Call, Fault, Faulty, KIB, MIB, inline, name, names, read, reopen, write};
use wal_core::sink::{LogSource, SegmentSink, SinkOp};
use wal_core::testing::sim::{SimDisk, Survival};
use wal_core::{Error, Options, Wal};
use wal_io_std::{DirSource, FileOptions, FileSink, Preparation, SimLayer};

fn open(dir: &Path) -> Result<FileSink, Error> {
    FileSink::open(dir, &FileOptions::default())
}

fn assert_locked(dir: &Path) {
    match open(dir) {
        Err(Error::Locked { path }) => assert_eq!(path, dir),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_second_handle_in_the_process_is_locked_out() {
    let dir = tempfile::tempdir().unwrap();
    let sink = open(dir.path()).unwrap();
    assert_locked(dir.path());
    drop(sink);
    open(dir.path()).unwrap();
}

const CHILD_DIR: &str = "WAL_IO_STD_TEST_LOCK_DIR";

#[test]
fn a_second_process_is_locked_out_until_the_first_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_holds_the_lock", "--ignored", "--nocapture"])
        .env(CHILD_DIR, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map(Result::unwrap).any(|line| line.contains("holds the lock")));
    assert_locked(dir.path());
    child.kill().unwrap();
    open(dir.path()).unwrap();
    child.wait().unwrap();
}

#[test]
#[ignore = "not a test: run by the one above, in a process of its own"]
fn child_that_holds_the_lock() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let _sink = open(Path::new(&dir)).unwrap();
    println!("holds the lock");
    std::io::stdout().flush().unwrap();
    // Until killed, or until the parent is gone.
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_directory_is_made_only_if_asked_and_its_name_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("a/b");
    let error = FileSink::open(&log, &FileOptions::default().create(false)).unwrap_err();
    let Error::Sink(error) = error else { panic!("{error}") };
    assert_eq!((error.op, error.path.as_ref()), (SinkOp::Open, Some(&log)));
    assert!(!dir.path().join("a").exists());

    let syncs = || {
        let layer = Faulty::default();
        FileSink::with_layer(layer.clone(), &log, &FileOptions::default()).unwrap();
        let mut calls = layer.take();
        calls.retain(|record| record.call == Call::SyncDir);
        calls.into_iter().map(|record| record.path).collect::<Vec<PathBuf>>()
    };
    let [a, parent] = [dir.path().join("a/.."), dir.path().join("a/b/..")];
    assert_eq!(syncs(), [a, parent.clone(), log.clone()]);
    // Whoever made it may have died before syncing its name.
    assert_eq!(syncs(), [parent, log.clone()]);

    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(open(&file), Err(Error::Sink(_))));
}

#[test]
fn foreign_names_are_reported_and_left_alone() {
    let (dir, _layer, sink) = inline();
    sink.create(2, 8 * KIB).unwrap();
    sink.create(1, 4 * KIB).unwrap();
    drop(sink);
    let at = |name: &str| dir.path().join(name);
    fs::write(at("notes.txt"), b"mine").unwrap();
    fs::write(at("3.wal"), b"mine").unwrap();
    fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff.wal")), b"mine").unwrap();
    fs::create_dir(at(&name(4))).unwrap();
    fs::create_dir(at("set-aside")).unwrap();
    std::os::unix::fs::symlink(at(&name(1)), at(&name(5))).unwrap();
    fs::write(at(&format!("{}.tmp", name(6))), b"leftover").unwrap();

    let check = |listing: wal_core::sink::Listing| {
        let files: Vec<_> = listing.files.iter().map(|f| (f.sequence, f.len)).collect();
        assert_eq!(files, [(1, 4 * KIB), (2, 8 * KIB)]);
        assert_eq!(listing.files[0].path, at(&name(1)));
        let mut foreign = vec![at("notes.txt"), at("3.wal"), at(&name(4)), at(&name(5))];
        foreign.push(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff.wal")));
        foreign.sort();
        assert_eq!(listing.foreign, foreign);
    };
    // Reading for tools changes nothing; making a file removes what was in the making.
    check(DirSource::open(dir.path()).unwrap().list().unwrap());
    assert!(at(&format!("{}.tmp", name(6))).exists());
    let sink = open(dir.path()).unwrap();
    check(sink.list().unwrap());
    assert!(
        at(&format!("{}.tmp", name(6))).exists(),
        "recovery may still find that it is not ours"
    );
    sink.create(3, 4 * KIB).unwrap();
    assert!(!at(&format!("{}.tmp", name(6))).exists());
    assert_eq!(fs::read(at("3.wal")).unwrap(), b"mine");
}

#[test]
fn a_directory_that_cannot_be_listed_is_no_empty_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let sink = open(&log).unwrap();
    fs::remove_dir_all(&log).unwrap();
    assert_eq!(sink.list().unwrap_err().op, SinkOp::List);
    assert!(matches!(DirSource::open(&log), Err(Error::Sink(_))));
}

#[test]
fn open_syncs_everything_before_anything_is_read() {
    let (dir, _layer, sink) = inline();
    for sequence in 1..=3 {
        sink.create(sequence, 8 * KIB).unwrap();
        write(&sink, sequence, 0, b"unsynced").unwrap();
    }
    drop(sink);
    let layer = Faulty::default();
    let sink = FileSink::with_layer(layer.clone(), dir.path(), &FileOptions::default()).unwrap();
    let calls = layer.take();
    for sequence in 1..=3 {
        let of = |call| {
            let here = dir.path().join(name(sequence));
            calls.iter().position(|record| record.call == call && record.path == here)
        };
        assert!(of(Call::SyncData).unwrap() < of(Call::DropCache).unwrap());
        assert_eq!(of(Call::Read), None);
    }
    let last = calls.last().unwrap();
    assert_eq!((last.call, last.path.as_path()), (Call::SyncDir, dir.path()));
    drop(sink);

    for (call, name) in [(Call::SyncData, name(2)), (Call::SyncDir, dir_name(dir.path()))] {
        let layer = Faulty::default();
        layer.inject(call, &name, 0, 1, Fault::Errno(Errno::IO));
        let error =
            FileSink::with_layer(layer.clone(), dir.path(), &FileOptions::default()).unwrap_err();
        layer.assert_spent();
        let Error::Sink(error) = error else { panic!("{error}") };
        assert_eq!(error.op, SinkOp::Sync);
    }
}

fn dir_name(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_range_is_copied_aside_durably_and_no_copy_replaces_another() {
    let (dir, layer, sink) = inline();
    sink.create(1, 4 * MIB).unwrap();
    let bytes: Vec<u8> = (0..3 * MIB).map(|n| (n % 251) as u8).collect();
    write(&sink, 1, 4 * KIB, &bytes).unwrap();
    sink.sync().unwrap();
    layer.take();
    let first = sink.set_aside(1, 4 * KIB, 3 * MIB).unwrap();
    let calls = layer.take();
    let order: Vec<_> = calls
        .iter()
        .filter(|r| matches!(r.call, Call::SyncData | Call::Rename | Call::SyncDir))
        .map(|r| (r.call, r.path.clone()))
        .collect();
    let aside = dir.path().join("set-aside");
    let temporary = aside.join("00000000000000000001-00000000000000004096.tmp");
    assert_eq!(
        order,
        [
            (Call::SyncData, temporary),
            (Call::Rename, first.clone()),
            (Call::SyncDir, aside.clone()),
            (Call::SyncDir, dir.path().to_owned()),
        ]
    );
    let second = sink.set_aside(1, 4 * KIB, 5).unwrap();
    let third = sink.set_aside(1, 4 * KIB, 6).unwrap();
    assert!(fs::read(&first).unwrap() == bytes, "the copy differs");
    assert_eq!(fs::read(&second).unwrap(), bytes[..5]);
    assert_eq!(fs::read(&third).unwrap(), bytes[..6]);
    assert_eq!(names(&aside).len(), 3);
    // Up to the end of the file, whatever length a damaged header claims.
    let tail = sink.set_aside(1, 4 * MIB - 10, u64::MAX).unwrap();
    assert_eq!(fs::read(tail).unwrap(), [0; 10]);
    assert!(sink.list().unwrap().foreign.is_empty());
}

#[test]
fn a_failed_copy_is_an_error_and_leaves_no_half() {
    let (dir, layer, sink) = inline();
    sink.create(1, 64 * KIB).unwrap();
    for (call, errno) in [(Call::Write, Errno::NOSPC), (Call::SyncData, Errno::IO)] {
        layer.inject(call, ".tmp", 0, 1, Fault::Errno(errno));
        let error = sink.set_aside(1, 0, 64 * KIB).unwrap_err();
        layer.assert_spent();
        assert_eq!((error.op, error.file, error.offset), (SinkOp::SetAside, Some(1), Some(0)));
        assert!(names(&dir.path().join("set-aside")).is_empty());
    }
    for suffix in ["set-aside", &dir_name(dir.path())] {
        layer.inject(Call::SyncDir, suffix, 0, 1, Fault::Errno(Errno::IO));
        sink.set_aside(1, 0, 64 * KIB).unwrap_err();
        layer.assert_spent();
    }
    assert!(sink.set_aside(8, 0, 1).is_err());
}

#[test]
fn a_file_is_moved_aside_durably_and_its_number_is_free() {
    let (dir, layer, sink) = inline();
    for round in [b"one", b"two"] {
        sink.create(1, 8 * KIB).unwrap();
        write(&sink, 1, 0, round).unwrap();
        sink.sync().unwrap();
        assert_eq!(read(&sink, 1, 0, 3), round);
        layer.take();
        let moved = sink.set_aside_file(1).unwrap();
        let calls = layer.take();
        let synced: Vec<_> = calls
            .iter()
            .filter(|record| record.call == Call::SyncDir)
            .map(|record| record.path.clone())
            .collect();
        assert_eq!(synced, [dir.path().join("set-aside"), dir.path().to_owned()]);
        assert_eq!(&fs::read(moved).unwrap()[..3], round);
        assert!(sink.read_at(1, 0, &mut [0; 3]).is_err(), "a stale read handle");
        assert!(sink.list().unwrap().files.is_empty());
    }
    assert_eq!(names(&dir.path().join("set-aside")).len(), 2);
    assert!(sink.set_aside_file(1).is_err());
}

#[test]
fn an_unused_file_is_removed_durably() {
    let (dir, _layer, sink) = inline();
    sink.create(1, 8 * KIB).unwrap();
    drop(sink);
    let (layer, sink) = reopen(dir.path(), Preparation::Thread);
    assert_eq!(read(&sink, 1, 0, 1), [0]);
    sink.remove_unused(1).unwrap();
    assert_eq!(layer.take().last().map(|record| record.call), Some(Call::SyncDir));
    assert!(names(dir.path()).is_empty());
    assert!(sink.read_at(1, 0, &mut [0]).is_err(), "a stale read handle");
    let error = sink.remove_unused(1).unwrap_err();
    assert_eq!((error.op, error.source.kind()), (SinkOp::Remove, std::io::ErrorKind::NotFound));
    sink.create(1, 16 * KIB).unwrap();
    assert_eq!(read(&sink, 1, 0, 20 << 10).len(), 16 << 10);
}

#[test]
fn a_source_reads_beside_an_open_log_and_changes_nothing() {
    let (dir, _layer, sink) = inline();
    sink.create(1, 8 * KIB).unwrap();
    write(&sink, 1, 100, b"seen").unwrap();
    let before = names(dir.path());
    let source = DirSource::open(dir.path()).unwrap();
    assert_eq!(read(&source, 1, 100, 4), b"seen");
    assert!(source.read_at(2, 0, &mut [0]).is_err());
    assert_eq!(names(dir.path()), before);
    // And without a log there: no lock file, no directory.
    let empty = tempfile::tempdir().unwrap();
    assert!(DirSource::open(empty.path()).unwrap().list().unwrap().files.is_empty());
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

/// A file that is written and synced, and whose name is not, is gone after a power loss, with all that
/// was acknowledged in it: of each file in turn, and of the directories that the log made for itself.
#[test]
fn a_missing_directory_sync_that_loses_a_whole_file() {
    let files = FileOptions::default().preparation(Preparation::Inline);
    let open = |disk: &SimDisk| {
        let layer = SimLayer(disk.clone());
        let sink = FileSink::with_layer(layer, Path::new("/made/log"), &files).unwrap();
        Wal::open(sink, Options::default().segment_size(8192).file_size(16 * KIB)).unwrap()
    };
    let disk = SimDisk::new(1);
    let (wal, _) = open(&disk);
    for records in 1..=10 {
        wal.append_and_sync(&[records as u8; 4000]).unwrap();
        let (_, report) = open(&disk.power_loss(Survival::Nothing, records));
        assert_eq!(report.records, records);
    }
    let logs = disk.image();
    let logs = logs.files(Path::new("/made/log"));
    let logs = logs.filter(|(path, _)| path.extension().is_some_and(|name| name == "wal"));
    assert!(logs.count() >= 4, "the log went on to other files");
}
