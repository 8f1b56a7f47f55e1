//! Scenarios of waiting: group commit, levels, readers that follow, marks, closing.

use std::collections::BTreeMap;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use wal_core::testing::Store;
use wal_core::{Durability, Error, Lsn};

use super::appending::write;
use super::explore::{Scenario, Tally};
use super::log::{Log, join, join_ok, tiny};

/// Threads that wait for every record of theirs: one leads, and a sync serves several.
pub fn group_commit<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 3, tiny(3));
        let threads = (0..4).map(|writer| {
            log.spawn(move |log| {
                for index in 0..3 {
                    let lsn = log.append(writer, index, 300)?;
                    log.wait(lsn, Durability::PowerLoss)?;
                }
                Ok(())
            })
        });
        join_ok(threads.collect());
        tally.add("runs in which a sync served several", u64::from(log.wal.stats().syncs < 12));
        log.finish();
    };
    let happens = &["runs in which a sync served several", "changes of the leader"];
    Scenario { name: "group_commit", schedules: 2_000, happens, stalls: &[], body }.explore();
}

/// Waits of all levels at once, for records of one's own and of others.
pub fn levels_of_durability<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        let threads = (0..3u8).map(|writer| {
            log.spawn(move |log| {
                for index in 0..4 {
                    let lsn = log.append(writer, index, [40, 2100, 1300][usize::from(writer)])?;
                    match thread_rng().gen_range(0..6) {
                        0 => log.wait(lsn, Durability::Memory)?,
                        1 => log.wait(lsn, Durability::ProcessCrash)?,
                        2 => log.wait(lsn, Durability::PowerLoss)?,
                        3 => log.flush()?,
                        4 => log.sync()?,
                        _ => {
                            if let Some((other, _)) = log.journal.nth(thread_rng().r#gen()) {
                                log.wait(other, Durability::PowerLoss)?;
                            }
                        }
                    }
                }
                let beyond = log.wal.next_lsn().advance(1 << 30);
                match log.wal.wait_durable(beyond) {
                    Err(Error::NotAppended { .. }) => Ok(()),
                    other => panic!("a wait for what nobody appended: {other:?}"),
                }
            })
        });
        join_ok(threads.collect());
        log.finish();
    };
    let happens = &["rotations", "changes of the leader", "full rings"];
    Scenario { name: "levels_of_durability", schedules: 2_000, happens, stalls: &[], body }
        .explore();
}

/// Follows a log until `over`, and returns what it read: in order, and nothing that was not durable.
fn follow<St: Store>(log: &Log<St>, over: &AtomicBool) -> Result<BTreeMap<Lsn, Vec<u8>>, Error> {
    let mut found = BTreeMap::new();
    let mut cursor = log.wal.cursor_from(log.wal.start_lsn())?;
    loop {
        let last = over.load(Ordering::SeqCst);
        while let Some(entry) = cursor.next()? {
            assert!(entry.lsn < log.wal.durable_lsn(), "{} is read undurable", entry.lsn);
            let before = found.last_key_value().map(|(&lsn, _)| lsn);
            assert!(before < Some(entry.lsn), "{} is read after {before:?}", entry.lsn);
            found.insert(entry.lsn, entry.payload.to_vec());
        }
        if last {
            return Ok(found);
        }
        log.tally.add("looks for more", 1);
        thread::yield_now();
    }
}

