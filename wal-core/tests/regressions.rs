//! What users of other logs have lost data or sleep over, each as a test that is named after the
//! failure. Where a test of this kind existed, this table says which.
//!
//! | failure | test |
//! | --- | --- |
//! | a failed sync is reported as success later | here; `failure`; `wal-io-std` `write_sync` |
//! | waiters are left hanging after a failed sync | here; `failure`; shuttle `failing_sync` |
//! | a leader that panics leaves waiters asleep | `failure` |
//! | an abandoned reservation stalls the watermark | here; `failure` for large records; `ring` |
//! | a first entry rolled back hides all later ones | here |
//! | a failed append leaves half of a record | `failure` |
//! | a read error is taken for the end of the log | here; `recovery` @T |
//! | a record that was accepted is too large to be read | here |
//! | a damaged length panics at start | here; `recovery_faults`; `wal-model` `hostile` |
//! | a number out of range panics at start | here; `recovery` @P |
//! | corruption ends the log in silence | here; `recovery_sweeps` |
//! | a bit flipped in one header drops all behind it | here; `recovery_sweeps` |
//! | a torn end keeps the log from starting | here; `recovery` @D, @E |
//! | a torn first frame of the newest file does | `recovery` @K; `crash` |
//! | one bad record keeps it from starting, and nothing helps | `recovery` @W |
//! | what follows a torn frame is chained to it, and lost | here |
//! | what was cut off comes back | `recovery` @I, @V; `crash` |
//! | recycled bytes resurface | here; `recovery` @C |
//! | recycled bytes are taken for damage | here; `recovery` @C |
//! | a missing file goes unnoticed | `recovery` @M |
//! | files that overlap panic or are merged | here; `recovery` @Q |
//! | half of a batch is recovered | here; `recovery` @E; `wal-model` `reference` |
//! | going on to the next file leaves the old one unsynced | here; `wal-io-std` `write_sync` |
//! | what is not durable is read, copied or shipped | `flow` |
//! | a file or directory is used before its name is durable | `wal-io-std` `create`, `directory` |
//! | a full disk keeps the log from starting, or being read | here; `wal-io-std` `create` |
//! | a record accepted on a full disk is lost | here; `failure` |
//! | a log that had no space is of no use afterwards | here; `failure` |
//! | an unknown or half-made file keeps it from starting | `wal-io-std` `directory`, `create` |
//! | what was in memory before lies in the padding on disk | here |
//! | two processes write one log | `wal-io-std` `directory` |
#![allow(clippy::unwrap_used, reason = "a test helper fails its test")]

mod common;
mod support;

use std::io::ErrorKind;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::{Item, Writer, forge_file, forge_frame, recover, recover_with, reopen};
use support::{Rule, ScriptSink, open, payloads, tiny};
use wal_core::format::file_header::{self, BLOCK_LEN};
use wal_core::format::frame::{self, Kind};
use wal_core::format::record;
use wal_core::recover::ScanOptions;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::sink::{Listing, LogSource, SinkError, SinkOp};
use wal_core::{Error, Lsn, RecoveryMode, Verdict, Wal};

/// Runs `work` on a thread of its own, and fails if it hangs.
fn in_time<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, result) = mpsc::channel();
    let thread = thread::spawn(move || done.send(work()).unwrap());
    let result = result.recv_timeout(Duration::from_secs(60)).expect("it hangs, or has failed");
    thread.join().unwrap();
    result
}

#[test]
fn a_failed_sync_that_is_reported_as_success_later() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let (wal, _) = Wal::open(sink, tiny()).unwrap();
    let lost = wal.append(b"lost").unwrap().lsn;
    let wal = in_time(move || {
        control.on_sync(Rule::Fail(ErrorKind::Other));
        assert!(matches!(wal.sync(), Err(Error::Poisoned { .. })));
        // The device is well again, and has forgotten what it was to write.
        control.on_sync(Rule::Pass);
        for _ in 0..3 {
            assert!(wal.sync().is_err() && wal.wait_durable(lost).is_err());
            assert!(wal.append_and_sync(b"more").is_err() && wal.mark_durable().is_err());
        }
        assert!(wal.durable_lsn() <= lost);
        wal
    });
    assert!(wal.close().is_err());
    assert_eq!(payloads(&open(&disk.crash(), tiny())), Vec::<Vec<u8>>::new());
}

