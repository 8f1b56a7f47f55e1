//! A sink on a simulated disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::disk::SimDisk;
use super::file::SimFile;
use crate::error::Error;
use crate::format::file_header::BLOCK_LEN;
use crate::sink::{
    Completion, Created, FileEntry, Listing, LogSource, SegmentSink, SinkError, SinkOp, Submitted,
    Write,
};

/// Where the log lies.
const DIR: &str = "/log";
/// Where recovery keeps what it cuts off.
const ASIDE: &str = "/log/set-aside";
/// Retired files that are kept for reuse.
const SPARES: usize = 2;

/// How a [`SimSink`] behaves.
#[derive(Clone, Copy, Debug)]
pub struct SimOptions {
    /// Alignment that the sink asks for, in bytes; a power of two. Default 1.
    pub alignment: usize,
    /// Whether writes stay in flight until they are reaped, in an order drawn from the disk's seed.
    /// Default true.
    pub overlapped: bool,
    /// Whether retired files are used again. Default true.
    pub recycle: bool,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self { alignment: 1, overlapped: true, recycle: true }
    }
}

/// A sink on a [`SimDisk`]: one file of the disk for each file of the log, in the directory `/log`.
///
/// It keeps to the [contract](crate::sink) whatever the disk does: it ends short and interrupted
/// calls, tries no failed sync again, and refuses everything after a failed write or sync. It never
/// blocks, so that futures need no executor.
#[derive(Debug)]
pub struct SimSink {
    disk: SimDisk,
    options: SimOptions,
    files: Mutex<Files>,
    failed: OnceLock<String>,
    /// The first removal of a file that may come undone.
    stuck: OnceLock<String>,
    _lock: SimFile,
}

#[derive(Debug, Default)]
struct Files {
    open: BTreeMap<u64, Arc<SimFile>>,
    /// Files with a completed write that no sync has covered.
    dirty: BTreeSet<u64>,
    /// The file of each write in flight, by its ticket.
    flights: BTreeMap<u64, u64>,
    /// Files that this sink has made.
    made: BTreeMap<u64, Created>,
    /// Files of these that were retired, by the names they have now.
    spares: VecDeque<PathBuf>,
}

impl SimSink {
    /// Opens the log on `disk`, and makes durable what is there.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another sink has it open; [`Error::Sink`] for faults of the disk.
    pub fn open(disk: &SimDisk, options: SimOptions) -> Result<Self, Error> {
        let lock = open_directory(disk).map_err(failed(SinkOp::Open, None, None))?;
        if !lock.try_lock().map_err(failed(SinkOp::Lock, None, None))? {
            return Err(Error::Locked { path: DIR.into() });
        }
        let sink = Self {
            disk: disk.clone(),
            options,
            files: Mutex::default(),
            failed: OnceLock::new(),
            stuck: OnceLock::new(),
            _lock: lock,
        };
        sink.remove_spares().map_err(failed(SinkOp::Remove, None, None))?;
        for entry in sink.list()?.files {
            let sync = || {
                let file = again(|| disk.open(&entry.path))?;
                again(|| file.sync())?;
                // What an earlier life failed to write is not to be believed.
                file.evict();
                Ok(())
            };
            sync().map_err(failed(SinkOp::Sync, Some(entry.sequence), None))?;
        }
        sink.sync_dirs(&[DIR]).map_err(failed(SinkOp::Sync, None, None))?;
        Ok(sink)
    }

    /// The disk beneath.
    #[must_use]
    pub const fn disk(&self) -> &SimDisk {
        &self.disk
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, op: SinkOp, sequence: Option<u64>) -> Result<(), SinkError> {
        match self.failed.get() {
            None => Ok(()),
            Some(first) => {
                let source = io::Error::other(format!("refused, because earlier {first}"));
                Err(failed(op, sequence, None)(source))
            }
        }
    }

