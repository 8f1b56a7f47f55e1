//! The scenario of truncation: the oldest files go while the log is written and read.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use wal_core::sink::SinkOp;
use wal_core::testing::Store;
use wal_core::{Error, Hold, Lsn};

use super::appending::write;
use super::explore::{Scenario, Tally};
use super::faulty::{Failing, Faults};
use super::log::{Log, join_ok, tiny};

/// Follows the log until `over`, from its start again whenever it is overtaken. Returns what it read
/// without interruption, each time.
fn follow<St: Store>(
    log: &Log<St>,
    over: &AtomicBool,
) -> Result<Vec<BTreeMap<Lsn, Vec<u8>>>, Error> {
    let mut found = Vec::new();
    let mut from = Lsn::ZERO;
    loop {
        let mut cursor = match log.wal.cursor_from(from) {
            Err(Error::Truncated { lsn, first_available }) => {
                assert!(lsn == from && from < first_available);
                from = first_available;
                continue;
            }
            opened => opened?,
        };
        let mut run = BTreeMap::new();
        let overtaken = loop {
            let last = over.load(Ordering::SeqCst);
            match cursor.next() {
                Ok(Some(entry)) => {
                    assert!(entry.lsn < log.wal.durable_lsn(), "{} is read undurable", entry.lsn);
                    run.insert(entry.lsn, entry.payload.to_vec());
                }
                Ok(None) if last => break None,
                Ok(None) => thread::yield_now(),
                Err(Error::Truncated { lsn, first_available }) => {
                    assert!(lsn < first_available, "{lsn} is there");
                    break Some(first_available);
                }
                Err(error) => return Err(error),
            }
        };
        found.push(run);
        match overtaken {
            Some(start) => from = start,
            None => return Ok(found),
        }
        log.tally.add("readers overtaken", 1);
    }
}

/// Follows the log from its first position on, holding what it has not read: nobody overtakes it.
fn follow_held<St: Store>(
    log: &Log<St>,
    mut hold: Hold,
    over: &AtomicBool,
) -> Result<BTreeMap<Lsn, Vec<u8>>, Error> {
    let mut run = BTreeMap::new();
    let mut cursor = log.wal.cursor_from(hold.lsn())?;
    loop {
        let last = over.load(Ordering::SeqCst);
        match cursor.next()? {
            Some(entry) => {
                run.insert(entry.lsn, entry.payload.to_vec());
                let end = entry.end;
                hold.advance(end);
            }
            None if last => return Ok(run),
            None => thread::yield_now(),
        }
    }
}

/// Truncates up to some record, or to where the log has got, and tries again if a file resists.
fn truncate<St: Store>(log: &Log<St>, over: &AtomicBool) -> Result<(), Error> {
    let mut last = Lsn::ZERO;
    while !over.load(Ordering::SeqCst) {
        let lsn = match thread_rng().gen_range(0..3) {
            0 => log.wal.durable_lsn(),
            1 => log.wal.next_lsn(),
            _ => log.journal.nth(thread_rng().gen_range(0..12)).map_or(Lsn::ZERO, |found| found.0),
        };
        match log.truncate(lsn) {
            Ok(start) => {
                assert!(start >= last && start <= log.wal.start_lsn());
                assert!(start <= log.wal.durable_lsn());
                last = start;
            }
            Err(Error::Sink(cause)) if cause.op == SinkOp::Remove => {
                log.tally.add("removals that failed", 1);
                log.control.heal();
            }
            Err(error) => return Err(error),
        }
        thread::yield_now();
    }
    Ok(())
}

/// Two who truncate, two who append and wait, and two who read, over files that may be used again:
/// the oldest file goes first, each by itself; who reads gets the log's bytes or is told that they
/// are gone, and not even that while it holds them; and a crash at any moment loses nothing but what may be gone.
pub fn truncating<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        if thread_rng().gen_range(0..3) == 0 {
            let after = thread_rng().gen_range(0..3);
            let fail = Some(Failing { op: SinkOp::Remove, after, kind: ErrorKind::Other });
            log.control.set(Faults { fail, ..Faults::default() });
        }
        let over = Arc::new(AtomicBool::new(false));
        let beside = |body: fn(&Log<St>, &AtomicBool) -> Result<(), Error>| {
            let over = Arc::clone(&over);
            log.spawn(move |log| body(&log, &over))
        };
        let truncating = vec![beside(truncate), beside(truncate)];
        let reading = {
            let over = Arc::clone(&over);
            log.spawn(move |log| follow(&log, &over))
        };
        let holding = {
            let over = Arc::clone(&over);
            let held = log.wal.hold("reader", Lsn::ZERO);
            held.ok().map(|hold| log.spawn(move |log| follow_held(&log, hold, &over)))
        };
        let writing = (0..2u8)
            .map(|writer| log.spawn(move |log| write(&log, writer, 6, &[2600, 3900, 1200, 9000])));
        join_ok(writing.collect());
        if let Err(error) = log.sync() {
            panic!("a call failed on a sink that is well: {error}");
        }
        over.store(true, Ordering::SeqCst);
        join_ok(truncating);
        for run in super::log::join(vec![reading]) {
            for found in run.unwrap_or_else(|error| panic!("reading failed: {error}")) {
                if let Some((&first, _)) = found.first_key_value() {
                    log.journal.check_from(first, &found, "read in between");
                }
            }
        }
        // Not there if truncation had gone ahead before it came.
        for run in super::log::join(holding.into_iter().collect()) {
            let found = run.unwrap_or_else(|error| panic!("reading what is held failed: {error}"));
            log.journal.check_prefix(&found, "read while held");
            tally.add("readers that held", 1);
        }
        log.finish();
    };
    let happens = &[
        "readers that held",
        "rotations",
        "retired files",
        "files retired beside a call",
        "readers overtaken",
        "removals that failed",
    ];
    Scenario { name: "truncating", schedules: 1_500, happens, stalls: &[], body }.explore();
}
