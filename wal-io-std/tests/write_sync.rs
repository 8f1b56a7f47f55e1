//! Writing and syncing: whole writes, syncs of exactly what is unsynced, failures for good.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test, too")]

mod support;

use std::io::IoSlice;

use rustix::io::Errno;
use support::{Call, Fault, KIB, count, inline, name, read, write};
use wal_core::sink::{LogSource, SegmentSink, SinkOp, Write};

fn syncs(layer: &support::Faulty) -> Vec<String> {
    let mut calls = layer.take();
    calls.retain(|record| record.call == Call::SyncData);
    calls.iter().map(|r| r.path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn short_and_interrupted_writes_are_finished_wherever_they_end() {
    let parts: Vec<Vec<u8>> = vec![b"abc".to_vec(), vec![], b"defgh".to_vec(), b"i".to_vec()];
    let whole: Vec<u8> = parts.concat();
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    for first in 1..=whole.len() {
        for second in 1..=whole.len() {
            let (_dir, layer, sink) = inline();
            sink.create(1, 8 * KIB).unwrap();
            for fault in [
                Fault::Errno(Errno::INTR),
                Fault::Short(first),
                Fault::Errno(Errno::INTR),
                Fault::Short(second),
            ] {
                layer.inject(Call::Write, &name(1), 0, 1, fault);
            }
            sink.write(&Write { ticket: 0, file: 1, offset: 4095, parts: &slices }).unwrap();
            if first + second <= whole.len() {
                layer.assert_spent();
            }
            assert_eq!(read(&sink, 1, 4095, whole.len() + 1), [&whole[..], b"\0"].concat());
            assert_eq!(read(&sink, 1, 4094, 1), [0]);
        }
    }
}

#[test]
fn more_parts_than_one_call_takes() {
    let (_dir, _layer, sink) = inline();
    sink.create(1, 64 * KIB).unwrap();
    let bytes: Vec<u8> = (0..5000u32).map(|n| (n % 251) as u8).collect();
    let slices: Vec<IoSlice<'_>> = bytes.chunks(1).map(IoSlice::new).collect();
    sink.write(&Write { ticket: 0, file: 1, offset: 0, parts: &slices }).unwrap();
    assert_eq!(read(&sink, 1, 0, bytes.len()), bytes);
    // An empty write is none.
    sink.write(&Write { ticket: 0, file: 1, offset: 0, parts: &[] }).unwrap();
}

#[test]
fn a_write_of_nothing_or_past_the_end_of_numbers_is_an_error_not_a_loop() {
    let (_dir, layer, sink) = inline();
    sink.create(1, 8 * KIB).unwrap();
    layer.inject(Call::Write, &name(1), 0, 1, Fault::Short(0));
    let error = write(&sink, 1, 0, b"abc").unwrap_err();
    assert_eq!(error.source.kind(), std::io::ErrorKind::WriteZero);
    let (_dir, _layer, sink) = inline();
    sink.create(1, 8 * KIB).unwrap();
    let error = write(&sink, 1, u64::MAX, b"abc").unwrap_err();
    assert_eq!(error.source.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn sync_covers_each_file_with_unsynced_writes_and_no_other() {
    let (_dir, layer, sink) = inline();
    for sequence in 1..=3 {
        sink.create(sequence, 8 * KIB).unwrap();
    }
    layer.take();
    sink.sync().unwrap();
    assert!(syncs(&layer).is_empty());
    write(&sink, 1, 0, b"a").unwrap();
    write(&sink, 2, 0, b"b").unwrap();
    sink.sync().unwrap();
    assert_eq!(syncs(&layer), [name(1), name(2)]);
    sink.sync().unwrap();
    assert!(syncs(&layer).is_empty());
    // File 1 is closed by now, and opened again: still one log.
    write(&sink, 1, 1, b"a").unwrap();
    sink.sync().unwrap();
    assert_eq!(syncs(&layer), [name(1)]);
    write(&sink, 3, 0, b"c").unwrap();
    sink.sync().unwrap();
    assert_eq!(syncs(&layer), [name(3)]);
    assert_eq!(read(&sink, 1, 0, 2), b"aa");
}

#[test]
fn an_interrupted_sync_is_repeated() {
    let (_dir, layer, sink) = inline();
    sink.create(1, 8 * KIB).unwrap();
    write(&sink, 1, 0, b"a").unwrap();
    layer.take();
    layer.inject(Call::SyncData, &name(1), 0, 2, Fault::Errno(Errno::INTR));
    sink.sync().unwrap();
    assert_eq!(syncs(&layer).len(), 3);
}

/// Linux marks pages clean when writing them back fails: the sync after the failed one succeeds,
/// and the bytes are not on the device.
#[test]
fn nothing_succeeds_after_a_failed_sync() {
    let (_dir, layer, sink) = inline();
    sink.create(1, 8 * KIB).unwrap();
    sink.create(2, 8 * KIB).unwrap();
    write(&sink, 1, 0, b"lost").unwrap();
    write(&sink, 2, 0, b"too").unwrap();
    layer.inject(Call::SyncData, &name(1), 0, 1, Fault::Errno(Errno::IO));
    let first = sink.sync().unwrap_err();
    assert_eq!((first.op, first.file), (SinkOp::Sync, Some(1)));
    assert_eq!((first.source.raw_os_error(), first.path.is_some()), (Some(5), true));
    layer.take();
    for _ in 0..2 {
        for error in [
            sink.sync().unwrap_err(),
            write(&sink, 2, 0, b"x").unwrap_err(),
            sink.create(3, 8 * KIB).unwrap_err(),
            sink.trim(1, 0).unwrap_err(),
        ] {
            assert!(error.to_string().contains(&first.to_string()), "{error}");
        }
    }
    assert!(layer.take().is_empty(), "no call was even tried");
    assert_eq!(read(&sink, 1, 0, 4), b"lost", "reading goes on");
}

#[test]
fn nothing_succeeds_after_a_failed_write() {
    let (_dir, layer, sink) = inline();
    sink.create(1, 8 * KIB).unwrap();
    write(&sink, 1, 0, b"good").unwrap();
    layer.inject(Call::Write, &name(1), 0, 1, Fault::Short(2));
    layer.inject(Call::Write, &name(1), 0, 1, Fault::Errno(Errno::IO));
    let first = write(&sink, 1, 4 * KIB, b"half").unwrap_err();
    assert_eq!((first.op, first.file, first.offset), (SinkOp::Write, Some(1), Some(4 * KIB)));
    layer.take();
    assert!(sink.sync().unwrap_err().to_string().contains(&first.to_string()));
    assert!(write(&sink, 1, 4 * KIB, b"half").is_err());
    assert!(layer.take().is_empty(), "no call was even tried");
}

#[test]
fn reads_are_whole_up_to_the_end_of_the_file() {
    let (_dir, layer, sink) = inline();
    sink.create(1, 8 * KIB).unwrap();
    write(&sink, 1, 8 * KIB - 6, b"abcdef").unwrap();
    layer.inject(Call::Read, &name(1), 0, 1, Fault::Errno(Errno::INTR));
    layer.inject(Call::Read, &name(1), 0, 2, Fault::Short(1));
    assert_eq!(read(&sink, 1, 8 * KIB - 6, 100), b"abcdef");
    layer.assert_spent();
    assert!(read(&sink, 1, 8 * KIB, 1).is_empty());
    assert!(read(&sink, 1, 0, 0).is_empty());

    layer.inject(Call::Read, &name(1), 0, 1, Fault::Errno(Errno::IO));
    let error = sink.read_at(1, 77, &mut [0; 8]).unwrap_err();
    assert_eq!((error.op, error.file, error.offset), (SinkOp::Read, Some(1), Some(77)));
    assert!(error.path.unwrap().ends_with(name(1)));
}

#[test]
fn reading_a_missing_file_is_an_error_with_its_path() {
    let (dir, _layer, sink) = inline();
    let error = sink.read_at(7, 0, &mut [0; 8]).unwrap_err();
    assert_eq!((error.op, error.file), (SinkOp::Open, Some(7)));
    assert_eq!(error.source.kind(), std::io::ErrorKind::NotFound);
    assert!(error.to_string().contains(dir.path().join(name(7)).to_str().unwrap()), "{error}");
}

#[test]
fn few_files_are_kept_open() {
    let (_dir, layer, sink) = inline();
    for sequence in 1..=20 {
        sink.create(sequence, 8 * KIB).unwrap();
        write(&sink, sequence, 0, &[sequence as u8]).unwrap();
        sink.sync().unwrap();
    }
    layer.take();
    for _ in 0..2 {
        for sequence in 1..=20 {
            assert_eq!(read(&sink, sequence, 0, 1), [sequence as u8]);
            assert_eq!(read(&sink, sequence, 0, 1), [sequence as u8]);
        }
    }
    // Twenty in turn never stay in a cache of eight, but two reads in a row share a handle.
    assert_eq!(count(&layer.take(), Call::Open), 40);
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let dir = sink.path().to_owned();
        let targets = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        let ours = targets.filter(|path| path.starts_with(&dir) && path != &dir).count();
        assert!(ours <= 8 + 1 + 1, "8 cached, the newest, the lock: {ours}");
    }
}

#[test]
fn trim_gives_back_the_end_and_never_grows() {
    let (dir, layer, sink) = inline();
    sink.create(1, 64 * KIB).unwrap();
    write(&sink, 1, 0, b"kept").unwrap();
    sink.sync().unwrap();
    sink.trim(1, 4 * KIB).unwrap();
    let len = || std::fs::metadata(dir.path().join(name(1))).unwrap().len();
    assert_eq!(len(), 4 * KIB);
    layer.take();
    sink.trim(1, 64 * KIB).unwrap();
    assert_eq!(len(), 4 * KIB);
    assert_eq!(count(&layer.take(), Call::SetLen), 0);
    assert_eq!(read(&sink, 1, 0, 4), b"kept");
}
