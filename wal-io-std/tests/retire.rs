//! Retiring files and using them again: which calls it takes, in which order, and what is left by a
//! crash or a failure of each.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test, too")]

mod support;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustix::io::Errno;
use support::{Call, Fault, Faulty, Gate, KIB, count, inline, name, names, read, reopen, write};
use wal_core::format::file_header;
use wal_core::sink::{Created, LogSource, SegmentSink, SinkOp, Spares};
use wal_core::{Error, Lsn, Options, Verdict, Wal};
use wal_io_std::{FileOptions, FileSink, Preparation};

fn spare(sequence: u64) -> String {
    format!("{}.tmp", name(sequence))
}

/// Makes file `sequence` and writes all of it, durably.
fn make(sink: &FileSink<Faulty>, sequence: u64, capacity: u64) -> Created {
    let created = sink.create(sequence, capacity).unwrap();
    write(sink, sequence, 0, &vec![sequence as u8; capacity as usize]).unwrap();
    sink.sync().unwrap();
    created
}

#[test]
fn a_retired_file_is_renamed_durably_and_becomes_the_next_by_one_write() {
    let (dir, layer, sink) = inline();
    assert_eq!(make(&sink, 1, 64 * KIB), Created::Zeroed);
    layer.take();
    sink.retire(1).unwrap();
    let calls: Vec<_> = layer.take().into_iter().map(|r| (r.call, r.path)).collect();
    let at = |name: String| dir.path().join(name);
    assert_eq!(calls, [(Call::Rename, at(spare(1))), (Call::SyncDir, dir.path().to_owned())]);
    assert_eq!(names(dir.path()), [spare(1)]);
    let error = sink.read_at(1, 0, &mut [0]).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::NotFound);
    layer.take();

    assert_eq!(sink.create(2, 64 * KIB).unwrap(), Created::Recycled);
    let calls: Vec<_> =
        layer.take().into_iter().map(|r| (r.call, r.path, r.offset, r.len)).collect();
    let expected = [
        // Whether there is a file of that name.
        (Call::Open, at(name(2)), 0, 0),
        (Call::Open, at(spare(1)), 0, 0),
        (Call::Write, at(spare(1)), 0, 4096),
        (Call::SyncData, at(spare(1)), 0, 0),
        (Call::Rename, at(name(2)), 0, 0),
        (Call::SyncDir, dir.path().to_owned(), 0, 0),
    ];
    assert_eq!(calls, expected);
    assert_eq!(sink.create(2, 64 * KIB).unwrap(), Created::Recycled, "the same answer again");
    let bytes = fs::read(at(name(2))).unwrap();
    assert!(bytes[..4096].iter().all(|&b| b == 0) && bytes[4096..].iter().all(|&b| b == 1));
    assert_eq!(bytes.len(), 64 << 10);
}

#[test]
fn two_files_are_kept_of_this_life_and_of_the_length_asked_for() {
    let (dir, layer, sink) = inline();
    for file in 1..=4 {
        make(&sink, file, if file == 3 { 128 * KIB } else { 64 * KIB });
    }
    (1..=4).for_each(|file| sink.retire(file).unwrap());
    assert_eq!(names(dir.path()), [spare(3), spare(4)], "the last two");
    assert_eq!(sink.spares(), Spares { prepared: 0, retired: 2, bytes: 192 * KIB });
    layer.take();
    assert_eq!(make(&sink, 5, 64 * KIB), Created::Recycled);
    assert_eq!(make(&sink, 6, 64 * KIB), Created::Zeroed, "the other one is longer");
    assert_eq!(make(&sink, 7, 128 * KIB), Created::Recycled);
    // A recycled file is as good as a new one, and is used again like it.
    sink.retire(5).unwrap();
    assert_eq!(make(&sink, 8, 64 * KIB), Created::Recycled);
    sink.retire(6).unwrap();
    drop(sink);
    assert_eq!(names(dir.path()), [name(7), name(8)], "no spare is left behind");

    // The next life removes what the one before has made; each for good before its bytes go.
    let (layer, sink) = reopen(dir.path(), Preparation::Inline);
    sink.retire(7).unwrap();
    let calls: Vec<_> = layer.take().into_iter().map(|record| record.call).collect();
    assert_eq!(calls, [Call::Rename, Call::SyncDir, Call::Remove]);
    assert_eq!(names(dir.path()), [name(8)]);
    assert_eq!(make(&sink, 9, 128 * KIB), Created::Zeroed);
    // Nor does it use a file again that it did not write as a whole: this one it found unused.
    sink.create(10, 64 * KIB).unwrap();
    drop(sink);
    let (_, sink) = reopen(dir.path(), Preparation::Inline);
    assert_eq!(make(&sink, 10, 64 * KIB), Created::Recycled, "it may have been");
    sink.retire(10).unwrap();
    assert_eq!(make(&sink, 11, 64 * KIB), Created::Zeroed);
}

