//! What a log says of itself in numbers.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use support::{Rule, ScriptSink, open, tiny};
use wal_core::sink::Spares;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::{Error, Histogram, Lsn, Options, Stats, Wal};

/// A clock that is told what to say, in nanoseconds, and stands still when it was told no more.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<(VecDeque<u64>, u64, u64)>>);

impl Told {
    fn then(&self, nanos: &[u64]) {
        self.0.lock().unwrap().0.extend(nanos);
    }

    fn asked(&self) -> u64 {
        self.0.lock().unwrap().2
    }

    fn options(&self, options: Options) -> Options {
        let told = self.clone();
        options.clock(move || {
            let mut told = told.0.lock().unwrap();
            told.2 += 1;
            if let Some(next) = told.0.pop_front() {
                told.1 = next;
            }
            Duration::from_nanos(told.1)
        })
    }
}

#[test]
fn records_are_counted_as_they_are_written_whatever_way_they_came() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let count = |records, frames| {
        let stats = wal.stats();
        assert_eq!((stats.records, stats.frames), (records, frames));
        stats
    };
    count(0, 0);
    wal.append(b"one").unwrap();
    wal.append_batch(&[b"a", b"b", b"c"]).unwrap();
    wal.reserve(10).unwrap().commit().unwrap();
    // A void record is none.
    drop(wal.reserve(10).unwrap());
    count(0, 0);
    wal.flush().unwrap();
    let stats = count(5, 1);
    assert_eq!((stats.syncs, stats.records_per_sync()), (0, None));
    // Of its own frame, and a batch that is larger than a segment; a mark holds none.
    wal.append(&[7; 9000]).unwrap();
    count(6, 2);
    wal.append_batch(&[[8; 3000], [9; 3000]]).unwrap();
    count(8, 3);
    wal.mark_durable().unwrap();
    let stats = count(8, 4);
    assert_eq!((stats.syncs, stats.records_per_sync()), (1, Some(8.0)));
    assert_eq!(payload_bytes(&disk), wal.stats().bytes);
}

/// Bytes that were written to a disk that had zeros, by whole blocks.
fn payload_bytes(disk: &MemDisk) -> u64 {
    let files = disk.sequences().into_iter().map(|file| disk.file(file));
    let blocks = files.flat_map(|file| {
        // But for the header block that opening has written.
        let opened = if file[..4096].iter().any(|&byte| byte != 0) { 4096 } else { 0 };
        file[opened..]
            .chunks(4096)
            .map(|block| block.iter().any(|&byte| byte != 0))
            .collect::<Vec<_>>()
    });
    let written = blocks.filter(|&written| written).count() as u64 * 4096;
    // The headers of later files were written with their first frame.
    written + (disk.sequences().len() as u64 - 1) * 4096
}

#[test]
fn many_writers_are_counted_exactly() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny().segments(4));
    thread::scope(|scope| {
        for writer in 0..4 {
            let wal = &wal;
            scope.spawn(move || {
                for index in 0..500 {
                    match (writer + index) % 4 {
                        0 => drop(wal.reserve(20).unwrap()),
                        1 => drop(wal.append_batch(&[[1; 40], [2; 40]]).unwrap()),
                        2 => drop(wal.append_and_sync(&[3; 100]).unwrap()),
                        _ => drop(wal.append(&[4; 30]).unwrap()),
                    }
                }
            });
        }
    });
    wal.sync().unwrap();
    let stats = wal.stats();
    assert_eq!(stats.records, 4 * 125 * (2 + 1 + 1));
    assert_eq!(stats.records, support::payloads(&wal).len() as u64);
    assert_eq!(stats.lag(), 0);
}

#[test]
fn syncs_are_timed_by_the_clock_that_was_given_and_by_none_else() {
    let clock = Told::default();
    let disk = MemDisk::new();
    let wal = open(&disk, clock.options(tiny()));
    assert_eq!((clock.asked(), wal.stats().sync_latency.unwrap().count()), (0, 0));
    // Nothing but a sync asks it.
    wal.append(b"x").unwrap();
    wal.flush().unwrap();
    wal.append(&[0; 9000]).unwrap();
    assert_eq!(clock.asked(), 0);
    clock.then(&[1_000, 1_000 + 700]);
    wal.sync().unwrap();
    clock.then(&[5_000, 5_000 + 300_000]);
    wal.append_and_sync(b"y").unwrap();
    // It goes back: that took no time.
    clock.then(&[9_000, 8_000]);
    wal.append_and_sync(b"z").unwrap();
    assert_eq!(clock.asked(), 6);
    let latency = wal.stats().sync_latency.unwrap();
    assert_eq!((latency.count(), latency.sum()), (3, Duration::from_nanos(300_700)));
    let mut expected = [0; Histogram::BUCKETS];
    (expected[0], expected[9], expected[18]) = (1, 1, 1);
    assert_eq!(latency.counts(), &expected);
    assert_eq!(open(&MemDisk::new(), tiny()).stats().sync_latency, None);
}

#[test]
fn a_failed_sync_counts_for_nothing() {
    let clock = Told::default();
    let (sink, control) = ScriptSink::open(&MemDisk::new());
    let (wal, _) = Wal::open(sink, clock.options(tiny())).unwrap();
    control.on_sync(Rule::Fail(std::io::ErrorKind::Other));
    assert!(matches!(wal.append_and_sync(b"x"), Err(Error::Poisoned { .. })));
    let stats = wal.stats();
    assert_eq!((stats.syncs, stats.sync_latency.unwrap().count()), (0, 0));
    assert!(stats.lag() > 0);
}

