//! Watermark, waiters and poison of a whole log, under every ordering that the memory model allows.
#![cfg(wal_loom)]
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod weak;

use std::path::PathBuf;
use std::sync::Arc;
use std::task::Waker;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use wal_core::model::Parker;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::sink::{Created, Listing, LogSource, SegmentSink, SinkError, SinkOp, Write};
use wal_core::{Appended, Error, Lsn, Options, Wal};
use weak::{Seen, explore};

/// The in-memory sink, whose blocks the checker watches: who looks at one before its write is
/// ordered before the look fails the model. The mutex beneath it is invisible to the checker.
struct Sink {
    inner: MemSink,
    /// One for each block of the only file.
    blocks: Vec<UnsafeCell<()>>,
    failing: bool,
}

// SAFETY: nothing is in the cells, and the checker notes accesses for whichever thread makes them.
#[expect(unsafe_code, reason = "the cells are the checker's")]
unsafe impl Sync for Sink {}

const BLOCK: u64 = 4096;

impl Sink {
    /// Looks at the block that holds stream position `lsn`.
    fn look(&self, lsn: Lsn) {
        // The file header takes the first.
        self.blocks[1 + (lsn.get() / BLOCK) as usize].with(|_| ());
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
    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        self.inner.create(sequence, capacity)
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        // Not the file header, written when the log is opened.
        if self.failing && write.offset > 0 {
            let source = std::io::ErrorKind::Other.into();
            return Err(SinkError {
                op: SinkOp::Write,
                file: None,
                path: None,
                offset: None,
                source,
            });
        }
        let end = write.offset + write.len() as u64;
        for block in &self.blocks[(write.offset / BLOCK) as usize..(end / BLOCK) as usize] {
            block.with_mut(|_| ());
        }
        self.inner.write(write)
    }

