//! The files of a log, and all that is done with them but writing their bytes and syncing those:
//! what the backends of this workspace have in common. **Outside of semantic versioning.**
//!
//! A backend wraps [`LogFiles`] and adds how bytes get into a file and onto the device. Around each
//! write it calls [`begin`](LogFiles::begin) and [`end`](LogFiles::end), and its sync goes through
//! [`sync`](LogFiles::sync), which knows what is to be synced and looks afterwards whether those
//! files are still there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use wal_core::sink::{Created, Listing, LogSource, SinkOp, Spares};
use wal_core::{Error, SinkError};

use crate::aside;
use crate::dir::{Dir, DirLock, at};
use crate::direct::{Aligned, write_through};
use crate::lock;
use crate::options::{FileOptions, Preparation};
use crate::prepare::Maker;
use crate::source::DirSource;
use crate::sys::{Access, FileLayer, uninterrupted};

/// The log files of a directory, locked and owned until this is dropped.
///
/// Dropping waits for the helper thread, which gives up what it is making within one write, and
/// removes the files kept for reuse; it syncs nothing.
///
/// `A` is what the backend keeps with each open file, until the file is closed.
pub struct LogFiles<L: FileLayer, A = ()> {
    source: DirSource<L>,
    maker: Arc<Maker<L>>,
    preparation: Preparation,
    /// The files open for writing: those with unsynced writes, and the newest.
    open: Mutex<BTreeMap<u64, Entry<L::File, A>>>,
    /// Held while syncing, so that nobody takes a sync under way for done.
    syncing: Mutex<()>,
    /// Files in the making that an earlier process left behind; removed with the first `create`.
    leftovers: Mutex<Vec<PathBuf>>,
    /// The first failed write or sync.
    failure: OnceLock<String>,
    dir: Arc<Dir<L>>,
    /// Last: released when nothing can touch the directory any more.
    dir_lock: DirLock<L>,
}

/// A log file open for writing.
#[derive(Debug)]
pub struct OpenFile<F, A> {
    /// Its sequence number.
    pub sequence: u64,
    /// The handle.
    pub file: F,
    /// What the backend keeps with it.
    pub attached: OnceLock<A>,
    /// The capacity asked of `create`, and its answer; `None` for a file opened again.
    made: Option<(u64, Created)>,
    /// Whether it had a name, in the eyes of the system, when it was opened.
    linked: bool,
    /// Whether its handle bypasses the page cache.
    bypasses: AtomicBool,
    /// The highest offset that a write reached for.
    reached: AtomicU64,
}

impl<F, A> OpenFile<F, A> {
    fn new(
        layer: &impl FileLayer<File = F>,
        sequence: u64,
        file: F,
        made: Option<(u64, Created)>,
    ) -> Arc<Self> {
        let linked = layer.links(&file).is_ok_and(|links| links > 0);
        Arc::new(Self {
            sequence,
            file,
            attached: OnceLock::new(),
            made,
            linked,
            bypasses: AtomicBool::new(false),
            reached: AtomicU64::new(0),
        })
    }

