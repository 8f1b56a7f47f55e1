//! The ring under many writers: rotation, back-pressure, voids, and the faults of this design's
//! ancestor, each with a test that would catch it.

mod support;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use support::{Recorder, Rule, ScriptSink, open, payload, payloads, tiny};
use wal_core::probe::{Event, Probe};
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::{Error, Lsn, Options, Wal};

/// Records of 0 bytes to 10 segments from 8 threads through 2 segments of 4 KiB, with flushes in
/// between; read back byte for byte at the LSNs that were given, before and after reopening.
#[test]
fn eight_writers_under_two_tiny_segments() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let mut all: Vec<(Lsn, Vec<u8>)> = thread::scope(|scope| {
        let wal = &wal;
        let writers: Vec<_> = (0..8)
            .map(|t| {
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    for i in 0..300 {
                        let max = if i % 25 == 0 { 10 * 4096 } else { 700 };
                        let bytes = payload(t, i, max);
                        let lsn = match i % 5 {
                            0 => {
                                let mut r = wal.reserve(bytes.len()).unwrap();
                                r.copy_from_slice(&bytes);
                                r.commit().unwrap().lsn
                            }
                            _ => wal.append(&bytes).unwrap().lsn,
                        };
                        if i % 37 == 0 {
                            drop(wal.reserve(50).unwrap());
                        }
                        match i % 40 {
                            7 => wal.wait_durable(lsn).unwrap(),
                            17 => wal.flush().unwrap(),
                            _ => {}
                        }
                        mine.push((lsn, bytes));
                    }
                    assert!(mine.is_sorted_by_key(|r| r.0), "a writer's LSNs must grow");
                    mine
                })
            })
            .collect();
        writers.into_iter().flat_map(|w| w.join().unwrap()).collect()
    });
    wal.sync().unwrap();
    all.sort();
    let read = |wal: &Wal<MemSink>| -> Vec<(Lsn, Vec<u8>)> {
        let records = wal.iter_from(wal.start_lsn()).unwrap();
        records.map(|r| r.unwrap()).map(|r| (r.lsn, r.payload)).collect()
    };
    assert!(read(&wal) == all);
    for (lsn, bytes) in all.iter().step_by(97) {
        assert!(wal.read_at(*lsn).unwrap() == *bytes);
    }
    drop(wal);
    let wal = open(&disk, tiny());
    assert!(read(&wal) == all);
}

