//! The file sink: buffered positioned writes and one sync per file written, or direct ones that
//! need none.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use wal_core::sink::{Created, Listing, LogSource, SegmentSink, SinkOp, Spares, Write};
use wal_core::{Error, SinkError};

use crate::direct::{Aligned, Piece, Pieces, write_through};
use crate::files::{LogFiles, OpenFile};
use crate::lock;
use crate::options::{FileOptions, Io};
use crate::sys::{FileLayer, Os, uninterrupted, write_all_at};

/// Bytes written at once that are not in aligned memory.
const BOUNCE: usize = 256 << 10;

/// Log files in a directory, through the page cache (`pwritev` and `fdatasync`) or past it
/// ([`Io::Direct`]).
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
    /// If writes bypass the page cache.
    direct: Option<Direct>,
}

#[derive(Debug)]
struct Direct {
    align: usize,
    /// For what the caller has in memory that is not aligned.
    bounce: Mutex<Aligned>,
    /// Whether a write went well.
    tried: AtomicBool,
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
        let files = LogFiles::open(layer, dir, options)?;
        let direct = match options.io {
            Io::Buffered => None,
            Io::Direct => Some(Direct::new(&files)?),
        };
        Ok(Self { files, direct })
    }

    /// The directory, as given to [`open`](FileSink::open).
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.path()
    }

    fn write_parts(&self, write: &Write<'_>) -> Result<(), SinkError> {
        let to = write.offset.saturating_add(write.len() as u64);
        let file = self.files.begin(write.file, to)?;
        let layer = self.files.layer();
        let written = match &self.direct {
            None => write_all_at(layer, &file.file, write.parts, write.offset),
            Some(direct) => direct.write(&self.files, &file, write),
        };
        self.files.end(&file, written.is_ok());
        written.map_err(self.files.failed(SinkOp::Write, write.file, Some(write.offset)))
    }
}

impl Direct {
    fn new<L: FileLayer>(files: &LogFiles<L>) -> Result<Self, Error> {
        let align = files.bypass_alignment().map_err(|cause| SinkError {
            op: SinkOp::Open,
            file: None,
            path: Some(files.path().to_owned()),
            offset: None,
            source: refused(&cause),
        })?;
        let bounce = Mutex::new(Aligned::zeroed(BOUNCE.max(align), align));
        Ok(Self { align, bounce, tried: AtomicBool::new(false) })
    }

    /// Makes a file ready that was just made.
    fn take<L: FileLayer>(&self, files: &LogFiles<L>, sequence: u64) -> Result<(), SinkError> {
        let file = files.file(sequence)?;
        if file.attached.get().is_some() {
            return Ok(());
        }
        let failed = files.failed(SinkOp::Create, sequence, None);
        self.bypass(files, &file).map_err(|cause| failed(refused(&cause)))?;
        // Relaxed: only who drives the sink comes here.
        if !self.tried.load(Ordering::Relaxed) {
            files.try_write_through(&file, self.align).map_err(|cause| failed(refused(&cause)))?;
            self.tried.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn bypass<L: FileLayer>(
        &self,
        files: &LogFiles<L>,
        file: &OpenFile<L::File, ()>,
    ) -> io::Result<()> {
        if file.attached.get().is_none() {
            files.bypass_cache(file)?;
            let _ = file.attached.set(());
        }
        Ok(())
    }

    fn write<L: FileLayer>(
        &self,
        files: &LogFiles<L>,
        file: &OpenFile<L::File, ()>,
        write: &Write<'_>,
    ) -> io::Result<()> {
        // One that was closed is open anew.
        self.bypass(files, file)?;
        let mut bounce = lock(&self.bounce);
        let mut pieces = Pieces::new(write, self.align)?;
        let mut at = write.offset;
        while let Some(piece) = pieces.next(bounce.bytes_mut()) {
            let bytes = match piece {
                Piece::Own(own) => own,
                Piece::Copied(len) => &bounce.bytes()[..len],
            };
            write_through(files.layer(), &file.file, bytes, at, self.align)?;
            at += bytes.len() as u64;
        }
        Ok(())
    }
}

/// Says what to do about a system that has no direct writes.
fn refused(cause: &io::Error) -> io::Error {
    let message = format!(
        "this file system or kernel has no direct durable writes (O_DIRECT, RWF_DSYNC): {cause}; \
         use `Io::Buffered`"
    );
    io::Error::new(cause.kind(), message)
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
    fn alignment(&self) -> usize {
        self.direct.as_ref().map_or(1, |direct| direct.align)
    }

    fn durable_writes(&self) -> bool {
        self.direct.is_some()
    }

    /// As the trait says. A file of that name that is unused, its first block all zeros, is
    /// accepted or made again; one that holds anything is refused
    /// ([`AlreadyExists`](std::io::ErrorKind::AlreadyExists)), never replaced.
    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        let created = self.files.create(sequence, capacity)?;
        if let Some(direct) = &self.direct {
            direct.take(&self.files, sequence)?;
        }
        Ok(created)
    }

    fn prepare(&self, sequence: u64, capacity: u64) {
        self.files.prepare(sequence, capacity);
    }

    fn spares(&self) -> Spares {
        self.files.spares()
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        self.files.check(SinkOp::Write, Some(write.file))?;
        self.write_parts(write).map_err(|error| self.files.fail(error))
    }

    fn sync(&self) -> Result<(), SinkError> {
        let layer = self.files.layer();
        if self.direct.is_some() {
            // Each write was durable when it ended; whether its file is still there is to be seen.
            return self.files.sync(|_| Ok(()));
        }
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
