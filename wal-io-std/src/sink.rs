//! The file sink: buffered positioned writes and one sync per file written.

use std::path::{Path, PathBuf};

use wal_core::sink::{Created, Listing, LogSource, SegmentSink, SinkOp, Write};
use wal_core::{Error, SinkError};

use crate::files::LogFiles;
use crate::options::FileOptions;
use crate::sys::{FileLayer, Os, uninterrupted, write_all_at};

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
    files: LogFiles<L>,
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
        Ok(Self { files: LogFiles::open(layer, dir, options)? })
    }

    /// The directory, as given to [`open`](FileSink::open).
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.path()
    }

    fn write_parts(&self, write: &Write<'_>) -> Result<(), SinkError> {
        let file = self.files.begin(write.file)?;
        let layer = self.files.layer();
        let written = write_all_at(layer, &file.file, write.parts, write.offset);
        self.files.end(&file, written.is_ok());
        written.map_err(self.files.failed(SinkOp::Write, write.file, Some(write.offset)))
    }
}

impl<L: FileLayer> LogSource for FileSink<L> {
    fn list(&self) -> Result<Listing, SinkError> {
        self.files.list()
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        self.files.read_at(sequence, offset, buf)
    }
}

impl<L: FileLayer> SegmentSink for FileSink<L> {
    /// As the trait says. A file of that name that is unused, its first block all zeros, is
    /// accepted or made again; one that holds anything is refused
    /// ([`AlreadyExists`](std::io::ErrorKind::AlreadyExists)), never replaced.
    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        self.files.create(sequence, capacity)
    }

    fn prepare(&self, sequence: u64, capacity: u64) {
        self.files.prepare(sequence, capacity);
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        self.files.check(SinkOp::Write, Some(write.file))?;
        self.write_parts(write).map_err(|error| self.files.fail(error))
    }

    fn sync(&self) -> Result<(), SinkError> {
        let layer = self.files.layer();
        self.files.sync(|file| uninterrupted(|| layer.sync_data(&file.file)))
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