#[test]
fn waiters_left_hanging_after_a_failed_sync() {
    let (sink, control) = ScriptSink::open(&MemDisk::new());
    let (wal, _) = Wal::open(sink, tiny()).unwrap();
    control.on_sync(Rule::Block);
    let outcomes = in_time(move || {
        thread::scope(|scope| {
            // Some wait for a sync, some for room in the ring.
            let waiters: Vec<_> = (0..6usize)
                .map(|i| {
                    let wal = &wal;
                    scope.spawn(move || {
                        loop {
                            wal.append_and_sync(&vec![1; 200 * i])?;
                        }
                    })
                })
                .collect();
            control.await_blocked();
            control.on_sync(Rule::Fail(ErrorKind::Other));
            waiters.into_iter().map(|w| w.join().unwrap()).collect::<Vec<Result<(), Error>>>()
        })
    });
    assert_eq!(outcomes.len(), 6);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(Error::Poisoned { .. }))));
}

#[test]
fn an_abandoned_reservation_that_stalls_the_watermark() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let wal = in_time(move || {
        let before = wal.append(b"before").unwrap();
        // Given up by a panic, with others behind it.
        let panicked = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut reservation = wal.reserve(100).unwrap();
                reservation[..50].fill(7);
                wal.append(b"behind").unwrap();
                panic!("the writer fails, as told");
            });
            writer.join()
        });
        assert!(panicked.is_err());
        let last = wal.append(b"last").unwrap();
        wal.wait_durable(last.lsn).unwrap();
        assert!(wal.durable_lsn() >= last.end && last.lsn > before.end);
        wal
    });
    let expected: [&[u8]; 3] = [b"before", b"behind", b"last"];
    assert_eq!(payloads(&wal), expected);
    assert_eq!(payloads(&open(&disk.crash(), tiny())), expected);
}

#[test]
fn a_first_entry_rolled_back_that_hides_all_later_ones() {
    for large in [10, 9000] {
        let disk = MemDisk::new();
        let wal = open(&disk, tiny());
        drop(wal.reserve(large).unwrap());
        wal.append(b"later").unwrap();
        wal.sync().unwrap();
        let wal = open(&disk.crash(), tiny());
        assert_eq!(payloads(&wal), [b"later"], "{large}");
    }
}

/// A disk whose reads fail from an offset of a file on.
struct Unreadable(MemDisk, u64, u64);

impl LogSource for Unreadable {
    fn list(&self) -> Result<Listing, SinkError> {
        self.0.list()
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        if sequence == self.1 && offset + buf.len() as u64 > self.2 {
            return Err(SinkError::of(SinkOp::Read, ErrorKind::Other.into()));
        }
        self.0.read_at(sequence, offset, buf)
    }
}

#[test]
fn a_read_error_that_is_taken_for_the_end_of_the_log() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    for i in 0..20u8 {
        wal.append_and_sync(&[i; 900]).unwrap();
    }
    drop(wal);
    for file in disk.sequences() {
        for offset in (0..disk.file(file).len() as u64).step_by(512) {
            let source = Unreadable(disk.snapshot(), file, offset);
            for mode in [RecoveryMode::Strict, RecoveryMode::Salvage] {
                let options = ScanOptions { mode, ..ScanOptions::default() };
                let found = recover_with(&source, options).0;
                assert!(matches!(found, Err(Error::Sink(_))), "{file}+{offset}: {found:?}");
            }
        }
    }
}

#[test]
fn a_record_that_was_accepted_and_is_too_large_to_be_read() {
    let disk = MemDisk::new();
    let large = tiny().max_record_len(10_000);
    let wal = open(&disk, large.clone());
    let lsn = wal.append_and_sync(&[1; 10_000]).unwrap().lsn;
    assert!(matches!(wal.append(&[1; 10_001]), Err(Error::TooLarge { .. })));
    assert_eq!(wal.read_at(lsn).unwrap().len(), 10_000);
    drop(wal);
    // Whatever the next life accepts, this one's records are read by what it had accepted.
    for max in [1, 100, 10_000, 1 << 20] {
        let wal = open(&disk.crash(), tiny().max_record_len(max));
        assert_eq!(wal.read_at(lsn).unwrap(), [1; 10_000], "{max}");
        assert_eq!(payloads(&wal).len(), 1, "{max}");
    }
}