    fn sync(&self) -> Result<(), SinkError> {
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

    fn retire(&self, sequence: u64) -> Result<(), SinkError> {
        self.inner.retire(sequence)
    }
}

const FILE_BLOCKS: usize = 8;

fn open(failing: bool) -> Wal<Sink> {
    let inner = MemSink::open(&MemDisk::new()).unwrap();
    let blocks = (0..FILE_BLOCKS).map(|_| UnsafeCell::new(())).collect();
    let options = Options::default()
        .segment_size(BLOCK as usize)
        .segments(2)
        .file_size(FILE_BLOCKS as u64 * BLOCK)
        .seed(1);
    Wal::open(Sink { inner, blocks, failing }, options).unwrap().0
}

/// What the waker did before it woke is visible behind `park`, and no wake-up is lost.
#[test]
fn a_woken_thread_sees_what_its_waker_did() {
    explore("parker", None, || {
        let parker = Parker::current();
        let waker: Waker = parker.waker().clone();
        let cells = Arc::new([Shared(UnsafeCell::new(())), Shared(UnsafeCell::new(()))]);
        let theirs = Arc::clone(&cells);
        let again = Arc::new(AtomicBool::new(false));
        let theirs_again = Arc::clone(&again);
        let other = thread::spawn(move || {
            theirs[0].0.with_mut(|_| ());
            waker.wake_by_ref();
            // Relaxed: so that only the parker orders anything.
            while !theirs_again.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            theirs[1].0.with_mut(|_| ());
            waker.wake_by_ref();
        });
        parker.park();
        cells[0].0.with(|_| ());
        again.store(true, Ordering::Relaxed);
        parker.park();
        cells[1].0.with(|_| ());
        other.join().unwrap();
    });
}

struct Shared(UnsafeCell<()>);

// SAFETY: as for `Sink`.
#[expect(unsafe_code, reason = "the cells are the checker's")]
unsafe impl Sync for Shared {}
// SAFETY: as for `Sink`.
#[expect(unsafe_code, reason = "the cells are the checker's")]
unsafe impl Send for Shared {}

/// Who sees the durable watermark can read what it covers, and finds it written.
#[test]
fn what_is_durable_can_be_read() {
    let (before, after) = (Seen::default(), Seen::default());
    let (not_yet, covered) = (before.clone(), after.clone());
    explore("durable", None, move || {
        let wal = open(false);
        let reader = wal.clone();
        let reader = thread::spawn(move || {
            let durable = reader.durable_lsn();
            let written = reader.written_lsn();
            assert!(written >= durable, "{durable} durable, {written} written");
            if durable > Lsn::ZERO {
                reader.sink().look(Lsn::ZERO);
            }
            durable > Lsn::ZERO
        });
        let appended = wal.append(b"a").unwrap();
        wal.wait_durable(appended.lsn).unwrap();
        let seen = reader.join().unwrap();
        not_yet.note(!seen);
        covered.note(seen);
        assert_eq!(wal.read_at(appended.lsn).unwrap(), b"a");
    });
    before.assert("nothing is durable");
    after.assert("the record is durable");
}

/// The same for the written watermark.
#[test]
fn what_is_written_can_be_read() {
    let (before, after) = (Seen::default(), Seen::default());
    let (not_yet, covered) = (before.clone(), after.clone());
    explore("written", None, move || {
        let wal = open(false);
        let reader = wal.clone();
        let reader = thread::spawn(move || {
            let written = reader.written_lsn();
            if written > Lsn::ZERO {
                reader.sink().look(Lsn::ZERO);
            }
            written > Lsn::ZERO
        });
        wal.append(b"a").unwrap();
        wal.flush().unwrap();
        let seen = reader.join().unwrap();
        not_yet.note(!seen);
        covered.note(seen);
    });
    before.assert("nothing is written");
    after.assert("the record is written");
}

fn wait_and_read(wal: &Wal<Sink>, appended: Appended, payload: &[u8]) {
    wal.wait_durable(appended.lsn).unwrap();
    assert!(wal.durable_lsn() >= appended.end);
    wal.sink().look(appended.lsn);
    assert_eq!(wal.read_at(appended.lsn).unwrap(), payload);
}

/// Two threads wait; whoever leads serves both.
#[test]
fn every_waiter_returns_and_its_record_is_durable() {
    let (one_group, two_groups) = (Seen::default(), Seen::default());
    let (together, apart) = (one_group.clone(), two_groups.clone());
    explore("waiters", Some(1), move || {
        let wal = open(false);
        let first = wal.append(b"a").unwrap();
        let other = wal.clone();
        let writer = thread::spawn(move || {
            let appended = other.append(b"b").unwrap();
            wait_and_read(&other, appended, b"b");
        });
        wait_and_read(&wal, first, b"a");
        writer.join().unwrap();
        let syncs = wal.stats().syncs;
        together.note(syncs == 1);
        apart.note(syncs == 2);
    });
    one_group.assert("one sync serves both");
    two_groups.assert("each has its own");
}

/// Segments of one record each: who finds the ring full waits for room, and drives.
#[test]
fn who_finds_no_room_waits_for_it() {
    let (mine_first, theirs_first) = (Seen::default(), Seen::default());
    let (first, second) = (mine_first.clone(), theirs_first.clone());
    explore("room", Some(2), move || {
        let wal = open(false);
        // Fill the ring.
        wal.append(&[1; 3000]).unwrap();
        wal.append(&[2; 3000]).unwrap();
        let other = wal.clone();
        let other = thread::spawn(move || other.append(&[3; 3000]).unwrap());
        let mine = wal.append(&[4; 3000]).unwrap();
        let theirs = other.join().unwrap();
        let last = if theirs.lsn > mine.lsn { theirs } else { mine };
        first.note(last == theirs);
        second.note(last == mine);
        wal.sync().unwrap();
        let byte = if last == mine { 4 } else { 3 };
        assert_eq!(wal.read_at(last.lsn).unwrap(), [byte; 3000]);
    });
    mine_first.assert("one thread gets the room first");
    theirs_first.assert("the other does");
}

/// Whether the log took the record, which it then failed to write.
fn refused_with_cause(wal: &Wal<Sink>) -> bool {
    let appended = wal.append(b"a");
    let took = appended.is_ok();
    let error = appended.and_then(|appended| wal.wait_durable(appended.lsn)).unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    took
}

/// Whoever is refused by a poisoned log is told the cause.
#[test]
fn the_cause_is_there_when_the_log_is_poisoned() {
    let (accepted, refused) = (Seen::default(), Seen::default());
    let (accepts, refuses) = (accepted.clone(), refused.clone());
    explore("poison", Some(2), move || {
        let wal = open(true);
        let other = wal.clone();
        let other = thread::spawn(move || refused_with_cause(&other));
        refused_with_cause(&wal);
        let took = other.join().unwrap();
        accepts.note(took);
        refuses.note(!took);
    });
    accepted.assert("an append is accepted");
    refused.assert("an append is refused");
}

/// Poison is final: closing neither hides the cause nor takes the log further.
#[test]
fn closing_a_poisoned_log_changes_nothing() {
    let (before, after) = (Seen::default(), Seen::default());
    let (closes_first, fails_first) = (before.clone(), after.clone());
    explore("poison and close", Some(2), move || {
        let wal = open(true);
        let appended = wal.append(b"a").unwrap();
        let other = wal.clone();
        let closer = thread::spawn(move || {
            let opened = other.append(b"b").is_ok();
            let error = other.close().unwrap_err();
            assert!(matches!(error, Error::Poisoned { .. }), "{error}");
            opened
        });
        let error = wal.wait_durable(appended.lsn).unwrap_err();
        assert!(matches!(error, Error::Poisoned { .. }), "{error}");
        let opened = closer.join().unwrap();
        let error = wal.append(b"c").unwrap_err();
        assert!(matches!(error, Error::Poisoned { .. }), "{error}");
        closes_first.note(opened);
        fails_first.note(!opened);
    });
    before.assert("closing begins first");
    after.assert("the failure comes first");
}

/// Closing serves what came before it and refuses the rest.
#[test]
fn closing_serves_or_refuses_everybody() {
    let (served, refused) = (Seen::default(), Seen::default());
    let (serves, refuses) = (served.clone(), refused.clone());
    explore("close", Some(1), move || {
        let wal = open(false);
        let other = wal.clone();
        let writer = thread::spawn(move || match other.append(b"a") {
            Ok(appended) => match other.wait_durable(appended.lsn) {
                Ok(()) => {
                    assert_eq!(other.read_at(appended.lsn).unwrap(), b"a");
                    true
                }
                Err(error) => {
                    assert!(matches!(error, Error::Closed), "{error}");
                    false
                }
            },
            Err(error) => {
                assert!(matches!(error, Error::Closed), "{error}");
                false
            }
        });
        let end = wal.close().unwrap();
        let done = writer.join().unwrap();
        serves.note(done);
        refuses.note(!done);
        assert!(end > Lsn::ZERO);
    });
    served.assert("the writer is served");
    refused.assert("the writer is refused");
}
