//! A sink as somebody else would write it, with both its suites: `cargo test --test own_sink` runs
//! the contract of a sink, and with `--cfg wal_shuttle` the scenarios.
//!
//! Its files are in memory. Writes are carried out by a thread of the sink's own, the newest first,
//! while the log goes on: so it waits and is waited for, and takes its primitives from shuttle in
//! the builds that have it.
#![allow(unsafe_code, reason = "writes in flight keep the pointers to their bytes")]

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

#[cfg(not(wal_shuttle))]
use std::{
    sync::{Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
};
#[cfg(wal_shuttle)]
use wal_model::scenario::shuttle::{
    sync::{Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
};

use wal_core::Error;
use wal_core::sink::{
    Completion, Created, FileEntry, Listing, LogSource, SegmentSink, SinkError, SinkOp, Submitted,
    Write,
};
use wal_core::testing::Store;

// Both suites, a line each.
#[cfg(not(wal_shuttle))]
wal_core::sink_conformance!(Shelf);
#[cfg(wal_shuttle)]
wal_model::shuttle_scenarios!(Shelf);

/// Where the files are. Clones share them.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Files>>);

#[derive(Clone, Default)]
struct Files {
    files: BTreeMap<u64, File>,
    open: bool,
    aside: usize,
}

/// What was written, and what of it a sync has covered.
#[derive(Clone, Default)]
struct File {
    written: Vec<u8>,
    synced: Vec<u8>,
}

impl Store for Shelf {
    type Sink = Sink;

    fn new() -> Self {
        Self::default()
    }

    fn open(&self) -> Result<Sink, Error> {
        let mut files = lock(&self.0);
        if std::mem::replace(&mut files.open, true) {
            return Err(Error::Locked { path: PathBuf::from("shelf") });
        }
        drop(files);
        let device = Arc::new(Device::default());
        let (shelf, worked) = (self.clone(), Arc::clone(&device));
        let worker = thread::spawn(move || worked.work(&shelf));
        Ok(Sink { shelf: self.clone(), device, worker: Some(worker) })
    }

    fn power_loss(&self) -> Option<Self> {
        let mut files = lock(&self.0).clone();
        files.open = false;
        files.files.values_mut().for_each(|file| file.written.clone_from(&file.synced));
        Some(Self(Arc::new(Mutex::new(files))))
    }

    fn process_crash(&self) -> Option<Self> {
        let mut files = lock(&self.0).clone();
        files.open = false;
        Some(Self(Arc::new(Mutex::new(files))))
    }
}

/// A panic elsewhere does no harm to what these locks guard.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shelf {
    fn with_file<R>(
        &self,
        op: SinkOp,
        sequence: u64,
        change: impl FnOnce(&mut File) -> R,
    ) -> Result<R, SinkError> {
        match lock(&self.0).files.get_mut(&sequence) {
            Some(file) => Ok(change(file)),
            None => Err(failure(op, sequence, ErrorKind::NotFound)),
        }
    }

    fn write(&self, file: u64, offset: u64, parts: &[&[u8]]) -> Result<(), SinkError> {
        self.with_file(SinkOp::Write, file, |file| {
            let mut at = offset as usize;
            for part in parts {
                file.written[at..at + part.len()].copy_from_slice(part);
                at += part.len();
            }
        })
    }
}

fn failure(op: SinkOp, sequence: u64, kind: ErrorKind) -> SinkError {
    SinkError { file: Some(sequence), ..SinkError::of(op, io::Error::from(kind)) }
}

/// What the sink and its thread share.
#[derive(Default)]
struct Device {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    submitted: Vec<Flight>,
    done: Vec<Completion>,
    closed: bool,
}

/// A write in flight.
struct Flight {
    ticket: u64,
    file: u64,
    offset: u64,
    parts: Vec<(*const u8, usize)>,
}

// SAFETY: the pointers are only read, by the sink's thread, while the log keeps the bytes valid.
unsafe impl Send for Flight {}

impl Device {
    /// Carries writes out until the queue is closed and empty.
    fn work(&self, shelf: &Shelf) {
        let mut queue = lock(&self.queue);
        loop {
            match queue.submitted.pop() {
                Some(flight) => {
                    drop(queue);
                    let completion = flight.carry_out(shelf);
                    queue = lock(&self.queue);
                    queue.done.push(completion);
                    self.changed.notify_all();
                }
                None if queue.closed => return,
                None => queue = self.wait(queue),
            }
        }
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    fn carry_out(self, shelf: &Shelf) -> Completion {
        let parts: Vec<&[u8]> = self
            .parts
            .iter()
            // SAFETY: the log keeps the bytes valid and unchanged until the ticket is reaped or
            // the sink is gone (the contract of `submit`); it is reported after this.
            .map(|&(ptr, len)| unsafe { std::slice::from_raw_parts(ptr, len) })
            .collect();
        let result = shelf.write(self.file, self.offset, &parts);
        Completion { ticket: self.ticket, result }
    }
}

struct Sink {
    shelf: Shelf,
    device: Arc<Device>,
    worker: Option<JoinHandle<()>>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        lock(&self.device.queue).closed = true;
        self.device.changed.notify_all();
        // It carries out what is in flight first.
        let _ = self.worker.take().map(JoinHandle::join);
        lock(&self.shelf.0).open = false;
    }
}

impl LogSource for Sink {
    fn list(&self) -> Result<Listing, SinkError> {
        let files = lock(&self.shelf.0);
        let entry = |(&sequence, file): (&u64, &File)| FileEntry {
            sequence,
            len: file.written.len() as u64,
            path: PathBuf::from(format!("shelf/{sequence}")),
        };
        Ok(Listing { files: files.files.iter().map(entry).collect(), foreign: Vec::new() })
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        self.shelf.with_file(SinkOp::Read, sequence, |file| {
            let there = file.written.get(offset as usize..).unwrap_or_default();
            let len = there.len().min(buf.len());
            buf[..len].copy_from_slice(&there[..len]);
            len
        })
    }
}

impl SegmentSink for Sink {
    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        let mut files = lock(&self.shelf.0);
        let file = files.files.entry(sequence).or_default();
        file.written.resize(capacity as usize, 0);
        file.synced.resize(capacity as usize, 0);
        // Nothing is recycled here, but a write to a file that never became part of the log may
        // have left something.
        let zeroed = file.written.iter().all(|&byte| byte == 0);
        Ok(if zeroed { Created::Zeroed } else { Created::Recycled })
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        let parts: Vec<&[u8]> = write.parts.iter().map(|part| &part[..]).collect();
        self.shelf.write(write.file, write.offset, &parts)
    }

    unsafe fn submit(&self, write: &Write<'_>) -> Submitted {
        let parts = write.parts.iter().map(|part| (part.as_ptr(), part.len())).collect();
        let Write { ticket, file, offset, .. } = *write;
        lock(&self.device.queue).submitted.push(Flight { ticket, file, offset, parts });
        self.device.changed.notify_all();
        Submitted::Pending
    }

    fn reap(&self, wait: bool, done: &mut Vec<Completion>) {
        let mut queue = lock(&self.device.queue);
        while wait && queue.done.is_empty() {
            queue = self.device.wait(queue);
        }
        done.append(&mut queue.done);
    }

    fn sync(&self) -> Result<(), SinkError> {
        let mut files = lock(&self.shelf.0);
        files.files.values_mut().for_each(|file| file.synced.clone_from(&file.written));
        Ok(())
    }

    fn set_aside(&self, sequence: u64, _: u64, _: u64) -> Result<PathBuf, SinkError> {
        self.shelf.with_file(SinkOp::SetAside, sequence, |_| ())?;
        let mut files = lock(&self.shelf.0);
        files.aside += 1;
        // Nobody looks at these copies, so none is kept. A real sink stores it, and syncs.
        Ok(PathBuf::from(format!("shelf/aside/{}", files.aside)))
    }

    fn set_aside_file(&self, sequence: u64) -> Result<PathBuf, SinkError> {
        let path = self.set_aside(sequence, 0, 0)?;
        self.remove_unused(sequence)?;
        Ok(path)
    }

    fn remove_unused(&self, sequence: u64) -> Result<(), SinkError> {
        match lock(&self.shelf.0).files.remove(&sequence) {
            Some(_) => Ok(()),
            None => Err(failure(SinkOp::Remove, sequence, ErrorKind::NotFound)),
        }
    }

    fn retire(&self, sequence: u64) -> Result<(), SinkError> {
        // The same here; a lock makes it safe to be called at any time.
        self.remove_unused(sequence)
    }
}
