//! Scenarios of appending: the ring and what writers do to it.

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use wal_core::format::{frame, record};
use wal_core::testing::Store;
use wal_core::{Durability, Error};

use super::explore::{Scenario, Tally};
use super::log::{Log, as_told, join, join_ok, panic_as_told, tiny};
use super::schedule::Mark;

/// Appends `count` records of the given lengths in every way, and waits for most of them.
pub(super) fn write<St: Store>(
    log: &Log<St>,
    writer: u8,
    count: u8,
    lens: &[usize],
) -> Result<(), Error> {
    for index in 0..count {
        let len = lens[usize::from(writer + index) % lens.len()];
        match thread_rng().gen_range(0..5) {
            0 => {
                log.append(writer, index, len)?;
            }
            1 => {
                let lsn = log.append(writer, index, len)?;
                log.wait(lsn, Durability::PowerLoss)?;
            }
            2 => {
                let lsn = log.reserve(writer, index, len)?;
                log.wait(lsn, Durability::PowerLoss)?;
            }
            3 => {
                let lsn = log.append(writer, index, len)?;
                // What this thread has appended is covered, whatever path it came by.
                log.sync()?;
                assert!(log.wal.durable_lsn() > lsn, "sync passed over {lsn}");
            }
            _ => {
                let lsn = log.append(writer, index, len)?;
                log.flush()?;
                assert!(log.wal.written_lsn() > lsn, "flush passed over {lsn}");
            }
        }
    }
    Ok(())
}

/// Writers of all kinds: records of several lengths, appended, filled in place, waited for.
pub fn writers<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        let threads = (0..3)
            .map(|writer| log.spawn(move |log| write(&log, writer, 4, &[1200, 1900, 10, 3000])));
        join_ok(threads.collect());
        log.finish();
    };
    let happens = &["rotations", "full rings", "segments with stragglers", "changes of the leader"];
    Scenario { name: "writers", schedules: 3_000, happens, stalls: &[], body }.explore();
}

/// Batches, some larger than a segment: all of a batch is there or none.
pub fn batches<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        let threads = (0..3u8).map(|writer| {
            log.spawn(move |log| {
                for round in 0..3u8 {
                    let lens: &[usize] = match (writer + round) % 4 {
                        0 => &[700, 0, 900],
                        1 => &[1500, 2400],
                        2 => &[3000, 40, 3000],
                        _ => &[5],
                    };
                    let last = log.batch(writer, 10 * round, lens)?;
                    if thread_rng().r#gen() {
                        log.wait(last, Durability::PowerLoss)?;
                    }
                }
                Ok(())
            })
        });
        join_ok(threads.collect());
        log.finish();
    };
    let happens = &["rotations", "crashes in between"];
    Scenario { name: "batches", schedules: 2_000, happens, stalls: &[], body }.explore();
}

/// Records larger than a segment, and than a file, among small ones.
pub fn large_records<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        let threads = (0..3).map(|writer| {
            log.spawn(move |log| write(&log, writer, 3, &[9000, 100, 4500, 2000, 22_000]))
        });
        join_ok(threads.collect());
        log.finish();
    };
    let happens = &["rotations", "crashes in between"];
    Scenario { name: "large_records", schedules: 2_000, happens, stalls: &[], body }.explore();
}

/// Reservations that are dropped, unfilled or half filled: nobody sees them, nothing waits for them.
pub fn abandoned_reservations<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        let abandoning = (0..2u8).map(|_| {
            log.spawn(|log| {
                for round in 0..3 {
                    let mut reservation = log.wal.reserve(600 + 900 * round)?;
                    reservation[..500].fill(0xee);
                    thread::yield_now();
                    drop(reservation);
                    log.tally.add("abandoned reservations", 1);
                }
                log.sync()
            })
        });
        let writing =
            (0..2).map(|writer| log.spawn(move |log| write(&log, writer, 3, &[1200, 2600])));
        join_ok(abandoning.chain(writing).collect());
        log.finish();
    };
    let happens = &["rotations", "abandoned reservations", "segments with stragglers"];
    Scenario { name: "abandoned_reservations", schedules: 2_000, happens, stalls: &[], body }
        .explore();
}

