//! Making log files, ahead of need where possible, and of old ones where there are any.
//!
//! A file is made under a temporary name: space reserved, every byte written and synced, then
//! renamed, then the directory synced. So a file under its final name is whole, overwriting it
//! allocates nothing, and a sync of such an overwrite has no metadata to write.
//!
//! A file that is retired gets its temporary name back, durably, and may wait there as a *spare*.
//! To make a file of it, its header block is overwritten with zeros and synced, and it is renamed
//! like a new one. Whatever a crash leaves is a file of the log under its old name, a leftover that
//! the next open removes, or an unused file under its new name.
//!
//! # Who may touch what
//!
//! [`State::files`] says for each sequence number who has it. Whoever puts [`Stage::Making`] there
//! owns that number's names on disk until replacing it; everybody else leaves them alone. A spare's
//! name is owned by whoever takes it out of [`State::spares`]. No thread holds the mutex across
//! I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use wal_core::SinkError;
use wal_core::format::file_header::BLOCK_LEN;
use wal_core::sink::{Created, SinkOp, Spares};

use crate::dir::{Dir, at};
use crate::lock;
use crate::sys::{Access, FileLayer, read_full_at, uninterrupted, write_all_at};

/// Zeros written by one call. Linux keeps what one call wrote in one piece of the page cache where it
/// can, and writes back all of such a piece for one byte stored through a mapping: 1 MiB for each
/// commit of a mapped log, if it was filled by calls of 1 MiB. Much smaller pieces make large writes
/// slower: by a quarter at 16 KiB (README of wal-bench, "Filling").
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Bytes between two syncs while filling. A commit's sync may have to wait for the device to take
/// what another file has in flight, so this bounds what it can be held up by.
const SLICE: u64 = 4 << 20;

/// Retired files kept for reuse: one is in the making while another is needed.
const SPARES: usize = 2;

/// Makes log files.
#[derive(Debug)]
pub(crate) struct Maker<L: FileLayer> {
    dir: Arc<Dir<L>>,
    state: Mutex<State<L::File>>,
    /// Something left [`Stage::Making`].
    changed: Condvar,
    /// The sink is going: the helper gives up.
    stop: AtomicBool,
    /// Whether retired files are kept for reuse.
    recycle: bool,
    /// Files are written past the page cache: what filling leaves there is in the way.
    bypasses: AtomicBool,
    /// A file was retired, and nobody knows whether it stays so: no other one is.
    in_doubt: AtomicBool,
}

#[derive(Debug)]
struct State<F> {
    files: BTreeMap<u64, Stage<F>>,
    /// Files that were there, and were synced, when the log opened; no longer once touched.
    found: BTreeSet<u64>,
    /// The capacity of each file that this maker has written in full, and that was not retired.
    written: BTreeMap<u64, u64>,
    /// Oldest first.
    spares: VecDeque<Spare>,
    helper: Option<JoinHandle<()>>,
}

/// A retired file of this life, under its temporary name.
#[derive(Debug)]
struct Spare {
    path: PathBuf,
    capacity: u64,
}

#[derive(Debug)]
enum Stage<F> {
    /// Somebody is making it.
    Making,
    /// Made, durable, and not handed out yet.
    Ready(Made<F>),
    /// Handed out by `create`.
    InUse,
}

/// A file made, or accepted, with all of its bytes and its name durable.
#[derive(Debug)]
pub(crate) struct Made<F> {
    pub(crate) file: F,
    pub(crate) capacity: u64,
    pub(crate) created: Created,
}

impl<L: FileLayer> Maker<L> {
    /// `found` are the log files present, synced along with the directory.
    pub(crate) fn new(dir: Arc<Dir<L>>, found: BTreeSet<u64>, recycle: bool) -> Self {
        let state = State {
            files: BTreeMap::new(),
            found,
            written: BTreeMap::new(),
            spares: VecDeque::new(),
            helper: None,
        };
        Self {
            dir,
            state: Mutex::new(state),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
            recycle,
            bypasses: AtomicBool::new(false),
            in_doubt: AtomicBool::new(false),
        }
    }

