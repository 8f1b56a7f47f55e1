//! What the log does with real threads and real files is what the model allows, and what it does
//! not do, the model refuses.
// These threads are real, and the log has to be, too.
#![cfg(not(any(wal_shuttle, wal_loom)))]
#![allow(clippy::unwrap_used, reason = "a failed helper fails the test")]

use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use wal_core::probe::{Event, Probe};
use wal_core::segment::place::Layout;
use wal_core::sink::{
    Created, Listing, LogSource, SegmentMemory, SegmentSink, SinkError, SinkOp, Write,
};
use wal_core::{Lsn, Options, Wal};
use wal_io_std::{FileOptions, FileSink};
use wal_model::machine::Machine;
use wal_model::trace::{Entry, Recorder, Trace, replay};

const ALIGN: u64 = 4096;
const SEGMENT: u64 = 2 * ALIGN;
/// Bytes of a record, and of its payload.
const RECORD: u64 = 1024;
const PAYLOAD: [u8; 1016] = [7; 1016];
/// Bytes of a record that does not fit a segment, and of its payload.
const LARGE: u64 = 10_000;
const LARGE_PAYLOAD: [u8; 9992] = [8; 9992];

/// A sink whose syncs fail after so many.
struct Failing {
    files: FileSink,
    syncs: AtomicI64,
}

impl LogSource for Failing {
    fn list(&self) -> Result<Listing, SinkError> {
        self.files.list()
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        self.files.read_at(sequence, offset, buf)
    }
}

impl SegmentSink for Failing {
    fn alignment(&self) -> usize {
        self.files.alignment()
    }

    fn memory(&self, len: usize) -> Result<SegmentMemory, SinkError> {
        self.files.memory(len)
    }

    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        self.files.create(sequence, capacity)
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        self.files.write(write)
    }

    fn sync(&self) -> Result<(), SinkError> {
        if self.syncs.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Err(SinkError::of(SinkOp::Sync, io::Error::other("as told")));
        }
        self.files.sync()
    }

    fn trim(&self, sequence: u64, len: u64) -> Result<(), SinkError> {
        self.files.trim(sequence, len)
    }

    fn set_aside(&self, sequence: u64, offset: u64, len: u64) -> Result<PathBuf, SinkError> {
        self.files.set_aside(sequence, offset, len)
    }

    fn set_aside_file(&self, sequence: u64) -> Result<PathBuf, SinkError> {
        self.files.set_aside_file(sequence)
    }

    fn remove_unused(&self, sequence: u64) -> Result<(), SinkError> {
        self.files.remove_unused(sequence)
    }

    fn retire(&self, sequence: u64) -> Result<(), SinkError> {
        self.files.retire(sequence)
    }
}

/// A recorder that now and then lets others go first, just before an event gets its stamp or just
/// after: so that stamps and steps differ as much as they can.
struct Late {
    recorder: Recorder,
    late: bool,
}

impl Late {
    fn dawdle(&self, salt: u64) {
        thread_local! {
            static SEED: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) };
        }
        let random = SEED.get().wrapping_add(salt).wrapping_mul(0xd134_2543_de82_ef95) | 1;
        SEED.set(random.rotate_left(23));
        match random >> 61 {
            0 if self.late => std::thread::sleep(Duration::from_micros(20)),
            1 if self.late => std::thread::yield_now(),
            _ => {}
        }
    }
}

impl Probe for Late {
    fn event(&self, event: Event) {
        self.dawdle(1);
        self.recorder.event(event);
        self.dawdle(2);
    }
}

type Log = Wal<Failing, Arc<Late>>;

/// A run to record.
struct Run {
    threads: usize,
    segments: usize,
    /// Calls of each thread.
    calls: usize,
    /// Syncs until one fails.
    syncs: i64,
    closes: bool,
    /// Whether threads dawdle before and after they tell something.
    late: bool,
}

const QUIET: Run =
    Run { threads: 4, segments: 4, calls: 250, syncs: i64::MAX, closes: false, late: false };

impl Run {
    /// The model of the log.
    fn machine(&self) -> Machine {
        let mut machine = Machine::mixed(self.segments, Vec::new());
        machine.layout = Layout { segment: SEGMENT, file: 4096 + 4 * SEGMENT, align: ALIGN };
        machine.record = RECORD;
        machine.direct = 64 + LARGE;
        machine
    }

