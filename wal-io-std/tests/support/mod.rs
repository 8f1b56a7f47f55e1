//! A layer over the system's calls that records each call and fails those it is told to.
#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(unreachable_pub, reason = "each test binary is a crate of its own")]

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::{self, ThreadId};

use rustix::io::Errno;
use wal_core::sink::{LogSource, SegmentSink, Write};
use wal_io_std::sys::{Access, DirEntry, FileLayer, Os};
use wal_io_std::{FileOptions, FileSink, Io, Preparation};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Open,
    /// The moment after a file was opened: not recorded, only for gates.
    Opened,
    Read,
    Write,
    Allocate,
    SetLen,
    SyncData,
    SyncDir,
    DropCache,
    Rename,
    Remove,
}

#[derive(Clone, Debug)]
pub enum Fault {
    /// Fails without doing anything.
    Errno(Errno),
    /// Does the first bytes only.
    Short(usize),
    /// Waits until the gate is open, then goes on as usual.
    Gate(Arc<Gate>),
    Panic,
}

#[derive(Debug, Default)]
pub struct Gate {
    open: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    pub fn open(&self) {
        self.open.lock().unwrap().0 = true;
        self.changed.notify_all();
    }

    /// Opens the gate when the guard is dropped: a test that fails waits for nobody there.
    pub fn opened_at_last(&self) -> impl Drop {
        struct Open<'a>(&'a Gate);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.open();
            }
        }
        Open(self)
    }

    /// Whether somebody has come to the gate.
    pub fn is_reached(&self) -> bool {
        self.open.lock().unwrap().1
    }

    /// Waits until somebody waits at the gate.
    pub fn reached(&self) {
        let mut state = self.open.lock().unwrap();
        while !state.1 {
            state = self.changed.wait(state).unwrap();
        }
    }

    fn pass(&self) {
        let mut state = self.open.lock().unwrap();
        state.1 = true;
        self.changed.notify_all();
        while !state.0 {
            state = self.changed.wait(state).unwrap();
        }
    }
}

#[derive(Clone, Debug)]
pub struct Record {
    pub thread: ThreadId,
    pub call: Call,
    pub path: PathBuf,
    /// Bytes asked for, and the offset, of a read or write.
    pub len: usize,
    pub offset: u64,
}

#[derive(Debug, Default)]
struct State {
    records: Vec<Record>,
    rules: VecDeque<Rule>,
    /// The paths of the open files, which follow their renames.
    open: Vec<Weak<Mutex<PathBuf>>>,
}

#[derive(Debug)]
struct Rule {
    call: Call,
    name: String,
    skip: usize,
    times: usize,
    fault: Fault,
}

/// The system with faults. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Faulty(Arc<Mutex<State>>);

#[derive(Debug)]
pub struct Opened {
    file: std::fs::File,
    path: Arc<Mutex<PathBuf>>,
}

impl Opened {
    fn path(&self) -> PathBuf {
        self.path.lock().unwrap().clone()
    }
}

impl Faulty {
    /// Makes `call` on paths that end in `name` fail `times` times, after `skip` that go well.
    pub fn inject(&self, call: Call, name: &str, skip: usize, times: usize, fault: Fault) {
        let rule = Rule { call, name: name.to_owned(), skip, times, fault };
        self.0.lock().unwrap().rules.push_back(rule);
    }

    /// The calls since the last time, in order.
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut self.0.lock().unwrap().records)
    }

    /// Asserts that every fault injected has happened as often as asked.
    pub fn assert_spent(&self) {
        let state = self.0.lock().unwrap();
        assert!(state.rules.iter().all(|rule| rule.times == 0), "unused: {:?}", state.rules);
    }

    fn opened(&self, file: std::fs::File, path: &Path) -> Opened {
        let path = Arc::new(Mutex::new(path.to_owned()));
        self.0.lock().unwrap().open.push(Arc::downgrade(&path));
        Opened { file, path }
    }

    fn call(&self, call: Call, path: &Path, len: usize, offset: u64) -> io::Result<Option<usize>> {
        let mut state = self.0.lock().unwrap();
        let thread = thread::current().id();
        if call != Call::Opened {
            state.records.push(Record { thread, call, path: path.to_owned(), len, offset });
        }
        let text = path.to_string_lossy();
        let rule = state
            .rules
            .iter_mut()
            .find(|rule| rule.call == call && text.ends_with(&rule.name) && rule.times > 0);
        let Some(rule) = rule else { return Ok(None) };
        if rule.skip > 0 {
            rule.skip -= 1;
            return Ok(None);
        }
        rule.times -= 1;
        let fault = rule.fault.clone();
        drop(state);
        match fault {
            Fault::Errno(errno) => Err(errno.into()),
            Fault::Short(bytes) => Ok(Some(bytes)),
            Fault::Gate(gate) => {
                gate.pass();
                Ok(None)
            }
            Fault::Panic => panic!("injected"),
        }
    }
}

impl FileLayer for Faulty {
    type File = Opened;

