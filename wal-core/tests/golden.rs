//! Golden files, read by recovery and by the naive reader, which was written from `spec/FORMAT.md`
//! alone (`wal_core::testing::naive`).
//!
//! The files are the format's past: a change that alters them needs a new format version, and those of
//! every version are read for ever. `golden/README.md` says what each is, and how to add some.
#![allow(clippy::unwrap_used, reason = "a test helper fails its test")]

mod common;
mod support;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use common::{Item, Writer, recover, reopen, zero};
use support::{Rule, ScriptSink, open, tiny};
use wal_core::format::checksum::crc32c;
use wal_core::format::file_header::{BLOCK_LEN, Predecessor, VERSION};
use wal_core::format::frame::Kind;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::testing::agree::naively;
use wal_core::testing::naive;
use wal_core::{Error, Lsn, Wal};

struct Golden {
    name: &'static str,
    disk: MemDisk,
    expected: naive::Log,
}

/// Packed logs are small enough to be read in a hex dump; one log has blocks.
fn goldens() -> Vec<Golden> {
    let mut all = sound();
    all.extend(unsound());
    all
}

/// Logs that were left as they should be.
fn sound() -> Vec<Golden> {
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

/// Logs that lost something at one of their ends, on purpose or not.
fn unsound() -> Vec<Golden> {
    let mut all = Vec::new();
    let mut add = |name, disk: &MemDisk, kept: &[&Writer], frames, end, outcome| {
        let records = kept.iter().flat_map(|w| &w.records);
        let records: Vec<_> = records.map(|(lsn, bytes)| (lsn.get(), bytes.clone())).collect();
        all.push(Golden {
            name,
            disk: disk.snapshot(),
            expected: naive::Log {
                batches: vec![1; records.len()],
                records,
                frames,
                voids: 0,
                void_frames: 0,
                end,
                outcome,
            },
        });
    };
    let place = |at: &common::FrameAt, lsn: Lsn| {
        let offset = at.offset + (lsn.get() - at.header.lsn.get());
        naive::Place { file: at.file, lsn: lsn.get(), offset }
    };

    // The middle one of three frames is torn, and none of them was known to be durable.
    let mut w = Writer::new(4096 + 512, 8);
    let first = w.frame(&[Item::Record(b"durable")]);
    w.durable = Some(first.header.end());
    let torn = w.frame(&[Item::Record(b"torn")]);
    w.frame(&[Item::Record(b"written before the one before it")]);
    zero(&w.disk, 1, torn.offset + 64, 16);
    w.records.truncate(1);
    let end = first.header.end();
    add("torn", &w.disk, &[&w], 1, end.get(), naive::End::Torn(place(&torn, end)));

    // The last frame is damaged, and nothing tells whether it had been durable.
    let mut w = Writer::new(4096 + 512, 8);
    let first = w.frame(&[Item::Record(b"durable")]);
    let last = w.frame(&[Item::Record(b"who knows")]);
    w.disk.flip_bit(1, (last.offset + 64 + 8) * 8);
    w.records.truncate(1);
    let end = first.header.end();
    add("ambiguous", &w.disk, &[&w], 1, end.get(), naive::End::Ambiguous(place(&last, end)));

    // The first of three files is gone.
    let mut w = Writer::new(4096 + 128, 8);
    for text in [b"truncated", b"the start", b"the rest."] {
        w.frame(&[Item::Record(text)]);
    }
    let end = w.close(false).header.end();
    w.disk.remove_file(1);
    w.records.remove(0);
    add("truncated", &w.disk, &[&w], 3, end.get(), naive::End::Closed);

    // Cut back into the middle of a frame of the first file; what was in the second is gone, what was
    // in the third has come back, and the log goes on far behind.
    let mut w = Writer::new(4096 + 256, 8);
    w.frame(&[Item::Record(b"kept"), Item::Record(b"cut off")]);
    for number in 0..3 {
        w.frame(&[Item::Record(&[b'0' + number; 180])]);
    }
    let mut scan = recover(&w.disk).0.unwrap();
    let cut = Lsn::new(64 + 16);
    let (header, link) = (scan.files[0].header, w.frames[0].header.link());
    scan.last = Some(Predecessor { sequence: 1, salt: header.salt, end: cut, last_frame: link });
    scan.end = cut;
    w.disk.remove_file(2);
    w.records.truncate(1);
    let mut next = Writer::reopen(&w.disk, &scan, 4096 + 256, 8);
    next.skip_to(Lsn::new(8192));
    next.frame(&[Item::Record(b"behind the cut")]);
    let end = next.close(false).header.end();
    add("cut", &w.disk, &[&w, &next], 3, end.get(), naive::End::Closed);
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

/// Where the files of a format version are.
fn version_dir(version: u32) -> PathBuf {
    PathBuf::from(format!("{}/tests/golden/v{version}", env!("CARGO_MANIFEST_DIR")))
}

fn path(name: &str, sequence: u64) -> PathBuf {
    version_dir(VERSION).join(format!("{name}/{sequence}.wal"))
}

/// The log that is stored in a directory.
fn stored(dir: &Path) -> MemDisk {
    let disk = MemDisk::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|suffix| suffix == "wal") {
            let sequence = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            disk.put_file(sequence, fs::read(&path).unwrap());
        }
    }
    disk
}