/// The events of a busy run hold the protocol: LSN ranges are disjoint and gapless within a
/// segment, segments are activated in order, each at the place where its predecessor ended, and
/// each is sealed and handed over exactly once, after all of its commits.
#[test]
fn the_protocol_holds_in_every_event_of_a_busy_run() {
    let probe = Recorder::default();
    let disk = MemDisk::new();
    let sink = MemSink::open(&disk).unwrap();
    let (wal, _) = Wal::open_with_probe(sink, tiny(), probe.clone()).unwrap();
    thread::scope(|scope| {
        for t in 0..4 {
            let wal = &wal;
            scope.spawn(move || {
                for i in 0..500 {
                    let lsn = wal.append(&payload(t, i, 200)).unwrap().lsn;
                    if i % 60 == 0 {
                        wal.wait_durable(lsn).unwrap();
                    }
                }
            });
        }
    });
    wal.sync().unwrap();

    #[derive(Default)]
    struct Life {
        base: Option<Lsn>,
        ranges: Vec<(u64, u64)>,
        committed: u64,
        sealed: Option<u64>,
        handed_over: u32,
        recycled: bool,
    }
    let mut lives: HashMap<u64, Life> = HashMap::new();
    let mut activated = Vec::new();
    let (mut written, mut durable) = (Lsn::ZERO, Lsn::ZERO);
    for event in probe.events() {
        match event {
            Event::Reserve { sequence, lsn, len } => {
                let life = lives.entry(sequence).or_default();
                life.ranges.push((lsn.get(), len));
            }
            Event::Commit { sequence, len, .. } => {
                let life = lives.entry(sequence).or_default();
                assert!(!life.recycled, "used after recycling");
                life.committed += len;
            }
            Event::Seal { sequence, len } => {
                let old = lives.entry(sequence).or_default().sealed.replace(len);
                assert_eq!(old, None, "segment {sequence} sealed twice");
                assert!(len > 64, "an empty segment was sealed");
            }
            Event::Activate { sequence, base } => {
                let before = sequence.checked_sub(1).and_then(|before| lives.get(&before));
                assert!(sequence == 0 || before.unwrap().sealed.is_some(), "two are active");
                lives.entry(sequence).or_default().base = Some(base);
                activated.push(sequence);
            }
            Event::HandOver { sequence } => lives.entry(sequence).or_default().handed_over += 1,
            Event::Recycle { sequence } => {
                let life = lives.entry(sequence).or_default();
                assert_eq!(life.handed_over, 1, "recycled before it was handed over");
                life.recycled = true;
            }
            Event::Publish { written: w, durable: d } => {
                assert!(w >= written && d >= durable && d <= w, "a watermark went back");
                (written, durable) = (w, d);
            }
            _ => {}
        }
    }
    assert!(activated.is_sorted() && activated.len() > 20, "{activated:?}");
    for (sequence, life) in &mut lives {
        let base = life.base.expect("activated").get();
        life.ranges.sort_unstable();
        let mut next = base + 64;
        for &(lsn, len) in &life.ranges {
            assert_eq!(lsn, next, "ranges of segment {sequence} overlap or leave a gap");
            next += len;
        }
        assert_eq!(life.committed, next - base - 64, "segment {sequence}");
        if let Some(sealed) = life.sealed {
            assert_eq!(sealed, next - base, "segment {sequence} sealed at a wrong place");
            assert_eq!(life.handed_over, 1, "segment {sequence}");
        }
    }
    for pair in activated.windows(2) {
        let (before, after) = (&lives[&pair[0]], &lives[&pair[1]]);
        let end = before.base.unwrap().get() + before.sealed.unwrap();
        assert_eq!(after.base.unwrap().get(), end.next_multiple_of(4096));
    }
}

/// Ancestor's fault: a lost race for space was taken for a full segment. Without flushes, every
/// sealed segment must be full up to less than one record.
#[test]
fn a_segment_is_sealed_only_when_the_next_record_does_not_fit() {
    let probe = Recorder::default();
    let disk = MemDisk::new();
    let sink = MemSink::open(&disk).unwrap();
    let options = Options::default().segment_size(4096).segments(3).file_size(1 << 20);
    let (wal, _) = Wal::open_with_probe(sink, options, probe.clone()).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..6000 {
                    wal.append(&[1; 92]).unwrap();
                }
            });
        }
    });
    let seals: Vec<u64> = probe
        .events()
        .iter()
        .filter_map(|e| if let Event::Seal { len, .. } = e { Some(*len) } else { None })
        .collect();
    assert_eq!(seals.len(), 8 * 6000 / 38);
    // 104 bytes a record: 38 of them behind the header.
    assert!(seals.iter().all(|&len| len == 64 + 38 * 104), "{seals:?}");
}

/// Ancestor's fault: rotation waited for every old writer. A writer that still copies holds up
/// only the durability of what it shares, not those who append.
#[test]
fn a_slow_writer_does_not_hold_up_rotation() {
    let wal = open(&MemDisk::new(), tiny());
    let slow = wal.reserve(100).unwrap();
    // Fills the slow writer's segment and goes on in the next.
    for _ in 0..60 {
        wal.try_append(&[2; 92]).unwrap();
    }
    let durable = thread::scope(|scope| {
        let waiter = scope.spawn(|| wal.sync());
        thread::sleep(Duration::from_millis(20));
        assert!(!waiter.is_finished(), "durable with a hole in it");
        assert_eq!(wal.durable_lsn(), Lsn::ZERO);
        slow.commit().unwrap();
        waiter.join().unwrap()
    });
    durable.unwrap();
    assert_eq!(payloads(&wal).len(), 61);
}