    /// Refuses a file whose bytes will not be found again: a system syncs those of a file without
    /// a name, too, and those that a shorter file no longer holds are gone.
    fn check(&self, layer: &impl FileLayer<File = F>) -> io::Result<()> {
        if self.linked && uninterrupted(|| layer.links(&self.file))? == 0 {
            let message = "the file was removed or replaced while it is written to";
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        let len = uninterrupted(|| layer.len(&self.file))?;
        if self.made.is_some_and(|(capacity, _)| len < capacity) {
            let message = format!("the file was cut to {len} bytes while it is written to");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        Ok(())
    }
}

struct Entry<F, A> {
    file: Arc<OpenFile<F, A>>,
    /// Whether anything was written, by this sink.
    written: bool,
    /// Writes begun that have not ended.
    writing: usize,
    /// Whether a write completed that no sync has covered.
    dirty: bool,
}

impl<F, A> Entry<F, A> {
    const fn new(file: Arc<OpenFile<F, A>>) -> Self {
        Self { file, written: false, writing: 0, dirty: false }
    }
}

impl<L: FileLayer, A> LogFiles<L, A> {
    /// Locks the directory and makes what is in it durable, so that whatever is read later is on
    /// the device and not just in the page cache, left by a process that died. Leftovers of files
    /// in the making stay until the first file is [made](Self::create): then recovery has found
    /// that the log is ours to change. Blocks: writes back what is dirty, waits about 100 ms for a
    /// lock.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process or handle has the log open; [`Error::Sink`] or
    /// [`Error::NoSpace`] if a call of the system fails.
    pub fn open(layer: L, dir: &Path, options: &FileOptions) -> Result<Self, Error> {
        let dir = if options.create { Dir::create(layer, dir) } else { Dir::open(layer, dir) }?;
        let dir_lock = dir.lock()?;
        let (found, leftovers) = settle(&dir)?;
        let dir = Arc::new(dir);
        Ok(Self {
            source: DirSource::over(Arc::clone(&dir)),
            maker: Arc::new(Maker::new(Arc::clone(&dir), found, options.recycle)),
            preparation: options.preparation,
            open: Mutex::default(),
            syncing: Mutex::default(),
            leftovers: Mutex::new(leftovers),
            failure: OnceLock::new(),
            dir,
            dir_lock,
        })
    }

    /// The directory, as given to [`open`](Self::open).
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The system calls.
    #[must_use]
    pub fn layer(&self) -> &L {
        &self.dir.layer
    }

    /// Puts operation and place in log file `sequence` to a system's error.
    pub fn failed(
        &self,
        op: SinkOp,
        sequence: u64,
        offset: Option<u64>,
    ) -> impl Fn(io::Error) -> SinkError {
        self.dir.failed(op, sequence, offset)
    }

    /// Refuses if a write or sync failed before.
    ///
    /// # Errors
    ///
    /// One that names the first failure.
    pub fn check(&self, op: SinkOp, sequence: Option<u64>) -> Result<(), SinkError> {
        let Some(first) = self.failure.get() else { return Ok(()) };
        let source = io::Error::other(format!("refused because of an earlier failure: {first}"));
        Err(at(op, sequence, self.dir.path(), None)(source))
    }

    /// Remembers the first failure for good, and gives it back.
    pub fn fail(&self, error: SinkError) -> SinkError {
        let _ = self.failure.set(error.to_string());
        error
    }

    /// [`SegmentSink::create`](wal_core::SegmentSink::create). A file of that name that is unused,
    /// its first block all zeros, is accepted or made again; one that holds anything is refused
    /// ([`AlreadyExists`](io::ErrorKind::AlreadyExists)), never replaced.
    ///
    /// # Errors
    ///
    /// As the trait says.
    pub fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        self.check(SinkOp::Create, Some(sequence))?;
        let there = self.dir.check().and_then(|()| self.dir.check_lock(&self.dir_lock));
        there.map_err(at(SinkOp::Create, Some(sequence), self.dir.path(), None))?;
        self.remove_leftovers()?;
        if let Some(entry) = lock(&self.open).get(&sequence) {
            if let Some((as_asked, created)) = entry.file.made
                && as_asked == capacity
            {
                return Ok(created);
            }
            if entry.written {
                let source = io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    format!("in use already, and not with {capacity} bytes"),
                );
                return Err(self.dir.failed(SinkOp::Create, sequence, None)(source));
            }
        }
        self.forget(sequence);
        let made = self.maker.create(sequence, capacity)?;
        // Again: a reader may have opened the file that was replaced.
        self.source.forget(sequence);
        let (created, answer) = (made.created, Some((made.capacity, made.created)));
        let file = OpenFile::new(&self.dir.layer, sequence, made.file, answer);
        lock(&self.open).insert(sequence, Entry::new(file));
        Ok(created)
    }

    /// [`SegmentSink::prepare`](wal_core::SegmentSink::prepare), where
    /// [`Preparation`] says.
    pub fn prepare(&self, sequence: u64, capacity: u64) {
        if self.preparation == Preparation::Thread && self.failure.get().is_none() {
            self.maker.prepare(sequence, capacity);
        }
    }

    /// [`SegmentSink::spares`](wal_core::SegmentSink::spares).
    #[must_use]
    pub fn spares(&self) -> Spares {
        self.maker.spares()
    }

    /// The open file to write to; one that was closed, being old and synced, is opened again.
    ///
    /// # Errors
    ///
    /// If it cannot be opened: [`create`](Self::create) has not made it, or it is gone.
    pub fn file(&self, sequence: u64) -> Result<Arc<OpenFile<L::File, A>>, SinkError> {
        let mut open = lock(&self.open);
        if let Some(entry) = open.get(&sequence) {
            return Ok(Arc::clone(&entry.file));
        }
        let file = self.dir.open_file(sequence, Access::Update)?;
        let file = OpenFile::new(&self.dir.layer, sequence, file, None);
        let entry = Entry { written: true, ..Entry::new(Arc::clone(&file)) };
        open.insert(sequence, entry);
        Ok(file)
    }

    /// What writes that bypass the page cache have to be aligned to in this directory.
    ///
    /// # Errors
    ///
    /// If there can be none.
    pub fn bypass_alignment(&self) -> io::Result<usize> {
        // The lock is a file of ours like any other, there before all, and never read or written.
        uninterrupted(|| self.dir.layer.bypass_cache(&self.dir_lock.file))
    }