#[test]
fn a_damaged_length_or_number_that_panics_at_start() {
    let numbers = [0, 1, 7, 63, 4095, 1 << 31, u64::MAX >> 1, u64::MAX - 4096, u64::MAX];
    for number in numbers {
        let log = || {
            let mut w = Writer::new(BLOCK_LEN as u64 + 512, 8);
            w.frame(&[Item::Record(b"one")]);
            w.frame(&[Item::Record(b"two")]);
            w
        };
        let mut harmed = vec![log(), log(), log(), log(), log()];
        let position = Lsn::new(number);
        forge_frame(&harmed[0].disk, &harmed[0].frames[1], |head| head.len = number);
        forge_frame(&harmed[1].disk, &harmed[1].frames[1], |head| head.lsn = position);
        forge_file(&harmed[2].disk, 1, |header| header.capacity = number);
        forge_file(&harmed[3].disk, 1, |header| {
            (header.base, header.durable) = (Lsn::new(number & !7), Lsn::ZERO);
        });
        let bytes = harmed[4].disk.file(1);
        harmed[4].disk.put_file(number, bytes);
        for mut w in harmed.drain(..) {
            w.durable = None;
            let (result, _) = recover(&w.disk);
            drop(result.map(|scan| scan.report.to_string()).map_err(|error| error.to_string()));
            let sink = MemSink::open(&w.disk).unwrap();
            if let Ok((wal, _)) = Wal::open(sink, tiny()) {
                wal.append_and_sync(b"goes on").unwrap();
                drop(wal);
                // What the log has begun can be read by the next life.
                assert_eq!(recover(&w.disk).1.last().unwrap().1, b"goes on");
            }
        }
    }
}

#[test]
fn a_flipped_bit_that_ends_the_log_in_silence() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    for i in 0..6u8 {
        wal.append_and_sync(&[i; 100]).unwrap();
    }
    wal.close().unwrap();
    let file = disk.sequences()[0];
    // The header of each frame that was acknowledged, and of the file.
    let blocks = (BLOCK_LEN..disk.file(file).len()).step_by(4096);
    let frames = blocks.filter(|at| frame::decode_anywhere(&disk.file(file)[*at..]).is_some());
    let mut places: Vec<usize> = frames.collect();
    places.pop();
    assert!(places.len() >= 3);
    places.push(0);
    for at in places {
        for bit in 0..8 * frame::HEADER_LEN as u64 {
            disk.flip_bit(file, at as u64 * 8 + bit);
            let opened = Wal::open(MemSink::open(&disk).unwrap(), tiny());
            let told = matches!(&opened, Err(Error::Corrupt(_) | Error::UnsupportedFormat { .. }));
            assert!(told, "{at}, bit {bit}: {:?}", opened.map(|(_, report)| report));
            disk.flip_bit(file, at as u64 * 8 + bit);
        }
    }
    assert_eq!(payloads(&open(&disk, tiny())).len(), 6);
}

#[test]
fn a_torn_end_that_keeps_the_log_from_starting() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    wal.append_and_sync(b"kept").unwrap();
    let torn = wal.append(&[9; 3000]).unwrap();
    wal.flush().unwrap();
    let file = disk.sequences()[0];
    let whole = disk.file(file);
    let header = file_header::decode(&whole).unwrap();
    let start = header.offset_of(torn.lsn) as usize / 512 * 512;
    // Any sectors of the last write, and no others, are as they were before it.
    for lost in 1..1u32 << 6 {
        let disk = disk.snapshot();
        let mut bytes = whole.clone();
        for sector in (0..6).filter(|sector| lost & 1 << sector != 0) {
            bytes[start + sector * 512..][..512].fill(0);
        }
        disk.put_file(file, bytes);
        let wal = open(&disk, tiny());
        assert_eq!(payloads(&wal), [b"kept"], "{lost:b}");
        wal.append_and_sync(b"goes on").unwrap();
        drop(wal);
        assert_eq!(payloads(&open(&disk.crash(), tiny())), [&b"kept"[..], b"goes on"]);
    }
}

