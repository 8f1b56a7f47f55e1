//! Logs made anew: every record where it was, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test helper fails its test")]

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wal_core::recover::{Scan, ScanOptions, scan};
use wal_core::testing::agree::{agree, naively};
use wal_core::{Error, Lsn, Options, Verdict};
use wal_io_std::DirSource;
use wal_io_std::restore::{Origin, Restore, Restored};

const LOG_ID: [u8; 16] = *b"0123456789abcdef";

type Given = (u64, bool, Vec<u8>);

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn part(&self) -> PathBuf {
        self.dir.path().join("log.part")
    }

    fn restore(&self, start: u64) -> Restore {
        Restore::create(self.log(), &Origin::at(LOG_ID, Lsn::new(start))).unwrap()
    }
}

/// What recovery finds, the naive reader agreeing.
fn found(dir: &Path) -> (Scan, Vec<(u64, Vec<u8>)>) {
    let source = DirSource::open(dir).unwrap();
    let mut records = Vec::new();
    let scan = scan(&source, ScanOptions::default(), &mut |record| {
        records.push((record.lsn, record.payload.to_vec()));
    });
    agree(&scan, &records, &naively(&source).unwrap()).unwrap();
    let records = records.into_iter().map(|(lsn, payload)| (lsn.get(), payload));
    (scan.unwrap(), records.collect())
}

/// Restores `records`, and checks that they are found where they are said to be.
fn round(start: u64, records: &[Given], next: u64) -> (Place, Restored, Scan) {
    let place = Place::new();
    let mut restore = place.restore(start);
    for (lsn, more, payload) in records {
        restore.record(Lsn::new(*lsn), *more, payload).unwrap();
    }
    let restored = restore.finish(Lsn::new(next)).unwrap();
    let (scan, visited) = found(&place.log());
    let given: Vec<_> = records.iter().map(|(lsn, _, payload)| (*lsn, payload.clone())).collect();
    assert!(visited == given, "{} records, not {}", visited.len(), given.len());
    assert_eq!(scan.report.verdict, Verdict::Closed);
    assert_eq!((scan.end, scan.report.records), (restored.end, restored.records));
    assert!(!place.part().exists());
    (place, restored, scan)
}

fn small() -> Options {
    Options::default().segment_size(64 << 10).file_size(256 << 10)
}

fn record(lsn: u64, len: usize) -> Given {
    (lsn, false, vec![len as u8; len])
}

#[test]
fn every_gap_between_two_records_can_be_laid_out() {
    let gaps = (0..12).chain([511, 512, 8191, 8192, 8193, 8199, 8200, 8201, 100_000]);
    for gap in gaps.map(|words| words * 8) {
        let first = record(64, 100);
        let end = 64 + 112;
        let records = [first, record(end + gap, 7), record(end + gap + 16, 0)];
        let (place, restored, _) = round(0, &records, 0);
        // The log goes on behind what there is.
        let (wal, report) = wal_io_std::open(place.log(), small()).unwrap();
        assert_eq!(report.verdict, Verdict::Closed);
        let more = wal.append_and_sync(b"more").unwrap();
        assert!(more.lsn >= restored.end);
        let all = wal.iter_from(wal.start_lsn()).unwrap().map(|found| found.unwrap().lsn.get());
        let lsns: Vec<_> = all.collect();
        assert_eq!(lsns[..3], records.map(|record| record.0));
        assert_eq!(wal.start_lsn(), Lsn::ZERO);
    }
}

#[test]
fn a_log_can_start_and_end_anywhere() {
    for (start, first) in [(0, 64), (0, 128), (0, 72), (0, 1 << 20), (3, 72), (64, 64), (64, 4096)]
    {
        for gap in [0, 1, 64, 1 << 30] {
            let end = first + 16;
            let (place, restored, scan) = round(start, &[record(first, 8)], end + gap);
            assert!(restored.end.get() >= end + gap);
            assert!(scan.next >= restored.end);
            let (wal, _) = wal_io_std::open(place.log(), small()).unwrap();
            assert!(wal.next_lsn().get() >= end + gap);
            // Whoever has read up to the start reads on.
            if (start, first) != (0, 1 << 20) {
                let mut all = wal.iter_from(Lsn::new(start)).unwrap();
                assert_eq!(all.next().unwrap().unwrap().lsn.get(), first, "from {start}");
            }
        }
    }
}

#[test]
fn a_log_without_records_is_one() {
    for (start, next) in [(0, 0), (0, 4096), (4096, 0), (100, 104)] {
        let (place, restored, _) = round(start, &[], next);
        assert_eq!(restored.records, 0);
        let (wal, _) = wal_io_std::open(place.log(), small()).unwrap();
        assert!(wal.append(b"first").unwrap().lsn.get() >= start.max(next));
    }
}

#[test]
fn batches_stay_whole() {
    let records = [(64, true, b"a".to_vec()), (80, true, vec![]), (88, false, b"c".to_vec())];
    let (place, ..) = round(0, &records, 0);
    let log = naively(&DirSource::open(place.log()).unwrap()).unwrap();
    assert_eq!(log.batches, [3]);
}

