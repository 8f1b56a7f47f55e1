//! The scenario of archiving: files are shipped while the log is written and truncated.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::testing::Store;
use wal_core::{Archive, Error, Lsn, Wal};

use super::appending::write;
use super::explore::{Scenario, Tally};
use super::faulty::Faults;
use super::log::{Log, join, join_ok, tiny};

/// Copies of files, whole, by number.
pub(super) type Copies = BTreeMap<u64, Vec<u8>>;

/// Ships every file until the log is closed, some of them later than others, and begins anew at times
/// from where it had got. Keeps no handle of the log.
fn ship(mut archive: Archive, tally: &Tally) -> Result<Copies, Error> {
    let mut copies = Copies::new();
    let mut late = Vec::new();
    while let Some(file) = archive.next()? {
        let mut bytes = Vec::new();
        if let Err(error) = file.reader().read_to_end(&mut bytes) {
            panic!("what is announced is held: {error}");
        }
        assert_eq!(bytes.len() as u64, file.len());
        let last = copies.keys().next_back().copied();
        assert!(file.follows() == last, "{file:?} comes after {last:?}");
        bytes.resize(file.capacity() as usize, 0);
        assert!(copies.insert(file.sequence(), bytes).is_none(), "{file:?} comes twice");
        tally.add("files shipped", 1);
        match thread_rng().gen_range(0..3) {
            0 => late.push(file),
            1 => file.done(),
            _ => {
                late.push(file);
                let at = thread_rng().gen_range(0..late.len());
                late.swap_remove(at).done();
            }
        }
        tally.add("files that were late", late.len() as u64);
    }
    Ok(copies)
}

/// Truncates as far as it goes, without regard to who has read what.
fn truncate<St: Store>(log: &Log<St>, over: &AtomicBool) -> Result<(), Error> {
    while !over.load(Ordering::SeqCst) {
        log.truncate(Lsn::MAX)?;
        thread::yield_now();
    }
    Ok(())
}

/// What a log holds that is made of the copies.
pub(super) fn restore(copies: Copies) -> Result<BTreeMap<Lsn, Vec<u8>>, Error> {
    let disk = MemDisk::new();
    copies.into_iter().for_each(|(sequence, bytes)| disk.put_file(sequence, bytes));
    let (wal, _) = Wal::open(MemSink::open(&disk)?, tiny(2).seed(3))?;
    let all = wal.iter_from(wal.start_lsn())?;
    all.map(|record| record.map(|record| (record.lsn, record.payload))).collect()
}

/// Two who append and wait, one who truncates all that it is let, and one who ships: files come in
/// order, whole, each once, and are there until they are done; and a log that is made of the copies
/// holds what was appended first.
pub fn archiving<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 3, tiny(3).depth(2));
        if thread_rng().r#gen() {
            log.control.set(Faults::in_flight());
        }
        let archive = match log.wal.archive("copies", Lsn::ZERO) {
            Ok(archive) => archive,
            Err(error) => panic!("a new log has no archive: {error}"),
        };
        let shipping = {
            let tally = tally.clone();
            thread::spawn(move || ship(archive, &tally))
        };
        let over = Arc::new(AtomicBool::new(false));
        let truncating = {
            let over = Arc::clone(&over);
            log.spawn(move |log| truncate(&log, &over))
        };
        let writing = (0..2u8).map(|writer| {
            log.spawn(move |log| write(&log, writer, 6, &[2600, 3900, 1200, 17_000]))
        });
        join_ok(writing.collect());
        over.store(true, Ordering::SeqCst);
        join_ok(vec![truncating]);
        // What is not in the copies is in the newest file.
        let newest = log.wal.start_lsn();
        if let Err(error) = log.wal.clone().close() {
            panic!("closing failed: {error}");
        }
        if let Some(last) = log.journal.last() {
            log.reached(last, wal_core::Durability::PowerLoss);
        }
        let copies = join(vec![shipping]).remove(0);
        let copies = copies.unwrap_or_else(|error| panic!("shipping failed: {error}"));
        let restored = restore(copies);
        let restored = restored.unwrap_or_else(|error| panic!("the copies do not open: {error}"));
        log.journal.check_prefix(&restored, "restored");
        let end = restored.last_key_value().map(|(&lsn, _)| lsn);
        let missed = log.journal.between(end, newest);
        assert!(missed.is_none(), "{missed:?} was truncated and is in no copy");
        log.finish();
    };
    let happens = &[
        "files shipped",
        "files that were late",
        "retired files",
        "rotations",
        "syncs beside a write",
    ];
    Scenario { name: "archiving", schedules: 2_000, happens, stalls: &[], body }.explore();
}
