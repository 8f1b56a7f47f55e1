//! The sink contract over the in-memory sink, as it is and with writes in flight; and each clause
//! over a sink that breaks it.
#![allow(unsafe_code, reason = "a sink that keeps writes in flight keeps their pointers")]
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod plain {
    wal_core::sink_conformance!(wal_core::sink::mem::MemDisk);
}

mod simulated {
    wal_core::sink_conformance!(wal_core::testing::sim::SimDisk);
}

mod in_flight {
    use super::{NOTHING, Odd};

    wal_core::sink_conformance!(Odd<NOTHING>);
}

use std::io::IoSlice;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use wal_core::Error;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::sink::{
    Completion, Created, Listing, LogSource, SegmentMemory, SegmentSink, SinkError, SinkOp,
    Submitted, Write,
};
use wal_core::testing::{Store, conformance};

/// What a sink does wrong, as a number: each is a type of its own.
type Wrong = u8;
const NOTHING: Wrong = 0;
const BEGINS_WITH_A_FILE: Wrong = 1;
const CREATES_HALF: Wrong = 2;
const CREATES_ONCE: Wrong = 3;
const CREATES_VOLATILE: Wrong = 4;
const CREATES_NO_PREPARED: Wrong = 5;
const DROPS_PARTS: Wrong = 6;
const WRITES_TO_THE_NEWEST: Wrong = 7;
const REPORTS_TWICE: Wrong = 8;
const REPORTS_EARLY: Wrong = 9;
const REPORTS_NEVER: Wrong = 10;
const FORGETS_FLIGHTS: Wrong = 11;
const SYNCS_NOTHING: Wrong = 12;
const LOSES_UNSYNCED: Wrong = 13;
const FAILS_PAST_THE_END: Wrong = 14;
const READS_BUSY: Wrong = 15;
const LISTS_BACKWARDS: Wrong = 16;
const SWALLOWS_ERRORS: Wrong = 17;
const SHARES: Wrong = 18;
const TRIMS_TOO_MUCH: Wrong = 19;
const CUTS_WHAT_IT_COPIES: Wrong = 20;
const REMOVES_NOTHING: Wrong = 21;
const LENDS_DIRT: Wrong = 22;
const CUTS_LARGE_WRITES: Wrong = 23;
const RETIRES_NOTHING: Wrong = 24;
const RETIRES_UNTIL_POWER_FAILS: Wrong = 25;
const KEEPS_OLD_HEADERS: Wrong = 26;
const CALLS_LEFTOVERS_ZEROS: Wrong = 27;
const RETIRES_IN_TURN: Wrong = 28;
const RETIRES_THE_NEXT: Wrong = 29;

/// The clauses, each with what breaks it.
#[test]
fn each_clause_fails_on_a_sink_that_breaks_it() {
    use conformance::*;
    let cases: [(&str, fn()); 31] = [
        ("a file from nowhere", a_new_store_is_empty::<Odd<BEGINS_WITH_A_FILE>>),
        ("half a file", create_makes_the_whole_file::<Odd<CREATES_HALF>>),
        ("no second create", create_can_be_repeated::<Odd<CREATES_ONCE>>),
        ("a file lost with power", create_survives_power_loss::<Odd<CREATES_VOLATILE>>),
        ("prepared, then refused", prepared_files_can_be_created::<Odd<CREATES_NO_PREPARED>>),
        ("parts left out", writes_are_whole::<Odd<DROPS_PARTS>>),
        ("the wrong file", writes_go_where_they_say::<Odd<WRITES_TO_THE_NEWEST>>),
        ("reported twice", completions_come_exactly_once::<Odd<REPORTS_TWICE>>),
        ("reported early", completions_come_exactly_once::<Odd<REPORTS_EARLY>>),
        ("never reported", completions_come_exactly_once::<Odd<REPORTS_NEVER>>),
        ("forgotten in flight", dropping_waits_for_writes_in_flight::<Odd<FORGETS_FLIGHTS>>),
        ("not synced", sync_covers_completed_writes::<Odd<SYNCS_NOTHING>>),
        ("lost with the process", reopening_finds_everything::<Odd<LOSES_UNSYNCED>>),
        ("an error past the end", reading_past_the_end_is_short::<Odd<FAILS_PAST_THE_END>>),
        ("no reads while busy", reading_goes_on_while_writing::<Odd<READS_BUSY>>),
        ("out of order", listing_is_in_order::<Odd<LISTS_BACKWARDS>>),
        ("an error swallowed", errors_are_reported_and_stay::<Odd<SWALLOWS_ERRORS>>),
        ("two at once", a_second_opener_is_refused::<Odd<SHARES>>),
        ("cut too short", trimming_keeps_what_is_before::<Odd<TRIMS_TOO_MUCH>>),
        ("copied and cut", setting_aside_keeps_the_file::<Odd<CUTS_WHAT_IT_COPIES>>),
        ("removed and there", removed_files_are_gone::<Odd<REMOVES_NOTHING>>),
        ("memory with leftovers", memory_is_as_asked::<Odd<LENDS_DIRT>>),
        ("large writes cut", a_log_lives_on_it::<Odd<CUTS_LARGE_WRITES>>),
        ("retired and there", retired_files_are_gone::<Odd<RETIRES_NOTHING>>),
        ("retired for now", retired_files_are_gone::<Odd<RETIRES_UNTIL_POWER_FAILS>>),
        ("the header of before", retired_files_may_be_used_again::<Odd<KEEPS_OLD_HEADERS>>),
        ("zeros that are none", retired_files_may_be_used_again::<Odd<CALLS_LEFTOVERS_ZEROS>>),
        ("no retiring while busy", retiring_goes_on_beside_everything::<Odd<RETIRES_IN_TURN>>),
        ("the wrong one retired", retired_files_are_gone::<Odd<RETIRES_THE_NEXT>>),
        ("a log that comes back", a_log_is_truncated_on_it::<Odd<RETIRES_NOTHING>>),
        ("a cut that does not last", a_log_is_cut_back_on_it::<Odd<SYNCS_NOTHING>>),
    ];
    for (what, clause) in cases {
        assert!(catch_unwind(clause).is_err(), "{what}: its clause does not mind");
    }
}

