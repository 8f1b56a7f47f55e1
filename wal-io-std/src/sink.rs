//! The file sink: buffered positioned writes and one sync per file written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use wal_core::sink::{Created, Listing, LogSource, SegmentSink, SinkOp, Write};
use wal_core::{Error, SinkError};

use crate::aside;
use crate::dir::{Dir, DirLock, at};
use crate::lock;
use crate::options::{FileOptions, Preparation};
use crate::prepare::Maker;
use crate::source::DirSource;
use crate::sys::{Access, FileLayer, Os, uninterrupted, write_all_at};

/// Log files in a directory, through the page cache: `pwritev` and `fdatasync`.
///
/// Holds the directory's lock until dropped. Dropping waits for the helper thread, which gives up
/// what it is making within one write, and removes the files kept for reuse; it syncs nothing.
///
/// After the first failed [`write`](SegmentSink::write) or [`sync`](SegmentSink::sync), every
/// later one fails too: the kernel marks pages clean when writing them back fails, so a second
/// sync would succeed without having written them. Reading goes on.
#[derive(Debug)]
pub struct FileSink<L: FileLayer = Os> {
    source: DirSource<L>,
    maker: Arc<Maker<L>>,
    preparation: Preparation,
    /// The files open for writing: those with unsynced writes, and the newest.
    writers: Mutex<BTreeMap<u64, Writer<L::File>>>,
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

#[derive(Debug)]
struct Writer<F> {
    file: Arc<F>,
    /// The capacity asked of `create`, and its answer; `None` for a file opened again.
    made: Option<(u64, Created)>,
    /// Whether anything was written, by this sink.
    written: bool,
    /// Whether a write completed that no sync has covered.
    dirty: bool,
    /// Whether it had a name, in the eyes of the system, when it was opened.
    linked: bool,
}

impl<F> Writer<F> {
    fn new(layer: &impl FileLayer<File = F>, file: Arc<F>, made: Option<(u64, Created)>) -> Self {
        let linked = layer.links(&file).is_ok_and(|links| links > 0);
        Self { file, made, written: false, dirty: false, linked }
    }
}

impl FileSink {
    /// Locks the directory and makes what is in it durable, so that whatever is read later is on
    /// the device and not just in the page cache, left by a process that died. Leftovers of files
    /// in the making stay until the first file is [made](SegmentSink::create): then recovery has
    /// found that the log is ours to change. Blocks: writes back what is dirty, waits about 100 ms for a lock.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process or handle has the log open; [`Error::Sink`] or
    /// [`Error::NoSpace`] if a call of the system fails.
    pub fn open(dir: impl AsRef<Path>, options: &FileOptions) -> Result<Self, Error> {
        Self::with_layer(Os, dir.as_ref(), options)
    }
}

impl<L: FileLayer> FileSink<L> {
    /// [`FileSink::open`] over other system calls than the system's: for simulators and tests.
    ///
    /// # Errors
    ///
    /// As [`FileSink::open`].
    pub fn with_layer(layer: L, dir: &Path, options: &FileOptions) -> Result<Self, Error> {
        let dir = if options.create { Dir::create(layer, dir) } else { Dir::open(layer, dir) }?;
        let dir_lock = dir.lock()?;
        let (found, leftovers) = settle(&dir)?;
        let dir = Arc::new(dir);
        Ok(Self {
            source: DirSource::over(Arc::clone(&dir)),
            maker: Arc::new(Maker::new(Arc::clone(&dir), found, options.recycle)),
            preparation: options.preparation,
            writers: Mutex::default(),
            syncing: Mutex::default(),
            leftovers: Mutex::new(leftovers),
            failure: OnceLock::new(),
            dir,
            dir_lock,
        })
    }

    /// The directory, as given to [`open`](FileSink::open).
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Refuses if a write or sync failed before.
    fn check(&self, op: SinkOp, sequence: Option<u64>) -> Result<(), SinkError> {
        let Some(first) = self.failure.get() else { return Ok(()) };
        let source = io::Error::other(format!("refused because of an earlier failure: {first}"));
        Err(at(op, sequence, self.dir.path(), None)(source))
    }

    /// Remembers the first failure for good.
    fn fail(&self, error: SinkError) -> SinkError {
        let _ = self.failure.set(error.to_string());
        error
    }

    /// The open file to write to; one that was closed, being old and synced, is opened again.
    fn writer(&self, sequence: u64) -> Result<Arc<L::File>, SinkError> {
        let mut writers = lock(&self.writers);
        if let Some(writer) = writers.get(&sequence) {
            return Ok(Arc::clone(&writer.file));
        }
        let file = Arc::new(self.dir.open_file(sequence, Access::Update)?);
        let again = Arc::clone(&file);
        let writer = Writer::new(&self.dir.layer, file, None);
        writers.insert(sequence, Writer { written: true, ..writer });
        Ok(again)
    }

    fn write_parts(&self, write: &Write<'_>) -> Result<(), SinkError> {
        let file = self.writer(write.file)?;
        // Before the first byte: a file that holds anything is not made again.
        if let Some(writer) = lock(&self.writers).get_mut(&write.file) {
            writer.written = true;
        }
        write_all_at(&self.dir.layer, &file, write.parts, write.offset)
            .map_err(self.dir.failed(SinkOp::Write, write.file, Some(write.offset)))?;
        if let Some(writer) = lock(&self.writers).get_mut(&write.file) {
            writer.dirty = true;
        }
        Ok(())
    }

