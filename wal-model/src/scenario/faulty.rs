//! The sink under test within one that fails, delays, keeps writes in flight, and watches that the
//! log keeps its part of the contract.
#![allow(unsafe_code)]

use std::io::{ErrorKind, IoSlice};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::log::panic_as_told;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use wal_core::sink::{
    Completion, Created, Listing, LogSource, SegmentMemory, SegmentSink, SinkError, SinkOp, Spares,
    Submitted, Write,
};

/// What a run wants of its sink.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// The kind of call that fails, from which call on, and how.
    pub(super) fail: Option<Failing>,
    /// Panic instead of failing.
    pub(super) panic: bool,
    /// Writes are kept in flight, and end in any order.
    pub(super) in_flight: bool,
    /// Say that each write is durable by itself.
    pub(super) durable_writes: bool,
    /// Say that writes are started without waiting.
    pub(super) starts_writes: bool,
    /// Say that no call blocks.
    pub(super) never_blocks: bool,
}

impl Faults {
    /// Writes in flight, on a sink that says either of whether each is durable by itself, and of
    /// whether it starts them without waiting.
    pub(super) fn in_flight() -> Self {
        let [durable_writes, starts_writes] = thread_rng().r#gen();
        Self { in_flight: true, durable_writes, starts_writes, ..Self::default() }
    }
}

/// A kind of call that fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failing {
    pub(super) op: SinkOp,
    /// How many calls go well first.
    pub(super) after: u32,
    pub(super) kind: ErrorKind,
}

/// The remote control of a [`Faulty`] sink. No lock is held across a scheduling point.
pub(super) struct Control {
    state: Mutex<State>,
    /// Called before each step of the sink: the moment to take an image of its store.
    before: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    faults: Faults,
    /// Calls of the failing kind so far.
    calls: u32,
    /// A call is under way; the log makes one at a time.
    busy: bool,
    /// A file is being retired; one at a time, whatever else is under way.
    retiring: bool,
    /// A write or a sync has failed: nothing may be written or synced any more.
    broken: bool,
    flights: Vec<Flight>,
    counts: Counts,
}

/// What the sink was put through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) failures: u64,
    pub(super) writes: u64,
    pub(super) syncs: u64,
    pub(super) out_of_order: u64,
    pub(super) most_in_flight: u64,
    pub(super) synced_beside_a_write: u64,
    pub(super) started_and_left: u64,
    pub(super) retired: u64,
    pub(super) retired_beside_a_call: u64,
}

/// A write in flight: where its bytes are, and what they were when it was submitted.
struct Flight {
    ticket: u64,
    file: u64,
    offset: u64,
    parts: Vec<(*const u8, usize)>,
    bytes: Vec<u8>,
}

// SAFETY: the pointers are only read, in `complete`, while the log keeps the bytes valid for
// whichever thread reaps (the contract of `submit`).
unsafe impl Send for Flight {}

