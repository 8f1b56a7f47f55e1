//! What a failing sink does to a log, and what it must not do.

mod support;

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier};
use std::thread;

use support::{Rule, ScriptSink, open, payload, payloads, tiny};
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::{Error, Lsn, Verdict, Wal};

/// Every waiter gets the first cause at once, nothing is acknowledged later, reads of durable data
/// go on, and reopening recovers. (Elsewhere: a later sync returned Ok after a failed one; waiters
/// slept for ever after a failed sync.)
#[test]
fn a_failed_sync_poisons_the_log_for_everyone_and_for_ever() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let (wal, _) = Wal::open(sink, tiny().segments(4)).unwrap();
    let kept = wal.append_and_sync(b"kept").unwrap();
    control.on_sync(Rule::Block);
    let appended = Barrier::new(7);
    let errors: Vec<Error> = thread::scope(|scope| {
        let waiters: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let lsn = wal.append(b"lost").unwrap().lsn;
                    appended.wait();
                    wal.wait_durable(lsn).unwrap_err()
                })
            })
            .collect();
        appended.wait();
        control.await_blocked();
        control.on_sync(Rule::Fail(ErrorKind::Other));
        waiters.into_iter().map(|w| w.join().unwrap()).collect()
    });
    let causes: Vec<_> = errors
        .iter()
        .map(|e| match e {
            Error::Poisoned { first } => Arc::as_ptr(first),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(causes.windows(2).all(|pair| pair[0] == pair[1]), "not the first cause");
    assert!(errors[0].is_fatal());
    assert!(std::error::Error::source(&errors[0]).is_some());

    control.on_sync(Rule::Pass);
    let syncs = control.syncs();
    assert_eq!(syncs, 3, "one at open, one good, one failed and not retried");
    assert!(matches!(wal.append(b"no"), Err(Error::Poisoned { .. })));
    assert!(matches!(wal.try_append(b"no"), Err(Error::Poisoned { .. })));
    assert!(matches!(wal.reserve(1), Err(Error::Poisoned { .. })));
    assert!(matches!(wal.sync(), Err(Error::Poisoned { .. })));
    assert_eq!(control.syncs(), syncs, "a failed sync was retried");
    wal.wait_durable(kept.lsn).unwrap();
    assert_eq!(wal.read_at(kept.lsn).unwrap(), b"kept");
    assert_eq!(payloads(&wal), [b"kept"]);
    assert!(matches!(wal.close(), Err(Error::Poisoned { .. })));

    let wal = open(&disk.crash(), tiny());
    assert_eq!(payloads(&wal), [b"kept"]);
}

/// A run of appends, waits and a close, with the failure at each operation in turn: what was
/// acknowledged survives losing everything unsynced, every call returns, nothing panics.
#[test]
fn a_failure_at_each_step_loses_nothing_acknowledged() {
    for step in 0..200 {
        let disk = MemDisk::new();
        let (sink, control) = ScriptSink::open(&disk);
        let (wal, _) = Wal::open(sink, tiny()).unwrap();
        control.fail_operation(step);
        let acked = thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|t| {
                    let wal = &wal;
                    scope.spawn(move || {
                        let mut acked = Vec::new();
                        for i in 0..12 {
                            let bytes = payload(t, i, if i == 5 { 9000 } else { 900 });
                            let Ok(a) = wal.append(&bytes) else { continue };
                            if wal.wait_durable(a.lsn).is_ok() {
                                acked.push((a.lsn, bytes));
                            }
                        }
                        acked
                    })
                })
                .collect();
            writers.into_iter().flat_map(|w| w.join().unwrap()).collect::<Vec<_>>()
        });
        let durable = wal.durable_lsn();
        let closed = wal.close();
        let wal = open(&disk.crash(), tiny());
        for (lsn, bytes) in &acked {
            assert!(*lsn < durable);
            assert!(wal.read_at(*lsn).unwrap() == *bytes, "step {step}: {lsn} was acknowledged");
        }
        if closed.is_ok() {
            assert_eq!(acked.len(), 36);
            assert!(step > 20, "the failure at step {step} was swallowed");
            return;
        }
    }
    panic!("the run has more than 200 operations");
}

