//! What the writer leaves behind and what recovery makes of it, together.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use support::{Rule, ScriptSink, open, payloads, tiny};
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::{Error, Lsn, Options, RecoveryReport, Verdict, Wal};

fn reopen(disk: &MemDisk) -> Result<(Vec<Vec<u8>>, RecoveryReport), Error> {
    let (wal, report) = Wal::open(MemSink::open(disk).unwrap(), tiny())?;
    Ok((payloads(&wal), report))
}

/// Zeroes the block at `lsn` of file 1, as if its write had never reached the disk.
fn lose_block(disk: &MemDisk, lsn: Lsn) {
    let mut bytes = disk.file(1);
    let at = 4096 + lsn.get() as usize / 4096 * 4096;
    bytes[at..at + 4096].fill(0);
    disk.put_file(1, bytes);
}

/// Three frames of which the middle one is lost: a torn end if none of them had been durable when
/// the last was written, corruption if the middle one had.
#[test]
fn a_lost_write_is_a_torn_end_or_corruption_by_what_was_durable() {
    for synced in [false, true] {
        let disk = MemDisk::new();
        let wal = open(&disk, tiny());
        wal.append_and_sync(b"first").unwrap();
        let lost = wal.append(b"lost").unwrap();
        if synced {
            wal.sync().unwrap()
        } else {
            wal.flush().unwrap()
        }
        wal.append(b"behind").unwrap();
        wal.flush().unwrap();
        let crashed = disk.snapshot();
        lose_block(&crashed, lost.lsn);
        match reopen(&crashed) {
            Ok((records, report)) => {
                assert!(!synced);
                assert_eq!(report.verdict, Verdict::Torn);
                assert_eq!(records, [b"first"]);
                assert_eq!(report.set_aside.len(), 1);
                // What was cut off never comes back.
                let (again, report) = reopen(&crashed).unwrap();
                assert_eq!(again, records);
                assert_eq!(report.cut, None);
            }
            Err(Error::Corrupt(found)) => {
                assert!(synced, "{found}");
                assert_eq!((found.lsn.get(), found.file), (4096, 1));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// The last frame is lost: undetectable as such, unless the log was closed or marked idle.
#[test]
fn a_mark_or_a_close_proves_what_was_last() {
    for (mark, verdict) in [(0, Some(Verdict::Clean)), (1, None), (2, None)] {
        let disk = MemDisk::new();
        let wal = open(&disk, tiny());
        // Marks and close sync by themselves.
        let lost = wal.append(b"acknowledged").unwrap();
        match mark {
            0 => {
                wal.sync().unwrap();
                drop(wal);
            }
            1 => {
                wal.mark_durable().unwrap();
                drop(wal);
            }
            _ => drop(wal.close().unwrap()),
        }
        lose_block(&disk, lost.lsn);
        match (reopen(&disk), verdict) {
            (Ok((records, report)), Some(expected)) => {
                assert_eq!((records.len(), report.verdict), (0, expected));
            }
            (Err(Error::Corrupt(found)), None) => assert_eq!(found.lsn, Lsn::ZERO),
            (other, _) => panic!("mark {mark}: {other:?}"),
        }
    }
}

/// Crash after crash, each losing all that was not synced: what was acknowledged in any life is
/// there in every later one, in order, and LSNs only grow.
#[test]
fn life_after_life_keeps_what_was_acknowledged() {
    let mut disk = MemDisk::new();
    let mut expected: Vec<Vec<u8>> = Vec::new();
    let mut last = Lsn::ZERO;
    for life in 0..30u8 {
        let (wal, report) = Wal::open(MemSink::open(&disk).unwrap(), tiny()).unwrap();
        assert!(payloads(&wal) == expected, "life {life}: {report}");
        for i in 0..life % 7 {
            let bytes = vec![life; 700 * usize::from(i)];
            let a = wal.append_and_sync(&bytes).unwrap();
            assert!(a.lsn > last);
            last = a.lsn;
            expected.push(bytes);
        }
        if life % 5 == 0 {
            wal.append_and_sync(&[life; 20_000]).unwrap();
            expected.push(vec![life; 20_000]);
        }
        let before = disk.crash();
        wal.append(b"not acknowledged").unwrap();
        wal.flush().unwrap();
        match life % 3 {
            0 => disk = disk.crash(),
            1 => disk = before,
            _ => {
                expected.push(b"not acknowledged".to_vec());
                wal.close().unwrap();
            }
        }
    }
}

/// Lives that begin with a record too large for the file that opening made, which stays vacant.
#[test]
fn a_life_may_begin_with_a_record_that_needs_a_file_of_its_own() {
    let disk = MemDisk::new();
    let mut expected = vec![b"an end that is not aligned".to_vec()];
    open(&disk, tiny()).append_and_sync(&expected[0]).unwrap();
    for life in 0..4u8 {
        let (records, report) = reopen(&disk).unwrap();
        assert!(records == expected, "{report}");
        let wal = open(&disk, tiny());
        expected.push(vec![life; 20_000]);
        wal.append_and_sync(&expected[1 + usize::from(life)]).unwrap();
        if life == 2 {
            wal.close().unwrap();
        }
    }
    assert!(reopen(&disk.crash()).unwrap().0 == expected);
}

/// The same options, other options: what one life wrote, the next reads whatever its own sizes.
#[test]
fn options_may_change_between_lives() {
    let disk = MemDisk::new();
    let lives = [
        tiny(),
        Options::default(),
        tiny().padding(wal_core::Padding::Packed),
        tiny().max_record_len(100),
        tiny().segment_size(16 << 10).file_size(64 << 10),
    ];
    let mut expected = Vec::new();
    for (life, options) in lives.into_iter().enumerate() {
        let wal = open(&disk, options);
        assert!(payloads(&wal) == expected, "life {life}");
        for len in [0, 1, 100, 9000] {
            match wal.append_and_sync(&vec![life as u8; len]) {
                Ok(_) => expected.push(vec![life as u8; len]),
                Err(error) => assert!(matches!(error, Error::TooLarge { .. }) && life == 3),
            }
        }
    }
    assert!(payloads(&open(&disk, tiny())) == expected);
}

/// Recovery that has to put whole files away fails at each of its operations in turn, and what is
/// appended after it counts: nothing that was cut off comes back, nothing after it is lost.
#[test]
fn files_put_away_stay_away_wherever_recovery_is_interrupted() {
    // What is torn: the first frame of the second file with its header, without it, the oldest
    // file's first frame.
    for harm in 0..3 {
        let disk = MemDisk::new();
        let wal = open(&disk, tiny());
        if harm < 2 {
            wal.append_and_sync(b"kept").unwrap();
        }
        for i in 0..14u8 {
            wal.append(&[i; 3000]).unwrap();
        }
        wal.flush().unwrap();
        let crashed = disk.snapshot();
        drop(wal);
        assert!(crashed.sequences().len() >= 4);
        let (file, from) = [(2, 0), (2, 4096), (1, 4096)][harm];
        let mut bytes = crashed.file(file);
        bytes[from..8192].fill(0);
        crashed.put_file(file, bytes);
        let (expected, report) = reopen(&crashed.snapshot()).unwrap();
        assert_eq!(report.verdict, Verdict::Torn, "harm {harm}: {report}");
        for step in 0.. {
            let disk = crashed.snapshot();
            let (sink, control) = ScriptSink::open(&disk);
            control.fail_operation(step);
            let opened = Wal::open(sink, tiny());
            let done = opened.is_ok();
            drop(opened);
            let (records, report) = reopen(&disk).unwrap();
            assert!(records == expected, "harm {harm}, step {step}: {report}");
            open(&disk, tiny()).append_and_sync(b"next").unwrap();
            // Even if the disk forgets that they were moved.
            let disk = disk.crash();
            for sequence in crashed.sequences() {
                if !disk.sequences().contains(&sequence) {
                    disk.put_file(sequence, crashed.file(sequence));
                }
            }
            let (records, report) = reopen(&disk).unwrap();
            assert_eq!(records.len(), expected.len() + 1, "harm {harm}, step {step}: {report}");
            assert_eq!(records.last().unwrap(), b"next");
            if done {
                assert!(step > 4, "{step}");
                break;
            }
        }
    }
}

/// Recovery itself fails at each of its operations in turn, and is repeated: nothing is lost.
#[test]
fn recovery_can_fail_anywhere_and_be_repeated() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    for i in 0..5u8 {
        wal.append_and_sync(&[i; 1500]).unwrap();
    }
    wal.append(b"torn").unwrap();
    wal.flush().unwrap();
    let crashed = disk.snapshot();
    drop(wal);
    let file = *crashed.sequences().last().unwrap();
    for step in 0.. {
        let disk = crashed.snapshot();
        let (sink, control) = ScriptSink::open(&disk);
        control.fail_operation(step);
        let result = Wal::open(sink, tiny());
        let done = result.is_ok();
        drop(result);
        let (records, _) = reopen(&disk.crash()).unwrap();
        assert!(records.len() >= 5, "step {step}");
        let (records, _) = reopen(&disk).unwrap();
        assert_eq!(records.len(), 6, "step {step}");
        if done {
            assert!(step >= 3);
            break;
        }
    }
    assert!(file >= 1);
}

/// A file for a large record cannot be made, and its place in the stream is given up; then the
/// header of the next file is lost. The frame behind it must not prove the loss of what never was.
#[test]
fn a_place_given_up_before_a_lost_header_is_no_corruption() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let (wal, _) = Wal::open(sink, tiny()).unwrap();
    wal.append_and_sync(b"kept").unwrap();
    control.on_create(Rule::Fail(std::io::ErrorKind::StorageFull));
    assert!(matches!(wal.append(&[1; 20_000]), Err(Error::NoSpace { .. })));
    control.on_create(Rule::Pass);
    // The range counts as durable from now on; two frames could say so.
    wal.sync().unwrap();
    for record in [&b"lost"[..], b"lost, too"] {
        wal.append(record).unwrap();
        wal.flush().unwrap();
    }
    let crashed = disk.snapshot();
    let newest = *crashed.sequences().last().unwrap();
    let mut bytes = crashed.file(newest);
    bytes[4096 - 512..4096].fill(0);
    crashed.put_file(newest, bytes);
    let (records, report) = reopen(&crashed).unwrap();
    assert_eq!((records, report.verdict), (vec![b"kept".to_vec()], Verdict::Torn), "{report}");
}