/// Readers that follow the end of the log, and look records up, while writers append, abandon and
/// wait: what they see is durable, whole, in order and without a gap.
pub fn followers<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        let over = Arc::new(AtomicBool::new(false));
        let writing = (0..2u8).map(|writer| {
            log.spawn(move |log| {
                write(&log, writer, 3, &[1200, 2600, 6000])?;
                drop(log.wal.reserve(900)?);
                log.sync()
            })
        });
        let writing: Vec<_> = writing.collect();
        let following = {
            let over = Arc::clone(&over);
            log.spawn(move |log| follow(&log, &over))
        };
        let looking = log.spawn(|log| {
            for _ in 0..4 {
                let Some((lsn, payload)) = log.journal.nth(thread_rng().r#gen()) else {
                    thread::yield_now();
                    continue;
                };
                match log.wal.read_at(lsn) {
                    Ok(there) => {
                        assert!(there == payload, "the record at {lsn} reads otherwise");
                        log.tally.add("records looked up", 1);
                    }
                    Err(Error::NotDurable { durable, .. }) => {
                        assert!(durable <= lsn);
                        log.tally.add("records not yet durable", 1);
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        join_ok(writing);
        over.store(true, Ordering::SeqCst);
        let found = match join(vec![following]).remove(0) {
            Ok(found) => found,
            Err(error) => panic!("following failed: {error}"),
        };
        join_ok(vec![looking]);
        log.journal.check_prefix(&found, "as read while it grew");
        let last = found.last_key_value().map(|(&lsn, _)| lsn);
        assert!(last == log.journal.last(), "the reader ends at {last:?}");
        log.finish();
    };
    let happens = &["looks for more", "records looked up", "records not yet durable", "rotations"];
    Scenario { name: "followers", schedules: 1_500, happens, stalls: &[], body }.explore();
}

/// Waits at the end of the log like a task that is cancelled at times and begins anew, or polled
/// without having been woken. Returns what it read.
fn follow_impatiently<St: Store>(log: &Log<St>) -> Result<BTreeMap<Lsn, Vec<u8>>, Error> {
    let (mut found, mut from) = (BTreeMap::new(), Lsn::ZERO);
    loop {
        let mut tail = log.wal.tail_from(from)?;
        let waker = log.waker(Waker::noop());
        loop {
            match tail.poll_next(&mut Context::from_waker(&waker)) {
                Poll::Ready(Some(record)) => {
                    let record = record?;
                    assert!(record.lsn < log.wal.durable_lsn(), "{} is undurable", record.lsn);
                    from = record.end;
                    found.insert(record.lsn, record.payload);
                }
                Poll::Ready(None) => return Ok(found),
                Poll::Pending => {
                    thread::yield_now();
                    if thread_rng().gen_range(0..3) == 0 {
                        log.tally.add("tails dropped while they waited", 1);
                        break;
                    }
                }
            }
        }
    }
}

/// Tails that sleep until something is durable, and one that does not care to wait, while writers
/// append and wait: each sees every record, in order, and ends when the log is closed. A wake-up that
/// is lost leaves a thread asleep for ever.
pub fn tailing<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        let sleeping = || {
            log.spawn(|log| {
                let mut found = BTreeMap::new();
                let mut tail = log.wal.tail_from(Lsn::ZERO)?;
                while let Some(entry) = tail.next()? {
                    assert!(entry.lsn < log.wal.durable_lsn(), "{} is undurable", entry.lsn);
                    let before = found.last_key_value().map(|(&lsn, _)| lsn);
                    assert!(before < Some(entry.lsn), "{} comes after {before:?}", entry.lsn);
                    found.insert(entry.lsn, entry.payload.to_vec());
                }
                Ok(found)
            })
        };
        let mut following = vec![sleeping(), sleeping()];
        following.push(log.spawn(|log| follow_impatiently(&log)));
        let writing = (0..2u8).map(|writer| {
            log.spawn(move |log| {
                write(&log, writer, 3, &[1200, 2600, 6000])?;
                drop(log.wal.reserve(900)?);
                Ok(())
            })
        });
        join_ok(writing.collect());
        if let Err(error) = log.wal.clone().close() {
            panic!("closing failed: {error}");
        }
        if let Some(last) = log.journal.last() {
            log.reached(last, Durability::PowerLoss);
        }
        for found in join(following) {
            let found: BTreeMap<Lsn, Vec<u8>> =
                found.unwrap_or_else(|error| panic!("following failed: {error}"));
            log.journal.check_prefix(&found, "as it was told");
            assert!(found.last_key_value().map(|(&lsn, _)| lsn) == log.journal.last());
        }
        log.finish();
    };
    let happens = &["tails dropped while they waited", "rotations"];
    Scenario { name: "tailing", schedules: 1_500, happens, stalls: &[], body }.explore();
}

/// Marks of the durable end between appends.
pub fn marks<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        let marking = log.spawn(|log| {
            for index in 0..3 {
                let lsn = log.append(7, index, 900)?;
                log.wal.mark_durable()?;
                log.reached(lsn, Durability::PowerLoss);
                log.tally.add("marks", 1);
            }
            Ok(())
        });
        let writing =
            (0..2).map(|writer| log.spawn(move |log| write(&log, writer, 3, &[1200, 2600, 5000])));
        join_ok(writing.chain([marking]).collect());
        log.finish();
    };
    let happens = &["marks", "rotations"];
    Scenario { name: "marks", schedules: 1_500, happens, stalls: &[], body }.explore();
}

/// A close that races with everything, another close included. What was appended is durable then.
pub fn closing<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        let writing: Vec<_> = (0..3)
            .map(|writer| log.spawn(move |log| write(&log, writer, 3, &[1200, 2600, 5000])))
            .collect();
        let closing: Vec<_> = (0..2)
            .map(|_| {
                log.spawn(|log| {
                    (0..thread_rng().gen_range(0..4)).for_each(|_| thread::yield_now());
                    log.wal.clone().close()
                })
            })
            .collect();
        for ended in join(writing) {
            match ended {
                Ok(()) => tally.add("writers that were done before", 1),
                Err(Error::Closed) => tally.add("writers that met the close", 1),
                Err(error) => panic!("{error}"),
            }
        }
        let closed = join(closing);
        let ends: Vec<_> = closed.into_iter().filter_map(Result::ok).collect();
        assert_eq!(ends.len(), 1, "one of two closes succeeds");
        if let Some(last) = log.journal.last() {
            assert!(ends[0] > last, "an append succeeded behind the end of the log");
            log.reached(last, Durability::PowerLoss);
        }
        log.finish();
    };
    let happens = &["writers that met the close", "writers that were done before", "rotations"];
    Scenario { name: "closing", schedules: 2_000, happens, stalls: &[], body }.explore();
}
