//! A sink that does as it is told, over the in-memory one, and a probe that writes down.
#![allow(unreachable_pub, reason = "a module of several test binaries")]
#![allow(clippy::unwrap_used, reason = "a failed helper fails the test")]
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Wake, Waker};

use wal_core::probe::{Event, Probe};
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::sink::{
    Completion, Created, Listing, LogSource, SegmentMemory, SegmentSink, SinkError, SinkOp,
    Submitted, Write,
};
use wal_core::{Error, Lsn, Options, Wal};

/// Options that make everything happen often: 2 segments of one block, files of 4.
pub fn tiny() -> Options {
    Options::default().segment_size(4096).segments(2).file_size(4096 * 5).max_record_len(1 << 20)
}

pub fn open(disk: &MemDisk, options: Options) -> Wal<MemSink> {
    Wal::open(MemSink::open(disk).unwrap(), options).unwrap().0
}

pub fn payloads<S: SegmentSink, P: Probe>(wal: &Wal<S, P>) -> Vec<Vec<u8>> {
    wal.iter_from(wal.start_lsn()).unwrap().map(|r| r.unwrap().payload).collect()
}

/// Counts how often it is called.
#[derive(Default)]
pub struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub fn counted() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), Waker::from(count))
}

impl Count {
    pub fn calls(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// That nothing is left below `first`, and that this is what `result` says.
#[track_caller]
pub fn assert_truncated<T: std::fmt::Debug>(result: Result<T, Error>, first: Lsn) {
    match result {
        Err(Error::Truncated { lsn, first_available }) => {
            assert_eq!(first_available, first);
            assert!(lsn < first, "{lsn} is not before {first}");
        }
        other => panic!("{other:?}"),
    }
}

/// Payload number `i` of writer `t`: tells its origin, and has a length of its own.
pub fn payload(t: u32, i: u32, max: usize) -> Vec<u8> {
    let mut x = u64::from(t) << 32 | u64::from(i);
    x = (x ^ (x >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let len = (x >> 20) as usize % (max + 1);
    let mut bytes = vec![(x >> 8) as u8; len];
    for (b, s) in bytes.iter_mut().zip(t.to_le_bytes().into_iter().chain(i.to_le_bytes())) {
        *b = s;
    }
    bytes
}

/// What the next calls of one kind do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Pass,
    /// Fails this and every later call of the kind.
    Fail(io::ErrorKind),
    /// Blocks until the rule changes.
    Block,
}

#[derive(Debug)]
struct Script {
    create: Rule,
    write: Rule,
    sync: Rule,
    remove: Rule,
    list: Rule,
    /// Fail the operation with this number, counting all that change the disk from 0.
    fail_at: Option<u64>,
    operations: u64,
    /// Calls so far, failed ones included.
    creates: u64,
    writes: u64,
    syncs: u64,
    /// Calls blocked right now.
    blocked: u64,
    panic_on_sync: bool,
    /// Keep writes in flight until this many are, then complete the newest first.
    hold: usize,
    oldest_first: bool,
    /// Bytes of segment memory to lend, whatever is asked for.
    lend: Option<usize>,
    held: VecDeque<(u64, u64, u64, Vec<u8>)>,
    done: Vec<Completion>,
}

/// The remote control of a [`ScriptSink`].
#[derive(Clone)]
pub struct Control(Arc<(Mutex<Script>, Condvar)>);

impl Control {
    pub fn new() -> Self {
        let script = Script {
            create: Rule::Pass,
            write: Rule::Pass,
            sync: Rule::Pass,
            remove: Rule::Pass,
            list: Rule::Pass,
            fail_at: None,
            operations: 0,
            creates: 0,
            writes: 0,
            syncs: 0,
            blocked: 0,
            panic_on_sync: false,
            hold: 0,
            oldest_first: false,
            lend: None,
            held: VecDeque::new(),
            done: Vec::new(),
        };
        Self(Arc::new((Mutex::new(script), Condvar::new())))
    }

    fn change(&self, f: impl FnOnce(&mut Script)) {
        f(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    pub fn on_create(&self, rule: Rule) {
        self.change(|s| s.create = rule);
    }

    pub fn on_write(&self, rule: Rule) {
        self.change(|s| s.write = rule);
    }

    pub fn on_sync(&self, rule: Rule) {
        self.change(|s| s.sync = rule);
    }

    pub fn on_remove(&self, rule: Rule) {
        self.change(|s| s.remove = rule);
    }

    pub fn on_list(&self, rule: Rule) {
        self.change(|s| s.list = rule);
    }

    pub fn panic_on_sync(&self) {
        self.change(|s| s.panic_on_sync = true);
    }

    /// Counts operations from now on and fails number `n`.
    pub fn fail_operation(&self, n: u64) {
        self.change(|s| (s.operations, s.fail_at) = (0, Some(n)));
    }

    /// Keeps up to `n` writes in flight and completes the newest first.
    pub fn hold(&self, n: usize) {
        self.change(|s| s.hold = n);
    }

    /// Completes held writes in their order.
    pub fn oldest_first(&self) {
        self.change(|s| s.oldest_first = true);
    }

    pub fn lend(&self, bytes: usize) {
        self.change(|s| s.lend = Some(bytes));
    }

    pub fn syncs(&self) -> u64 {
        self.0.0.lock().unwrap().syncs
    }

    pub fn writes(&self) -> u64 {
        self.0.0.lock().unwrap().writes
    }

    pub fn creates(&self) -> u64 {
        self.0.0.lock().unwrap().creates
    }

    /// Waits until a call of the sink is blocked.
    pub fn await_blocked(&self) {
        let mut script = self.0.0.lock().unwrap();
        while script.blocked == 0 {
            script = self.0.1.wait(script).unwrap();
        }
    }

    fn gate(&self, op: SinkOp) -> Result<(), SinkError> {
        let (mutex, condvar) = &*self.0;
        let mut script = mutex.lock().unwrap();
        match op {
            SinkOp::Create => script.creates += 1,
            SinkOp::Write => script.writes += 1,
            SinkOp::Sync => script.syncs += 1,
            _ => {}
        }
        let number = script.operations;
        script.operations += 1;
        if script.fail_at.is_some_and(|at| number >= at) {
            return Err(error(op, io::ErrorKind::Other));
        }
        loop {
            let rule = match op {
                SinkOp::Create => script.create,
                SinkOp::Write => script.write,
                SinkOp::Sync => script.sync,
                SinkOp::Remove => script.remove,
                _ => Rule::Pass,
            };
            match rule {
                Rule::Pass => break,
                Rule::Fail(kind) => return Err(error(op, kind)),
                Rule::Block => {
                    script.blocked += 1;
                    condvar.notify_all();
                    script = condvar.wait(script).unwrap();
                    script.blocked -= 1;
                }
            }
        }
        if op == SinkOp::Sync && script.panic_on_sync {
            drop(script);
            panic!("the sink panics as told");
        }
        Ok(())
    }
}

fn error(op: SinkOp, kind: io::ErrorKind) -> SinkError {
    SinkError { op, file: None, path: None, offset: None, source: kind.into() }
}

pub struct ScriptSink {
    inner: MemSink,
    control: Control,
}

impl ScriptSink {
    pub fn open(disk: &MemDisk) -> (Self, Control) {
        let control = Control::new();
        let inner = MemSink::open(disk).unwrap();
        (Self { inner, control: control.clone() }, control)
    }
}

impl LogSource for ScriptSink {
    fn list(&self) -> Result<Listing, SinkError> {
        if let Rule::Fail(kind) = self.control.0.0.lock().unwrap().list {
            return Err(error(SinkOp::List, kind));
        }
        self.inner.list()
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        self.inner.read_at(sequence, offset, buf)
    }
}

impl SegmentSink for ScriptSink {
    fn memory(&self, len: usize) -> Result<SegmentMemory, SinkError> {
        let lend = self.control.0.0.lock().unwrap().lend.unwrap_or(len);
        SegmentMemory::heap(lend, 8).map_err(|e| error(SinkOp::Memory, e.kind()))
    }

    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        self.control.gate(SinkOp::Create)?;
        self.inner.create(sequence, capacity)
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        self.control.gate(SinkOp::Write)?;
        self.inner.write(write)
    }

    #[allow(unsafe_code)]
    unsafe fn submit(&self, write: &Write<'_>) -> Submitted {
        let mut script = self.control.0.0.lock().unwrap();
        if script.hold == 0 {
            drop(script);
            return Submitted::Done(self.write(write));
        }
        script.writes += 1;
        let bytes = write.parts.iter().flat_map(|part| part.iter().copied()).collect();
        script.held.push_back((write.ticket, write.file, write.offset, bytes));
        Submitted::Pending
    }

    /// Completes one write a call, the newest first.
    fn reap(&self, _wait: bool, done: &mut Vec<Completion>) {
        let mut script = self.control.0.0.lock().unwrap();
        let next =
            if script.oldest_first { script.held.pop_front() } else { script.held.pop_back() };
        drop(script);
        if let Some((ticket, file, offset, bytes)) = next {
            let parts = [io::IoSlice::new(&bytes)];
            let result = self.inner.write(&Write { ticket, file, offset, parts: &parts });
            done.push(Completion { ticket, result });
        }
    }

    fn sync(&self) -> Result<(), SinkError> {
        self.control.gate(SinkOp::Sync)?;
        self.inner.sync()
    }

    fn trim(&self, sequence: u64, len: u64) -> Result<(), SinkError> {
        self.inner.trim(sequence, len)
    }

    fn set_aside(&self, sequence: u64, offset: u64, len: u64) -> Result<PathBuf, SinkError> {
        self.control.gate(SinkOp::SetAside)?;
        self.inner.set_aside(sequence, offset, len)
    }

    fn set_aside_file(&self, sequence: u64) -> Result<PathBuf, SinkError> {
        self.control.gate(SinkOp::SetAside)?;
        self.inner.set_aside_file(sequence)
    }

    fn remove_unused(&self, sequence: u64) -> Result<(), SinkError> {
        self.control.gate(SinkOp::Remove)?;
        self.inner.remove_unused(sequence)
    }

    fn retire(&self, sequence: u64) -> Result<(), SinkError> {
        self.control.gate(SinkOp::Remove)?;
        self.inner.retire(sequence)
    }
}

/// Writes every event down.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Recorder {
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }
}

impl Probe for Recorder {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}