/// A sealer that is slow between closing a segment and activating the next wakes those who went to
/// sleep meanwhile, even though the sealed segment still has a writer in it.
#[test]
fn activation_wakes_those_who_wait_for_it() {
    #[derive(Clone, Default)]
    struct StopAtSeal(Arc<(Mutex<bool>, Condvar)>);
    impl Probe for StopAtSeal {
        fn event(&self, event: Event) {
            if matches!(event, Event::Seal { .. }) {
                let mut stop = self.0.0.lock().unwrap();
                while *stop {
                    stop = self.0.1.wait(stop).unwrap();
                }
            }
        }
    }
    let probe = StopAtSeal::default();
    *probe.0.0.lock().unwrap() = true;
    let disk = MemDisk::new();
    let sink = MemSink::open(&disk).unwrap();
    let (wal, _) = Wal::open_with_probe(sink, tiny(), probe.clone()).unwrap();
    let straggler = wal.reserve(2000).unwrap();
    thread::scope(|scope| {
        let (sent, done) = mpsc::channel();
        for _ in 0..3 {
            let (sent, wal) = (sent.clone(), &wal);
            scope.spawn(move || sent.send(wal.append(&[1; 1900]).unwrap()).unwrap());
        }
        // One fits, one crosses the end and is stopped, one finds the segment closed.
        done.recv().unwrap();
        thread::sleep(Duration::from_millis(30));
        *probe.0.0.lock().unwrap() = false;
        probe.0.1.notify_all();
        for _ in 0..2 {
            done.recv_timeout(Duration::from_secs(20)).expect("asleep for ever");
        }
        straggler.commit().unwrap();
    });
}

/// Ancestor's fault: the rotation flag was held across the disk write.
#[test]
fn writers_go_on_while_the_sink_writes() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let options = tiny().segments(4);
    let (wal, _) = Wal::open(sink, options).unwrap();
    let first = wal.append(b"first").unwrap();
    control.on_write(Rule::Block);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| wal.wait_durable(first.lsn));
        control.await_blocked();
        // Three segments are free while the sink sits on the first.
        for _ in 0..3 * 38 {
            wal.try_append(&[3; 92]).unwrap();
        }
        control.on_write(Rule::Pass);
        waiter.join().unwrap().unwrap();
    });
    wal.sync().unwrap();
    assert_eq!(payloads(&wal).len(), 1 + 3 * 38);
}

#[test]
fn a_full_ring_refuses_those_who_try_and_parks_those_who_wait() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let (wal, _) = Wal::open(sink, tiny()).unwrap();
    control.on_write(Rule::Block);
    let mut fitted = 0;
    let refused = loop {
        match wal.try_append(&[4; 92]) {
            Ok(_) => fitted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::WouldBlock) && refused.is_retryable(), "{refused:?}");
    assert_eq!(fitted, 2 * 38);
    assert!(matches!(wal.try_reserve(10), Err(Error::WouldBlock)));
    assert!(matches!(wal.try_append_batch(&[[0; 10]]), Err(Error::WouldBlock)));
    let large = wal.try_append(&[0; 5000]).unwrap_err();
    assert!(matches!(large, Error::NeedsToWait { .. }) && !large.is_retryable());
    thread::scope(|scope| {
        let (sent, done) = mpsc::channel();
        for _ in 0..3 {
            let sent = sent.clone();
            let wal = &wal;
            scope.spawn(move || sent.send(wal.append(&[5; 92])).unwrap());
        }
        control.await_blocked();
        assert!(done.recv_timeout(Duration::from_millis(20)).is_err(), "appended to a full ring");
        control.on_write(Rule::Pass);
        for _ in 0..3 {
            done.recv().unwrap().unwrap();
        }
    });
    wal.sync().unwrap();
    assert_eq!(payloads(&wal).len(), 2 * 38 + 3);
}