/// A thread that panics while it fills its reservation, while others go on.
pub fn panicking_reservations<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        let panicking = log.spawn(|log| {
            for round in 0..3 {
                let reserved = as_told(|| {
                    let mut reservation = log.wal.reserve(700 + 1100 * round)?;
                    reservation[..300].fill(0xee);
                    thread::yield_now();
                    panic_as_told()
                });
                match reserved {
                    Some(refused) => return refused,
                    None => log.tally.add("panics while filling", 1),
                }
            }
            log.sync()
        });
        let writing =
            (0..2).map(|writer| log.spawn(move |log| write(&log, writer, 3, &[1200, 2600])));
        join_ok(writing.chain([panicking]).collect());
        log.finish();
    };
    let happens = &["rotations", "panics while filling", "segments with stragglers"];
    Scenario { name: "panicking_reservations", schedules: 2_000, happens, stalls: &[], body }
        .explore();
}

/// Many lives of each slot: records that take a segment of their own, or half of one with not a byte
/// to spare, or a word more, so that the second does not fit. Nothing waits but for room.
pub fn recycling<St: Store>() {
    let body = |tally: &Tally| {
        let segments = 2 + thread_rng().gen_range(0..2);
        let log = Log::<St>::open(tally, segments, tiny(segments));
        let threads = (0..3).map(|writer| {
            log.spawn(move |log| {
                let half = (4096 - frame::HEADER_LEN) / 2 - record::HEADER_LEN;
                for index in 0..6 {
                    let len = [half, half, half + record::ALIGN, 2100];
                    log.append(writer, index, len[thread_rng().gen_range(0..4)])?;
                }
                log.sync()
            })
        });
        join_ok(threads.collect());
        log.finish();
    };
    let happens = &["rotations", "recycled segments", "full rings"];
    Scenario { name: "recycling", schedules: 1_500, happens, stalls: &[], body }.explore();
}

/// A writer that reserves in a later life of the slot than the one it looked at: it learns its
/// record's position from that life, and whoever is told of the record finds it in the log, even
/// while the thread that opens the segment stands between two of its steps.
pub fn stale_writers<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        // Fills segment after segment, and frees them itself, since nobody else waits.
        let pushing =
            log.spawn(move |log| (0..6).try_for_each(|index| log.append(1, index, 2100).map(drop)));
        let stale = log.spawn(move |log| {
            for index in 0..3 {
                let lsn = log.append(0, index, 8)?;
                assert!(log.wal.next_lsn() > lsn, "the log ends before {lsn}");
            }
            Ok(())
        });
        join_ok(vec![pushing, stale]);
        if let Err(error) = log.sync() {
            panic!("{error}");
        }
        log.finish();
    };
    let happens = &["rotations", "recycled segments", "full rings"];
    Scenario {
        name: "stale_writers",
        schedules: 8_000,
        happens,
        stalls: &[Mark::Attempt, Mark::Activate, Mark::Recycle],
        body,
    }
    .explore();
}

/// Two writers of which the first is claimed to append first: fails under many schedules. Shows that
/// a failing schedule is printed, and fails in the same way when it is replayed.
#[doc(hidden)]
pub fn fails_on_purpose<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        let threads = [0, 1].map(|writer| log.spawn(move |log| log.append(writer, 0, 100)));
        let ended = join(threads.into());
        let lsns: Vec<_> = ended.into_iter().filter_map(Result::ok).collect();
        let drawn: u32 = thread_rng().r#gen();
        assert!(lsns[0] < lsns[1], "fails on purpose: {lsns:?}, {drawn}");
        log.finish();
    };
    Scenario { name: "fails_on_purpose", schedules: 100, happens: &[], stalls: &[], body }
        .explore();
}