/// Files that a power loss brings back.
type Revenants = Arc<Mutex<Vec<(u64, Vec<u8>)>>>;

/// The in-memory sink, with writes in flight that end newest first, doing one thing wrong.
struct Odd<const WRONG: Wrong> {
    disk: MemDisk,
    revenants: Revenants,
}

struct OddSink<const WRONG: Wrong> {
    inner: MemSink,
    in_flight: Mutex<Vec<Flight>>,
    newest: Mutex<u64>,
    prepared: AtomicBool,
    busy: AtomicBool,
    revenants: Revenants,
}

/// A write in flight: the ticket, where it goes, and where its bytes are.
struct Flight {
    ticket: u64,
    file: u64,
    offset: u64,
    parts: Vec<(*const u8, usize)>,
}

// SAFETY: the pointers are read by whoever reaps or drops the sink, until when they are valid, by
// the contract of `submit`.
unsafe impl Send for Flight {}

impl<const WRONG: Wrong> Store for Odd<WRONG> {
    type Sink = OddSink<WRONG>;

    fn new() -> Self {
        let disk = MemDisk::new();
        if WRONG == BEGINS_WITH_A_FILE {
            disk.put_file(1, vec![0; 4096]);
        }
        Self::over(disk)
    }

    fn open(&self) -> Result<OddSink<WRONG>, Error> {
        let inner = match MemSink::open(&self.disk) {
            Err(Error::Locked { .. }) if WRONG == SHARES => MemSink::open(&self.disk.snapshot())?,
            opened => opened?,
        };
        Ok(OddSink {
            inner,
            in_flight: Mutex::default(),
            newest: Mutex::default(),
            prepared: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            revenants: Arc::clone(&self.revenants),
        })
    }

    fn power_loss(&self) -> Option<Self> {
        let after = self.disk.crash();
        for (file, bytes) in self.revenants.lock().unwrap().iter() {
            after.put_file(*file, bytes.clone());
        }
        if WRONG == CREATES_VOLATILE {
            after.sequences().into_iter().for_each(|file| after.remove_file(file));
        }
        Some(Self::over(after))
    }

    fn process_crash(&self) -> Option<Self> {
        let disk = if WRONG == LOSES_UNSYNCED { self.disk.crash() } else { self.disk.snapshot() };
        Some(Self::over(disk))
    }
}

impl<const WRONG: Wrong> Odd<WRONG> {
    fn over(disk: MemDisk) -> Self {
        Self { disk, revenants: Arc::default() }
    }
}

impl<const WRONG: Wrong> OddSink<WRONG> {
    fn end(&self, flight: Flight) -> Completion {
        let parts: Vec<_> = flight
            .parts
            .iter()
            // SAFETY: the write was not reported yet and the sink lives, so its bytes are valid.
            .map(|&(ptr, len)| IoSlice::new(unsafe { std::slice::from_raw_parts(ptr, len) }))
            .collect();
        let Flight { ticket, file, offset, .. } = flight;
        Completion { ticket, result: self.write(&Write { ticket, file, offset, parts: &parts }) }
    }
}

impl<const WRONG: Wrong> Drop for OddSink<WRONG> {
    fn drop(&mut self) {
        while let Some(flight) = { self.in_flight.lock().unwrap().pop() } {
            if WRONG != FORGETS_FLIGHTS {
                let _ = self.end(flight);
            }
        }
    }
}

fn error(op: SinkOp) -> SinkError {
    SinkError::of(op, std::io::Error::other("as told"))
}

impl<const WRONG: Wrong> LogSource for OddSink<WRONG> {
    fn list(&self) -> Result<Listing, SinkError> {
        let mut listing = self.inner.list()?;
        if WRONG == LISTS_BACKWARDS {
            listing.files.reverse();
        }
        Ok(listing)
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        if WRONG == READS_BUSY && self.busy.load(Ordering::SeqCst) {
            return Err(error(SinkOp::Read));
        }
        let read = self.inner.read_at(sequence, offset, buf)?;
        if WRONG == FAILS_PAST_THE_END && read < buf.len() {
            return Err(error(SinkOp::Read));
        }
        Ok(read)
    }
}