    /// Remembers the first failure for good.
    fn fail(&self, error: SinkError) -> SinkError {
        let _ = self.failed.set(error.to_string());
        error
    }

    fn file(&self, sequence: u64) -> io::Result<Arc<SimFile>> {
        if let Some(file) = self.files().open.get(&sequence) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(again(|| self.disk.open(&path(sequence)))?);
        self.files().open.insert(sequence, Arc::clone(&file));
        Ok(file)
    }

    fn sync_dirs(&self, dirs: &[&str]) -> io::Result<()> {
        for dir in dirs {
            let dir = again(|| self.disk.open_dir(Path::new(dir)))?;
            again(|| dir.sync())?;
        }
        Ok(())
    }

    /// A name in the directory of damage that is not taken.
    fn aside(&self, stem: &str) -> io::Result<PathBuf> {
        match again(|| self.disk.create_dir(Path::new(ASIDE))) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let taken = again(|| self.disk.list(Path::new(ASIDE)))?.len();
        Ok(Path::new(ASIDE).join(format!("{stem}.{taken}")))
    }

    /// Closes a file that goes, and says whether this sink had made it.
    fn close(&self, sequence: u64) -> bool {
        let mut files = self.files();
        files.open.remove(&sequence);
        files.dirty.remove(&sequence);
        files.made.remove(&sequence).is_some()
    }

    /// Removes what an earlier life would have used again.
    fn remove_spares(&self) -> io::Result<()> {
        for listed in again(|| self.disk.list(Path::new(DIR)))? {
            let path = Path::new(DIR).join(&listed.name);
            if is_spare(&path) {
                again(|| self.disk.remove(&path))?;
            }
        }
        Ok(())
    }

    /// Makes a whole file with a durable name, out of one that was retired if there is one of the
    /// same length.
    fn make(&self, sequence: u64, capacity: u64) -> io::Result<Created> {
        let path = path(sequence);
        while let Some(spare) = self.take_spare() {
            let file = again(|| self.disk.open(&spare))?;
            if file.len()? != capacity {
                again(|| self.disk.remove(&spare))?;
                continue;
            }
            write_all(&file, &[IoSlice::new(&[0; BLOCK_LEN])], 0)?;
            again(|| file.sync())?;
            again(|| self.disk.rename(&spare, &path))?;
            self.sync_dirs(&[DIR])?;
            self.files().open.insert(sequence, Arc::new(file));
            return Ok(Created::Recycled);
        }
        match again(|| self.disk.remove(&path)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = again(|| self.disk.create(&path))?;
        again(|| file.set_len(capacity))?;
        again(|| file.sync())?;
        self.sync_dirs(&[DIR])?;
        self.files().open.insert(sequence, Arc::new(file));
        Ok(Created::Zeroed)
    }

    fn take_spare(&self) -> Option<PathBuf> {
        self.files().spares.pop_front()
    }
}

fn path(sequence: u64) -> PathBuf {
    Path::new(DIR).join(format!("{sequence:020}.wal"))
}

fn is_spare(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "spare")
}

fn sequence_of(name: &str) -> Option<u64> {
    name.strip_suffix(".wal")?.parse().ok()
}

fn failed(
    op: SinkOp,
    file: Option<u64>,
    offset: Option<u64>,
) -> impl Fn(io::Error) -> SinkError + Copy {
    move |source| SinkError {
        op,
        file,
        path: Some(file.map_or_else(|| DIR.into(), path)),
        offset,
        source,
    }
}

/// Calls until the call is not interrupted.
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn write_all(file: &SimFile, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
    let mut done = 0;
    while done < bytes.len() {
        let rest = [IoSlice::new(&bytes[done..])];
        done += again(|| file.write_at(&rest, offset + done as u64))?;
    }
    Ok(())
}

