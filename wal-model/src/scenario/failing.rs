//! Scenarios of failure, and of writes in flight.

use std::io::ErrorKind;
use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread::JoinHandle;
use wal_core::sink::SinkOp;
use wal_core::testing::Store;
use wal_core::{Error, SinkError};

use super::appending::write;
use super::explore::{Scenario, Tally};
use super::faulty::{Failing, Faults};
use super::log::{Log, as_told, join, join_ok, tiny};

/// A disk without room for the next file, until there is some: whoever waits is told, nothing is
/// lost, and everything appended is made durable in the end.
pub fn full_disk<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        let (kind, after) = (thread_rng().gen_range(0..4), thread_rng().gen_range(0..2));
        let kind = if kind == 0 { ErrorKind::PermissionDenied } else { ErrorKind::StorageFull };
        let fail = Some(Failing { op: SinkOp::Create, after, kind });
        log.control.set(Faults { fail, ..Faults::default() });
        let threads = (0..3u8).map(|writer| {
            log.spawn(move |log| {
                for index in 0..4u8 {
                    let len = [2600, 9000, 1200][usize::from(writer + index) % 3];
                    // The third try of anything finds room.
                    for tries in 1.. {
                        let ended = log.append(writer, 10 * index + tries, len).and_then(|lsn| {
                            if index % 2 == 0 {
                                return Ok(());
                            }
                            log.wait(lsn, wal_core::Durability::PowerLoss)
                        });
                        match ended {
                            Ok(()) => break,
                            Err(Error::NoSpace { .. } | Error::Sink(_)) => {
                                log.tally.add("refusals", 1);
                                // Some give up for good: what they leave holds up nobody.
                                if thread_rng().gen_range(0..3) == 0 {
                                    log.tally.add("writers that gave up", 1);
                                    return Ok(());
                                }
                            }
                            Err(error) => return Err(error),
                        }
                        if tries == 2 {
                            log.control.heal();
                        }
                    }
                }
                Ok(())
            })
        });
        join_ok(threads.collect());
        log.control.heal();
        if let Err(error) = log.sync() {
            panic!("there is room again: {error}");
        }
        log.finish();
    };
    let happens = &["injected failures", "refusals", "writers that gave up", "rotations"];
    Scenario { name: "full_disk", schedules: 2_000, happens, stalls: &[], body }.explore();
}

/// Holds what the threads of a log that fails for good were told against the rules: all of the same
/// first cause, and nothing is acknowledged after it.
fn check_poisoned<St: Store>(
    log: &Log<St>,
    threads: Vec<JoinHandle<Result<(), Error>>>,
    op: SinkOp,
) {
    let mut first: Option<Arc<SinkError>> = None;
    for ended in join(threads) {
        match ended {
            Ok(()) => {}
            Err(Error::Poisoned { first: cause }) => {
                assert_eq!(cause.op, op);
                let first = first.get_or_insert_with(|| Arc::clone(&cause));
                assert!(Arc::ptr_eq(first, &cause), "two first causes: {first} and {cause}");
            }
            Err(error) => panic!("{error} instead of the cause"),
        }
    }
    if first.is_some() {
        log.tally.add("runs in which somebody was told", 1);
        let durable = log.wal.durable_lsn();
        assert!(matches!(log.append(99, 0, 10), Err(Error::Poisoned { .. })));
        // What is durable is so; what is not never will be.
        match log.journal.last() {
            Some(last) if last >= durable => assert!(log.wal.wait_durable(last).is_err()),
            _ => {}
        }
        assert_eq!(log.wal.durable_lsn(), durable);
    }
}

/// Writers over a sink one of whose calls fails, for good.
fn fail_at<St: Store>(tally: &Tally, op: SinkOp, depth: usize) {
    let log = Log::<St>::open(tally, depth + 1, tiny(depth + 1).depth(depth));
    let after = thread_rng().gen_range(0..6);
    let fail = Some(Failing { op, after, kind: ErrorKind::Other });
    let faults = if depth > 1 { Faults::in_flight() } else { Faults::default() };
    log.control.set(Faults { fail, ..faults });
    let threads =
        (0..3).map(|writer| log.spawn(move |log| write(&log, writer, 4, &[1200, 1900, 10, 6000])));
    check_poisoned(&log, threads.collect(), op);
    log.finish();
}

/// A write that fails: everyone is told the cause, and what was durable stays.
pub fn failing_write<St: Store>() {
    let body = |tally: &Tally| fail_at::<St>(tally, SinkOp::Write, 1);
    let happens = &["injected failures", "poisoned logs", "runs in which somebody was told"];
    Scenario { name: "failing_write", schedules: 2_000, happens, stalls: &[], body }.explore();
}

/// A sync that fails: the same, and it is not tried again.
pub fn failing_sync<St: Store>() {
    let body = |tally: &Tally| fail_at::<St>(tally, SinkOp::Sync, 1);
    let happens = &["injected failures", "poisoned logs", "runs in which somebody was told"];
    Scenario { name: "failing_sync", schedules: 2_000, happens, stalls: &[], body }.explore();
}

/// A write that fails while others are in flight.
pub fn failing_in_flight<St: Store>() {
    let body = |tally: &Tally| fail_at::<St>(tally, SinkOp::Write, 3);
    let happens = &["injected failures", "poisoned logs", "runs in which somebody was told"];
    Scenario { name: "failing_in_flight", schedules: 2_000, happens, stalls: &[], body }.explore();
}

/// A sink that panics under whoever leads: the others are told, and nobody waits for ever.
pub fn panicking_sink<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        let op = if thread_rng().r#gen() { SinkOp::Write } else { SinkOp::Sync };
        let fail =
            Some(Failing { op, after: thread_rng().gen_range(0..4), kind: ErrorKind::Other });
        log.control.set(Faults { fail, panic: true, ..Faults::default() });
        let threads = (0..3).map(|writer| {
            log.spawn(move |log| {
                as_told(|| write(&log, writer, 3, &[1200, 2600, 10])).unwrap_or_else(|| {
                    log.tally.add("leaders that panicked", 1);
                    Ok(())
                })
            })
        });
        check_poisoned(&log, threads.collect(), SinkOp::Panic);
        // Dropping the last handle writes, too, and is not what this is about.
        log.control.heal();
        log.finish();
    };
    let happens = &["leaders that panicked", "poisoned logs", "runs in which somebody was told"];
    Scenario { name: "panicking_sink", schedules: 2_000, happens, stalls: &[], body }.explore();
}

/// Several writes in flight at once, which end in any order.
pub fn writes_in_flight<St: Store>() {
    let body = |tally: &Tally| {
        let depth = thread_rng().gen_range(2..=3);
        let log = Log::<St>::open(tally, depth + 1, tiny(depth + 1).depth(depth));
        log.control.set(Faults::in_flight());
        // One that waits for nothing but room, so that segments are free once they are written.
        let pushing =
            log.spawn(|log| (0..6).try_for_each(|index| log.append(7, index, 2600).map(drop)));
        let writing = (0..2)
            .map(|writer| log.spawn(move |log| write(&log, writer, 4, &[2600, 2100, 1200, 6000])));
        join_ok(writing.chain([pushing]).collect());
        log.finish();
    };
    let happens = &[
        "writes ended out of order",
        "runs with 3 writes in flight",
        "syncs beside a write",
        "writes started and left",
        "crashes in between",
    ];
    Scenario { name: "writes_in_flight", schedules: 2_500, happens, stalls: &[], body }.explore();
}