    fn sync_dirty(&self) -> Result<(), SinkError> {
        let dirty: Vec<_> = lock(&self.writers)
            .iter_mut()
            .filter(|(_, writer)| writer.dirty)
            .map(|(sequence, writer)| {
                // Cleared first: a write that completes from here on needs another sync.
                writer.dirty = false;
                let capacity = writer.made.map(|(capacity, _)| capacity);
                (*sequence, Arc::clone(&writer.file), capacity, writer.linked)
            })
            .collect();
        for (sequence, file, capacity, linked) in &dirty {
            let failed = self.dir.failed(SinkOp::Sync, *sequence, None);
            uninterrupted(|| self.dir.layer.sync_data(file)).map_err(&failed)?;
            self.check_file(file, *capacity, *linked).map_err(failed)?;
        }
        self.close_old();
        Ok(())
    }

    /// Refuses a file whose bytes will not be found again: a system syncs those of a file without
    /// a name, too, and those that a shorter file no longer holds are gone.
    fn check_file(&self, file: &L::File, capacity: Option<u64>, linked: bool) -> io::Result<()> {
        let layer = &self.dir.layer;
        if linked && uninterrupted(|| layer.links(file))? == 0 {
            let message = "the file was removed or replaced while it is written to";
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        let len = uninterrupted(|| layer.len(file))?;
        if capacity.is_some_and(|capacity| len < capacity) {
            let message = format!("the file was cut to {len} bytes while it is written to");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        Ok(())
    }

    /// Closes the clean files before the newest one written to.
    fn close_old(&self) {
        let mut writers = lock(&self.writers);
        let newest = writers.iter().rev().find(|(_, writer)| writer.written).map(|(seq, _)| *seq);
        writers.retain(|sequence, writer| {
            let keep = writer.dirty || newest.is_none_or(|newest| *sequence >= newest);
            if !keep {
                self.maker.forget(*sequence);
            }
            keep
        });
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
        lock(&self.writers).remove(&sequence);
        self.source.forget(sequence);
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

impl<L: FileLayer> LogSource for FileSink<L> {
    fn list(&self) -> Result<Listing, SinkError> {
        self.source.list()
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        self.source.read_at(sequence, offset, buf)
    }
}

impl<L: FileLayer> SegmentSink for FileSink<L> {
    /// As the trait says. A file of that name that is unused, its first block all zeros, is
    /// accepted or made again; one that holds anything is refused
    /// ([`AlreadyExists`](io::ErrorKind::AlreadyExists)), never replaced.
    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        self.check(SinkOp::Create, Some(sequence))?;
        let there = self.dir.check().and_then(|()| self.dir.check_lock(&self.dir_lock));
        there.map_err(at(SinkOp::Create, Some(sequence), self.dir.path(), None))?;
        self.remove_leftovers()?;
        if let Some(writer) = lock(&self.writers).get(&sequence) {
            if let Some((as_asked, created)) = writer.made
                && as_asked == capacity
            {
                return Ok(created);
            }
            if writer.written {
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
        let file = Arc::new(made.file);
        let created = made.created;
        let writer = Writer::new(&self.dir.layer, file, Some((made.capacity, created)));
        lock(&self.writers).insert(sequence, writer);
        Ok(created)
    }

    fn prepare(&self, sequence: u64, capacity: u64) {
        if self.preparation == Preparation::Thread && self.failure.get().is_none() {
            self.maker.prepare(sequence, capacity);
        }
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        self.check(SinkOp::Write, Some(write.file))?;
        self.write_parts(write).map_err(|error| self.fail(error))
    }

    fn sync(&self) -> Result<(), SinkError> {
        let _syncing = lock(&self.syncing);
        self.check(SinkOp::Sync, None)?;
        self.sync_dirty().map_err(|error| self.fail(error))
    }

    fn trim(&self, sequence: u64, len: u64) -> Result<(), SinkError> {
        self.check(SinkOp::Trim, Some(sequence))?;
        let file = self.writer(sequence)?;
        let layer = &self.dir.layer;
        let cut = || {
            // Never grows the file: that would make bytes up.
            if layer.len(&file)? <= len { Ok(()) } else { layer.set_len(&file, len) }
        };
        uninterrupted(cut).map_err(self.dir.failed(SinkOp::Trim, sequence, Some(len)))
    }

    fn set_aside(&self, sequence: u64, offset: u64, len: u64) -> Result<PathBuf, SinkError> {
        aside::copy(&self.dir, sequence, offset, len)
    }

    fn set_aside_file(&self, sequence: u64) -> Result<PathBuf, SinkError> {
        let moved = aside::move_file(&self.dir, sequence);
        self.forget(sequence);
        self.maker.forget(sequence);
        moved
    }

    fn remove_unused(&self, sequence: u64) -> Result<(), SinkError> {
        let path = self.dir.file_path(sequence);
        let removed = uninterrupted(|| self.dir.layer.remove(&path)).and_then(|()| self.dir.sync());
        self.forget(sequence);
        self.maker.forget(sequence);
        removed.map_err(self.dir.failed(SinkOp::Remove, sequence, None))
    }

    fn retire(&self, sequence: u64) -> Result<(), SinkError> {
        self.check(SinkOp::Remove, Some(sequence))?;
        let retired = self.maker.retire(sequence);
        // Behind it, so that no reader opens the file under this number once more.
        self.forget(sequence);
        retired
    }
}

impl<L: FileLayer> Drop for FileSink<L> {
    fn drop(&mut self) {
        self.maker.stop();
    }
}