#[test]
fn recycling_can_be_switched_off() {
    let dir = tempfile::tempdir().unwrap();
    let layer = Faulty::default();
    let options = FileOptions::default().preparation(Preparation::Inline).recycle(false);
    let sink = FileSink::with_layer(layer.clone(), dir.path(), &options).unwrap();
    make(&sink, 1, 64 * KIB);
    sink.retire(1).unwrap();
    assert!(names(dir.path()).is_empty());
    assert_eq!(make(&sink, 2, 64 * KIB), Created::Zeroed);
}

#[test]
fn a_removal_that_failed_is_made_again_and_none_overtakes_it() {
    let (dir, layer, sink) = inline();
    (1..=3).for_each(|file| _ = make(&sink, file, 64 * KIB));
    let here = dir.path().to_str().unwrap();
    for (call, path) in [(Call::Rename, spare(1)), (Call::SyncDir, here.to_owned())] {
        layer.inject(call, &path, 0, 1, Fault::Errno(Errno::IO));
        let error = sink.retire(1).unwrap_err();
        layer.assert_spent();
        assert_eq!((error.op, error.file), (SinkOp::Remove, Some(1)));
        assert_eq!(names(dir.path()), [name(1), name(2), name(3)], "listed, to be tried again");
        assert_eq!(read(&sink, 1, 5000, 2), [1, 1]);
    }
    layer.take();
    sink.retire(1).unwrap();
    let calls = layer.take();
    assert_eq!((count(&calls, Call::Rename), count(&calls, Call::SyncDir)), (1, 1), "anew");

    // If nobody can tell whether it is gone, nothing goes before it, until the log is opened again.
    layer.inject(Call::SyncDir, here, 0, 1, Fault::Errno(Errno::IO));
    layer.inject(Call::Rename, &name(2), 0, 1, Fault::Errno(Errno::IO));
    sink.retire(2).unwrap_err();
    layer.assert_spent();
    layer.take();
    sink.retire(3).unwrap_err();
    assert!(layer.take().is_empty());
    // Everything else goes on.
    make(&sink, 4, 64 * KIB);
    drop(sink);
    let (_, sink) = reopen(dir.path(), Preparation::Inline);
    sink.retire(3).unwrap();
    make(&sink, 5, 64 * KIB);
    assert_eq!(names(dir.path()), [name(4), name(5)]);
}

