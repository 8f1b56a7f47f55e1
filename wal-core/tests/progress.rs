//! What is told of an opening while it goes on.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use support::{Rule, ScriptSink, open, payloads, tiny};
use wal_core::recover::{Phase, Progress};
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::{Error, Lsn, Options, RecoveryReport, Wal};

type Told = Arc<Mutex<Vec<Progress>>>;

fn telling(options: Options) -> (Told, Options) {
    let told = Told::default();
    let notes = Arc::clone(&told);
    (told, options.on_progress(move |progress| notes.lock().unwrap().push(progress)))
}

/// Opens the log and returns what was told meanwhile, which is in order.
fn watch(disk: &MemDisk, options: Options) -> (Result<RecoveryReport, Error>, Vec<Progress>) {
    let (told, options) = telling(options);
    let opened = MemSink::open(disk).and_then(|sink| Wal::open(sink, options));
    assert_eq!(Arc::strong_count(&told), 1, "it is let go of");
    let told = Arc::into_inner(told).unwrap().into_inner().unwrap();
    let order = |progress: &Progress| (progress.phase, progress.bytes_done);
    assert!(told.is_sorted_by_key(order), "{told:?}");
    assert!(told.iter().all(|now| now.bytes_done <= now.bytes_total), "{told:?}");
    assert!(told.iter().all(|now| now.bytes_total == told[0].bytes_total), "{told:?}");
    (opened.map(|(_, report)| report), told)
}

fn filled(files: u8) -> MemDisk {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    (0..4 * files).for_each(|n| {
        wal.append_and_sync(&[n; 3500]).unwrap();
    });
    disk.snapshot()
}

#[test]
fn every_file_is_told_of_and_then_the_beginning_of_the_next() {
    let done = |told: &[Progress], phase| -> Vec<u64> {
        let of = told.iter().filter(|progress| progress.phase == phase);
        of.map(|progress| progress.bytes_done).collect()
    };
    let (report, told) = watch(&filled(3), tiny());
    assert_eq!(report.unwrap().files, 3);
    let file = 5 * 4096;
    assert_eq!(done(&told, Phase::Scan), [0, file, 2 * file, 3 * file, 3 * file]);
    assert_eq!(done(&told, Phase::Begin), [3 * file]);
    // A log that is not there yet.
    let (_, told) = watch(&MemDisk::new(), tiny());
    assert_eq!(done(&told, Phase::Scan), [0, 0]);
    assert_eq!(done(&told, Phase::Begin), [0]);
}

#[test]
fn a_large_file_is_told_of_on_the_way() {
    let disk = MemDisk::new();
    let wal = open(&disk, Options::default().max_record_len(1 << 26));
    for n in 0..10 {
        wal.append_and_sync(&vec![n; 6 << 20]).unwrap();
    }
    let disk = disk.snapshot();
    let (_, told) = watch(&disk, Options::default());
    assert!(told.len() >= 6, "{told:?}");
    let steps = told.windows(2).map(|pair| pair[1].bytes_done - pair[0].bytes_done);
    assert!(steps.max().unwrap() < 30 << 20, "{told:?}");
}

#[test]
fn damaged_and_hostile_logs_are_told_of_in_order_too() {
    let whole = filled(3);
    for bit in (0..8 * 5 * 4096).step_by(997) {
        let disk = whole.snapshot();
        disk.flip_bit(1 + bit % 3, bit);
        let (opened, told) = watch(&disk, tiny());
        match opened {
            Ok(_) => assert_eq!(told.last().unwrap().phase, Phase::Begin),
            // It ends with the damage.
            Err(_) => assert!(told.iter().all(|progress| progress.phase == Phase::Scan)),
        }
    }
    for len in (0..5 * 4096).step_by(499) {
        let disk = whole.snapshot();
        disk.truncate_file(3, len);
        let _ = watch(&disk, tiny());
    }
}

#[test]
fn nothing_is_told_once_it_is_open_even_if_the_start_is_still_to_be_finished() {
    let disk = filled(2);
    let (sink, control) = ScriptSink::open(&disk);
    control.on_create(Rule::Fail(std::io::ErrorKind::StorageFull));
    let (told, options) = telling(tiny());
    let (wal, _) = Wal::open(sink, options).unwrap();
    let before = told.lock().unwrap().len();
    assert!(wal.append_and_sync(b"x").unwrap_err().is_no_space());
    control.on_create(Rule::Pass);
    wal.append_and_sync(b"y").unwrap();
    assert_eq!((told.lock().unwrap().len(), Arc::strong_count(&told)), (before, 1));
}

/// A panic at any call ends the opening before anything was changed.
#[test]
fn a_panic_leaves_the_log_as_it_was() {
    let whole = filled(3);
    // With something to be cut off, and set aside.
    whole.flip_bit(3, 8 * (4 * 4096 + 2000));
    let bytes = |disk: &MemDisk| -> Vec<_> {
        disk.sequences().into_iter().map(|sequence| (sequence, disk.file(sequence))).collect()
    };
    let mut panics = 0;
    for nth in 0.. {
        let disk = whole.snapshot();
        let before = bytes(&disk);
        let calls = AtomicUsize::new(0);
        let options = tiny().on_progress(move |_| {
            assert!(calls.fetch_add(1, Ordering::Relaxed) != nth, "as told");
        });
        let opened = catch_unwind(AssertUnwindSafe(|| {
            Wal::open(MemSink::open(&disk).unwrap(), options).unwrap()
        }));
        if opened.is_ok() {
            break;
        }
        panics += 1;
        assert!(!disk.is_open() && bytes(&disk) == before && disk.aside().is_empty());
        let wal = open(&disk, tiny());
        assert_eq!(payloads(&wal).len(), 11);
        wal.append_and_sync(b"more").unwrap();
        assert!(wal.start_lsn() == Lsn::ZERO && disk.aside().len() == 1);
    }
    assert_eq!(panics, 5);
}