    fn open(&self, path: &Path, access: Access) -> io::Result<Opened> {
        self.call(Call::Open, path, 0, 0)?;
        let file = Os.open(path, access)?;
        self.call(Call::Opened, path, 0, 0)?;
        Ok(self.opened(file, path))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Opened> {
        Ok(self.opened(Os.open_dir(path)?, path))
    }

    fn try_lock(&self, file: &Opened) -> io::Result<bool> {
        Os.try_lock(&file.file)
    }

    fn len(&self, file: &Opened) -> io::Result<u64> {
        Os.len(&file.file)
    }

    fn read_at(&self, file: &Opened, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let most = self.call(Call::Read, &file.path(), buf.len(), offset)?.unwrap_or(buf.len());
        let most = most.min(buf.len());
        Os.read_at(&file.file, &mut buf[..most], offset)
    }

    fn write_at(&self, file: &Opened, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let len = parts.iter().map(|part| part.len()).sum();
        match self.call(Call::Write, &file.path(), len, offset)? {
            None => Os.write_at(&file.file, parts, offset),
            Some(short) => {
                let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
                Os.write_at(&file.file, &[IoSlice::new(&bytes[..short.min(len)])], offset)
            }
        }
    }

    fn allocate(&self, file: &Opened, len: u64) -> io::Result<()> {
        self.call(Call::Allocate, &file.path(), 0, 0)?;
        Os.allocate(&file.file, len)
    }

    fn set_len(&self, file: &Opened, len: u64) -> io::Result<()> {
        self.call(Call::SetLen, &file.path(), 0, len)?;
        Os.set_len(&file.file, len)
    }

    fn sync_data(&self, file: &Opened) -> io::Result<()> {
        self.call(Call::SyncData, &file.path(), 0, 0)?;
        Os.sync_data(&file.file)
    }

    fn sync_dir(&self, dir: &Opened) -> io::Result<()> {
        self.call(Call::SyncDir, &dir.path(), 0, 0)?;
        Os.sync_dir(&dir.file)
    }

    fn drop_cache(&self, file: &Opened) {
        let _ = self.call(Call::DropCache, &file.path(), 0, 0);
        Os.drop_cache(&file.file);
    }

    /// Says that it does, for a file system without direct writes is nothing that tests are about.
    fn bypass_cache(&self, file: &Opened) -> io::Result<usize> {
        self.drop_cache(file);
        Ok(512)
    }

    fn write_through_at(
        &self,
        file: &Opened,
        parts: &[IoSlice<'_>],
        offset: u64,
    ) -> io::Result<usize> {
        self.write_at(file, parts, offset)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Call::Rename, to, 0, 0)?;
        Os.rename(from, to)?;
        let open = &mut self.0.lock().unwrap().open;
        open.retain(|path| path.strong_count() > 0);
        for path in open.iter().filter_map(Weak::upgrade) {
            let mut path = path.lock().unwrap();
            if *path == from {
                to.clone_into(&mut path);
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(Call::Remove, path, 0, 0)?;
        Os.remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        Os.create_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        Os.list(path)
    }
}

pub const KIB: u64 = 1024;
pub const MIB: u64 = 1024 * KIB;

/// A directory that holds a log, over the faulty layer, files made inline.
pub fn inline() -> (tempfile::TempDir, Faulty, FileSink<Faulty>) {
    opened(&made(Preparation::Inline))
}

/// The same, files made by the helper thread.
pub fn threaded() -> (tempfile::TempDir, Faulty, FileSink<Faulty>) {
    opened(&made(Preparation::Thread))
}

/// The same, and written past the page cache.
pub fn direct() -> (tempfile::TempDir, Faulty, FileSink<Faulty>) {
    opened(&made(Preparation::Thread).io(Io::Direct))
}

fn made(preparation: Preparation) -> FileOptions {
    FileOptions::default().preparation(preparation)
}

fn opened(options: &FileOptions) -> (tempfile::TempDir, Faulty, FileSink<Faulty>) {
    let dir = tempfile::tempdir().unwrap();
    let (layer, sink) = reopen_with(dir.path(), options);
    (dir, layer, sink)
}

pub fn reopen(dir: &Path, preparation: Preparation) -> (Faulty, FileSink<Faulty>) {
    reopen_with(dir, &made(preparation))
}

fn reopen_with(dir: &Path, options: &FileOptions) -> (Faulty, FileSink<Faulty>) {
    let layer = Faulty::default();
    let sink = FileSink::with_layer(layer.clone(), dir, options).unwrap();
    layer.take();
    (layer, sink)
}

pub fn name(sequence: u64) -> String {
    format!("{sequence:020}.wal")
}

/// The names in a directory, sorted, without the lock.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "lock")
        .collect();
    names.sort();
    names
}

pub fn write(
    sink: &impl SegmentSink,
    file: u64,
    offset: u64,
    bytes: &[u8],
) -> Result<(), wal_core::SinkError> {
    sink.write(&Write { ticket: 0, file, offset, parts: &[IoSlice::new(bytes)] })
}

pub fn read(source: &impl LogSource, file: u64, offset: u64, len: usize) -> Vec<u8> {
    let mut buf = vec![0xEE; len];
    let read = source.read_at(file, offset, &mut buf).unwrap();
    buf.truncate(read);
    buf
}

pub fn count(records: &[Record], call: Call) -> usize {
    records.iter().filter(|record| record.call == call).count()
}
