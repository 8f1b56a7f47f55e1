//! Making files: whole or not at all, ahead of need, and never over data.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test, too")]

mod support;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustix::io::Errno;
use support::{
    Call, Fault, Gate, KIB, MIB, count, direct, inline, name, names, read, reopen, threaded, write,
};
use wal_core::sink::{SegmentSink, SinkOp, Spares};
use wal_io_std::{FileOptions, FileSink, Preparation};

fn assert_zeros(path: &Path, len: u64) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(bytes.len() as u64, len);
    assert!(bytes.iter().all(|&b| b == 0));
}

#[test]
fn a_file_is_written_in_full_and_synced_in_slices_before_it_has_its_name() {
    let (dir, layer, sink) = inline();
    let capacity = 9 * MIB + 12 * KIB;
    sink.create(1, capacity).unwrap();
    assert_zeros(&dir.path().join(name(1)), capacity);
    assert_eq!(names(dir.path()), [name(1)]);

    let calls = layer.take();
    let at = |call| calls.iter().position(|record| record.call == call).unwrap();
    assert!(at(Call::Allocate) < at(Call::Write), "a full disk shows before anything is written");
    let (mut written, mut unsynced) = (0, 0);
    for record in &calls {
        match record.call {
            Call::Write => {
                assert_eq!(record.offset, written, "no gap and no overlap");
                written += record.len as u64;
                unsynced += record.len as u64;
                assert!(unsynced <= 8 * MIB, "{unsynced} bytes in front of one sync");
            }
            Call::SyncData => unsynced = 0,
            Call::Rename => assert_eq!((written, unsynced), (capacity, 0)),
            _ => {}
        }
    }
    assert_eq!(written, capacity);
    let last = calls.last().unwrap();
    assert_eq!((last.call, last.path.as_path()), (Call::SyncDir, dir.path()));
    assert!(at(Call::Rename) < calls.len() - 1, "the new name is synced");
}

/// What filling leaves in the page cache is in the way of direct writes, and taking it out takes a
/// while: the writer finds nothing of it.
#[test]
fn a_file_prepared_for_direct_writes_is_out_of_the_page_cache_before_it_is_needed() {
    let (_dir, layer, sink) = direct();
    sink.create(1, 64 * KIB).unwrap();
    layer.take();
    sink.prepare(2, 9 * MIB);
    while sink.spares().prepared == 0 {
        thread::yield_now();
    }
    let mut held = 0;
    for record in layer.take() {
        match record.call {
            Call::Write => held += record.len as u64,
            Call::DropCache => held = 0,
            _ => {}
        }
        assert!(held <= 8 * MIB, "{held} bytes in the page cache");
    }
    assert_eq!(held, 0);
    sink.create(2, 9 * MIB).unwrap();
}

#[test]
fn creating_again_is_free_until_the_file_is_in_use() {
    let (dir, layer, sink) = inline();
    sink.create(1, 64 * KIB).unwrap();
    layer.take();
    sink.create(1, 64 * KIB).unwrap();
    assert!(layer.take().is_empty());
    // Another capacity before anything is written: made again, and the new file is the one used.
    assert_eq!(read(&sink, 1, 0, 4), [0; 4]);
    sink.create(1, 128 * KIB).unwrap();
    write(&sink, 1, 100 * KIB, b"there").unwrap();
    assert_eq!(read(&sink, 1, 100 * KIB, 5), b"there", "a stale read handle");
    assert_eq!(fs::metadata(dir.path().join(name(1))).unwrap().len(), 128 * KIB);
    // Something is written: never again.
    sink.create(1, 128 * KIB).unwrap();
    let error = sink.create(1, 64 * KIB).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AlreadyExists);
    assert_eq!(read(&sink, 1, 100 * KIB, 5), b"there");
}

#[test]
fn a_file_that_went_with_a_failed_replacement_is_not_taken_for_there() {
    let (dir, layer, sink) = inline();
    sink.create(1, 64 * KIB).unwrap();
    let here = dir.path().to_str().unwrap();
    layer.inject(Call::SyncDir, here, 0, 1, Fault::Errno(Errno::IO));
    sink.create(1, 128 * KIB).unwrap_err();
    assert!(names(dir.path()).is_empty());
    sink.create(1, 64 * KIB).unwrap();
    assert_zeros(&dir.path().join(name(1)), 64 * KIB);
}