    /// From now on files are written past the page cache, and made for it.
    pub(crate) fn bypass(&self) {
        // Relaxed, here and where it is read: who misses it costs a writer or a reader some time.
        self.bypasses.store(true, Ordering::Relaxed);
    }

    /// Whether files are written past the page cache.
    pub(crate) fn bypasses(&self) -> bool {
        self.bypasses.load(Ordering::Relaxed)
    }

    /// Hands out file `sequence`, waiting for it if it is being made, making it if nobody did. The
    /// caller must not use an earlier handle to the same file afterwards.
    pub(crate) fn create(&self, sequence: u64, capacity: u64) -> Result<Made<L::File>, SinkError> {
        let mut state = lock(&self.state);
        while let Some(Stage::Making) = state.files.get(&sequence) {
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        match state.files.insert(sequence, Stage::Making) {
            Some(Stage::Ready(made)) if made.capacity == capacity => {
                state.files.insert(sequence, Stage::InUse);
                return Ok(made);
            }
            _ => drop(state),
        }
        let claim = Claim { maker: self, sequence, next: None };
        let made = self.make(sequence, capacity, &AtomicBool::new(false))?;
        claim.settle(Stage::InUse);
        Ok(made)
    }

    /// Starts making file `sequence` on a helper thread, unless it is made or in use already or
    /// any file is being made. Does not block.
    pub(crate) fn prepare(self: &Arc<Self>, sequence: u64, capacity: u64) {
        let mut state = lock(&self.state);
        let busy = state.files.values().any(|stage| matches!(stage, Stage::Making));
        let settled = match state.files.get(&sequence) {
            Some(Stage::Ready(made)) => made.capacity == capacity,
            Some(Stage::Making | Stage::InUse) => true,
            None => false,
        };
        if busy || settled || self.stop.load(Ordering::Relaxed) {
            return;
        }
        state.files.insert(sequence, Stage::Making);
        let maker = Arc::clone(self);
        let job = move || {
            let claim = Claim { maker: &maker, sequence, next: None };
            // An error is not lost: `create` finds nothing ready, tries itself and reports.
            if let Ok(made) = maker.make(sequence, capacity, &maker.stop) {
                claim.settle(Stage::Ready(made));
            }
        };
        match thread::Builder::new().name("wal-prepare".to_owned()).spawn(job) {
            // The helper before this one is past its work: nothing was being made.
            Ok(helper) => state.helper = Some(helper),
            Err(_) => {
                state.files.remove(&sequence);
                self.changed.notify_all();
            }
        }
    }

    /// Forgets a file that is no longer written to, or no longer there.
    pub(crate) fn forget(&self, sequence: u64) {
        let mut state = lock(&self.state);
        state.found.remove(&sequence);
        if !matches!(state.files.get(&sequence), Some(Stage::Making)) {
            state.files.remove(&sequence);
        }
    }

    /// What is ready for `create`. Not what is in the making.
    pub(crate) fn spares(&self) -> Spares {
        let state = lock(&self.state);
        let ready = state.files.values().filter_map(|stage| match stage {
            Stage::Ready(made) => Some(made.capacity),
            Stage::Making | Stage::InUse => None,
        });
        let kept = state.spares.iter().map(|spare| spare.capacity);
        Spares {
            prepared: ready.clone().count(),
            retired: kept.len(),
            bytes: ready.chain(kept).sum(),
        }
    }

    /// Takes file `sequence` out of the log, durably, and keeps it for reuse if it can be. Called
    /// by one thread at a time, at any time.
    pub(crate) fn retire(&self, sequence: u64) -> Result<(), SinkError> {
        let failed = self.dir.failed(SinkOp::Remove, sequence, None);
        if self.in_doubt.load(Ordering::Relaxed) {
            let message = "an older file may come back: it has to go first, after opening again";
            return Err(failed(io::Error::other(message)));
        }
        let (path, spare) = (self.dir.file_path(sequence), self.dir.temporary_path(sequence));
        let layer = &self.dir.layer;
        // A handle of its own, opened before: a failure is told to each handle once, and another
        // thread may be syncing the directory for a file that it makes.
        let handle = uninterrupted(|| layer.open_dir(self.dir.path())).map_err(&failed)?;
        uninterrupted(|| layer.rename(&path, &spare)).map_err(&failed)?;
        if let Err(error) = uninterrupted(|| layer.sync_dir(&handle)) {
            // Another sync of the same entry could succeed without having written it. Back under
            // its name, the file is renamed anew by the next call.
            let back = uninterrupted(|| layer.rename(&spare, &path));
            self.in_doubt.store(back.is_err(), Ordering::Relaxed);
            return Err(failed(error));
        }
        if let Some(surplus) = self.keep(sequence, spare) {
            self.discard(&surplus);
        }
        Ok(())
    }

    /// Notes that file `sequence` was retired and lies at `path`; returns what is not kept.
    fn keep(&self, sequence: u64, path: PathBuf) -> Option<PathBuf> {
        let mut state = lock(&self.state);
        state.found.remove(&sequence);
        state.files.remove(&sequence);
        match state.written.remove(&sequence) {
            Some(capacity) if self.recycle => state.spares.push_back(Spare { path, capacity }),
            _ => return Some(path),
        }
        if state.spares.len() > SPARES {
            state.spares.pop_front().map(|spare| spare.path)
        } else {
            None
        }
    }

    /// Ends the helper and removes the spares: after this, nothing touches the directory any more.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let helper = lock(&self.state).helper.take();
        if let Some(helper) = helper {
            // A panic of the helper was reported by its panic hook and did no harm.
            let _ = helper.join();
        }
        let spares = std::mem::take(&mut lock(&self.state).spares);
        spares.iter().for_each(|spare| self.discard(&spare.path));
    }