impl<const WRONG: Wrong> SegmentSink for OddSink<WRONG> {
    fn memory(&self, len: usize) -> Result<SegmentMemory, SinkError> {
        let memory = SegmentMemory::heap(len, 8).unwrap();
        if WRONG == LENDS_DIRT {
            // SAFETY: the memory was made in the line above, of at least one byte.
            unsafe { memory.as_ptr().write(1) };
        }
        Ok(memory)
    }

    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        let there = self.inner.list()?.files.iter().any(|file| file.sequence == sequence);
        let prepared = self.prepared.load(Ordering::SeqCst);
        if WRONG == CREATES_ONCE && there || WRONG == CREATES_NO_PREPARED && prepared {
            return Err(error(SinkOp::Create));
        }
        *self.newest.lock().unwrap() = sequence;
        let created = self
            .inner
            .create(sequence, if WRONG == CREATES_HALF { capacity / 2 } else { capacity })?;
        if created == Created::Recycled && WRONG == KEEPS_OLD_HEADERS {
            self.inner.disk().put_file(sequence, vec![1; capacity as usize]);
        }
        Ok(if WRONG == CALLS_LEFTOVERS_ZEROS { Created::Zeroed } else { created })
    }

    fn prepare(&self, _: u64, _: u64) {
        self.prepared.store(true, Ordering::SeqCst);
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        self.busy.store(true, Ordering::SeqCst);
        std::thread::yield_now();
        let parts = match WRONG {
            DROPS_PARTS => &write.parts[..write.parts.len().min(1024)],
            CUTS_LARGE_WRITES if write.len() > 32 << 10 => &write.parts[..write.parts.len() / 2],
            _ => write.parts,
        };
        let file =
            if WRONG == WRITES_TO_THE_NEWEST { *self.newest.lock().unwrap() } else { write.file };
        let written = self.inner.write(&Write { file, parts, ..*write });
        self.busy.store(false, Ordering::SeqCst);
        if WRONG == SWALLOWS_ERRORS { Ok(()) } else { written }
    }

    unsafe fn submit(&self, write: &Write<'_>) -> Submitted {
        let parts = write.parts.iter().map(|part| (part.as_ptr(), part.len())).collect();
        let Write { ticket, file, offset, .. } = *write;
        self.in_flight.lock().unwrap().push(Flight { ticket, file, offset, parts });
        if WRONG == REPORTS_EARLY { Submitted::Done(Ok(())) } else { Submitted::Pending }
    }

    fn reap(&self, _: bool, done: &mut Vec<Completion>) {
        let flight = self.in_flight.lock().unwrap().pop();
        if WRONG == REPORTS_EARLY || WRONG == REPORTS_NEVER {
            self.in_flight.lock().unwrap().extend(flight);
            return;
        }
        if let Some(flight) = flight {
            let ticket = flight.ticket;
            done.push(self.end(flight));
            if WRONG == REPORTS_TWICE {
                done.push(Completion { ticket, result: Ok(()) });
            }
        }
    }

    fn sync(&self) -> Result<(), SinkError> {
        if WRONG == SYNCS_NOTHING { Ok(()) } else { self.inner.sync() }
    }

    fn trim(&self, sequence: u64, len: u64) -> Result<(), SinkError> {
        self.inner.trim(sequence, if WRONG == TRIMS_TOO_MUCH { len - 1 } else { len })
    }

    fn set_aside(&self, sequence: u64, offset: u64, len: u64) -> Result<PathBuf, SinkError> {
        let path = self.inner.set_aside(sequence, offset, len)?;
        if WRONG == CUTS_WHAT_IT_COPIES {
            let zeros = vec![0; len as usize];
            let parts = [IoSlice::new(&zeros)];
            self.inner.write(&Write { ticket: 0, file: sequence, offset, parts: &parts })?;
        }
        Ok(path)
    }

    fn set_aside_file(&self, sequence: u64) -> Result<PathBuf, SinkError> {
        self.inner.set_aside_file(sequence)
    }

    fn remove_unused(&self, sequence: u64) -> Result<(), SinkError> {
        if WRONG == REMOVES_NOTHING { Ok(()) } else { self.inner.remove_unused(sequence) }
    }

    fn retire(&self, sequence: u64) -> Result<(), SinkError> {
        match WRONG {
            RETIRES_NOTHING => return Ok(()),
            RETIRES_UNTIL_POWER_FAILS => {
                let bytes = self.inner.disk().file(sequence);
                self.revenants.lock().unwrap().push((sequence, bytes));
            }
            RETIRES_IN_TURN => {
                // Gives a write time to begin.
                for _ in 0..1_000_000 {
                    if self.busy.load(Ordering::SeqCst) {
                        return Err(error(SinkOp::Remove));
                    }
                    std::thread::yield_now();
                }
            }
            RETIRES_THE_NEXT => return self.inner.retire(sequence + 1),
            _ => {}
        }
        self.inner.retire(sequence)
    }
}