/// Disk full at the creation of a file is no failure of the log: everyone is told, nothing is
/// lost, and it goes on when there is room.
#[test]
fn a_full_disk_is_reported_and_survived() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let (wal, _) = Wal::open(sink, tiny()).unwrap();
    control.on_create(Rule::Fail(ErrorKind::StorageFull));
    let mut appended: Vec<Lsn> = Vec::new();
    let refused = loop {
        match wal.append(&[6; 1000]) {
            Ok(a) => appended.push(a.lsn),
            Err(error) => break error,
        }
    };
    assert!(refused.is_no_space() && refused.is_retryable(), "{refused:?}");
    assert!(matches!(refused, Error::NoSpace { .. }));
    let last = *appended.last().unwrap();
    // Several at once: all are told, none hangs.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(wal.wait_durable(last).unwrap_err().is_no_space()));
            scope.spawn(|| assert!(wal.append(&[6; 1000]).unwrap_err().is_no_space()));
        }
    });
    assert!(wal.wait_durable(appended[0]).is_ok(), "what fits the old file can be made durable");
    control.on_create(Rule::Pass);
    wal.wait_durable(last).unwrap();
    let more = wal.append_and_sync(b"more").unwrap();
    assert_eq!(payloads(&wal).len(), appended.len() + 1);
    assert_eq!(wal.read_at(more.lsn).unwrap(), b"more");
    let wal = open(&disk.crash(), tiny());
    assert_eq!(payloads(&wal).len(), appended.len() + 1);
}

#[test]
fn a_new_log_does_not_open_on_a_full_disk() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    control.on_create(Rule::Fail(ErrorKind::StorageFull));
    let error = Wal::open(sink, tiny()).unwrap_err();
    assert!(error.is_no_space(), "{error:?}");
    assert!(disk.sequences().is_empty());
}

/// A log that cannot be opened can neither be read nor be truncated to make room.
#[test]
fn a_log_opens_on_a_full_disk_and_begins_its_file_when_there_is_room() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    wal.append_and_sync(b"there").unwrap();
    drop(wal);
    let before = disk.sequences();
    let (sink, control) = ScriptSink::open(&disk);
    control.on_create(Rule::Fail(ErrorKind::StorageFull));
    let (wal, report) = Wal::open(sink, tiny()).unwrap();
    assert_eq!((report.verdict, report.records), (Verdict::Clean, 1));
    assert_eq!(payloads(&wal), [b"there"]);
    let late = wal.append(b"late").unwrap();
    for _ in 0..2 {
        assert!(wal.wait_durable(late.lsn).unwrap_err().is_no_space());
        assert!(wal.mark_durable().unwrap_err().is_no_space());
        assert!(wal.append(&[7; 20_000]).unwrap_err().is_no_space());
    }
    assert_eq!(payloads(&wal), [b"there"]);
    // Whoever dies now has changed nothing.
    assert_eq!(disk.sequences(), before);
    assert_eq!(payloads(&open(&disk.crash(), tiny())), [b"there"]);

    control.on_create(Rule::Pass);
    wal.wait_durable(late.lsn).unwrap();
    assert_eq!(payloads(&wal), [&b"there"[..], b"late"]);
    let after = open(&disk.crash(), tiny());
    assert_eq!(payloads(&after), [&b"there"[..], b"late"]);
}

/// What fails otherwise than for want of room fails the opening, or the log.
#[test]
fn only_a_full_disk_is_waited_for() {
    for full in [false, true] {
        let disk = MemDisk::new();
        drop(open(&disk, tiny()));
        let (sink, control) = ScriptSink::open(&disk);
        control.on_create(Rule::Fail(if full { ErrorKind::StorageFull } else { ErrorKind::Other }));
        let opened = Wal::open(sink, tiny());
        assert_eq!(opened.is_ok(), full);
        let Ok((wal, _)) = opened else { continue };
        control.on_create(Rule::Pass);
        control.on_write(Rule::Fail(ErrorKind::Other));
        for _ in 0..2 {
            let error = wal.append_and_sync(b"x").unwrap_err();
            assert!(matches!(error, Error::Poisoned { .. }), "{error}");
        }
        assert_eq!(payloads(&open(&disk.crash(), tiny())).len(), 0);
    }
}

/// A leader that panics inside the sink poisons the log and leaves nobody asleep.
#[test]
fn a_panicking_leader_leaves_nobody_waiting() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let (wal, _) = Wal::open(sink, tiny().segments(4)).unwrap();
    control.on_sync(Rule::Block);
    control.panic_on_sync();
    let (mut panics, mut poisoned) = (0, 0);
    let appended = Barrier::new(5);
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    catch_unwind(AssertUnwindSafe(|| {
                        let lsn = wal.append(b"x").unwrap().lsn;
                        appended.wait();
                        wal.wait_durable(lsn)
                    }))
                })
            })
            .collect();
        appended.wait();
        control.await_blocked();
        control.on_sync(Rule::Pass);
        for waiter in waiters {
            match waiter.join().unwrap() {
                Err(_) => panics += 1,
                Ok(Err(Error::Poisoned { .. })) => poisoned += 1,
                Ok(other) => panic!("{other:?}"),
            }
        }
    });
    assert_eq!((panics, poisoned), (1, 3));
    assert_eq!(wal.durable_lsn(), Lsn::ZERO);
}