    /// Makes the file, or accepts one that is there unused. The caller has the claim.
    fn make(
        &self,
        sequence: u64,
        capacity: u64,
        stop: &AtomicBool,
    ) -> Result<Made<L::File>, SinkError> {
        let path = self.dir.file_path(sequence);
        let failed = |path| at(SinkOp::Create, Some(sequence), path, None);
        self.dir.check().map_err(failed(self.dir.path()))?;
        // Taken out even if it turns out unfit: what replaces it is not what `open` synced.
        let found = lock(&self.state).found.remove(&sequence);
        if let Some(there) = self.unused(&path).map_err(failed(&path))?
            && found
            && there.capacity == capacity
        {
            return Ok(there);
        }
        let (temporary, file, created) = match self.reuse(capacity) {
            Some((spare, file)) => (spare, file, Created::Recycled),
            None => {
                let (temporary, file) = self.make_new(sequence, capacity, stop)?;
                (temporary, file, Created::Zeroed)
            }
        };
        if let Err(error) = uninterrupted(|| self.dir.layer.rename(&temporary, &path)) {
            self.discard(&temporary);
            return Err(failed(&path)(error));
        }
        if let Err(error) = self.dir.sync() {
            // Another sync of the same entry could succeed without having written it. So the
            // entry goes, and the next call makes a new one.
            self.discard(&path);
            return Err(failed(self.dir.path())(error));
        }
        lock(&self.state).written.insert(sequence, capacity);
        Ok(Made { file, capacity, created })
    }

    /// A new file of zeros under its temporary name.
    fn make_new(
        &self,
        sequence: u64,
        capacity: u64,
        stop: &AtomicBool,
    ) -> Result<(PathBuf, L::File), SinkError> {
        let path = self.dir.temporary_path(sequence);
        match self.fill(&path, capacity, stop) {
            Ok(file) => Ok((path, file)),
            Err(error) => {
                self.discard(&path);
                Err(at(SinkOp::Create, Some(sequence), &path, None)(error))
            }
        }
    }