    /// Lets every thread make its calls, of which `call` makes one, given the thread's number and
    /// the call's; it ends with the first error.
    fn record(
        &self,
        call: impl Fn(&Log, usize, usize) -> Result<(), wal_core::Error> + Sync,
    ) -> Trace {
        let dir = tempfile::tempdir().unwrap();
        let files = FileSink::open(dir.path(), &FileOptions::default()).unwrap();
        let sink = Failing { files, syncs: AtomicI64::new(self.syncs) };
        let options = Options::default()
            .segment_size(SEGMENT as usize)
            .segments(self.segments)
            .file_size(4096 + 4 * SEGMENT);
        let probe = Arc::new(Late { recorder: Recorder::default(), late: self.late });
        let (wal, _) = Wal::open_with_probe(sink, options, Arc::clone(&probe)).unwrap();
        probe.recorder.start();
        std::thread::scope(|scope| {
            for thread in 0..self.threads {
                let (wal, call) = (&wal, &call);
                scope.spawn(move || {
                    for index in 0..self.calls {
                        if call(wal, thread, index).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        if self.closes {
            wal.close().unwrap();
        }
        probe.recorder.stop()
    }

    /// Records, and has the model judge.
    fn check(
        &self,
        name: &str,
        call: impl Fn(&Log, usize, usize) -> Result<(), wal_core::Error> + Sync,
    ) -> Trace {
        let begun = Instant::now();
        let trace = self.record(call);
        let recorded = begun.elapsed();
        if let Ok(dir) = std::env::var("WAL_TRACE_DIR") {
            let path = PathBuf::from(dir).join(format!("{}.ndjson", name.replace(' ', "-")));
            let mut out = io::BufWriter::new(std::fs::File::create(path).unwrap());
            trace.write_ndjson(&mut out).unwrap();
        }
        let begun = Instant::now();
        let replayed = replay(&self.machine(), &trace);
        let replayed = replayed.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        println!(
            "{name:<24} {:>6} events {:>7} steps  recorded {recorded:.2?}, replayed {:.2?}",
            replayed.events,
            replayed.steps,
            begun.elapsed()
        );
        trace
    }
}

fn append(wal: &Log) -> Result<(), wal_core::Error> {
    wal.append(&PAYLOAD).map(drop)
}

/// Every few records a sync or a wait for the last one.
fn mixed(wal: &Log, thread: usize, index: usize) -> Result<(), wal_core::Error> {
    match (thread + index) % 8 {
        3 => wal.sync(),
        6 => wal.append_and_sync(&PAYLOAD).map(drop),
        _ => append(wal),
    }
}

fn large_too(wal: &Log, thread: usize, index: usize) -> Result<(), wal_core::Error> {
    if (3 * thread + index) % 20 == 5 {
        wal.append(&LARGE_PAYLOAD).map(drop)
    } else {
        mixed(wal, thread, index)
    }
}

#[test]
fn appends_that_rotate_are_what_the_model_allows() {
    QUIET.check("appends", |wal, _, _| append(wal));
}

#[test]
fn syncs_and_waits_are_what_the_model_allows() {
    let trace = QUIET.check("syncs and waits", mixed);
    assert!(trace.entries.len() > 1500);
    Run { threads: 2, segments: 2, ..QUIET }.check("two segments", mixed);
    Run { threads: 3, segments: 2, calls: 120, ..QUIET }
        .check("everybody waits", |wal, _, _| wal.append_and_sync(&PAYLOAD).map(drop));
}

#[test]
fn direct_frames_and_a_close_are_what_the_model_allows() {
    Run { calls: 100, closes: true, ..QUIET }.check("direct frames", large_too);
}

#[test]
fn a_poisoned_run_is_what_the_model_allows() {
    let trace = Run { syncs: 40, ..QUIET }.check("poisoned", mixed);
    assert!(trace.entries.iter().any(|entry| entry.event == Event::Poison));
}

#[test]
fn stamps_that_are_far_from_the_steps_do_not_matter() {
    Run { late: true, calls: 120, ..QUIET }.check("late", mixed);
    Run { late: true, segments: 2, calls: 120, ..QUIET }.check("late, two segments", mixed);
    Run { late: true, calls: 60, closes: true, ..QUIET }.check("late, direct frames", large_too);
    Run { late: true, syncs: 20, ..QUIET }.check("late, poisoned", mixed);
}

// Traces of runs that did not happen.

/// Edits a trace at an event, if that makes a run that cannot be.
type Edit = fn(&mut Trace, usize) -> bool;

fn lane_after(trace: &Trace, index: usize) -> Option<usize> {
    let thread = trace.entries[index].thread;
    (index + 1..trace.entries.len()).find(|&later| {
        let entry = trace.entries[later];
        entry.thread == thread && !matches!(entry.event, Event::Wake { .. })
    })
}

/// A wait told again, or a round that comes to nothing, may be there or not.
fn is_optional(event: Event) -> bool {
    matches!(event, Event::Wait { .. } | Event::Gather { .. } | Event::Wake { .. })
}

fn drop_event(trace: &mut Trace, index: usize) -> bool {
    let right = !is_optional(trace.entries[index].event) && lane_after(trace, index).is_some();
    trace.entries.remove(index);
    right
}

fn swap_events(trace: &mut Trace, index: usize) -> bool {
    let Some(later) = lane_after(trace, index) else { return false };
    let (one, other) = (trace.entries[index], trace.entries[later]);
    trace.entries.swap(index, later);
    let round = |event| matches!(event, Event::Gather { .. });
    one.event != other.event
        && !(round(one.event) && round(other.event))
        && !matches!(one.event, Event::Wake { .. })
}

fn raise_watermark(trace: &mut Trace, index: usize) -> bool {
    match &mut trace.entries[index].event {
        Event::Publish { written, durable } if *durable < *written => *durable = *written,
        Event::Publish { written, .. } => *written = written.advance(ALIGN),
        _ => return false,
    }
    true
}

fn shift_lsn(trace: &mut Trace, index: usize) -> bool {
    match &mut trace.entries[index].event {
        Event::Reserve { lsn, .. } | Event::Commit { lsn, .. } | Event::Write { lsn, .. } => {
            *lsn = lsn.advance(8);
        }
        Event::Activate { base, .. } => *base = base.advance(ALIGN),
        _ => return false,
    }
    true
}

fn hand_over_twice(trace: &mut Trace, index: usize) -> bool {
    let entry = trace.entries[index];
    trace.entries.insert(index, entry);
    matches!(entry.event, Event::HandOver { .. })
}

/// Moves the recycling of a segment before the write that it follows in the same lead.
fn recycle_early(trace: &mut Trace, index: usize) -> bool {
    let entry = trace.entries[index];
    if !matches!(entry.event, Event::Recycle { .. }) {
        return false;
    }
    let own = (0..index).rev().filter(|&i| trace.entries[i].thread == entry.thread);
    let write = own
        .take_while(|&i| trace.entries[i].event != Event::Lead)
        .find(|&i| matches!(trace.entries[i].event, Event::Write { .. }));
    let Some(write) = write else { return false };
    trace.entries.remove(index);
    trace.entries.insert(write, entry);
    true
}

/// Claims that a sync asked for less than the record that its own thread appended last.
fn sync_short(trace: &mut Trace, index: usize) -> bool {
    let Entry { thread, event: Event::Wait { durable, .. } } = trace.entries[index] else {
        return false;
    };
    let own = trace.entries[..index].iter().rev().find_map(|entry| match entry.event {
        Event::Reserve { lsn, .. } if entry.thread == thread => Some(lsn),
        _ => None,
    });
    let Some(own) = own.filter(|&own| own < durable && durable.get() % 8 == 0) else {
        return false;
    };
    trace.entries[index].event = Event::Wait { written: Lsn::ZERO, durable: own };
    true
}

#[test]
fn runs_that_did_not_happen_are_refused() {
    const EDITS: [(&str, Edit); 7] = [
        ("an event dropped", drop_event),
        ("two events swapped", swap_events),
        ("a watermark raised", raise_watermark),
        ("a position shifted", shift_lsn),
        ("handed over twice", hand_over_twice),
        ("recycled before written", recycle_early),
        ("synced short of a record", sync_short),
    ];
    // How many of each; `WAL_TRACE_EDITS=1000` tries all there are.
    let each = std::env::var("WAL_TRACE_EDITS").map_or(5, |count| count.parse().unwrap());
    let run = Run { calls: 60, ..QUIET };
    let (machine, trace) = (run.machine(), run.check("to be edited", mixed));
    for (name, edit) in EDITS {
        let begun = Instant::now();
        let (mut tried, mut near) = (0, 0);
        // Near its end, a trace has not shown yet what an event leads to.
        let places = trace.entries.len() * 3 / 4;
        for index in (0..101).flat_map(|from| (from..places).step_by(101)) {
            if tried == each {
                break;
            }
            let mut edited = trace.clone();
            if !edit(&mut edited, index) {
                continue;
            }
            let before = trace.entries[index];
            match replay(&machine, &edited) {
                Ok(_) => panic!("{name} at {index} ({before}): allowed"),
                Err(refusal) => {
                    let text = refusal.to_string();
                    let says =
                        format!("event {}: thread {} tells", refusal.index, refusal.entry.thread);
                    assert!(text.starts_with(&says) && text.contains("not allowed"), "{text}");
                    if tried == 0 {
                        println!("{name} at {index} ({before}):\n    {text}");
                    }
                    near += usize::from(refusal.index.abs_diff(index) <= 40);
                }
            }
            tried += 1;
        }
        println!("{name:<26} {tried:>3} refused, {near} within 40 events, {:.2?}", begun.elapsed());
        assert!(tried >= each.min(5), "{name}: too little to edit");
    }
}