#[test]
fn a_record_chained_to_a_frame_that_was_cut_off() {
    let mut w = Writer::new(64 << 10, 4096);
    w.frame(&[Item::Record(b"kept")]);
    let torn = w.frame(&[Item::Record(b"also kept"), Item::Record(b"torn")]);
    w.disk.flip_bit(1, (torn.offset + 64 + 24 + 8) * 8);
    let (scan, records) = recover(&w.disk);
    let mut expected = records;
    assert_eq!(expected.len(), 2);
    let mut disk = w.disk.clone();
    let mut scan = scan.unwrap();
    // Life after life, and the torn frame is still there.
    for life in 0..3u8 {
        let mut next = reopen(&disk, &scan, 64 << 10, 4096);
        next.frame(&[Item::Record(&[life; 10])]);
        expected.append(&mut next.records);
        let (found, records) = recover(&next.disk);
        assert_eq!(records, expected);
        (disk, scan) = (next.disk.clone(), found.unwrap());
        assert_eq!(scan.report.verdict, Verdict::Clean);
    }
}

/// A file over the bytes of an earlier life, of which any part of the new writes is lost: nothing
/// of the old life is read, and its bytes alone are no damage.
#[test]
fn recycled_bytes_that_resurface_or_are_taken_for_damage() {
    for align in [8, 512] {
        let mut old = Writer::new(BLOCK_LEN as u64 + 4096, align);
        old.salt ^= 1 << 50;
        for i in 0..8 {
            old.frame(&[Item::Record(&[0xee; 100]), Item::Batch(&[&[i; 20], &[i; 30]])]);
        }
        let stale = old.disk.file(1);
        let mut w = Writer::new(BLOCK_LEN as u64 + 4096, align);
        w.durable = Some(Lsn::ZERO);
        w.frame(&[Item::Record(b"of the first file")]);
        w.roll_over(stale.clone());
        for i in 0..5 {
            w.frame(&[Item::Record(&[i; 100])]);
        }
        let new = w.disk.file(2);
        assert_eq!(recover(&w.disk).1, w.records);
        for first in 0..new.len() / 64 {
            for count in [1, 3, 8, new.len()] {
                let (disk, mut bytes) = (w.disk.snapshot(), new.clone());
                let lost = first * 64..(first + count).min(new.len() / 64) * 64;
                let old = [&[0; BLOCK_LEN], &stale[BLOCK_LEN..]].concat();
                bytes[lost.clone()].copy_from_slice(&old[lost.clone()]);
                let same = bytes == new;
                disk.put_file(2, bytes);
                let (found, records) = recover(&disk);
                let scan = found.unwrap();
                assert_eq!(records, w.records[..records.len()], "{lost:?}");
                assert!(!same || scan.report.verdict == Verdict::Clean, "{lost:?}");
                assert!(same || records.len() < w.records.len() || scan.aside.is_empty());
            }
        }
    }
}

#[test]
fn files_that_overlap() {
    let mut w = Writer::new(BLOCK_LEN as u64 + 512, 8);
    w.frame(&[Item::Record(b"one")]);
    w.frame(&[Item::Record(b"two")]);
    w.roll();
    w.frame(&[Item::Record(b"three")]);
    // A copy under another number, or a file whose positions another one has.
    for number in [2, 3, 9] {
        let disk = w.disk.snapshot();
        disk.put_file(number, disk.file(1));
        let (found, _) = recover(&disk);
        assert!(matches!(found, Err(Error::Corrupt(_))), "{number}");
        forge_file(&disk, number, |header| header.sequence = number);
        let (found, _) = recover(&disk);
        assert!(matches!(found, Err(Error::Corrupt(_))), "{number}");
    }
}

#[test]
fn half_of_a_batch_that_is_recovered() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let batch = [&[1u8; 700][..], &[2; 700], &[3; 700]];
    let at = wal.append_batch(&batch).unwrap();
    wal.flush().unwrap();
    let file = disk.sequences()[0];
    let bytes = disk.file(file);
    let header = file_header::decode(&bytes).unwrap();
    let (start, end) = (header.offset_of(at.lsn), header.offset_of(at.end));
    for byte in (start..end).step_by(13) {
        let disk = disk.snapshot();
        disk.flip_bit(file, byte * 8 + 3);
        let found = payloads(&open(&disk, tiny())).len();
        assert!(found == 0 || found == 3, "{byte}: {found} records");
    }
}