#[test]
fn a_clock_that_panics_poisons_the_log_and_wakes_who_waits() {
    let wal = open(&MemDisk::new(), tiny().clock(|| panic!("no time")));
    let appended = wal.append(b"x").unwrap();
    let waiting = wal.clone();
    let ended = thread::spawn(move || waiting.wait_durable(appended.lsn)).join();
    assert!(ended.is_err());
    assert!(matches!(wal.wait_durable(appended.lsn), Err(Error::Poisoned { .. })));
}

#[test]
fn who_waits_for_room_is_counted_once_and_each_sleep_by_itself() {
    let (sink, control) = ScriptSink::open(&MemDisk::new());
    let (wal, _) = Wal::open(sink, tiny()).unwrap();
    control.on_write(Rule::Block);
    let stalls = |wal: &Wal<ScriptSink>| {
        let stats = wal.stats();
        (stats.stalled_appends, stats.stalls)
    };
    // Two segments hold this much without a wait.
    wal.append(&[1; 3900]).unwrap();
    wal.append(&[2; 3900]).unwrap();
    assert!(matches!(wal.try_append(&[3; 3900]), Err(Error::WouldBlock)));
    assert_eq!(stalls(&wal), (0, 0));
    let ring = wal.stats().ring;
    assert_eq!((ring.free, ring.active + ring.busy, ring.segments), (0, 2, 2));
    assert_eq!(ring.segment_size, 4096);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| wal.append(&[3; 3900]).unwrap());
        control.await_blocked();
        assert_eq!(stalls(&wal), (1, 1));
        control.on_write(Rule::Pass);
        waiting.join().unwrap();
    });
    let (appends, times) = stalls(&wal);
    assert!(appends == 1 && times >= 1, "{times}");
}

#[test]
fn a_future_that_waits_for_room_is_counted_too() {
    let (sink, control) = ScriptSink::open(&MemDisk::new());
    let (wal, _) = Wal::open(sink, tiny().executor(drop)).unwrap();
    control.on_write(Rule::Block);
    wal.append(&[1; 3900]).unwrap();
    wal.append(&[2; 3900]).unwrap();
    let mut future = pin!(wal.append_async(&[3; 3900]));
    let context = &mut Context::from_waker(Waker::noop());
    while future.as_mut().poll(context).is_pending() {}
    assert_eq!(wal.stats().stalled_appends, 1);
    control.on_write(Rule::Pass);
}

#[test]
fn files_holds_and_positions_are_those_of_the_log() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let appended: Vec<_> = (0..18).map(|n| wal.append_and_sync(&[n; 3500]).unwrap()).collect();
    let hold = wal.hold("reader", appended[9].lsn).unwrap();
    let _other = wal.hold("other", appended[12].lsn).unwrap();
    let stats = wal.stats();
    assert_eq!((stats.files.count, stats.files.bytes), (5, 5 * 5 * 4096));
    assert_eq!(stats.files.spares, Spares::default());
    assert_eq!((stats.holds, stats.held_from), (2, Some(appended[9].lsn)));
    assert_eq!((stats.durable, stats.written), (wal.durable_lsn(), wal.written_lsn()));
    assert_eq!((stats.next, stats.lag()), (wal.next_lsn(), 0));
    let last = wal.append(&[0; 100]).unwrap();
    assert_eq!(wal.stats().next, last.end);
    assert_eq!(wal.stats().lag(), last.end.distance_from(stats.durable).unwrap());

    // Retired files are kept for reuse.
    wal.truncate_before(Lsn::MAX).unwrap();
    drop(hold);
    let stats = wal.stats();
    assert_eq!((stats.files.count, stats.holds), (3, 1));
    assert_eq!(stats.files.spares, Spares { prepared: 0, retired: 2, bytes: 2 * 5 * 4096 });
}

#[test]
fn it_can_be_printed() {
    let clock = Told::default();
    let wal = open(&MemDisk::new(), clock.options(tiny()));
    let fresh = "0 records in 0 frames (0 bytes), 0 syncs (none); ring 1 of 2 segments free, \
        0 appends stalled (0 stalls); 1 files (20480 bytes), 0 prepared, 0 to reuse; \
        LSN 0, 0 bytes not durable; no holds";
    assert_eq!(wal.stats().to_string(), fresh);
    clock.then(&[0, 1500]);
    wal.append_and_sync(b"x").unwrap();
    let _hold = wal.hold("me", Lsn::ZERO).unwrap();
    let later = "1 records in 1 frames (4096 bytes), 1 syncs of 1.0 records (mean 1.5µs, \
        p50 < 2.0µs, p99 < 2.0µs, all < 2.0µs); ring 1 of 2 segments free, \
        0 appends stalled (0 stalls); 1 files (20480 bytes), 0 prepared, 0 to reuse; \
        LSN 4096, 0 bytes not durable; 1 holds, from LSN 0";
    assert_eq!(wal.stats().to_string(), later);
    assert_eq!(Stats::default().records_per_sync(), None);
}

/// Positions taken together are in order, whatever happens meanwhile, and nothing counts down.
#[test]
fn positions_are_in_order_and_counters_grow_while_writers_write() {
    let disk = MemDisk::new();
    let wal: Wal<MemSink> = open(&disk, tiny().segments(4));
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    (0..1500).for_each(|_| {
                        wal.append_and_sync(&[1; 200]).unwrap();
                    })
                })
            })
            .collect();
        let mut last = wal.stats();
        while !writers.iter().all(|writer| writer.is_finished()) {
            let now = wal.stats();
            assert!(now.durable <= now.written && now.written <= now.next, "{now}");
            assert!(now.durable >= last.durable && now.next >= last.next);
            assert!(now.records >= last.records && now.frames >= last.frames);
            assert!(now.bytes >= last.bytes && now.syncs >= last.syncs);
            assert_eq!(now.ring.segments, 4);
            last = now;
        }
    });
    assert_eq!(wal.stats().records, 3000);
}
