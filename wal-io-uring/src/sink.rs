//! The io_uring sink.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use wal_core::sink::{
    Completion, Created, Listing, LogSource, SegmentSink, SinkOp, Spares, Submitted, Write,
};
use wal_core::{Error, SegmentMemory, SinkError};
use wal_io_std::files::LogFiles;
use wal_io_std::sys::{FileLayer, Os, uninterrupted};

use crate::features::{Activity, Counters, Features};
use crate::kernel::KernelQueue;
use crate::lock;
use crate::memory::PAGE;
use crate::options::{Durable, UringOptions};
use crate::queue::Queue;
use crate::state::{Attached, Context, State};

/// Log files in a directory, written through an io_uring: past the page cache and each write durable
/// by itself, where the system can do that.
///
/// Holds the directory's lock until dropped. Dropping waits for the writes in flight, for the helper
/// thread, and removes the files kept for reuse; it syncs nothing.
///
/// After the first failed write or sync, every later one fails too. Reading goes on.
pub struct UringSink<Q: Queue<L::File> = KernelQueue, L: FileLayer = Os> {
    /// First: what is in flight has the files open.
    state: Mutex<State<Q, L>>,
    files: LogFiles<L, Attached>,
    align: usize,
    features: Mutex<Features>,
    counters: Counters,
}

impl UringSink {
    /// Sets up a ring, locks the directory and makes what is in it durable, so that whatever is read
    /// later is on the device and not just in the page cache. Leftovers of files in the making stay
    /// until the first file is [made](SegmentSink::create). Blocks: writes back what is dirty, waits
    /// about 100 ms for a lock.
    ///
    /// # Errors
    ///
    /// [`Error::Sink`] whose cause is an [`Unavailable`](crate::Unavailable) if this process cannot
    /// use io_uring; [`Error::Locked`] if another process or handle has the log open;
    /// [`Error::Sink`] or [`Error::NoSpace`] if a call of the system fails.
    pub fn open(dir: impl AsRef<Path>, options: &UringOptions) -> Result<Self, Error> {
        let queue = KernelQueue::open().map_err(|unavailable| SinkError {
            op: SinkOp::Open,
            file: None,
            path: Some(dir.as_ref().to_owned()),
            offset: None,
            source: io::Error::new(io::ErrorKind::Unsupported, unavailable),
        })?;
        Self::with_queue(queue, Os, dir.as_ref(), options)
    }
}

impl<Q: Queue<L::File>, L: FileLayer> UringSink<Q, L> {
    /// [`UringSink::open`] over another ring than the kernel's and other system calls than the
    /// system's: for simulators and tests. Outside of semantic versioning.
    ///
    /// # Errors
    ///
    /// As [`UringSink::open`].
    pub fn with_queue(
        queue: Q,
        layer: L,
        dir: &Path,
        options: &UringOptions,
    ) -> Result<Self, Error> {
        let files = LogFiles::open(layer, dir, &options.files)?;
        let mut features = Features { registered_files: options.register, ..Features::default() };
        let mut align = None;
        if options.bypass_cache {
            match files.bypass_alignment() {
                Ok(alignment) if alignment <= PAGE => align = Some(alignment),
                // Frames are not aligned to that either.
                Ok(alignment) => features
                    .missing
                    .push(format!("direct writes would have to be aligned to {alignment} bytes")),
                Err(error) => features
                    .missing
                    .push(format!("the file system has no direct writes (O_DIRECT): {error}")),
            }
        }
        let durable = options.durable == Durable::PerWrite;
        let state = State::new(queue, align, durable, options.register, &mut features)
            .map_err(|source| SinkError::of(SinkOp::Memory, source))?;
        features.direct = align.is_some();
        features.durable_writes = state.writes_durably();
        Ok(Self {
            state: Mutex::new(state),
            files,
            align: align.unwrap_or(1),
            features: Mutex::new(features),
            counters: Counters::default(),
        })
    }

    /// The directory, as given to [`open`](UringSink::open).
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.path()
    }

    /// What of the system is used, and what of it is missing.
    #[must_use]
    pub fn features(&self) -> Features {
        lock(&self.features).clone()
    }

    /// What was done so far. Does not block.
    #[must_use]
    pub fn activity(&self) -> Activity {
        self.counters.read()
    }

    const fn context(&self) -> Context<'_, L> {
        Context { files: &self.files, features: &self.features, counters: &self.counters }
    }
}

impl<Q: Queue<L::File>, L: FileLayer> LogSource for UringSink<Q, L> {
    fn list(&self) -> Result<Listing, SinkError> {
        self.files.list()
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        self.files.read_at(sequence, offset, buf)
    }
}

impl<Q: Queue<L::File>, L: FileLayer> SegmentSink for UringSink<Q, L> {
    fn alignment(&self) -> usize {
        self.align
    }

    fn durable_writes(&self) -> bool {
        lock(&self.state).writes_durably()
    }

    fn starts_writes(&self) -> bool {
        true
    }

    fn memory(&self, len: usize) -> Result<SegmentMemory, SinkError> {
        lock(&self.state).memory(len, &self.context())
    }

    /// As the trait says. A file of that name that is unused, its first block all zeros, is
    /// accepted or made again; one that holds anything is refused
    /// ([`AlreadyExists`](io::ErrorKind::AlreadyExists)), never replaced.
    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        let created = self.files.create(sequence, capacity)?;
        let file = self.files.file(sequence)?;
        lock(&self.state).attach(&file, &self.context()).map_err(self.files.failed(
            SinkOp::Create,
            sequence,
            None,
        ))?;
        Ok(created)
    }

    fn prepare(&self, sequence: u64, capacity: u64) {
        self.files.prepare(sequence, capacity);
    }

    fn spares(&self) -> Spares {
        self.files.spares()
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        #[expect(unsafe_code, reason = "starts a write and waits for it")]
        // SAFETY: waited for, so that nothing is in flight on return.
        let submitted = unsafe { lock(&self.state).start(write, true, &self.context()) };
        match submitted {
            Submitted::Done(result) => result,
            Submitted::Pending => {
                let lost = io::Error::other("the write is still in flight");
                Err(self.files.failed(SinkOp::Write, write.file, Some(write.offset))(lost))
            }
        }
    }

    #[expect(unsafe_code, reason = "the ring reads the bytes later")]
    unsafe fn submit(&self, write: &Write<'_>) -> Submitted {
        // SAFETY: the caller's promise.
        unsafe { lock(&self.state).start(write, false, &self.context()) }
    }

    fn reap(&self, wait: bool, done: &mut Vec<Completion>) {
        lock(&self.state).reap(wait, done, &self.context());
    }

    fn sync(&self) -> Result<(), SinkError> {
        let durable = lock(&self.state).writes_durably();
        let layer = self.files.layer();
        let synced = self.files.sync(|file| {
            if durable {
                // Each write was durable when it ended; whether its file is still there is to be
                // seen.
                return Ok(());
            }
            // Not through the ring, which hands it to a worker thread.
            uninterrupted(|| layer.sync_data(&file.file))
        });
        lock(&self.state).release_slots();
        synced
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

impl<Q: Queue<L::File>, L: FileLayer> Drop for UringSink<Q, L> {
    fn drop(&mut self) {
        lock(&self.state).drain(&self.context());
    }
}

impl<Q: Queue<L::File>, L: FileLayer> fmt::Debug for UringSink<Q, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UringSink")
            .field("path", &self.path())
            .field("features", &self.features())
            .finish_non_exhaustive()
    }
}
