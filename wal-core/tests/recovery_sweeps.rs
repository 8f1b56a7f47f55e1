//! Every single-bit flip and every truncation of logs with every kind of frame.
//!
//! The oracle knows what was written and what had been durable. Recovery may return exactly the
//! log, name a corruption, or cut the end loudly; it never returns a wrong record, never loses a
//! durable one in silence, and never reads damage as a sound log. It ends within bounds of memory
//! and reads, and the naive reader agrees with it every time.
//!
//! Plain runs try every bit of what has structure in packed logs, and a part of the others;
//! `WAL_FAULTS_DEEP=1` tries every bit and length of all.
#![allow(clippy::unwrap_used, reason = "a test helper fails its test")]

mod common;

use common::{Item, Writer};
use wal_core::format::file_header::BLOCK_LEN;
use wal_core::format::frame::HEADER_LEN;
use wal_core::recover::{Scan, ScanOptions};
use wal_core::sink::mem::MemDisk;
use wal_core::testing::agree::{agree, naively};
use wal_core::testing::meter::{Heap, scan_within_bounds};
use wal_core::{Error, Verdict};

#[global_allocator]
static HEAP: Heap = Heap;

/// Whether to try everything.
fn deep() -> bool {
    std::env::var_os("WAL_FAULTS_DEEP").is_some()
}

struct Log {
    name: &'static str,
    w: Writer,
    sound: Verdict,
}

/// Small, empty, void, batch, large and recycled frames, and such as were built in place, each over two files or more, everything
/// durable but the last frame.
fn logs(align: u32) -> Vec<Log> {
    let unit = u64::from(align.max(256));
    let writer = || Writer::new(BLOCK_LEN as u64 + 4 * unit, align);
    let small = || {
        let mut w = writer();
        w.frame(&[Item::Record(b"small"), Item::Record(b""), Item::Void(5), Item::Record(b"odd")]);
        w.frame(&[Item::Record(b"before"), Item::Batch(&[b"one", b"", b"three"])]);
        w.mark();
        w.roll();
        w.frame(&[Item::Record(b"in the second file")]);
        w.frame(&[Item::Record(&[0xa5; 300])]);
        w
    };
    let void = || {
        let mut w = writer();
        w.frame(&[Item::Record(b"before a range given up")]);
        w.void(unit + 64);
        w.frame(&[Item::Record(b"behind it")]);
        // One that fits no more, which begins a file.
        w.void(3 * unit);
        w.frame(&[Item::Void(0)]);
        w
    };
    // Of several blocks, and larger than a file is otherwise.
    let large = || {
        let mut w = writer();
        w.frame(&[Item::Record(b"before")]);
        w.frame(&[Item::Record(&[0x3c; 1100])]);
        w.frame(&[Item::Record(&vec![0xc3; 5 * unit as usize]), Item::Record(b"with it")]);
        w.frame(&[Item::Record(b"after")]);
        w
    };
    // Behind the last frame lie those of an earlier life, some at its places and some between.
    let recycled = || {
        let mut old = writer();
        old.salt ^= 1 << 33;
        for i in 0..12 {
            old.frame(&[Item::Record(&[i; 30])]);
        }
        let mut w = writer();
        w.frame(&[Item::Record(b"first")]);
        w.roll_over(old.disk.file(1));
        w.frame(&[Item::Record(b"over an earlier life")]);
        w.frame(&[Item::Record(b"and over more of it"), Item::Batch(&[b"a", b"b"])]);
        w
    };
    // The same, and behind the last frame records whose frame was not begun.
    let in_place = || {
        let mut old = writer();
        old.salt ^= 1 << 33;
        for i in 0..12 {
            old.frame(&[Item::Record(&[i; 30])]);
        }
        let mut w = writer();
        w.in_place = true;
        w.frame(&[Item::Record(b"first")]);
        w.roll_over(old.disk.file(1));
        w.frame(&[Item::Record(b"over an earlier life")]);
        w.frame(&[Item::Record(b"and over more of it"), Item::Batch(&[b"a", b"b"])]);
        w.without_a_frame(b"appended, and waited for by nobody");
        w
    };
    let mut logs = Vec::new();
    type Build<'a> = (&'static str, &'a dyn Fn() -> Writer);
    let builds: [Build<'_>; 5] = [
        ("small", &small),
        ("void", &void),
        ("large", &large),
        ("recycled", &recycled),
        ("in place", &in_place),
    ];
    for (name, build) in builds {
        logs.push(Log { name, w: build(), sound: Verdict::Clean });
        let mut w = build();
        w.close(true);
        logs.push(Log { name, w, sound: Verdict::Closed });
    }
    logs
}

/// What became of a damaged log.
#[derive(Debug)]
enum Fate {
    /// Exactly what was written, and the verdict of the sound log.
    Whole,
    /// An error that names the damage.
    Refused,
    /// A cut that the report names; the records before it are right.
    Cut(Box<Scan>),
}