/// What opening makes of a log: how it ends, and every record.
fn description(disk: &MemDisk) -> String {
    let (scan, records) = recover(disk);
    let scan = scan.unwrap();
    let report = scan.report;
    let mut text = format!(
        "verdict {:?}\nstart {}\nend {}\nframes {}\nvoids {}\nfiles {}\n",
        report.verdict, report.start, report.end, report.frames, report.voids, report.files
    );
    let batches = naively(disk).unwrap().batches;
    text.push_str(&format!("batches {batches:?}\n"));
    for (lsn, payload) in records {
        let payload = match payload.len() {
            0..=64 => format!("\"{}\"", payload.escape_ascii()),
            len => format!("{len} bytes, CRC-32C {:#010x}", crc32c(&payload)),
        };
        text.push_str(&format!("record {lsn}: {payload}\n"));
    }
    text
}

/// Compares what opening makes of a stored log with what it has always made of it.
fn compare_description(dir: &Path) {
    let (path, found) = (dir.join("expected.txt"), description(&stored(dir)));
    if is_writing() && dir.starts_with(version_dir(VERSION)) {
        fs::write(&path, &found).unwrap();
    }
    assert_eq!(found, fs::read_to_string(&path).unwrap(), "{}", path.display());
}

/// Every log of every version that is stored.
fn all_stored() -> Vec<PathBuf> {
    let versions = (1..=VERSION).map(version_dir);
    let logs = versions.flat_map(|dir| fs::read_dir(dir).unwrap());
    let mut logs: Vec<_> = logs.map(|entry| entry.unwrap().path()).collect();
    logs.sort();
    logs
}

fn is_writing() -> bool {
    std::env::var_os("WAL_GOLDEN_WRITE").is_some()
}

/// Compares the files with those stored under `name`, or stores them.
fn compare(name: &str, disk: &MemDisk) {
    for sequence in disk.sequences() {
        let (path, bytes) = (path(name, sequence), disk.file(sequence));
        if is_writing() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        let stored = fs::read(&path).unwrap();
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
        let disk = stored(&version_dir(VERSION).join(golden.name));
        assert_eq!(naively(&disk).unwrap(), golden.expected, "{}", golden.name);
        // Which the naive reader must agree with.
        assert!(recover(&disk).0.is_ok(), "{}", golden.name);
    }
}

#[test]
fn logs_of_every_version_are_read_for_ever() {
    let all = all_stored();
    assert!(all.len() >= 12, "{all:?}");
    for dir in all {
        compare_description(&dir);
    }
}

/// Reading is not all: the log goes on, and has its old records and new ones.
#[test]
fn logs_of_every_version_go_on() {
    for dir in all_stored() {
        let disk = stored(&dir);
        let before = recover(&disk).1;
        let wal = open(&disk, tiny());
        let lsn = wal.append_and_sync(b"in another life").unwrap().lsn;
        let mut expected = before.clone();
        expected.push((lsn, b"in another life".to_vec()));
        let found: Vec<_> = wal.iter_from(wal.start_lsn()).unwrap().map(Result::unwrap).collect();
        let found: Vec<_> = found.into_iter().map(|record| (record.lsn, record.payload)).collect();
        assert!(found == expected, "{}", dir.display());
        wal.close().unwrap();
        assert!(recover(&disk).1 == expected, "{}", dir.display());
    }
}

/// A header that is intact and of a later version is no damage, wherever it is.
#[test]
fn a_newer_version_is_told_by_its_number_and_nothing_is_touched() {
    for dir in all_stored() {
        let sequences = stored(&dir).sequences();
        for sequence in sequences {
            let disk = stored(&dir);
            let mut bytes = disk.file(sequence);
            bytes[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
            let crc = crc32c(&bytes[..BLOCK_LEN - 4]);
            bytes[BLOCK_LEN - 4..BLOCK_LEN].copy_from_slice(&crc.to_le_bytes());
            disk.put_file(sequence, bytes);
            let before = disk.snapshot();
            match Wal::open(MemSink::open(&disk).unwrap(), tiny()) {
                Err(Error::UnsupportedFormat { found, supported, .. }) => {
                    assert_eq!((found, supported), (VERSION + 1, VERSION));
                }
                other => panic!("{}: {:?}", dir.display(), other.map(|(_, report)| report)),
            }
            let same = |at: &u64| disk.file(*at) == before.file(*at);
            assert!(disk.sequences() == before.sequences() && disk.sequences().iter().all(same));
        }
    }
}