fn open_directory(disk: &SimDisk) -> io::Result<SimFile> {
    match again(|| disk.create_dir(Path::new(DIR))) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let root = again(|| disk.open_dir(Path::new("/")))?;
    again(|| root.sync())?;
    let lock = Path::new(DIR).join("lock");
    match again(|| disk.create(&lock)) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => again(|| disk.open(&lock)),
        made => made,
    }
}

impl LogSource for SimSink {
    fn list(&self) -> Result<Listing, SinkError> {
        let names = again(|| self.disk.list(Path::new(DIR)));
        let mut listing = Listing::default();
        for listed in names.map_err(failed(SinkOp::List, None, None))? {
            let path = Path::new(DIR).join(&listed.name);
            match listed.name.to_str().and_then(sequence_of) {
                Some(sequence) if listed.is_file => {
                    listing.files.push(FileEntry { sequence, len: listed.len, path });
                }
                _ if path == Path::new(ASIDE) || listed.name == "lock" || is_spare(&path) => {}
                _ => listing.foreign.push(path),
            }
        }
        listing.files.sort_unstable_by_key(|file| file.sequence);
        Ok(listing)
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        let read = || {
            let file = self.file(sequence)?;
            let mut filled = 0;
            while filled < buf.len() {
                let Some(at) = offset.checked_add(filled as u64) else { break };
                match again(|| file.read_at(&mut buf[filled..], at))? {
                    0 => break,
                    read => filled += read,
                }
            }
            Ok(filled)
        };
        let mut read = read;
        read().map_err(failed(SinkOp::Read, Some(sequence), Some(offset)))
    }
}

impl SegmentSink for SimSink {
    fn alignment(&self) -> usize {
        self.options.alignment
    }

    fn blocks(&self) -> bool {
        false
    }