    /// Has the writes to `file`, and the reads on its handle, bypass the page cache. Reads of
    /// [`LogFiles`] go through the cache as before, but see to it that it holds nothing that is
    /// still to be written: a direct write over cached pages has to wait until they are gone.
    ///
    /// # Errors
    ///
    /// Those of [`FileLayer::bypass_cache`].
    pub fn bypass_cache(&self, file: &OpenFile<L::File, A>) -> io::Result<usize> {
        let alignment = uninterrupted(|| self.dir.layer.bypass_cache(&file.file))?;
        // Relaxed, here and where it is read: a reader who misses it costs a writer some time.
        file.bypasses.store(true, Ordering::Relaxed);
        self.maker.bypass();
        Ok(alignment)
    }

    /// Tries a durable write that bypasses the page cache, where nothing is lost by it: the header
    /// block of a file that was made and not written to is zeros, and is so again. Does nothing to
    /// any other file.
    ///
    /// # Errors
    ///
    /// What such a write is refused for.
    pub fn try_write_through(&self, file: &OpenFile<L::File, A>, align: usize) -> io::Result<()> {
        let unused = file.made.is_some()
            && lock(&self.open).get(&file.sequence).is_some_and(|entry| !entry.written);
        if !unused {
            return Ok(());
        }
        let zeros = Aligned::zeroed(align, align);
        write_through(&self.dir.layer, &file.file, zeros.bytes(), 0, align)
    }

    /// The file for a write up to offset `to` that begins now, before its first byte: a file that
    /// holds anything is not made again. [`end`](Self::end) follows, however the write ends.
    ///
    /// # Errors
    ///
    /// As for [`file`](Self::file).
    pub fn begin(&self, sequence: u64, to: u64) -> Result<Arc<OpenFile<L::File, A>>, SinkError> {
        let file = self.file(sequence)?;
        // Relaxed: advice for readers.
        file.reached.fetch_max(to, Ordering::Relaxed);
        if let Some(entry) = lock(&self.open).get_mut(&sequence) {
            entry.written = true;
            entry.writing += 1;
        }
        Ok(file)
    }

    /// Says that a write has ended; if it has `completed`, the next sync covers it.
    pub fn end(&self, file: &Arc<OpenFile<L::File, A>>, completed: bool) {
        if let Some(entry) = lock(&self.open).get_mut(&file.sequence)
            && Arc::ptr_eq(&entry.file, file)
        {
            entry.writing -= 1;
            entry.dirty |= completed;
        }
    }