#[test]
fn a_spare_that_fails_is_given_up_for_a_new_file() {
    for (call, path) in
        [(Call::Open, spare(1)), (Call::Write, spare(1)), (Call::SyncData, spare(1))]
    {
        let (dir, layer, sink) = inline();
        make(&sink, 1, 64 * KIB);
        sink.retire(1).unwrap();
        layer.inject(call, &path, 0, 1, Fault::Errno(Errno::IO));
        assert_eq!(make(&sink, 2, 64 * KIB), Created::Zeroed, "{call:?}");
        layer.assert_spent();
        assert_eq!(names(dir.path()), [name(2)], "{call:?}");
    }
    // One that was cut, or is gone, by somebody else's hand.
    for gone in [false, true] {
        let (dir, _, sink) = inline();
        make(&sink, 1, 64 * KIB);
        sink.retire(1).unwrap();
        match gone {
            true => fs::remove_file(dir.path().join(spare(1))).unwrap(),
            false => fs::write(dir.path().join(spare(1)), b"short").unwrap(),
        }
        assert_eq!(make(&sink, 2, 64 * KIB), Created::Zeroed);
        assert_eq!(names(dir.path()), [name(2)]);
    }
    // A new name that may not last goes with the file.
    let (dir, layer, sink) = inline();
    make(&sink, 1, 64 * KIB);
    sink.retire(1).unwrap();
    layer.inject(Call::SyncDir, dir.path().to_str().unwrap(), 0, 1, Fault::Errno(Errno::IO));
    sink.create(2, 64 * KIB).unwrap_err();
    assert!(names(dir.path()).is_empty());
    assert_eq!(make(&sink, 2, 64 * KIB), Created::Zeroed);
}

#[test]
fn a_retired_file_is_room_on_a_full_disk() {
    let (_dir, layer, sink) = inline();
    make(&sink, 1, 64 * KIB);
    make(&sink, 2, 64 * KIB);
    layer.inject(Call::Allocate, ".wal.tmp", 0, usize::MAX, Fault::Errno(Errno::NOSPC));
    assert!(sink.create(3, 64 * KIB).unwrap_err().is_no_space());
    sink.retire(1).unwrap();
    assert_eq!(make(&sink, 3, 64 * KIB), Created::Recycled);
    assert!(sink.create(4, 64 * KIB).unwrap_err().is_no_space());
}

#[test]
fn a_sink_whose_writes_failed_retires_nothing() {
    let (dir, layer, sink) = inline();
    make(&sink, 1, 64 * KIB);
    make(&sink, 2, 64 * KIB);
    layer.inject(Call::SyncData, &name(2), 0, 1, Fault::Errno(Errno::IO));
    write(&sink, 2, 0, b"lost").unwrap();
    sink.sync().unwrap_err();
    sink.retire(1).unwrap_err();
    assert_eq!(names(dir.path()), [name(1), name(2)]);
}

#[test]
fn the_first_file_made_removes_what_a_crash_left_of_retiring() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(spare(3)), vec![3; 8192]).unwrap();
    let sink = FileSink::open(dir.path(), &FileOptions::default()).unwrap();
    assert!(sink.list().unwrap().files.is_empty() && sink.list().unwrap().foreign.is_empty());
    assert_eq!(names(dir.path()), [spare(3)], "it may not be ours to remove yet");
    sink.create(4, 64 * KIB).unwrap();
    assert_eq!(names(dir.path()), [name(4)]);
}

fn small() -> Options {
    Options::default().segment_size(8192).segments(2).file_size(36 << 10)
}

type Log = Wal<FileSink<Faulty>>;

fn open(dir: &Path) -> (Faulty, Log) {
    let (layer, sink) = reopen(dir, Preparation::Inline);
    (layer, Wal::open(sink, small()).unwrap().0)
}

fn numbers<S: SegmentSink>(wal: &Wal<S>) -> Vec<u64> {
    let records = wal.iter_from(wal.start_lsn()).unwrap();
    records.map(|r| u64::from_le_bytes(r.unwrap().payload[..8].try_into().unwrap())).collect()
}

/// Appends and syncs record `n`; returns where it is.
fn put(wal: &Log, n: u64) -> Lsn {
    let mut bytes = vec![n as u8; 3000];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    wal.append_and_sync(&bytes).unwrap().lsn
}

