//! Golden files, and a reader written from `spec/FORMAT.md` alone: it shares no code with
//! `wal_core::format`, and takes its checksums from another crate.
//!
//! The files are the format's past: a change that alters them needs a new format version. After
//! an intended change, `WAL_GOLDEN_WRITE=1 cargo test -p wal-core --test golden` writes them anew.
#![allow(clippy::unwrap_used, reason = "a test helper fails its test")]

mod common;
mod support;

use std::io::ErrorKind;
use std::path::PathBuf;

use common::{Item, Writer, recover};
use support::{Rule, ScriptSink, open, tiny};
use wal_core::sink::mem::MemDisk;
use wal_core::{Verdict, Wal};

/// The independent reader. It reads sound logs only: whatever is unexpected panics.
mod reader {
    pub(super) struct File {
        pub(super) sequence: u64,
        salt: u64,
        base: u64,
        limit: u64,
        align: u64,
        max_record_len: usize,
        pub(super) recovered: bool,
        recycled: bool,
        prev_sequence: u64,
        prev_salt: u64,
        prev_end: u64,
        prev_frame: (u64, u32),
    }

    #[derive(Debug, Default, PartialEq, Eq)]
    pub(super) struct Log {
        pub(super) records: Vec<(u64, Vec<u8>)>,
        pub(super) frames: u64,
        pub(super) voids: u64,
        pub(super) void_frames: u64,
        /// Sizes of the batches, single records included.
        pub(super) batches: Vec<usize>,
        pub(super) end: u64,
        pub(super) closed: bool,
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    /// Section 2.
    fn header(bytes: &[u8]) -> File {
        let block = &bytes[..4096];
        assert_eq!(block[..8], [0x89, 0x57, 0x41, 0x4c, 0x0d, 0x0a, 0x1a, 0x0a]);
        assert_eq!(crc32c::crc32c(&block[..4092]), u32_at(block, 4092));
        assert_eq!(u32_at(block, 8), 1);
        assert!(u32_at(block, 12) <= 3);
        let (base, capacity) = (u64_at(block, 48), u64_at(block, 56));
        let file = File {
            sequence: u64_at(block, 32),
            salt: u64_at(block, 40),
            base,
            limit: base + capacity - 4096,
            align: u64::from(u32_at(block, 64)),
            max_record_len: u32_at(block, 68) as usize,
            recovered: u32_at(block, 12) & 1 == 1,
            recycled: u32_at(block, 12) & 2 == 2,
            prev_sequence: u64_at(block, 72),
            prev_salt: u64_at(block, 80),
            prev_end: u64_at(block, 88),
            prev_frame: (u64_at(block, 96), u32_at(block, 104)),
        };
        assert!(file.sequence > file.prev_sequence);
        assert!(file.align.is_power_of_two() && (8..=65536).contains(&file.align));
        assert!(base % file.align == 0 && file.prev_end <= base);
        assert!(u64_at(block, 112) <= base);
        file
    }

    /// Section 4, for one frame's records.
    fn records(bytes: &[u8], position: u64, file: &File, log: &mut Log) {
        let (mut at, mut batch) = (0, 0);
        while at < bytes.len() {
            let word = u32_at(bytes, at);
            let len = (word & 0x3fff_ffff) as usize;
            assert!(len <= file.max_record_len);
            let payload = &bytes[at + 8..at + 8 + len];
            let lsn = position + at as u64;
            let mut covered = payload.to_vec();
            covered.extend(lsn.to_le_bytes());
            covered.extend(file.salt.to_le_bytes());
            covered.extend(word.to_le_bytes());
            assert_eq!(crc32c::crc32c(&covered), u32_at(bytes, at + 4), "record at {lsn}");
            match word >> 30 {
                0 => {
                    log.batches.push(batch + 1);
                    batch = 0;
                }
                1 => batch += 1,
                2 => assert_eq!(batch, 0),
                _ => panic!("void and more"),
            }
            if word >> 30 == 2 {
                log.voids += 1;
            } else {
                log.records.push((lsn, payload.to_vec()));
            }
            at += (8 + len).next_multiple_of(8);
        }
        assert_eq!((at, batch), (bytes.len(), 0));
    }

    /// Whether a frame of this file starts here, in a log without damage.
    fn is_frame(bytes: &[u8], at: u64, file: &File) -> bool {
        bytes.len() >= 64
            && bytes[..4] == [0x57, 0x66, 0x52, 0x6d]
            && crc32c::crc32c(&bytes[..60]) == u32_at(bytes, 60)
            && (u64_at(bytes, 8), u64_at(bytes, 40)) == (at, file.salt)
    }

