//! Lost and foreign sectors of a small log, recoveries that crash, and bytes that nobody wrote.
//!
//! The oracle knows what was written and what had been acknowledged. Recovery may return exactly
//! the log, name a corruption, or cut the end loudly; it never returns a wrong record, never loses
//! an acknowledged one in silence, and never reads damage as a sound log.
#![allow(clippy::unwrap_used, reason = "a test helper fails its test")]

mod common;

use common::{Item, Writer, Written, apply, overwrite, recover, recover_with, reopen, reseal};
use proptest::prelude::*;
use wal_core::format::file_header::{self, BLOCK_LEN};
use wal_core::recover::{Case, Scan, ScanOptions};
use wal_core::sink::mem::MemDisk;
use wal_core::{Error, RecoveryMode, Verdict};

/// Small, empty, void, batch and large frames over two files, everything acknowledged.
fn small_log(align: u32, close: bool) -> Writer {
    let mut w = Writer::new(BLOCK_LEN as u64 + 4 * u64::from(align.max(256)), align);
    w.frame(&[Item::Record(b"small"), Item::Record(b""), Item::Void(5), Item::Record(b"odd")]);
    w.frame(&[Item::Record(b"before"), Item::Batch(&[b"one", b"", b"three"])]);
    w.mark();
    w.roll();
    w.frame(&[Item::Record(b"in the second file")]);
    w.frame(&[Item::Record(&[0xa5; 300])]);
    if close {
        w.close(true);
    }
    w
}

/// What became of a damaged log.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// Exactly what was written, and the verdict of the sound log.
    Whole,
    /// An error that names the damage.
    Refused,
    /// A cut that the report names; the records before it are right.
    Cut(Box<Scan>),
}

fn fate(disk: &MemDisk, written: &[Written], sound: Verdict, what: &str) -> Fate {
    let (result, records) = recover(disk);
    assert_eq!(records, written[..records.len().min(written.len())], "{what}: not a prefix");
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
                assert_eq!((verdict, records.len()), (sound, written.len()), "{what}: in silence");
                Fate::Whole
            }
        },
    }
}

/// Zeroed and overwritten blocks, and two flips at once.
#[test]
fn every_lost_or_foreign_sector_is_harmless_or_told() {
    const SECTOR: u64 = 64;
    for (align, close) in [(8, false), (8, true), (512, false)] {
        let w = small_log(align, close);
        let sound = if close { Verdict::Closed } else { Verdict::Clean };
        let last = w.frames.last().unwrap();
        for file in w.disk.sequences() {
            for at in (0..w.disk.file(file).len() as u64).step_by(SECTOR as usize) {
                for fill in [0, 0x57, 0xff] {
                    // Zeros at the last frame's header with nothing behind leave no trace of it.
                    let traceless = file == last.file
                        && fill == 0
                        && at <= last.offset
                        && at + SECTOR >= last.offset + last.header.len;
                    if traceless {
                        continue;
                    }
                    let disk = w.disk.snapshot();
                    overwrite(&disk, file, at, &[fill; SECTOR as usize]);
                    let what = format!("align {align}, file {file}, at {at}, {fill}");
                    fate(&disk, &w.records, sound, &what);
                }
            }
        }
    }
}

#[test]
fn recovery_is_idempotent() {
    for bit in [0, 9] {
        let w = small_log(512, false);
        let last = *w.frames.last().unwrap();
        w.disk.flip_bit(last.file, (last.offset + 80) * 8 + bit);
        let (first, records) = recover(&w.disk);
        let first = first.unwrap();
        // A scan changes nothing, so a second one finds the same.
        assert_eq!(recover(&w.disk).0.unwrap(), first);
        assert_eq!(first.report.verdict, Verdict::Ambiguous);
        // What is set aside leaves the log as the scan said; a crash before the next life has
        // written anything finds the same end again.
        apply(&w.disk, &first);
        assert_eq!(w.disk.aside().len(), 1);
        let (again, same) = recover(&w.disk);
        let again = again.unwrap();
        assert_eq!((again.end, again.last, same), (first.end, first.last, records.clone()));
        // Then the next life writes, crashes, and so on.
        let (mut disk, mut scan, mut expected) = (w.disk.clone(), again, records);
        for life in 0..4u8 {
            let mut next = reopen(&disk, &scan, 8192, if life % 2 == 0 { 8 } else { 512 });
            next.frame(&[Item::Record(&[life; 40])]);
            let torn = next.frame(&[Item::Batch(&[&[life; 30], &[life; 50]])]);
            expected.push(next.records[0].clone());
            next.disk.flip_bit(torn.file, (torn.offset + 64 + 8 + 32 + 8 + 8) * 8);
            let (result, records) = recover(&next.disk);
            assert_eq!(records, expected, "life {life}");
            scan = result.unwrap();
            assert_eq!(scan.report.case, Case::AmbiguousFrame);
            disk = next.disk.clone();
        }
        assert_eq!(disk.sequences(), [1, 2, 3, 4, 5, 6]);
    }
}

