//! Golden files, read by recovery and by the naive reader, which was written from `spec/FORMAT.md`
//! alone (`wal_core::testing::naive`).
//!
//! The files are the format's past: a change that alters them needs a new format version. After
//! an intended change, `WAL_GOLDEN_WRITE=1 cargo test -p wal-core --test golden` writes them anew.
#![allow(clippy::unwrap_used, reason = "a test helper fails its test")]

mod common;
mod support;

use std::io::ErrorKind;
use std::path::PathBuf;

use common::{Item, Writer, recover, reopen};
use support::{Rule, ScriptSink, open, tiny};
use wal_core::format::frame::Kind;
use wal_core::sink::mem::MemDisk;
use wal_core::testing::agree::naively;
use wal_core::testing::naive;
use wal_core::{Verdict, Wal};

struct Golden {
    name: &'static str,
    disk: MemDisk,
    expected: naive::Log,
}

/// Packed logs are small enough to be read in a hex dump; one log has blocks.
fn goldens() -> Vec<Golden> {
    let mut all = Vec::new();
    let mut add = |name, writers: &[&Writer], batches: Vec<usize>, voids| {
        let last = writers.last().unwrap();
        let frames = writers.iter().flat_map(|w| &w.frames);
        let end = last.frames.last().unwrap().header;
        let records = writers.iter().flat_map(|w| &w.records);
        all.push(Golden {
            name,
            disk: last.disk.snapshot(),
            expected: naive::Log {
                records: records.map(|(lsn, bytes)| (lsn.get(), bytes.clone())).collect(),
                frames: frames.count() as u64,
                voids,
                void_frames: 0,
                batches,
                end: end.end().get(),
                outcome: match end.kind {
                    Kind::Close => naive::End::Closed,
                    _ => naive::End::Clean,
                },
            },
        });
    };

    // Small, empty and void records, batches, a mark; one file, not closed.
    let mut w = Writer::new(5120, 8);
    w.frame(&[Item::Record(b"small"), Item::Record(b""), Item::Void(13)]);
    w.frame(&[Item::Batch(&[b"one", b"", b"three"]), Item::Record(b"alone")]);
    w.mark();
    w.frame(&[Item::Void(0), Item::Batch(&[b"a pair", b"of two"])]);
    add("packed", &[&w], vec![1, 1, 3, 1, 2], 2);

    // Frames in blocks over two files, the second closed and trimmed.
    let mut w = Writer::new(16 << 10, 4096);
    w.frame(&[Item::Record(b"first")]);
    w.frame(&[Item::Record(&[0xa5; 5000])]);
    w.frame(&[Item::Record(b"in the second file")]);
    w.close(true);
    add("closed", &[&w], vec![1, 1, 1], 0);

    // A large record in a file of its own size, between two small files.
    let mut w = Writer::new(4096 + 256, 8);
    w.frame(&[Item::Record(b"before")]);
    w.frame(&[Item::Record(&std::array::from_fn::<u8, 6000, _>(|i| (i % 251) as u8))]);
    w.frame(&[Item::Record(b"after")]);
    add("large", &[&w], vec![1, 1, 1], 0);

    // A file that was used before: the log ends within a frame of its earlier life.
    let mut old = Writer::new(4096 + 512, 8);
    old.frame(&[Item::Record(b"an earlier life")]);
    old.frame(&[Item::Record(&[0x3c; 300])]);
    let mut w = Writer::new(4096 + 512, 8);
    w.frame(&[Item::Record(b"in a new file")]);
    w.roll();
    w.disk.put_file(2, old.disk.file(1));
    w.frame(&[Item::Record(b"over the earlier life, and a little further")]);
    add("recycled", &[&w], vec![1, 1], 0);

    // A file written in place: behind its last frame lies a record that no frame holds.
    let mut w = Writer::new(4096 + 512, 8);
    w.in_place = true;
    w.frame(&[Item::Record(b"in its place")]);
    w.without_a_frame(b"stored when the process died");
    add("in-place", &[&w], vec![1], 0);

    // A torn frame, of which the next life kept the first record.
    let mut w = Writer::new(4096 + 512, 8);
    w.frame(&[Item::Record(b"whole")]);
    let torn = w.frame(&[Item::Record(b"kept"), Item::Record(b"lost"), Item::Record(b"lost")]);
    w.disk.flip_bit(1, (torn.offset + 64 + 16 + 8) * 8);
    let scan = recover(&w.disk).0.unwrap();
    w.records.truncate(2);
    let mut next = reopen(&w.disk, &scan, 4096 + 512, 8);
    next.frame(&[Item::Record(b"next life")]);
    next.close(false);
    add("recovered", &[&w, &next], vec![1, 1, 1], 0);
    all
}