    /// Has `sync` make every completed write durable, file by file, looks whether those files are
    /// still what they were, and closes the ones that are old. A failure is remembered. Blocks.
    ///
    /// # Errors
    ///
    /// That of `sync`; [`NotFound`](io::ErrorKind::NotFound) for a file that lost its name,
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) for one that was cut; an earlier failure.
    pub fn sync(
        &self,
        sync: impl Fn(&OpenFile<L::File, A>) -> io::Result<()>,
    ) -> Result<(), SinkError> {
        let _syncing = lock(&self.syncing);
        self.check(SinkOp::Sync, None)?;
        self.sync_dirty(sync).map_err(|error| self.fail(error))
    }

    fn sync_dirty(
        &self,
        sync: impl Fn(&OpenFile<L::File, A>) -> io::Result<()>,
    ) -> Result<(), SinkError> {
        let dirty: Vec<_> = lock(&self.open)
            .values_mut()
            .filter(|entry| entry.dirty)
            .map(|entry| {
                // Cleared first: a write that completes from here on needs another sync.
                entry.dirty = false;
                Arc::clone(&entry.file)
            })
            .collect();
        for file in &dirty {
            let failed = self.dir.failed(SinkOp::Sync, file.sequence, None);
            sync(file).map_err(&failed)?;
            file.check(&self.dir.layer).map_err(failed)?;
        }
        self.close_old();
        Ok(())
    }

    /// Closes the clean files before the newest one written to.
    fn close_old(&self) {
        let mut open = lock(&self.open);
        let newest = open.iter().rev().find(|(_, entry)| entry.written).map(|(seq, _)| *seq);
        open.retain(|sequence, entry| {
            let busy = entry.dirty || entry.writing > 0;
            let keep = busy || newest.is_none_or(|newest| *sequence >= newest);
            if !keep {
                self.maker.forget(*sequence);
            }
            keep
        });
    }

    /// [`SegmentSink::trim`](wal_core::SegmentSink::trim): cuts the file.
    ///
    /// # Errors
    ///
    /// As the trait says.
    pub fn trim(&self, sequence: u64, len: u64) -> Result<(), SinkError> {
        self.check(SinkOp::Trim, Some(sequence))?;
        let file = self.file(sequence)?;
        let layer = &self.dir.layer;
        let cut = || {
            // Never grows the file: that would make bytes up.
            if layer.len(&file.file)? <= len { Ok(()) } else { layer.set_len(&file.file, len) }
        };
        uninterrupted(cut).map_err(self.dir.failed(SinkOp::Trim, sequence, Some(len)))
    }

    /// [`SegmentSink::set_aside`](wal_core::SegmentSink::set_aside), into the subdirectory for it.
    ///
    /// # Errors
    ///
    /// As the trait says.
    pub fn set_aside(&self, sequence: u64, offset: u64, len: u64) -> Result<PathBuf, SinkError> {
        aside::copy(&self.dir, sequence, offset, len)
    }

    /// [`SegmentSink::set_aside_file`](wal_core::SegmentSink::set_aside_file), into the same.
    ///
    /// # Errors
    ///
    /// As the trait says.
    pub fn set_aside_file(&self, sequence: u64) -> Result<PathBuf, SinkError> {
        let moved = aside::move_file(&self.dir, sequence);
        self.forget(sequence);
        self.maker.forget(sequence);
        moved
    }

    /// [`SegmentSink::remove_unused`](wal_core::SegmentSink::remove_unused).
    ///
    /// # Errors
    ///
    /// As the trait says.
    pub fn remove_unused(&self, sequence: u64) -> Result<(), SinkError> {
        let path = self.dir.file_path(sequence);
        let removed = uninterrupted(|| self.dir.layer.remove(&path)).and_then(|()| self.dir.sync());
        self.forget(sequence);
        self.maker.forget(sequence);
        removed.map_err(self.dir.failed(SinkOp::Remove, sequence, None))
    }

    /// [`SegmentSink::retire`](wal_core::SegmentSink::retire): the file is kept for reuse if it can
    /// be.
    ///
    /// # Errors
    ///
    /// As the trait says.
    pub fn retire(&self, sequence: u64) -> Result<(), SinkError> {
        self.check(SinkOp::Remove, Some(sequence))?;
        let retired = self.maker.retire(sequence);
        // Behind it, so that no reader opens the file under this number once more.
        self.forget(sequence);
        retired
    }

    /// Removes what an earlier process left of files in the making. What resists is tried again.
    fn remove_leftovers(&self) -> Result<(), SinkError> {
        let mut leftovers = lock(&self.leftovers);
        while let Some(path) = leftovers.last() {
            match uninterrupted(|| self.dir.layer.remove(path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(at(SinkOp::Remove, None, path, None)(error));
                }
                _ => drop(leftovers.pop()),
            }
        }
        Ok(())
    }

    /// Closes file `sequence`, which goes or is replaced.
    fn forget(&self, sequence: u64) {
        lock(&self.open).remove(&sequence);
        self.source.forget(sequence);
    }
}

impl<L: FileLayer, A> fmt::Debug for LogFiles<L, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFiles")
            .field("path", &self.dir.path())
            .field("failure", &self.failure.get())
            .finish_non_exhaustive()
    }
}

impl<L: FileLayer, A> LogSource for LogFiles<L, A> {
    fn list(&self) -> Result<Listing, SinkError> {
        self.source.list()
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        if !self.maker.bypasses() {
            return self.source.read_at(sequence, offset, buf);
        }
        let bypassing = lock(&self.open)
            .get(&sequence)
            .map(|entry| Arc::clone(&entry.file))
            .filter(|file| file.bypasses.load(Ordering::Relaxed));
        let Some(file) = bypassing else { return self.source.read_at(sequence, offset, buf) };
        let read = self.source.read_without_read_ahead(sequence, offset, buf)?;
        if offset.saturating_add(read as u64) > file.reached.load(Ordering::Relaxed) {
            self.dir.layer.drop_cache(&file.file);
        }
        Ok(read)
    }
}

impl<L: FileLayer, A> Drop for LogFiles<L, A> {
    fn drop(&mut self) {
        self.maker.stop();
    }
}

/// Makes everything present durable; returns the sequence numbers present, and the leftovers.
fn settle<L: FileLayer>(dir: &Dir<L>) -> Result<(BTreeSet<u64>, Vec<PathBuf>), SinkError> {
    let (listing, leftovers) = dir.list()?;
    for entry in &listing.files {
        let file = dir.open_file(entry.sequence, Access::Read)?;
        uninterrupted(|| dir.layer.sync_data(&file)).map_err(dir.failed(
            SinkOp::Sync,
            entry.sequence,
            None,
        ))?;
        // A sync that failed in an earlier life left pages marked clean that are not on the
        // device. Dropped, they cannot be read and believed.
        dir.layer.drop_cache(&file);
    }
    dir.sync().map_err(at(SinkOp::Sync, None, dir.path(), None))?;
    Ok((listing.files.iter().map(|file| file.sequence).collect(), leftovers))
}