    /// Sections 3 and 5: the files of a sound log in order.
    pub(super) fn read(files: &[Vec<u8>]) -> Log {
        let headers: Vec<File> = files.iter().map(|bytes| header(bytes)).collect();
        let mut log = Log::default();
        let mut last = (u64::MAX, 0);
        for (i, (file, bytes)) in headers.iter().zip(files).enumerate() {
            if i > 0 {
                let before = &headers[i - 1];
                let names = (file.prev_sequence, file.prev_salt);
                assert_eq!(names, (before.sequence, before.salt));
                assert_eq!((file.prev_end, file.prev_frame), (log.end, last));
            } else {
                assert_eq!(file.prev_sequence, 0);
            }
            let next = headers.get(i + 1);
            let until = next.map_or(file.limit, |next| next.prev_end);
            let mut at = file.base;
            while at < until {
                let offset = (4096 + at - file.base) as usize;
                let rest = bytes.get(offset..).unwrap_or_default();
                if next.is_none() && !is_frame(rest, at, file) {
                    assert!(file.recycled || rest.iter().all(|&byte| byte == 0));
                    break;
                }
                assert!(is_frame(rest, at, file), "no frame at {at}");
                let head = &rest[..64];
                let (flags, len) = (u32_at(head, 4), u64_at(head, 16));
                assert!(u64_at(head, 24) <= at && at + len <= file.limit);
                assert_eq!((u64_at(head, 32), u32_at(head, 48)), last);
                match flags {
                    0 => assert!(len > 64 && len % 8 == 0),
                    1 | 3 => assert_eq!(len, 64),
                    4 => assert!(len >= 64 && len % 8 == 0),
                    _ => panic!("flags {flags}"),
                }
                let end = (at + len).min(until);
                assert!(end == at + len || next.unwrap().recovered);
                if flags == 0 {
                    let body = &bytes[offset + 64..offset + (end - at) as usize];
                    records(body, at + 64, file, &mut log);
                }
                log.frames += 1;
                log.void_frames += u64::from(flags == 4);
                (log.end, log.closed) = (end, flags == 3);
                last = (at, u32_at(head, 60));
                at = (at + len).next_multiple_of(file.align);
            }
        }
        log
    }
}

struct Golden {
    name: &'static str,
    disk: MemDisk,
    expected: reader::Log,
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
            expected: reader::Log {
                records: records.map(|(lsn, bytes)| (lsn.get(), bytes.clone())).collect(),
                frames: frames.count() as u64,
                voids,
                void_frames: 0,
                batches,
                end: end.end().get(),
                closed: end.kind == wal_core::format::frame::Kind::Close,
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

    // A torn frame, of which the next life kept the first record.
    let mut w = Writer::new(4096 + 512, 8);
    w.frame(&[Item::Record(b"whole")]);
    let torn = w.frame(&[Item::Record(b"kept"), Item::Record(b"lost"), Item::Record(b"lost")]);
    w.disk.flip_bit(1, (torn.offset + 64 + 16 + 8) * 8);
    let scan = recover(&w.disk).0.unwrap();
    w.records.truncate(2);
    let mut next = Writer::reopen(&w.disk, &scan, 4096 + 512, 8);
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
    let files: Vec<_> = disk.sequences().into_iter().map(|file| disk.file(file)).collect();
    let log = reader::read(&files);
    let records: Vec<_> = log.records.into_iter().map(|(_, bytes)| bytes).collect();
    assert!(records == expected);
    assert_eq!((log.voids, log.void_frames, log.closed), (1, 1, true));
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
        let files: Vec<_> = disk.sequences().into_iter().map(|file| disk.file(file)).collect();
        let log = reader::read(&files);
        assert_eq!(log, golden.expected, "{}", golden.name);

        let (scan, records) = recover(&disk);
        let scan = scan.unwrap();
        let verdict = if log.closed { Verdict::Closed } else { Verdict::Clean };
        assert_eq!(scan.report.verdict, verdict, "{}", golden.name);
        assert_eq!((scan.end.get(), scan.report.frames), (log.end, log.frames));
        assert_eq!((scan.report.voids, scan.report.files), (log.voids, files.len() as u64));
        let records: Vec<_> = records.into_iter().map(|(lsn, bytes)| (lsn.get(), bytes)).collect();
        assert_eq!(records, log.records, "{}", golden.name);
    }
}