fn fate(disk: &MemDisk, log: &Log, what: &str) -> Fate {
    let written = &log.w.records;
    let mut count = 0;
    let result = scan_within_bounds(disk, ScanOptions::default(), &mut |record| {
        let right = written
            .get(count)
            .is_some_and(|(lsn, bytes)| (*lsn, &bytes[..]) == (record.lsn, record.payload));
        assert!(right, "{what}: record {count} at {} is none that was written", record.lsn);
        count += 1;
    });
    if let Err(difference) = agree(&result, &written[..count], &naively(disk).unwrap()) {
        panic!("{what}: {difference}");
    }
    match result {
        Err(Error::Corrupt(found)) => {
            assert!(disk.sequences().contains(&found.file), "{what}: {found}");
            Fate::Refused
        }
        Err(other) => panic!("{what}: {other}"),
        Ok(scan) => match scan.report.verdict {
            Verdict::Torn | Verdict::Ambiguous => {
                assert!(scan.report.cut.is_some() && !scan.aside.is_empty(), "{what}");
                Fate::Cut(Box::new(scan))
            }
            verdict => {
                assert_eq!((verdict, count), (log.sound, written.len()), "{what}: in silence");
                Fate::Whole
            }
        },
    }
}

/// The bits of a file to flip: one in `coarse`, or in `fine` where there is structure.
fn bits(w: &Writer, file: u64, (fine, coarse): (u64, u64)) -> Vec<u64> {
    let len = w.disk.file(file).len() as u64;
    let block = BLOCK_LEN as u64;
    let frames = || w.frames.iter().filter(|at| at.file == file);
    let has_structure = |byte: u64| {
        let header = byte < 128 || (block - 4..block).contains(&byte);
        // Up to the first bytes of the first record, and the first of what lies behind.
        let of = |at: &common::FrameAt| {
            let (start, end) = (at.offset, at.offset + at.header.len);
            (start..start + HEADER_LEN as u64 + 16).contains(&byte)
                || (end..end + 8).contains(&byte)
        };
        header || frames().any(of)
    };
    let stride = |bit: u64| if has_structure(bit / 8) { fine } else { coarse };
    (0..len * 8).filter(|&bit| bit % stride(bit) == 0).collect()
}

fn flips(align: u32, strides: (u64, u64)) {
    let strides = if deep() { (1, 1) } else { strides };
    let (mut whole, mut refused, mut cut) = (0, 0, 0);
    for log in logs(align) {
        let last = log.w.frames.last().unwrap();
        for file in log.w.disk.sequences() {
            for bit in bits(&log.w, file, strides) {
                let (name, sound) = (log.name, log.sound);
                let what = || format!("{name}, {sound:?}, align {align}, file {file}, bit {bit}");
                log.w.disk.flip_bit(file, bit);
                match fate(&log.w.disk, &log, &what()) {
                    Fate::Whole => whole += 1,
                    Fate::Refused => refused += 1,
                    Fate::Cut(scan) => {
                        cut += 1;
                        // Only what no later claim covers may be cut.
                        let next = scan.end.get().next_multiple_of(u64::from(align));
                        assert!(next >= last.header.durable.get(), "{}: {}", what(), scan.report);
                    }
                }
                log.w.disk.flip_bit(file, bit);
            }
        }
    }
    println!("count: bit flips {}", whole + refused + cut);
    assert!(whole > 500 && refused > 1000 && cut > 300, "{whole} {refused} {cut}");
}

#[test]
fn every_bit_flipped_in_packed_logs_is_harmless_or_told() {
    flips(8, (1, 41));
}

#[test]
fn every_bit_flipped_in_logs_of_sectors_is_harmless_or_told() {
    flips(512, (3, 83));
}

#[test]
fn every_bit_flipped_in_logs_of_blocks_is_harmless_or_told() {
    flips(4096, (5, 331));
}

#[test]
fn every_truncation_is_told() {
    let mut count = 0;
    for (align, stride) in [(8, 17), (512, 31), (4096, 127)] {
        let stride = if deep() { 1 } else { stride };
        for log in logs(align) {
            let files = log.w.disk.sequences();
            for &file in &files {
                let newest = Some(&file) == files.last();
                let full = log.w.disk.file(file).len() as u64;
                let edges = log.w.frames.iter().filter(|at| at.file == file).flat_map(|at| {
                    let end = at.offset + at.header.len;
                    [at.offset, at.offset + HEADER_LEN as u64, end]
                });
                let edges: Vec<u64> = edges.chain([BLOCK_LEN as u64, full]).collect();
                // An empty newest file is what an interrupted creation leaves.
                for len in u64::from(newest)..full {
                    if len % stride != 0 && !edges.iter().any(|edge| len.abs_diff(*edge) <= 1) {
                        continue;
                    }
                    let (name, sound) = (log.name, log.sound);
                    let what =
                        format!("{name}, {sound:?}, align {align}, file {file}, {len} bytes");
                    let disk = log.w.disk.snapshot();
                    disk.truncate_file(file, len);
                    match fate(&disk, &log, &what) {
                        // The padding behind a close mark may go.
                        Fate::Whole => assert!(sound == Verdict::Closed && newest, "{what}"),
                        Fate::Refused => {}
                        // What is left may look like a damaged close mark; then no record is lost.
                        Fate::Cut(scan) => {
                            let lost = scan.report.records < log.w.records.len() as u64;
                            assert!(newest && (len < BLOCK_LEN as u64 || !lost), "{what}");
                        }
                    }
                    count += 1;
                }
            }
        }
    }
    println!("count: truncations {count}");
    assert!(count > 5000);
}