    /// The file under its final name if it is there and unused; an error if it holds anything.
    fn unused(&self, path: &Path) -> io::Result<Option<Made<L::File>>> {
        let layer = &self.dir.layer;
        let file = match uninterrupted(|| layer.open(path, Access::Update)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut header = [0; BLOCK_LEN];
        let read = read_full_at(layer, &file, &mut header, 0)?;
        if header[..read].iter().any(|&byte| byte != 0) {
            let message = "a file of this name exists and is in use: it is not replaced";
            return Err(io::Error::new(ErrorKind::AlreadyExists, message));
        }
        let capacity = uninterrupted(|| layer.len(&file))?;
        // It may have been recycled in the life that made it.
        Ok(Some(Made { file, capacity, created: Created::Recycled }))
    }

    /// A retired file of this capacity, whose header block is zeros, durably.
    fn reuse(&self, capacity: u64) -> Option<(PathBuf, L::File)> {
        let spare = {
            let mut state = lock(&self.state);
            let fit = state.spares.iter().position(|spare| spare.capacity == capacity)?;
            state.spares.remove(fit)?
        };
        let layer = &self.dir.layer;
        let blank = || {
            let file = uninterrupted(|| layer.open(&spare.path, Access::Update))?;
            if uninterrupted(|| layer.len(&file))? != capacity {
                return Err(io::Error::other("the file has another length"));
            }
            let block = &ZEROS[..capacity.min(BLOCK_LEN as u64) as usize];
            write_all_at(layer, &file, &[IoSlice::new(block)], 0)?;
            uninterrupted(|| layer.sync_data(&file))?;
            Ok(file)
        };
        match blank() {
            Ok(file) => Some((spare.path, file)),
            // It held nothing that anybody needs: a new file does as well.
            Err(_) => {
                self.discard(&spare.path);
                None
            }
        }
    }

    /// Writes `capacity` zeros to a new file at `path` and makes them durable.
    fn fill(&self, path: &Path, capacity: u64, stop: &AtomicBool) -> io::Result<L::File> {
        let layer = &self.dir.layer;
        // A new inode each time: a file whose sync failed is never tried again.
        match uninterrupted(|| layer.remove(path)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = uninterrupted(|| layer.open(path, Access::CreateNew))?;
        // Says at once that the disk is full, and lets the file system choose one large extent.
        uninterrupted(|| layer.allocate(&file, capacity))?;
        let (mut written, mut synced) = (0, 0);
        while written < capacity {
            if stop.load(Ordering::Relaxed) {
                return Err(io::Error::other("the log is closing"));
            }
            let part = (capacity - written).min(ZEROS.len() as u64);
            write_all_at(layer, &file, &[IoSlice::new(&ZEROS[..part as usize])], written)?;
            written += part;
            if written - synced >= SLICE {
                self.settle(&file)?;
                synced = written;
            }
        }
        // An empty file is synced too: its inode has to exist before its name does.
        if synced < capacity || capacity == 0 {
            self.settle(&file)?;
        }
        Ok(file)
    }

    /// Makes what was filled durable, and takes it out of the page cache here if its writer would
    /// have to: 20 ms for 256 MiB (AMD Zen 3), in which nothing is written.
    fn settle(&self, file: &L::File) -> io::Result<()> {
        uninterrupted(|| self.dir.layer.sync_data(file))?;
        if self.bypasses() {
            self.dir.layer.drop_cache(file);
        }
        Ok(())
    }

    /// Removes what a failure left; what resists is found and removed at the next open.
    fn discard(&self, path: &Path) {
        let _ = uninterrupted(|| self.dir.layer.remove(path));
    }
}

/// The right to make one file. Dropped unsettled (an error, a panic), it leaves the number free.
struct Claim<'a, L: FileLayer> {
    maker: &'a Maker<L>,
    sequence: u64,
    next: Option<Stage<L::File>>,
}

impl<L: FileLayer> Claim<'_, L> {
    fn settle(mut self, next: Stage<L::File>) {
        self.next = Some(next);
    }
}

impl<L: FileLayer> Drop for Claim<'_, L> {
    fn drop(&mut self) {
        let mut state = lock(&self.maker.state);
        match self.next.take() {
            Some(next) => state.files.insert(self.sequence, next),
            None => state.files.remove(&self.sequence),
        };
        self.maker.changed.notify_all();
    }
}