/// What the writer itself makes of a fixed sequence of calls and a fixed seed: two lives, with
/// every kind of record and frame.
fn written() -> (MemDisk, Vec<Vec<u8>>) {
    let disk = MemDisk::new();
    let options = tiny().seed(1);
    let mut expected: Vec<Vec<u8>> = Vec::new();
    let (sink, control) = ScriptSink::open(&disk);
    let (wal, _) = Wal::open(sink, options.clone()).unwrap();
    wal.append(b"small").unwrap();
    wal.append(b"").unwrap();
    drop(wal.reserve(20).unwrap());
    wal.append_batch(&[b"of".as_slice(), b"a", b"batch"]).unwrap();
    wal.sync().unwrap();
    expected.extend([b"small".as_slice(), b"", b"of", b"a", b"batch"].map(<[u8]>::to_vec));
    wal.mark_durable().unwrap();
    wal.append(&[0x5a; 9000]).unwrap();
    expected.push(vec![0x5a; 9000]);
    // Refused for want of space, so that its range is given up.
    control.on_create(Rule::Fail(ErrorKind::StorageFull));
    wal.append(&[0x66; 10_000]).unwrap_err();
    control.on_create(Rule::Pass);
    wal.append_and_sync(b"behind it").unwrap();
    expected.push(b"behind it".to_vec());
    drop(wal);
    let wal = open(&disk, options.seed(2));
    wal.append(b"next life").unwrap();
    expected.push(b"next life".to_vec());
    wal.close().unwrap();
    (disk, expected)
}

#[test]
fn the_writer_reproduces_its_golden_files_byte_for_byte() {
    let (disk, expected) = written();
    compare("writer", &disk);
    let log = naively(&disk).unwrap();
    let records: Vec<_> = log.records.into_iter().map(|(_, bytes)| bytes).collect();
    assert!(records == expected);
    assert_eq!((log.voids, log.void_frames, log.outcome), (1, 1, naive::End::Closed));
    assert!(log.batches.contains(&3));
}

fn path(name: &str, sequence: u64) -> PathBuf {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    PathBuf::from(format!("{dir}/{name}-{sequence}.wal"))
}

/// Compares the files with those stored under `name`, or stores them.
fn compare(name: &str, disk: &MemDisk) {
    for sequence in disk.sequences() {
        let (path, bytes) = (path(name, sequence), disk.file(sequence));
        if std::env::var_os("WAL_GOLDEN_WRITE").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let stored = std::fs::read(&path).unwrap();
        let differs = stored.iter().zip(&bytes).position(|(a, b)| a != b);
        assert_eq!((stored.len(), differs), (bytes.len(), None), "{}", path.display());
    }
}

#[test]
fn golden_files_are_reproduced_byte_for_byte() {
    for golden in goldens() {
        compare(golden.name, &golden.disk);
    }
}

#[test]
fn the_independent_reader_and_recovery_agree_on_the_golden_files() {
    for golden in goldens() {
        let disk = MemDisk::new();
        for sequence in golden.disk.sequences() {
            disk.put_file(sequence, std::fs::read(path(golden.name, sequence)).unwrap());
        }
        let log = naively(&disk).unwrap();
        assert_eq!(log, golden.expected, "{}", golden.name);

        let (scan, records) = recover(&disk);
        let scan = scan.unwrap();
        let closed = log.outcome == naive::End::Closed;
        let verdict = if closed { Verdict::Closed } else { Verdict::Clean };
        assert_eq!(scan.report.verdict, verdict, "{}", golden.name);
        assert_eq!((scan.end.get(), scan.report.frames), (log.end, log.frames));
        assert_eq!(
            (scan.report.voids, scan.report.files),
            (log.voids, disk.sequences().len() as u64)
        );
        let records: Vec<_> = records.into_iter().map(|(lsn, bytes)| (lsn.get(), bytes)).collect();
        assert_eq!(records, log.records, "{}", golden.name);
    }
}