#[test]
fn an_abandoned_or_panicking_reservation_becomes_a_void_record() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    wal.append(b"a").unwrap();
    drop(wal.reserve(500).unwrap());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut r = wal.reserve(300).unwrap();
        r[..10].fill(0xee);
        panic!("while filling");
    }));
    assert!(panicked.is_err());
    let b = wal.append(b"b").unwrap();
    wal.wait_durable(b.lsn).unwrap();
    assert_eq!(payloads(&wal), [b"a", b"b"]);
    // Neither what the writer left behind nor anything older is on disk.
    assert!(!disk.file(1).windows(4).any(|w| w == [0xee; 4]));
    drop(wal);
    let (wal, report) = Wal::open(MemSink::open(&disk).unwrap(), tiny()).unwrap();
    assert_eq!((report.records, report.voids), (2, 2));
    assert_eq!(payloads(&wal), [b"a", b"b"]);
}

/// Every reader sees all records of a batch or none, and nothing between them.
#[test]
fn batches_stay_together_under_contention() {
    let wal = open(&MemDisk::new(), tiny());
    thread::scope(|scope| {
        for t in 0..4u8 {
            let wal = &wal;
            scope.spawn(move || {
                for i in 0..100u8 {
                    let size = if i % 10 == 0 { 2500 } else { 20 };
                    wal.append_batch(&[vec![t; size], vec![i; size], vec![t ^ i; size]]).unwrap();
                    wal.append(&[t, i]).unwrap();
                }
            });
        }
    });
    wal.sync().unwrap();
    let all = payloads(&wal);
    let mut batches = 0;
    let mut rest = &all[..];
    while let Some(first) = rest.first() {
        if first.len() == 2 {
            rest = &rest[1..];
            continue;
        }
        let (t, i) = (first[0], rest[1][0]);
        assert!(rest[1].len() == first.len() && rest[2].len() == first.len());
        assert!(rest[2].iter().all(|&b| b == t ^ i));
        rest = &rest[3..];
        batches += 1;
    }
    assert_eq!((all.len(), batches), (4 * 100 * 4, 400));
}

#[test]
fn bad_input_is_refused_and_leaves_no_trace() {
    let wal = open(&MemDisk::new(), tiny().max_record_len(10_000));
    let too_large = wal.append(&[0; 10_001]).unwrap_err();
    assert_eq!(
        too_large.to_string(),
        "a record of 10001 bytes is larger than `max_record_len`, 10000 bytes"
    );
    assert!(matches!(wal.reserve(10_001), Err(Error::TooLarge { len: 10_001, max: 10_000 })));
    assert!(matches!(wal.append_batch::<&[u8]>(&[]), Err(Error::EmptyBatch)));
    assert!(matches!(
        wal.append_batch(&[vec![0; 6000], vec![0; 6000]]),
        Err(Error::TooLarge { .. })
    ));
    assert_eq!(wal.next_lsn(), Lsn::ZERO);
    wal.append(&[0; 10_000]).unwrap();
    let next = wal.next_lsn();
    assert!(matches!(wal.wait_durable(next), Err(Error::NotAppended { .. })));
    assert!(matches!(wal.wait_durable(Lsn::MAX), Err(Error::NotAppended { .. })));
    wal.sync().unwrap();
    assert_eq!(payloads(&wal).len(), 1);
}

/// Flushers whose decision to rotate is stale do nothing, and nobody spins for ever.
#[test]
fn flushing_from_everywhere_never_hangs_and_never_rotates_an_empty_segment() {
    let probe = Recorder::default();
    let disk = MemDisk::new();
    let sink = MemSink::open(&disk).unwrap();
    let (wal, _) = Wal::open_with_probe(sink, tiny(), probe.clone()).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    wal.sync().unwrap();
                    wal.flush().unwrap();
                }
            });
        }
        for i in 0..2000 {
            wal.append(&payload(0, i, 64)).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    wal.sync().unwrap();
    wal.sync().unwrap();
    let idle = wal.stats();
    wal.sync().unwrap();
    assert_eq!(wal.stats(), idle, "syncing an idle log costs nothing");
    for event in probe.events() {
        if let Event::Seal { len, .. } = event {
            assert!(len > 64);
        }
    }
    assert_eq!(payloads(&wal).len(), 2000);
}