#[test]
fn a_file_left_unsynced_when_the_next_one_begins() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let mut appended = Vec::new();
    for i in 0..40u8 {
        appended.push(vec![i; 1500]);
        wal.append(&appended[usize::from(i)]).unwrap();
    }
    wal.sync().unwrap();
    assert!(disk.sequences().len() > 3);
    assert_eq!(payloads(&open(&disk.crash(), tiny())), appended);
}

/// A start needs a file. Without room for one the log opens all the same: everything can be read,
/// nothing is changed, what is appended is not acknowledged, and all goes on when there is room.
#[test]
fn a_full_disk_that_keeps_the_log_from_being_read_or_started_later() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    wal.append_and_sync(b"there").unwrap();
    drop(wal);
    let before: Vec<_> = disk.sequences().iter().map(|file| disk.file(*file)).collect();
    for _ in 0..3 {
        let (sink, control) = ScriptSink::open(&disk);
        control.on_create(Rule::Fail(ErrorKind::StorageFull));
        let (wal, report) = Wal::open(sink, tiny()).unwrap();
        assert_eq!((report.verdict, report.records), (Verdict::Clean, 1));
        assert_eq!(payloads(&wal), [b"there"]);
        assert!(wal.append_and_sync(b"too much").unwrap_err().is_no_space());
        assert_eq!(payloads(&wal), [b"there"]);
    }
    let after: Vec<_> = disk.sequences().iter().map(|file| disk.file(*file)).collect();
    assert!(before == after);
    let wal = open(&disk, tiny());
    wal.append_and_sync(b"goes on").unwrap();
    assert_eq!(payloads(&wal), [&b"there"[..], b"goes on"]);
}

#[test]
fn a_record_accepted_on_a_full_disk_and_then_lost() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let (wal, _) = Wal::open(sink, tiny()).unwrap();
    let mut appended = Vec::new();
    control.on_create(Rule::Fail(ErrorKind::StorageFull));
    for round in 0..3 {
        // Until nothing more is taken; what was taken is kept, and made durable later.
        loop {
            let payload = vec![appended.len() as u8; 800];
            match wal.append(&payload) {
                Ok(_) => appended.push(payload),
                Err(error) => break assert!(error.is_no_space(), "{error}"),
            }
        }
        assert!(wal.sync().unwrap_err().is_no_space());
        control.on_create(Rule::Pass);
        wal.sync().unwrap();
        assert_eq!(payloads(&wal), appended, "round {round}");
        assert_eq!(payloads(&open(&disk.crash(), tiny())), appended, "round {round}");
        control.on_create(Rule::Fail(ErrorKind::StorageFull));
    }
}

#[test]
fn what_was_in_memory_before_that_lies_in_the_padding_on_disk() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    for _ in 0..20 {
        wal.append(&[0xff; 3900]).unwrap();
    }
    wal.sync().unwrap();
    for i in 1..10 {
        wal.append_and_sync(&vec![0xff; i]).unwrap();
    }
    wal.mark_durable().unwrap();
    let mut padding = 0;
    for file in disk.sequences() {
        let mut bytes = disk.file(file);
        let header = file_header::decode(&bytes).unwrap();
        bytes[..BLOCK_LEN].fill(0);
        let mut at = BLOCK_LEN;
        while at < bytes.len() {
            if let Some(found) = frame::decode_anywhere(&bytes[at..]) {
                let end = at + found.len as usize;
                // Between the records, too.
                let mut from = at + frame::HEADER_LEN;
                while let (Kind::Data, Some(word)) = (found.kind, record::peek(&bytes[from..end])) {
                    let (len, stored) = (word.len(), record::stored_len(word.len()));
                    let behind = &bytes[from + record::HEADER_LEN + len..from + stored];
                    assert!(behind.iter().all(|&byte| byte == 0), "file {file}, at {from}");
                    padding += behind.len() as u64;
                    from += stored;
                }
                bytes[at..end].fill(0);
                padding += found.len.next_multiple_of(u64::from(header.align)) - found.len;
            }
            at += header.align as usize;
        }
        assert!(bytes.iter().all(|&byte| byte == 0), "file {file}");
    }
    assert!(padding > 20_000, "{padding}");
}