    /// A file that an earlier life left unused is made anew.
    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        self.check(SinkOp::Create, Some(sequence))?;
        let files = self.files();
        let there = files.open.get(&sequence).and_then(|file| file.len().ok());
        if let (Some(created), true) = (files.made.get(&sequence), there == Some(capacity)) {
            return Ok(*created);
        }
        drop(files);
        self.close(sequence);
        let created =
            self.make(sequence, capacity).map_err(failed(SinkOp::Create, Some(sequence), None))?;
        self.files().made.insert(sequence, created);
        Ok(created)
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        self.check(SinkOp::Write, Some(write.file))?;
        self.file(write.file)
            .and_then(|file| write_all(&file, write.parts, write.offset))
            .map_err(failed(SinkOp::Write, Some(write.file), Some(write.offset)))
            .map_err(|error| self.fail(error))?;
        self.files().dirty.insert(write.file);
        Ok(())
    }

    #[expect(unsafe_code, reason = "the trait's method is unsafe to call")]
    unsafe fn submit(&self, write: &Write<'_>) -> Submitted {
        if !self.options.overlapped {
            return Submitted::Done(self.write(write));
        }
        let submit = || {
            self.check(SinkOp::Write, Some(write.file))?;
            // The disk copies the bytes: nothing is kept of the caller's memory.
            self.file(write.file)
                .and_then(|file| again(|| file.submit(write.ticket, write.parts, write.offset)))
                .map_err(failed(SinkOp::Write, Some(write.file), Some(write.offset)))
                .map_err(|error| self.fail(error))
        };
        match submit() {
            Ok(()) => {
                self.files().flights.insert(write.ticket, write.file);
                Submitted::Pending
            }
            Err(error) => Submitted::Done(Err(error)),
        }
    }

    fn reap(&self, wait: bool, done: &mut Vec<Completion>) {
        let flights: Vec<u64> = self.files().flights.keys().copied().collect();
        for ticket in self.disk.draw(&flights, usize::from(wait)) {
            let result = loop {
                match self.disk.complete(ticket) {
                    Ok(true) => break Ok(()),
                    Ok(false) => {}
                    Err(error) => break Err(error),
                }
            };
            let mut files = self.files();
            let file = files.flights.remove(&ticket);
            if result.is_ok() {
                files.dirty.extend(file);
            }
            drop(files);
            let result =
                result.map_err(failed(SinkOp::Write, file, None)).map_err(|error| self.fail(error));
            done.push(Completion { ticket, result });
        }
    }

    fn sync(&self) -> Result<(), SinkError> {
        self.check(SinkOp::Sync, None)?;
        let dirty = std::mem::take(&mut self.files().dirty);
        for sequence in dirty {
            self.file(sequence)
                .and_then(|file| again(|| file.sync()))
                .map_err(failed(SinkOp::Sync, Some(sequence), None))
                .map_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    fn trim(&self, sequence: u64, len: u64) -> Result<(), SinkError> {
        let trim = || {
            let file = self.file(sequence)?;
            if file.len()? > len { again(|| file.set_len(len)) } else { Ok(()) }
        };
        trim().map_err(failed(SinkOp::Trim, Some(sequence), Some(len)))
    }

    fn set_aside(&self, sequence: u64, offset: u64, len: u64) -> Result<PathBuf, SinkError> {
        let copy = || {
            let file = self.file(sequence)?;
            let mut bytes = vec![0; len as usize];
            let mut read = 0;
            while read < bytes.len() {
                match again(|| file.read_at(&mut bytes[read..], offset + read as u64))? {
                    0 => break,
                    more => read += more,
                }
            }
            let to = self.aside(&format!("{sequence:020}-{offset:020}"))?;
            let copy = again(|| self.disk.create(&to))?;
            write_all(&copy, &[IoSlice::new(&bytes[..read])], 0)?;
            again(|| copy.sync())?;
            self.sync_dirs(&[ASIDE, DIR])?;
            Ok(to)
        };
        copy().map_err(failed(SinkOp::SetAside, Some(sequence), Some(offset)))
    }

    fn set_aside_file(&self, sequence: u64) -> Result<PathBuf, SinkError> {
        self.close(sequence);
        let rename = || {
            let to = self.aside(&format!("{sequence:020}"))?;
            again(|| self.disk.rename(&path(sequence), &to))?;
            self.sync_dirs(&[ASIDE, DIR])?;
            Ok(to)
        };
        rename().map_err(failed(SinkOp::SetAside, Some(sequence), None))
    }

    fn remove_unused(&self, sequence: u64) -> Result<(), SinkError> {
        self.close(sequence);
        let remove = || {
            again(|| self.disk.remove(&path(sequence)))?;
            self.sync_dirs(&[DIR])
        };
        remove().map_err(failed(SinkOp::Remove, Some(sequence), None))
    }

    fn retire(&self, sequence: u64) -> Result<(), SinkError> {
        let spare = path(sequence).with_extension("spare");
        let keep = self.close(sequence) && self.options.recycle;
        let keep = keep && self.files().spares.len() < SPARES;
        if let Some(first) = self.stuck.get() {
            let source = io::Error::other(format!("refused, because earlier {first}"));
            return Err(failed(SinkOp::Remove, Some(sequence), None)(source));
        }
        let take_away = || {
            if keep {
                again(|| self.disk.rename(&path(sequence), &spare))
            } else {
                again(|| self.disk.remove(&path(sequence)))
            }
        };
        take_away().map_err(failed(SinkOp::Remove, Some(sequence), None))?;
        // Gone from the listing, and not for good: then no later file may go.
        self.sync_dirs(&[DIR]).map_err(|source| {
            let error = failed(SinkOp::Remove, Some(sequence), None)(source);
            let _ = self.stuck.set(error.to_string());
            error
        })?;
        if keep {
            self.files().spares.push_back(spare);
        }
        Ok(())
    }
}

impl Drop for SimSink {
    /// Ends what is in flight, as every sink must.
    fn drop(&mut self) {
        let mut done = Vec::new();
        while !self.files().flights.is_empty() {
            self.reap(true, &mut done);
        }
    }
}