/// Readers may run at any time: one that opened the file that is being replaced must not leave it
/// to the reads that follow.
#[test]
fn reads_after_a_replacement_see_the_new_file() {
    for reader_opens_first in [true, false] {
        let (_dir, layer, sink) = inline();
        sink.create(1, 64 * KIB).unwrap();
        let gate = Arc::new(Gate::default());
        let stop_at = if reader_opens_first { Call::Opened } else { Call::Rename };
        layer.inject(stop_at, &name(1), 0, 1, Fault::Gate(Arc::clone(&gate)));
        let old = || drop(read(&sink, 1, 0, 1));
        let replace = || _ = sink.create(1, 128 * KIB).unwrap();
        thread::scope(|scope| {
            let late = if reader_opens_first {
                let reader = scope.spawn(old);
                gate.reached();
                replace();
                reader
            } else {
                let creator = scope.spawn(replace);
                gate.reached();
                old();
                creator
            };
            gate.open();
            late.join().unwrap();
        });
        write(&sink, 1, 100 * KIB, b"there").unwrap();
        assert_eq!(read(&sink, 1, 100 * KIB, 5), b"there", "{reader_opens_first}");
    }
}

#[test]
fn a_file_that_holds_anything_is_never_replaced() {
    let (dir, _, sink) = threaded();
    let path = dir.path().join(name(3));
    fs::write(&path, b"x").unwrap();
    sink.prepare(3, 64 * KIB);
    let error = sink.create(3, 64 * KIB).unwrap_err();
    assert_eq!((error.op, error.file), (SinkOp::Create, Some(3)));
    assert_eq!((error.path.as_ref(), error.source.kind()), (Some(&path), ErrorKind::AlreadyExists));
    assert_eq!(fs::read(&path).unwrap(), b"x");
}

#[test]
fn an_unused_file_of_an_earlier_run_is_accepted_if_it_fits_and_else_made_again() {
    let (dir, _, sink) = inline();
    sink.create(1, 64 * KIB).unwrap();
    sink.create(2, 64 * KIB).unwrap();
    // Leftovers behind an unused header block show which file it is.
    write(&sink, 1, 32 * KIB, b"earlier").unwrap();
    write(&sink, 2, 32 * KIB, b"earlier").unwrap();
    drop(sink);

    let (layer, sink) = reopen(dir.path(), Preparation::Inline);
    sink.create(1, 64 * KIB).unwrap();
    let calls = layer.take();
    assert_eq!(count(&calls, Call::Write) + count(&calls, Call::SyncDir), 0, "{calls:?}");
    assert_eq!(read(&sink, 1, 32 * KIB, 7), b"earlier");
    sink.create(2, 128 * KIB).unwrap();
    assert_zeros(&dir.path().join(name(2)), 128 * KIB);
    // A file that appeared after the open was not synced by it: not to be trusted.
    fs::write(dir.path().join(name(3)), vec![0; 64 << 10]).unwrap();
    layer.take();
    sink.create(3, 64 * KIB).unwrap();
    assert_eq!(count(&layer.take(), Call::SyncDir), 1);
}

#[test]
fn a_full_disk_is_typed_leaves_nothing_behind_and_is_over_when_there_is_space() {
    let (dir, layer, sink) = inline();
    let cases = [
        (Call::Allocate, 0, Errno::NOSPC),
        (Call::Allocate, 0, Errno::DQUOT),
        // A file system that cannot reserve: the space ends while the zeros are written.
        (Call::Write, 1, Errno::NOSPC),
        // Delayed allocation: it ends when they are written back.
        (Call::SyncData, 1, Errno::NOSPC),
    ];
    for (call, skip, errno) in cases {
        layer.inject(call, ".wal.tmp", skip, 1, Fault::Errno(errno));
        let error = sink.create(1, 9 * MIB).unwrap_err();
        layer.assert_spent();
        assert!(error.is_no_space(), "{error}");
        assert_eq!((error.op, error.file), (SinkOp::Create, Some(1)));
        assert!(error.path.is_some());
        assert!(names(dir.path()).is_empty(), "{call:?}: {:?}", names(dir.path()));
    }
    sink.create(1, 9 * MIB).unwrap();
    write(&sink, 1, 0, b"fine").unwrap();
    sink.sync().unwrap();
}