/// What was appended and not closed is handed to the operating system by the last handle's drop,
/// and nothing more is pretended.
#[test]
fn dropping_the_last_handle_writes_but_does_not_sync() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let (wal, _) = Wal::open(sink, tiny()).unwrap();
    let syncs = control.syncs();
    wal.append(b"appended").unwrap();
    let clone = wal.clone();
    drop(wal);
    assert_eq!(control.writes(), 1, "the header of the first file only");
    drop(clone);
    assert_eq!(control.writes(), 2);
    assert_eq!(control.syncs(), syncs);
    assert_eq!(payloads(&open(&disk.snapshot(), tiny())), [b"appended"]);
    assert_eq!(payloads(&open(&disk.crash(), tiny())), Vec::<Vec<u8>>::new());
}

/// A record larger than a segment that is refused for want of space gives its range up: it holds
/// up nobody, and what comes behind it is recovered. (Elsewhere: an abandoned reservation stalled
/// the watermark.)
#[test]
fn a_large_record_that_is_refused_leaves_a_hole_that_stalls_nobody() {
    // Needs a file of its own; fits an ordinary file, but not the present one.
    for large in [100_000, 9_000] {
        let disk = MemDisk::new();
        let (sink, control) = ScriptSink::open(&disk);
        let (wal, _) = Wal::open(sink, tiny()).unwrap();
        let mut expected = vec![vec![1; 3000]; 3];
        for record in &expected {
            wal.append_and_sync(record).unwrap();
        }
        control.on_create(Rule::Fail(ErrorKind::StorageFull));
        let refused = thread::scope(|scope| {
            let other = scope.spawn(|| wal.append(&vec![2; large]));
            (wal.append(&vec![2; large]), other.join().unwrap())
        });
        assert!(refused.0.unwrap_err().is_no_space() && refused.1.unwrap_err().is_no_space());
        // The watermark may pass the range that was given up; readers find nothing wrong.
        let _ = wal.sync();
        assert!(payloads(&wal) == expected, "{large}");
        let behind = wal.append(b"behind").unwrap();
        expected.push(b"behind".to_vec());
        assert!(wal.wait_durable(behind.lsn).unwrap_err().is_no_space());
        control.on_create(Rule::Pass);
        wal.wait_durable(behind.lsn).unwrap();
        wal.append(&vec![3; large]).unwrap();
        expected.push(vec![3; large]);
        wal.sync().unwrap();
        assert!(payloads(&wal) == expected, "{large}");
        wal.close().unwrap();
        let (wal, report) = Wal::open(MemSink::open(&disk.crash()).unwrap(), tiny()).unwrap();
        assert!(payloads(&wal) == expected, "{large}");
        assert_eq!(report.verdict, Verdict::Closed);
    }
}

/// The ring writes all of the memory it is lent, so what a sink lends is checked.
#[test]
fn too_little_segment_memory_is_refused() {
    let (sink, control) = ScriptSink::open(&MemDisk::new());
    control.lend(128);
    let error = Wal::open(sink, tiny()).unwrap_err();
    assert!(error.to_string().contains("128 bytes"), "{error}");
}

/// One write fails, once, of a segment or of a large record: that is final, too.
#[test]
fn a_failed_write_is_final_even_if_the_next_would_succeed() {
    for len in [10, 9000] {
        let disk = MemDisk::new();
        let (sink, control) = ScriptSink::open(&disk);
        let (wal, _) = Wal::open(sink, tiny()).unwrap();
        wal.append_and_sync(b"kept").unwrap();
        control.on_write(Rule::Fail(ErrorKind::Other));
        let error = wal.append_and_sync(&vec![8; len]).unwrap_err();
        assert!(matches!(error, Error::Poisoned { .. }), "{error:?}");
        control.on_write(Rule::Pass);
        let writes = control.writes();
        assert!(matches!(wal.sync(), Err(Error::Poisoned { .. })));
        assert!(matches!(wal.append(b"no"), Err(Error::Poisoned { .. })));
        assert!(matches!(wal.flush(), Err(Error::Poisoned { .. })));
        assert_eq!(control.writes(), writes, "written to after a failure");
        drop(wal);
        assert_eq!(payloads(&open(&disk.crash(), tiny())), [b"kept"]);
    }
}
