//! The sink: files that are mapped as soon as they are made.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use wal_core::sink::{
    Created, Listing, LogSource, SegmentMemory, SegmentSink, SinkOp, Spares, Write,
};
use wal_core::{Error, SinkError};
use wal_io_std::files::{LogFiles, OpenFile};
use wal_io_std::sys::{FileLayer, Os, uninterrupted};
use wal_io_std::{FileOptions, Io};

use crate::mapped::Mapped;
use crate::mapper::{self, Mapper};

/// Log files in a directory, mapped into memory: the ring's segments are parts of the newest one,
/// `msync` is the sync.
///
/// Holds the directory's lock until dropped. Dropping waits for the helper thread, which gives up
/// what it is making within one write, and removes the files kept for reuse; it syncs nothing.
///
/// After the first failed [`write`](SegmentSink::write) or [`sync`](SegmentSink::sync), every
/// later one fails too: the kernel marks pages clean when writing them back fails, so a second
/// sync would succeed without having written them. Reading goes on.
pub struct MmapSink<L: FileLayer = Os, M: Mapper<L::File> = mapper::Os> {
    files: LogFiles<L, Mapping<M::Map>>,
    mapper: M,
    /// The file that was begun last, in which memory is lent.
    newest: RwLock<Newest<M::Map>>,
}

/// Sequence number and mapping of a file, if there is one.
type Newest<M> = Option<(u64, Arc<Mapped<M>>)>;

/// What is kept with an open file: its mapping, unless it has none.
type Mapping<M> = Mutex<Option<Arc<Mapped<M>>>>;

impl MmapSink {
    /// Locks the directory and makes what is in it durable, so that whatever is read later is on
    /// the device and not just in the page cache, left by a process that died. Blocks: writes back
    /// what is dirty, waits about 100 ms for a lock.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process or handle has the log open; [`Error::Sink`] with
    /// [`Unsupported`](io::ErrorKind::Unsupported) on a file system that is known to write to other
    /// places than those it has allocated; [`Error::Sink`] or [`Error::NoSpace`] if a call of the
    /// system fails.
    pub fn open(dir: impl AsRef<Path>, options: &FileOptions) -> Result<Self, Error> {
        let sink = Self::with_layer(Os, mapper::Os, dir.as_ref(), options)?;
        sink.check_file_system().map_err(|source| {
            let path = Some(sink.path().to_owned());
            Error::from(SinkError { path, ..SinkError::of(SinkOp::Open, source) })
        })?;
        Ok(sink)
    }

    /// Refuses file systems on which a store to a page that was written before needs new space.
    #[cfg(target_os = "linux")]
    fn check_file_system(&self) -> io::Result<()> {
        /// By the magic numbers that they tell of themselves.
        const COPY_ON_WRITE: [(u64, &str); 3] =
            [(0x9123_683e, "btrfs"), (0x2fc1_2fc1, "ZFS"), (0xca45_1a4e, "bcachefs")];
        let dir = std::fs::File::open(self.path())?;
        let magic = rustix::fs::fstatfs(&dir)?.f_type as u64 & 0xffff_ffff;
        match COPY_ON_WRITE.iter().find(|(known, _)| *known == magic) {
            None => Ok(()),
            Some((_, name)) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "{name} copies on write, so that a store into a mapped file can meet a full \
                     disk, which ends the process: use wal-io-std here, or another file system"
                ),
            )),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn check_file_system(&self) -> io::Result<()> {
        Ok(())
    }
}

impl<L: FileLayer, M: Mapper<L::File>> MmapSink<L, M> {
    /// [`MmapSink::open`] over other calls than the system's: for simulators and tests.
    ///
    /// # Errors
    ///
    /// As [`MmapSink::open`], but that any file system will do.
    pub fn with_layer(
        layer: L,
        mapper: M,
        dir: &Path,
        options: &FileOptions,
    ) -> Result<Self, Error> {
        if options.asked_io() == Io::Direct {
            let expected = "`Io::Buffered`, since mapped files lie in the page cache".to_owned();
            return Err(Error::InvalidOption { name: "io", value: 1, expected });
        }
        let files = LogFiles::open(layer, dir, options)?;
        Ok(Self { files, mapper, newest: RwLock::new(None) })
    }