impl Control {
    pub(super) fn new(before: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { state: Mutex::default(), before }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what goes wrong from now on.
    pub(super) fn set(&self, faults: Faults) {
        let mut state = self.state();
        state.faults = faults;
        state.calls = 0;
    }

    /// Nothing fails any more.
    pub(super) fn heal(&self) {
        self.state().faults.fail = None;
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Whether the call that is about to be made fails.
    fn fails(&self, op: SinkOp) -> Option<ErrorKind> {
        let mut state = self.state();
        let failing = state.faults.fail.filter(|failing| failing.op == op)?;
        state.calls += 1;
        if state.calls <= failing.after {
            return None;
        }
        state.counts.failures += 1;
        Some(failing.kind)
    }
}

/// See the [module documentation](self).
pub(super) struct Faulty<S> {
    inner: S,
    control: Arc<Control>,
}

/// A scheduling point; now and then one that lets all others go first.
fn step() {
    if thread_rng().gen_range(0..16) == 0 {
        thread::yield_now();
    } else {
        thread::sleep(Duration::ZERO);
    }
}

impl<S: SegmentSink> Faulty<S> {
    pub(super) const fn new(inner: S, control: Arc<Control>) -> Self {
        Self { inner, control }
    }

    /// One call of the log, which makes one at a time: with scheduling points around it.
    fn call<R>(
        &self,
        op: SinkOp,
        run: impl FnOnce() -> Result<R, SinkError>,
    ) -> Result<R, SinkError> {
        let modifies = matches!(op, SinkOp::Write | SinkOp::Sync);
        {
            let mut state = self.control.state();
            assert!(!state.busy, "{op} while another call of the sink is under way");
            assert!(!(state.broken && modifies), "{op} again after a failure");
            state.busy = true;
        }
        step();
        (self.control.before)();
        let result = match self.control.fails(op) {
            None => run(),
            Some(_) if self.control.state().faults.panic => {
                self.control.state().busy = false;
                panic_as_told();
            }
            Some(kind) => Err(SinkError::of(op, kind.into())),
        };
        step();
        let mut state = self.control.state();
        state.busy = false;
        state.broken |= modifies && result.is_err();
        result
    }

    /// Makes a write in flight, which must not have changed since.
    fn complete(&self, flight: &Flight) -> Completion {
        let parts: Vec<_> = flight
            .parts
            .iter()
            // SAFETY: the write was submitted and is not reported yet, so the log keeps its bytes
            // valid (the contract of `submit`); only one task runs at a time.
            .map(|&(ptr, len)| IoSlice::new(unsafe { std::slice::from_raw_parts(ptr, len) }))
            .collect();
        let now = parts.iter().flat_map(|part| part.iter());
        assert!(now.eq(&flight.bytes), "the bytes of a write in flight have changed");
        let Flight { ticket, file, offset, .. } = *flight;
        let result = match self.control.fails(SinkOp::Write) {
            None => self.inner.write(&Write { ticket, file, offset, parts: &parts }),
            Some(kind) => Err(SinkError::of(SinkOp::Write, kind.into())),
        };
        self.control.state().broken |= result.is_err();
        Completion { ticket, result }
    }
}

impl<S> Drop for Faulty<S> {
    fn drop(&mut self) {
        // The log waits for what it has submitted, whatever becomes of it.
        let left = self.control.state().flights.len();
        assert!(left == 0 || std::thread::panicking(), "{left} writes in flight were forgotten");
    }
}

impl<S: SegmentSink> LogSource for Faulty<S> {
    fn list(&self) -> Result<Listing, SinkError> {
        self.inner.list()
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        step();
        self.inner.read_at(sequence, offset, buf)
    }
}

impl<S: SegmentSink> SegmentSink for Faulty<S> {
    fn alignment(&self) -> usize {
        self.inner.alignment()
    }

    fn blocks(&self) -> bool {
        !self.control.state().faults.never_blocks && self.inner.blocks()
    }

    fn durable_writes(&self) -> bool {
        self.control.state().faults.durable_writes
    }

    fn starts_writes(&self) -> bool {
        self.control.state().faults.starts_writes
    }

    fn memory(&self, len: usize) -> Result<SegmentMemory, SinkError> {
        self.inner.memory(len)
    }

    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        self.call(SinkOp::Create, || self.inner.create(sequence, capacity))
    }

    fn prepare(&self, sequence: u64, capacity: u64) {
        step();
        self.inner.prepare(sequence, capacity);
    }

    fn spares(&self) -> Spares {
        // What is not prepared is made when it is needed, and nobody can tell.
        let prepared = usize::from(thread_rng().r#gen::<bool>());
        Spares { prepared, ..self.inner.spares() }
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        self.control.state().counts.writes += 1;
        self.call(SinkOp::Write, || self.inner.write(write))
    }

    unsafe fn submit(&self, write: &Write<'_>) -> Submitted {
        if self.control.state().faults.in_flight {
            let flight = Flight {
                ticket: write.ticket,
                file: write.file,
                offset: write.offset,
                parts: write.parts.iter().map(|part| (part.as_ptr(), part.len())).collect(),
                bytes: write.parts.iter().flat_map(|part| part.iter().copied()).collect(),
            };
            let mut state = self.control.state();
            assert!(!state.busy, "a submission while another call of the sink is under way");
            assert!(!state.broken, "a submission after a failure");
            state.flights.push(flight);
            state.counts.writes += 1;
            state.counts.most_in_flight =
                state.counts.most_in_flight.max(state.flights.len() as u64);
            drop(state);
            step();
            return Submitted::Pending;
        }
        self.control.state().counts.writes += 1;
        let submitted = self.call(SinkOp::Write, || {
            // SAFETY: the caller keeps our own contract, which is the same.
            Ok(unsafe { self.inner.submit(write) })
        });
        match submitted {
            Ok(submitted) => {
                self.control.state().broken |= matches!(submitted, Submitted::Done(Err(_)));
                submitted
            }
            Err(error) => Submitted::Done(Err(error)),
        }
    }

    fn reap(&self, wait: bool, done: &mut Vec<Completion>) {
        if !self.control.state().faults.in_flight {
            step();
            return self.inner.reap(wait, done);
        }
        let in_flight = self.control.state().flights.len();
        assert!(in_flight > 0 || !wait, "a wait for a write with none in flight");
        self.control.state().counts.started_and_left += u64::from(!wait && in_flight > 0);
        let least = usize::from(wait).min(in_flight);
        for _ in 0..thread_rng().gen_range(least..=in_flight) {
            step();
            (self.control.before)();
            let flight = {
                let mut state = self.control.state();
                let pick = thread_rng().gen_range(0..state.flights.len());
                state.counts.out_of_order += u64::from(pick > 0);
                state.flights.remove(pick)
            };
            done.push(self.complete(&flight));
        }
        step();
    }

    fn sync(&self) -> Result<(), SinkError> {
        let mut state = self.control.state();
        state.counts.syncs += 1;
        state.counts.synced_beside_a_write += u64::from(!state.flights.is_empty());
        drop(state);
        self.call(SinkOp::Sync, || self.inner.sync())
    }

    fn trim(&self, sequence: u64, len: u64) -> Result<(), SinkError> {
        self.call(SinkOp::Trim, || self.inner.trim(sequence, len))
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
        let oldest = self.inner.list()?.files.first().map(|file| file.sequence);
        assert_eq!(oldest, Some(sequence), "a file is retired that is not the oldest");
        {
            let mut state = self.control.state();
            assert!(!state.retiring, "a file is retired while another one is");
            state.retiring = true;
            state.counts.retired_beside_a_call += u64::from(state.busy);
        }
        step();
        (self.control.before)();
        let result = match self.control.fails(SinkOp::Remove) {
            None => self.inner.retire(sequence),
            Some(kind) => Err(SinkError::of(SinkOp::Remove, kind.into())),
        };
        step();
        let mut state = self.control.state();
        state.retiring = false;
        state.counts.retired += u64::from(result.is_ok());
        result
    }
}