/// Recovers in every mode; anything but a panic or a hang is fine.
fn survives(disk: &MemDisk) {
    for mode in [RecoveryMode::Strict, RecoveryMode::Salvage] {
        let (result, _) = recover_with(disk, ScanOptions { mode, ..ScanOptions::default() });
        match result {
            Ok(scan) => {
                let _ = scan.report.to_string();
                for file in &scan.files {
                    assert!(file.header.base <= file.end && file.end <= file.header.limit());
                }
                assert!(disk.sequences().iter().all(|&file| file < scan.next_sequence));
            }
            Err(error) => drop(error.to_string()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_survived(
        files in proptest::collection::vec(
            (0u64..8, proptest::collection::vec(any::<u8>(), 0..9000)), 0..4),
    ) {
        let disk = MemDisk::new();
        for (number, bytes) in files {
            disk.put_file(number, bytes);
        }
        survives(&disk);
    }

    /// Fields of a sound log overwritten with extreme or random values, checksums made right.
    #[test]
    fn forged_fields_are_survived(
        align in prop_oneof![Just(8u32), Just(512)],
        forgeries in proptest::collection::vec(
            (1u64..3, 0usize..30, 0usize..8, prop_oneof![
                Just(0u64), Just(1), Just(8), Just(64), Just(u64::MAX), Just(u64::MAX - 7),
                Just(1 << 63), Just(1 << 40), any::<u64>(), 0u64..10_000,
            ]), 1..6),
    ) {
        let w = small_log(align, false);
        for (file, field, frame, value) in forgeries {
            let mut bytes = w.disk.file(file);
            let frames: Vec<_> = w.frames.iter().filter(|at| at.file == file).collect();
            let at = match frames.get(frame) {
                // Within a frame's header or first record, or within the file header.
                Some(at) => at.offset as usize + field % 10 * 8,
                None => 8 + field % 14 * 8,
            };
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            reseal(&mut bytes);
            w.disk.put_file(file, bytes);
        }
        survives(&w.disk);
    }

    #[test]
    fn damaged_logs_never_yield_a_record_that_was_not_written(
        align in prop_oneof![Just(8u32), Just(512)],
        close: bool,
        holes in proptest::collection::vec((1u64..3, 0u64..7000, 1u64..600, any::<u8>()), 1..4),
        salvage: bool,
    ) {
        let w = small_log(align, close);
        for (file, at, len, fill) in holes {
            overwrite(&w.disk, file, at, &vec![fill; len as usize]);
        }
        let mode = if salvage { RecoveryMode::Salvage } else { RecoveryMode::Strict };
        let (result, records) = recover_with(&w.disk, ScanOptions { mode, ..Default::default() });
        let mut written = w.records.iter();
        for record in &records {
            prop_assert!(written.any(|w| w == record), "{:?} is not in order", record);
        }
        // A batch is there as a whole or not at all.
        let batch: Vec<_> = w.records[4..7].iter().map(|w| records.contains(w)).collect();
        prop_assert!(batch.iter().all(|&there| there == batch[0]), "{:?}", batch);
        drop(result);
    }
}

/// At the very end of the stream, positions saturate; the walk must end all the same.
#[test]
fn positions_at_the_end_of_the_stream_are_survived() {
    for align in [8u32, 65536] {
        let w = small_log(8, false);
        let mut bytes = w.disk.file(1);
        let mut header = file_header::decode(&bytes).unwrap();
        header.align = align;
        let room = u64::from(align.max(4096)) - 1;
        header.base = wal_core::Lsn::new(u64::MAX - room);
        header.capacity = BLOCK_LEN as u64 + room;
        bytes[..BLOCK_LEN].copy_from_slice(&header.encode()[..]);
        let frame = wal_core::format::frame::Header {
            kind: wal_core::format::frame::Kind::Mark,
            lsn: header.base,
            len: 64,
            durable: header.base,
            prev: wal_core::format::frame::Link::NONE,
            salt: header.salt,
        };
        bytes[BLOCK_LEN..BLOCK_LEN + 64].copy_from_slice(&frame.encode());
        bytes.truncate(BLOCK_LEN + 64);
        bytes.resize(header.capacity as usize, 0);
        let disk = MemDisk::new();
        disk.put_file(1, bytes.clone());
        survives(&disk);
        let scan = recover(&disk).0.unwrap();
        assert_eq!((scan.end, scan.report.verdict), (frame.end(), Verdict::Clean));
        // A header that leaves no room for the frame it was written with is no sound log.
        header.capacity = BLOCK_LEN as u64;
        bytes.truncate(BLOCK_LEN);
        bytes.copy_from_slice(&header.encode()[..]);
        disk.put_file(1, bytes);
        assert_eq!(recover(&disk).0.unwrap().report.verdict, Verdict::Ambiguous);
    }
}

/// A header that leaves less room than a frame header takes, in a file that is longer.
#[test]
fn a_file_with_no_room_for_a_frame_is_survived() {
    for room in [0, 8, 56, 64] {
        let mut w = Writer::new(BLOCK_LEN as u64 + 64, 8);
        w.mark();
        let mut bytes = w.disk.file(1);
        let mut header = file_header::decode(&bytes).unwrap();
        header.capacity = BLOCK_LEN as u64 + room;
        bytes.resize(2 * BLOCK_LEN, 0);
        bytes[BLOCK_LEN..].fill(0);
        bytes[..BLOCK_LEN].copy_from_slice(&header.encode()[..]);
        w.disk.put_file(1, bytes);
        survives(&w.disk);
        assert_eq!(recover(&w.disk).1, []);
    }
}