#[test]
fn long_logs_take_several_files_and_large_records_any() {
    let mut lsn = 64;
    let mut records = Vec::new();
    for len in [100, 3 << 20, 70 << 20, 0, 64 << 20, 5] {
        records.push((lsn, false, vec![len as u8; len]));
        lsn += (len as u64 + 8).next_multiple_of(8) + 64;
    }
    let (_place, restored, scan) = round(0, &records, 0);
    assert!(restored.files >= 3, "{restored:?}");
    assert_eq!(scan.files.len() as u64, restored.files);
}

#[test]
fn whoever_asks_for_what_is_lost_is_told_so() {
    let place = Place::new();
    let mut restore = place.restore(0);
    restore.record(Lsn::new(64), false, b"before").unwrap();
    restore.lost();
    restore.record(Lsn::new(4096 + 64), false, b"behind").unwrap();
    restore.finish(Lsn::ZERO).unwrap();
    found(&place.log());
    let (wal, _) = wal_io_std::open(place.log(), small()).unwrap();
    let payloads = |from| -> Result<Vec<_>, Error> {
        wal.iter_from(Lsn::new(from))?.map(|found| Ok(found?.payload)).collect()
    };
    assert_eq!(payloads(0).unwrap(), [b"before", b"behind"]);
    assert_eq!(payloads(80).unwrap(), [b"behind"]);
    let error = payloads(88).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
    assert_eq!(payloads(4096 + 64).unwrap(), [b"behind"]);
}

/// The close mark is all that tells that there was something.
#[test]
fn a_damaged_header_behind_what_is_lost_is_corruption() {
    let place = Place::new();
    let mut restore = place.restore(0);
    restore.record(Lsn::new(64), false, b"before").unwrap();
    restore.lost();
    restore.finish(Lsn::new(4104)).unwrap();
    found(&place.log());
    let path = place.log().join("00000000000000000002.wal");
    let mut bytes = fs::read(&path).unwrap();
    bytes[50] ^= 1;
    fs::write(&path, bytes).unwrap();
    let source = DirSource::open(place.log()).unwrap();
    let outcome = scan(&source, ScanOptions::default(), &mut |_| {});
    assert!(matches!(outcome, Err(Error::Corrupt(_))), "{outcome:?}");
}

/// A log in which every record has another fault is told apart from a torn one: all of it had been
/// durable when it got its name.
#[test]
fn damage_to_what_was_restored_is_corruption() {
    let records: Vec<_> = (0..20).map(|at| record(64 + at * 192, 100)).collect();
    let (place, ..) = round(0, &records, 0);
    let path = place.log().join("00000000000000000001.wal");
    let good = fs::read(&path).unwrap();
    for at in (4096 + 64..4096 + 64 + 20 * 192 - 100).step_by(192) {
        let mut bad = good.clone();
        bad[at + 8] ^= 1;
        fs::write(&path, bad).unwrap();
        let source = DirSource::open(place.log()).unwrap();
        let outcome = scan(&source, ScanOptions::default(), &mut |_| {});
        assert!(matches!(outcome, Err(Error::Corrupt(_))), "at {at}: {outcome:?}");
    }
}

#[test]
fn what_cannot_follow_is_refused_and_nothing_is_left_of_what_was_not_finished() {
    let place = Place::new();
    let mut restore = place.restore(0);
    assert!(restore.record(Lsn::new(56), false, b"x").is_err(), "no room for a frame header");
    assert!(restore.record(Lsn::new(68), false, b"x").is_err(), "not aligned");
    restore.record(Lsn::new(64), true, b"12345678").unwrap();
    assert!(restore.record(Lsn::new(72), false, b"x").is_err(), "within the last");
    assert!(restore.record(Lsn::new(88), false, b"x").is_err(), "not the rest of the batch");
    let error = restore.finish(Lsn::ZERO).unwrap_err().to_string();
    assert!(error.contains("batch is not whole"), "{error}");
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 0);
}

#[test]
fn what_is_there_already_is_left_alone() {
    let place = Place::new();
    fs::create_dir(place.log()).unwrap();
    fs::write(place.log().join("notes"), "mine").unwrap();
    let origin = Origin::at(LOG_ID, Lsn::ZERO);
    let error = Restore::create(place.log(), &origin).unwrap_err().to_string();
    assert!(error.contains("not empty"), "{error}");
    fs::remove_file(place.log().join("notes")).unwrap();
    fs::create_dir(place.part()).unwrap();
    let error = Restore::create(place.log(), &origin).unwrap_err().to_string();
    assert!(error.contains("log.part") && error.contains("interrupted"), "{error}");
    assert!(place.part().exists());
    fs::remove_dir(place.part()).unwrap();
    // An empty directory is as good as none.
    Restore::create(place.log(), &origin).unwrap().finish(Lsn::ZERO).unwrap();
    found(&place.log());
}