#[test]
fn a_failed_sync_of_the_directory_is_never_taken_for_done() {
    let (dir, layer, sink) = inline();
    let here = dir.path().to_str().unwrap();
    layer.inject(Call::SyncDir, here, 0, 1, Fault::Errno(Errno::IO));
    let error = sink.create(1, 64 * KIB).unwrap_err();
    assert_eq!((error.op, error.source.raw_os_error()), (SinkOp::Create, Some(5)));
    assert!(names(dir.path()).is_empty(), "the entry that may be lost is gone");
    layer.take();
    sink.create(1, 64 * KIB).unwrap();
    let calls = layer.take();
    assert_eq!((count(&calls, Call::Rename), count(&calls, Call::SyncDir)), (1, 1), "made anew");

    // Even if the entry cannot be removed, it is not accepted: whether the file is new, or
    // replaces one that was there when the log opened.
    sink.create(3, 64 * KIB).unwrap();
    drop(sink);
    let (layer, sink) = reopen(dir.path(), Preparation::Inline);
    for sequence in [2, 3] {
        layer.inject(Call::SyncDir, here, 0, 1, Fault::Errno(Errno::IO));
        layer.inject(Call::Remove, &name(sequence), 0, 1, Fault::Errno(Errno::IO));
        sink.create(sequence, 128 * KIB).unwrap_err();
        layer.assert_spent();
        assert!(dir.path().join(name(sequence)).exists());
        layer.take();
        sink.create(sequence, 128 * KIB).unwrap();
        let calls = layer.take();
        assert_eq!((count(&calls, Call::Rename), count(&calls, Call::SyncDir)), (1, 1), "anew");
    }
}

#[test]
fn going_on_to_a_prepared_file_adds_no_sync_to_anyones_commit() {
    let (_dir, layer, sink) = threaded();
    sink.create(1, 256 * KIB).unwrap();
    write(&sink, 1, 0, b"one").unwrap();
    sink.sync().unwrap();
    sink.prepare(2, 256 * KIB);
    write(&sink, 1, 4 * KIB, b"two").unwrap();
    sink.sync().unwrap();
    layer.take();

    // The helper may still be at work: then this waits for it, and makes nothing itself.
    sink.create(2, 256 * KIB).unwrap();
    assert_eq!(sink.spares(), Spares::default(), "it is in use now");
    write(&sink, 2, 0, b"three").unwrap();
    sink.sync().unwrap();
    let me = thread::current().id();
    let mut mine = layer.take();
    mine.retain(|record| record.thread == me);
    let calls: Vec<_> = mine.iter().map(|record| (record.call, record.len)).collect();
    assert_eq!(calls, [(Call::Write, 5), (Call::SyncData, 0)]);
}

#[test]
fn create_waits_for_the_helper_and_only_one_file_is_made_at_a_time() {
    let (_dir, layer, sink) = threaded();
    let sink = Arc::new(sink);
    let gate = Arc::new(Gate::default());
    layer.inject(Call::Allocate, ".wal.tmp", 0, 1, Fault::Gate(Arc::clone(&gate)));
    sink.prepare(2, 64 * KIB);
    gate.reached();
    // Busy: neither the same file nor another one is started.
    sink.prepare(2, 64 * KIB);
    sink.prepare(3, 64 * KIB);
    // Another file does not wait for the helper.
    sink.create(1, 64 * KIB).unwrap();
    let creator = thread::spawn({
        let sink = Arc::clone(&sink);
        move || sink.create(2, 64 * KIB)
    });
    gate.open();
    creator.join().unwrap().unwrap();
    let calls = layer.take();
    let made = |sequence| {
        let of = |record: &&support::Record| record.path.ends_with(name(sequence));
        calls.iter().filter(|record| record.call == Call::Rename).filter(of).count()
    };
    assert_eq!([made(1), made(2), made(3)], [1, 1, 0]);
}

#[test]
fn what_the_helper_could_not_do_create_does_or_reports() {
    let (dir, layer, sink) = threaded();
    let gate = Arc::new(Gate::default());
    layer.inject(Call::Allocate, ".wal.tmp", 0, 1, Fault::Gate(Arc::clone(&gate)));
    layer.inject(Call::Write, ".wal.tmp", 0, 2, Fault::Errno(Errno::NOSPC));
    gate.open();
    sink.prepare(1, 64 * KIB);
    gate.reached();
    // The helper's error is not reported by itself; create's own is.
    let error = sink.create(1, 64 * KIB).unwrap_err();
    assert!(error.is_no_space(), "{error}");
    layer.assert_spent();
    assert!(names(dir.path()).is_empty());

    // A helper that panics leaves the file to create as well.
    layer.inject(Call::Allocate, ".wal.tmp", 0, 1, Fault::Panic);
    sink.prepare(1, 64 * KIB);
    sink.create(1, 64 * KIB).unwrap();
    layer.assert_spent();
    write(&sink, 1, 0, b"fine").unwrap();
    sink.sync().unwrap();
}