/// The process dies at each call of the system that retiring and reusing take: what is left opens
/// cleanly, without a gap, and with all that was not truncated.
#[test]
fn a_death_at_any_call_leaves_a_whole_log() {
    let calls = [Call::Rename, Call::SyncDir, Call::Remove, Call::Write, Call::SyncData];
    let mut moments = 0;
    for call in calls {
        for nth in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let (layer, wal) = open(dir.path());
            // Files that are used again from the start of it.
            for n in 0..40 {
                let lsn = put(&wal, n);
                wal.truncate_before(lsn).unwrap();
            }
            let lsns: Vec<_> = (40..70).map(|n| put(&wal, n)).collect();
            let gate = Arc::new(Gate::default());
            layer.inject(call, "", nth, 1, Fault::Gate(Arc::clone(&gate)));
            let reached = thread::scope(|scope| {
                let opened = gate.opened_at_last();
                let work = scope.spawn(|| {
                    wal.truncate_before(lsns[20]).unwrap();
                    (70..90).for_each(|n| _ = put(&wal, n));
                });
                while !gate.is_reached() && !work.is_finished() {
                    thread::yield_now();
                }
                let reached = gate.is_reached();
                if reached {
                    let copy = tempfile::tempdir().unwrap();
                    for entry in fs::read_dir(dir.path()).unwrap().flatten() {
                        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
                    }
                    let durable = wal.durable_lsn();
                    let sink = FileSink::open(copy.path(), &FileOptions::default()).unwrap();
                    let (again, report) = Wal::open(sink, small()).unwrap();
                    assert_eq!(report.verdict, Verdict::Clean, "{call:?} {nth}: {report}");
                    assert!(report.end >= Lsn::new(durable.get().saturating_sub(4096)));
                    let found = numbers(&again);
                    assert!(found[0] <= 60, "{call:?} {nth}: begins with {}", found[0]);
                    assert!(found.windows(2).all(|pair| pair[0] + 1 == pair[1]));
                    assert!(names(copy.path()).iter().all(|name| name.ends_with(".wal")));
                }
                drop(opened);
                work.join().unwrap();
                reached
            });
            if !reached {
                break;
            }
            moments += 1;
            drop(wal);
        }
    }
    println!("{moments} moments");
    assert!(moments >= 50, "{moments}");
}

/// A reader is in the middle of a read when its file is retired, made another file, and written to:
/// what it gets through its handle are the bytes of that one.
#[test]
fn a_read_of_a_file_that_became_another_one_says_that_it_is_gone() {
    for by_cursor in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (layer, wal) = open(dir.path());
        let lsns: Vec<_> = (0..16).map(|n| put(&wal, n)).collect();
        let gate = Arc::new(Gate::default());
        layer.inject(Call::Read, &name(1), 0, 1, Fault::Gate(Arc::clone(&gate)));
        thread::scope(|scope| {
            let opened = gate.opened_at_last();
            let reader = scope.spawn(|| {
                if by_cursor {
                    wal.cursor_from(lsns[1])
                        .unwrap()
                        .next()
                        .map(|entry| entry.unwrap().payload.to_vec())
                } else {
                    wal.read_at(lsns[1])
                }
            });
            gate.reached();
            wal.truncate_before(lsns[15]).unwrap();
            (16..40).for_each(|n| _ = put(&wal, n));
            drop(opened);
            match reader.join().unwrap() {
                Err(Error::Truncated { first_available, .. }) => {
                    assert_eq!(first_available, wal.start_lsn());
                }
                other => panic!("{other:?}"),
            }
        });
        // The file was indeed used again.
        let recycled = names(dir.path()).iter().filter(|name| name.ends_with(".wal")).any(|name| {
            let bytes = fs::read(dir.path().join(name)).unwrap();
            file_header::decode(&bytes).is_ok_and(|header| header.recycled)
        });
        assert!(recycled);
    }
}

/// A log of a steady size: each file but the first few is one that was used before.
#[test]
fn a_truncated_log_takes_no_new_space() {
    let dir = tempfile::tempdir().unwrap();
    let (layer, wal) = open(dir.path());
    for n in 0..300 {
        let lsn = put(&wal, n);
        wal.truncate_before(lsn).unwrap();
    }
    let calls = layer.take();
    let made = count(&calls, Call::Allocate);
    assert!(made <= 4, "{made} files were made of nothing");
    assert!(names(dir.path()).len() <= 4, "{:?}", names(dir.path()));
    assert_eq!(numbers(&wal).last(), Some(&299));
    wal.close().unwrap();
    assert!(names(dir.path()).iter().all(|name| name.ends_with(".wal")));
}