    /// The directory, as given to [`open`](MmapSink::open).
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.path()
    }

    /// The mapping of an open file, made if it has none.
    fn mapping(
        &self,
        file: &OpenFile<L::File, Mapping<M::Map>>,
    ) -> io::Result<Arc<Mapped<M::Map>>> {
        let mut mapping = lock(file.attached.get_or_init(Mapping::default));
        if let Some(mapped) = &*mapping {
            return Ok(Arc::clone(mapped));
        }
        let layer = self.files.layer();
        let len = uninterrupted(|| layer.len(&file.file))?;
        // It is as long as it should be, and written, unless somebody has copied it with holes. A
        // store must not be the first to find that there is no space for one.
        uninterrupted(|| layer.allocate(&file.file, len))?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mapped = Arc::new(Mapped::new(uninterrupted(|| self.mapper.map(&file.file, len))?));
        *mapping = Some(Arc::clone(&mapped));
        Ok(mapped)
    }

    /// From now on, memory is lent in this file only.
    fn lend_in(&self, newest: Newest<M::Map>) {
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = newest;
    }

    fn write_parts(&self, write: &Write<'_>) -> Result<(), SinkError> {
        let file = self.files.begin(write.file, write.offset + write.len() as u64)?;
        let written = self.mapping(&file).and_then(|mapped| {
            mapped.write(write)?;
            if write.offset == 0 {
                // The file is begun: its header is there.
                self.lend_in(Some((write.file, mapped)));
            }
            Ok(())
        });
        self.files.end(&file, written.is_ok());
        written.map_err(self.files.failed(SinkOp::Write, write.file, Some(write.offset)))
    }
}

impl<L: FileLayer, M: Mapper<L::File>> fmt::Debug for MmapSink<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MmapSink").field("files", &self.files).finish_non_exhaustive()
    }
}

impl<L: FileLayer, M: Mapper<L::File>> LogSource for MmapSink<L, M> {
    fn list(&self) -> Result<Listing, SinkError> {
        self.files.list()
    }

    /// Through the page cache, which is the mapping, too: whatever was stored is read.
    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        self.files.read_at(sequence, offset, buf)
    }
}

impl<L: FileLayer, M: Mapper<L::File>> SegmentSink for MmapSink<L, M> {
    /// As the trait says, and maps the file. A file of that name that is unused, its first block
    /// all zeros, is accepted or made again; one that holds anything is refused
    /// ([`AlreadyExists`](io::ErrorKind::AlreadyExists)), never replaced.
    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        self.files.create(sequence, capacity)?;
        let file = self.files.file(sequence)?;
        self.mapping(&file).map_err(self.files.failed(SinkOp::Create, sequence, None))?;
        // Whatever it holds now: writers will store in it before there is a frame.
        Ok(Created::InPlace)
    }

    fn prepare(&self, sequence: u64, capacity: u64) {
        self.files.prepare(sequence, capacity);
    }

    fn spares(&self) -> Spares {
        self.files.spares()
    }

    /// In the newest file that has been begun. Waits for nobody: while the next file takes its
    /// place, there is none.
    fn memory_in(&self, file: u64, offset: u64, len: usize) -> Option<SegmentMemory> {
        let newest = self.newest.try_read().ok()?;
        let (_, mapped) = newest.as_ref().filter(|(sequence, _)| *sequence == file)?;
        mapped.lend(offset, len)
    }

    /// Copies what does not lie in the mapping already. No call of the system, once the file is
    /// mapped.
    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        self.files.check(SinkOp::Write, Some(write.file))?;
        self.write_parts(write).map_err(|error| self.files.fail(error))
    }

    fn sync(&self) -> Result<(), SinkError> {
        self.files.sync(|file| {
            let mapped = file.attached.get().and_then(|mapping| lock(mapping).clone());
            match mapped {
                Some(mapped) => mapped.flush(),
                // Trimmed since it was written to.
                None => uninterrupted(|| self.files.layer().sync_data(&file.file)),
            }
        })
    }

    /// As the trait says, but not while any memory in the file is lent: the file then keeps its
    /// length.
    fn trim(&self, sequence: u64, len: u64) -> Result<(), SinkError> {
        self.files.check(SinkOp::Trim, Some(sequence))?;
        // From here on, nothing more is lent.
        self.lend_in(None);
        let file = self.files.file(sequence)?;
        if let Some(mapping) = file.attached.get() {
            let mut mapping = lock(mapping);
            if let Some(mapped) = mapping.take()
                && let Err(lent) = Arc::try_unwrap(mapped)
            {
                *mapping = Some(lent);
                return Ok(());
            }
        }
        // Unmapped: no store can meet what is cut off.
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

    /// As the trait says. What is still mapped stays so, and harms nobody: the file is renamed or
    /// loses its name, but is never cut.
    fn retire(&self, sequence: u64) -> Result<(), SinkError> {
        self.files.retire(sequence)
    }
}

/// Locks a mutex whose data no panic leaves half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