#[test]
fn a_prepared_file_of_another_capacity_is_made_again() {
    let (dir, _layer, sink) = threaded();
    sink.prepare(1, 64 * KIB);
    sink.create(1, MIB).unwrap();
    assert_zeros(&dir.path().join(name(1)), MIB);
    write(&sink, 1, 1020 * KIB, b"far").unwrap();
    assert_eq!(fs::metadata(dir.path().join(name(1))).unwrap().len(), MIB);
}

#[test]
fn preparing_never_touches_a_file_in_use() {
    let (_dir, layer, sink) = threaded();
    sink.create(1, 64 * KIB).unwrap();
    layer.take();
    // In use, though nothing is written yet and its header block is all zeros.
    sink.prepare(1, 128 * KIB);
    drop_helper(&sink);
    assert_eq!(count(&layer.take(), Call::Rename), 1, "only file 9 was made");
    write(&sink, 1, 0, b"mine").unwrap();
    assert_eq!(read(&sink, 1, 0, 4), b"mine");
}

/// Waits for the helper: a file asked of it after another is made only when that one is done.
fn drop_helper(sink: &FileSink<support::Faulty>) {
    sink.prepare(9, 64 * KIB);
    sink.create(9, 64 * KIB).unwrap();
}

#[test]
fn inline_preparation_never_starts_a_thread() {
    let (_dir, layer, sink) = inline();
    sink.prepare(1, 64 * KIB);
    assert!(layer.take().is_empty());
    sink.create(1, 64 * KIB).unwrap();
    let me = thread::current().id();
    assert!(layer.take().iter().all(|record| record.thread == me));
}

#[test]
fn dropping_the_sink_ends_the_helper_and_leaves_nothing_half_made() {
    let (dir, layer, sink) = threaded();
    let gate = Arc::new(Gate::default());
    layer.inject(Call::Write, ".wal.tmp", 1, 1, Fault::Gate(Arc::clone(&gate)));
    sink.prepare(1, 64 * MIB);
    gate.reached();
    let dropper = thread::spawn(move || drop(sink));
    gate.open();
    dropper.join().unwrap();
    // Nothing happens any more, and what there is, is whole.
    let before = layer.take().len();
    assert!(before > 0);
    let left = names(dir.path());
    assert!(left.is_empty() || left == [name(1)], "{left:?}");
    FileSink::open(dir.path(), &FileOptions::default()).unwrap();
    assert!(layer.take().is_empty());
}

#[test]
fn a_real_full_disk() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(dir.path())
        .output();
    match mount {
        Ok(output) if output.status.success() => {}
        other => {
            // Past the test harness, which hides what a passing test prints.
            let mut err = std::io::stderr().lock();
            writeln!(err, "skipped: a_real_full_disk: cannot mount a small tmpfs: {other:?}")
                .unwrap();
            return;
        }
    }
    struct Unmount<'a>(&'a Path);
    impl Drop for Unmount<'_> {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg(self.0).status();
        }
    }
    let _unmount = Unmount(dir.path());
    let log = dir.path().join("log");
    {
        let sink = FileSink::open(&log, &FileOptions::default()).unwrap();
        sink.create(1, 512 * KIB).unwrap();
        sink.prepare(2, 768 * KIB);
        let error = sink.create(2, 768 * KIB).unwrap_err();
        assert!(error.is_no_space(), "{error}");
        assert_eq!(error.source.kind(), ErrorKind::StorageFull);
        assert_eq!(names(&log), [name(1)]);
        write(&sink, 1, 0, &[7; 512 << 10]).unwrap();
        sink.sync().unwrap();
        sink.create(2, 128 * KIB).unwrap();
    }
}

#[test]
fn a_file_that_is_ready_shows_until_it_is_used() {
    let (_dir, _layer, sink) = threaded();
    sink.prepare(1, 64 * KIB);
    // The helper takes its time.
    while sink.spares() == Spares::default() {
        thread::yield_now();
    }
    assert_eq!(sink.spares(), Spares { prepared: 1, retired: 0, bytes: 64 * KIB });
    sink.create(1, 64 * KIB).unwrap();
    assert_eq!(sink.spares(), Spares::default());
}
