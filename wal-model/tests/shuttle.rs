//! The real log under a scheduler that tries interleavings (sequentially consistent ones):
//! `RUSTFLAGS="--cfg wal_shuttle" cargo test -p wal-model --test shuttle`. A failing schedule is
//! printed and can be replayed with `shuttle::replay`.
#![cfg(wal_shuttle)]
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use shuttle::thread;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::sink::{Listing, LogSource, SegmentSink, SinkError, SinkOp, Write};
use wal_core::{Error, Lsn, Options, Wal};

const SCHEDULES: usize = 2_000;

/// What the sink fails at from the middle of a run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failing {
    Nothing,
    Create,
    Write,
    Sync,
}

/// The in-memory sink with a scheduling point in every call, and failures on demand.
struct Sink {
    inner: MemSink,
    failing: Arc<AtomicU8>,
}

impl Sink {
    fn step(&self, op: SinkOp, failing: Failing, kind: ErrorKind) -> Result<(), SinkError> {
        thread::yield_now();
        if self.failing.load(Ordering::SeqCst) == failing as u8 {
            let source = kind.into();
            return Err(SinkError { op, file: None, path: None, offset: None, source });
        }
        Ok(())
    }
}

impl LogSource for Sink {
    fn list(&self) -> Result<Listing, SinkError> {
        self.inner.list()
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        self.inner.read_at(sequence, offset, buf)
    }
}

impl SegmentSink for Sink {
    fn create(&self, sequence: u64, capacity: u64) -> Result<(), SinkError> {
        self.step(SinkOp::Create, Failing::Create, ErrorKind::StorageFull)?;
        self.inner.create(sequence, capacity)
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        self.step(SinkOp::Write, Failing::Write, ErrorKind::Other)?;
        self.inner.write(write)
    }

    fn sync(&self) -> Result<(), SinkError> {
        self.step(SinkOp::Sync, Failing::Sync, ErrorKind::Other)?;
        self.inner.sync()
    }

    fn set_aside(&self, sequence: u64, offset: u64, len: u64) -> Result<PathBuf, SinkError> {
        self.inner.set_aside(sequence, offset, len)
    }

    fn set_aside_file(&self, sequence: u64) -> Result<PathBuf, SinkError> {
        self.inner.set_aside_file(sequence)
    }

    fn remove_unused(&self, sequence: u64) -> Result<(), SinkError> {
        self.inner.remove_unused(sequence)
    }
}

fn options() -> Options {
    Options::default().segment_size(4096).segments(2).file_size(5 * 4096).max_record_len(1 << 20)
}

fn open(disk: &MemDisk) -> (Wal<Sink>, Arc<AtomicU8>) {
    let failing = Arc::new(AtomicU8::new(Failing::Nothing as u8));
    let sink = Sink { inner: MemSink::open(disk).unwrap(), failing: Arc::clone(&failing) };
    (Wal::open(sink, options().seed(1)).unwrap().0, failing)
}

type Record = (Lsn, Vec<u8>);

/// Losing everything that was not synced loses nothing that was acknowledged.
fn check(crashed: &MemDisk, acknowledged: &[Record]) {
    let (wal, _) = Wal::open(MemSink::open(crashed).unwrap(), options().seed(2)).unwrap();
    for (lsn, payload) in acknowledged {
        assert!(wal.read_at(*lsn).unwrap() == *payload, "{lsn} was acknowledged");
    }
}

/// Appends in every way, waits for most of it, and returns what was acknowledged.
fn writer(
    wal: &Wal<Sink>,
    t: u8,
    large: usize,
    at_middle: impl Fn(),
) -> Result<Vec<Record>, Error> {
    let mut acknowledged = Vec::new();
    for i in 0..4u8 {
        let len = [1200, 1900, 10, large][usize::from(t + i) % 4];
        let payload = vec![t * 10 + i; len];
        if i == 1 {
            at_middle();
            drop(wal.reserve(50)?);
        }
        let appended = if i == 2 {
            let mut reservation = wal.reserve(len)?;
            reservation.fill(t * 10 + i);
            thread::yield_now();
            reservation.commit()?
        } else {
            wal.append(&payload)?
        };
        match i {
            0 => continue,
            2 => {
                // What this thread has appended is covered, whatever path it came by.
                wal.sync()?;
                assert!(wal.durable_lsn() >= appended.end, "sync passed over {appended:?}");
            }
            _ => wal.wait_durable(appended.lsn)?,
        }
        acknowledged.push((appended.lsn, payload));
    }
    Ok(acknowledged)
}

fn writers(large: usize, fault: Failing) {
    let disk = MemDisk::new();
    let (wal, failing) = open(&disk);
    let threads: Vec<_> = (0..3)
        .map(|t| {
            let (wal, failing) = (wal.clone(), Arc::clone(&failing));
            thread::spawn(move || {
                let at_middle = || {
                    if t == 1 {
                        failing.store(fault as u8, Ordering::SeqCst);
                    }
                };
                writer(&wal, t, large, at_middle)
            })
        })
        .collect();
    let mut acknowledged = Vec::new();
    for thread in threads {
        match thread.join().unwrap() {
            Ok(mine) => acknowledged.extend(mine),
            Err(error) => assert!(fault != Failing::Nothing, "{error}"),
        }
    }
    let crashed = disk.crash();
    drop(wal);
    check(&crashed, &acknowledged);
}

fn explore(run: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(run.clone(), SCHEDULES);
    shuttle::check_pct(run, SCHEDULES, 3);
}

#[test]
fn writers_of_all_kinds() {
    explore(|| writers(3000, Failing::Nothing));
}

#[test]
fn with_records_larger_than_a_segment() {
    explore(|| writers(9000, Failing::Nothing));
}

#[test]
fn with_a_full_disk() {
    explore(|| writers(9000, Failing::Create));
}

#[test]
fn with_a_failed_write() {
    explore(|| writers(9000, Failing::Write));
}

#[test]
fn with_a_failed_sync() {
    explore(|| writers(3000, Failing::Sync));
}

#[test]
fn with_a_close_in_between() {
    explore(|| {
        let disk = MemDisk::new();
        let (wal, _) = open(&disk);
        let threads: Vec<_> = (0..3)
            .map(|t| {
                let wal = wal.clone();
                thread::spawn(move || match writer(&wal, t, 5000, || ()) {
                    Ok(acknowledged) => acknowledged,
                    Err(error) => {
                        assert!(matches!(error, Error::Closed), "{error}");
                        Vec::new()
                    }
                })
            })
            .collect();
        let closing = wal.clone();
        let closing = thread::spawn(move || closing.close().unwrap());
        let acknowledged: Vec<Record> =
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        closing.join().unwrap();
        let crashed = disk.crash();
        drop(wal);
        check(&crashed, &acknowledged);
    });
}
