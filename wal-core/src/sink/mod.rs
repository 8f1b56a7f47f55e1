//! The boundary to a backend: where sealed segments go and where recovery reads from.
//!
//! A sink stores *log files*, numbered by sequence. The core decides what goes where: it lays the
//! stream out over files, builds every header and drives every write, so a sink only moves bytes.
//! It needs three things: memory for segments ([`SegmentSink::memory`]), positioned writes with a
//! sync that covers the completed ones, and positioned reads ([`LogSource`]).
//!
//! # Contract
//!
//! 1. **Serial driving.** Apart from [`SegmentSink::prepare`], [`SegmentSink::retire`],
//!    [`SegmentSink::remove_unused`] and [`LogSource`], the core calls a sink from one thread at a
//!    time (whoever leads the flush), never the same one for long.
//! 2. **Submit and complete.** [`SegmentSink::submit`] either finishes the write before it returns
//!    ([`Submitted::Done`]) or keeps it in flight ([`Submitted::Pending`]) until
//!    [`SegmentSink::reap`] reports its ticket, in any order, exactly once.
//! 3. **Exact lengths.** A write that completes without an error is complete: short writes and
//!    interruptions are the sink's to finish.
//! 4. **Sync covers completed writes.** When [`SegmentSink::sync`] returns `Ok`, every write that
//!    had completed before the call survives power loss, file headers and directory entries
//!    included.
//! 5. **Errors surface once and stay.** A failed write or sync is reported, never retried and
//!    never followed by a success for the same bytes. The core poisons the log.
//! 6. **Room comes first.** [`SegmentSink::create`] makes the whole file writable, so that disk
//!    full surfaces there and not in a write. It may be called again after an error.
//! 7. **What is retired stays away.** When [`SegmentSink::retire`] returns `Ok`, no crash brings
//!    the file back. Of the calls that change the disk, this and `create` alone are made again
//!    after an error.
//! 8. **Lent memory is the file.** What is stored in memory that [`SegmentSink::memory_in`] has lent
//!    is in the file, as if it had been written, and a `write` of such bytes to their very place
//!    moves nothing. Only a write of them makes them count for `sync`.

pub mod mem;
mod memory;

use std::fmt;
use std::io::{self, IoSlice};
use std::path::PathBuf;

pub use memory::{SegmentMemory, store_head_last};

/// A log file as a source lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Sequence number, taken from the name.
    pub sequence: u64,
    /// Length in bytes.
    pub len: u64,
    /// Where it is, for messages.
    pub path: PathBuf,
}

/// What a source holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Log files in ascending order of sequence; two entries with one sequence are both listed.
    pub files: Vec<FileEntry>,
    /// Names that are not log files: left alone and reported.
    pub foreign: Vec<PathBuf>,
}

/// Read access to the files of a log: all that recovery and readers need.
pub trait LogSource {
    /// Lists the log files present.
    ///
    /// # Errors
    ///
    /// The error of the listing itself; a directory that cannot be read is never an empty log.
    fn list(&self) -> Result<Listing, SinkError>;

    /// Reads from `offset` of file `sequence` into `buf` until it is full or the file ends, and
    /// returns the bytes read. Safe to call from any thread at any time.
    ///
    /// # Errors
    ///
    /// Any read error. It is reported to the user as such, never taken for the end of the log.
    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError>;
}

/// One positioned write.
#[derive(Debug)]
pub struct Write<'a> {
    /// Names the write in its completion.
    pub ticket: u64,
    /// Sequence number of the file, which [`SegmentSink::create`] has made.
    pub file: u64,
    /// Byte offset in the file: a multiple of the sink's alignment, as is the total length.
    pub offset: u64,
    /// The bytes, in order.
    pub parts: &'a [IoSlice<'a>],
}

impl Write<'_> {
    /// Total bytes to write.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How a sink took a write.
#[derive(Debug)]
#[must_use]
pub enum Submitted {
    /// The write is over, well or badly.
    Done(Result<(), SinkError>),
    /// The write is in flight; [`SegmentSink::reap`] will report its ticket.
    Pending,
}

/// The end of a write that was in flight.
#[derive(Debug)]
pub struct Completion {
    /// The ticket of the write.
    pub ticket: u64,
    /// How it ended.
    pub result: Result<(), SinkError>,
}

/// What a file that [`SegmentSink::create`] has made holds until something is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// Zeros, all of it.
    Zeroed,
    /// Zeros in the header block ([`BLOCK_LEN`](crate::format::file_header::BLOCK_LEN)), and
    /// behind it, perhaps, what an earlier life of the file has left.
    Recycled,
    /// As for `Recycled`, and from now on, wherever this life has no frame, perhaps records that it
    /// was about to put into one: the file's memory is [lent](SegmentSink::memory_in).
    InPlace,
}

/// What a sink keeps ready for the next [`create`](SegmentSink::create).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spares {
    /// Files made ahead of need: already under the name of a log file to come.
    pub prepared: usize,
    /// Files that were [retired](SegmentSink::retire) and are kept for reuse.
    pub retired: usize,
    /// Bytes of both on disk.
    pub bytes: u64,
}

/// A backend. See the [module documentation](self) for the contract.
pub trait SegmentSink: LogSource + Send + Sync + 'static {
    /// Alignment in bytes, a power of two, that the sink needs of offsets, lengths and memory;
    /// 1 if it needs none.
    fn alignment(&self) -> usize {
        1
    }

    /// Whether `create`, `write`, `sync` or `reap` may block the calling thread. If so, futures
    /// need an [executor](crate::Options::executor).
    fn blocks(&self) -> bool {
        true
    }

    /// Whether each write is durable by itself when it is over, so that a [`sync`](Self::sync) after
    /// it costs next to nothing. The core then syncs while later writes are in flight; otherwise it
    /// waits until nothing is, so that one sync serves many. Must not block.
    ///
    /// May change in a call of [`create`](Self::create), and in no other.
    fn durable_writes(&self) -> bool {
        false
    }

    /// Whether [`submit`](Self::submit), and a [`reap`](Self::reap) after it, start a write without
    /// waiting for any. Whoever completes a segment, an appending thread, then has its write started
    /// if nobody leads; otherwise the write is left to somebody who does. Must not block.
    fn starts_writes(&self) -> bool {
        false
    }

    /// Supplies the memory of one ring segment, zeroed, `len` bytes long and aligned to at least
    /// [`alignment`](Self::alignment). Called once per segment when the log opens.
    ///
    /// # Errors
    ///
    /// Out of memory or out of a registered resource; the log does not open.
    fn memory(&self, len: usize) -> Result<SegmentMemory, SinkError> {
        SegmentMemory::heap(len, self.alignment())
            .map_err(|source| SinkError::of(SinkOp::Memory, source))
    }

    /// Lends memory that *is* the bytes `offset..offset + len` of file `file`, so that what is
    /// stored there need not be copied. `None`, which is always allowed, if there is no such memory:
    /// the segment then uses [its own](Self::memory). Whoever lends has said [`Created::InPlace`] of
    /// the file. Nothing is lent of a file before its first block was written, since records in a
    /// file without a header could be taken for what damage has left.
    ///
    /// Called by any thread, appending ones included, whenever a segment begins: it must not block
    /// or panic. `offset` is a multiple of the alignment of frames, and of 8 at least. Memory that
    /// was lent earlier may reach behind `offset`, and stays in use, but not there: of each, the
    /// core uses the bytes before the next one's. It is given back when its bytes are written and
    /// nobody wants them durable any more, or they are, and at the latest shortly after the sink
    /// was dropped.
    ///
    /// The sink must not shorten the file, or give it to somebody else, while any memory in it is
    /// lent.
    fn memory_in(&self, file: u64, offset: u64, len: usize) -> Option<SegmentMemory> {
        let _ = (file, offset, len);
        None
    }

    /// Makes file `sequence` exist with `capacity` readable, writable bytes whose directory entry
    /// survives power loss, and says what they hold. Called again for a file that nothing was
    /// written to, it says the same. Returns at once if the file was prepared ahead of need. Blocks
    /// otherwise.
    ///
    /// To say [`Created::Zeroed`] of a file with leftovers makes recovery doubt an end that was
    /// clean; the reverse makes it miss some of the torn writes of which nobody had been told.
    ///
    /// # Errors
    ///
    /// Disk full above all ([`SinkError::is_no_space`]). Nothing is lost by it: the core reports
    /// it and calls again when somebody waits again.
    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError>;

    /// Says that `create(sequence, capacity)` is likely to follow. Must not block; a sink that
    /// prepares files in the background starts now. Errors surface in `create`.
    fn prepare(&self, sequence: u64, capacity: u64) {
        let _ = (sequence, capacity);
    }

    /// What is ready for `create`, for [`Wal::stats`](crate::Wal::stats). Must not block for I/O. A
    /// sink that keeps nothing, or does not tell, leaves this as it is.
    fn spares(&self) -> Spares {
        Spares::default()
    }

    /// Writes, and returns when the write is over. Blocks.
    ///
    /// # Errors
    ///
    /// Any write error; the core poisons the log.
    fn write(&self, write: &Write<'_>) -> Result<(), SinkError>;

    /// Starts a write, or has the next [`reap`](Self::reap) start it. A sink that blocks leaves this
    /// as it is: the write completes inline.
    ///
    /// # Safety
    ///
    /// If the call returns [`Submitted::Pending`], the caller keeps the memory behind
    /// `write.parts` valid and unchanged until `reap` has reported `write.ticket` or the sink has
    /// been dropped (a sink's drop waits for what is in flight). The array `parts` itself may go
    /// when the call returns.
    #[expect(unsafe_code, reason = "a sink may keep the pointers beyond the call")]
    unsafe fn submit(&self, write: &Write<'_>) -> Submitted {
        Submitted::Done(self.write(write))
    }

    /// Starts what was submitted and is not started, and collects finished writes into `done`; with
    /// `wait`, blocks until there is at least one.
    /// Never called with `wait` when nothing is in flight.
    fn reap(&self, wait: bool, done: &mut Vec<Completion>) {
        let _ = (wait, done);
    }

    /// Makes every completed write durable. Blocks.
    ///
    /// # Errors
    ///
    /// Any error means that completed writes may be lost; the core poisons the log.
    fn sync(&self) -> Result<(), SinkError>;

    /// Gives back the bytes of file `sequence` behind `len`; called when a log closes cleanly,
    /// after its last sync. May do nothing.
    ///
    /// # Errors
    ///
    /// Any error of the underlying call; the log is durable all the same.
    fn trim(&self, sequence: u64, len: u64) -> Result<(), SinkError> {
        let _ = (sequence, len);
        Ok(())
    }

    /// Copies `len` bytes at `offset` of file `sequence` to a safe place, durably, before recovery
    /// cuts them off, and says where they are.
    ///
    /// # Errors
    ///
    /// If the copy cannot be made; the log then does not open.
    fn set_aside(&self, sequence: u64, offset: u64, len: u64) -> Result<PathBuf, SinkError>;

    /// Moves the whole file `sequence` to a safe place, durably, and says where it is.
    ///
    /// # Errors
    ///
    /// If the move cannot be made; the log then does not open.
    fn set_aside_file(&self, sequence: u64) -> Result<PathBuf, SinkError>;

    /// Removes file `sequence`, which holds nothing of the log (prepared ahead of need and never
    /// used, or cut off by [`Wal::truncate_after`](crate::Wal::truncate_after)), durably. Not to be
    /// used again. Blocks.
    ///
    /// While the log is open, called from any thread, never beside [`retire`](Self::retire) or
    /// itself, while the other calls go on; nothing is in flight to this file.
    ///
    /// # Errors
    ///
    /// If the removal fails. The log then does not open; a log that is open goes on, its next
    /// truncation tries again, and the next opening moves the file aside.
    fn remove_unused(&self, sequence: u64) -> Result<(), SinkError>;

    /// Removes file `sequence`, whose records nobody needs any more. On return it is gone from the
    /// listing, durably: no crash brings it back. Its number is not used again. Blocks.
    ///
    /// The sink may keep the file and use it for a later [`create`](Self::create) of the same
    /// capacity, if it was made by this sink, whole, in this life. Before it has its new name, its
    /// header block is zeros, durably; and in a crash it is at no time listed, but under its old
    /// name until this returns, or under its new one.
    ///
    /// Called from any thread, at most once at a time, while the other calls go on; nothing is in
    /// flight to this file, and every write to it has been synced. Readers may still be reading
    /// it: they look afterwards whether it was retired, so that errors and other bytes do no harm.
    ///
    /// # Errors
    ///
    /// If the removal fails or may not be durable. The file is then still listed, or this call
    /// fails from now on for every file: the log removes its files oldest first and none before the
    /// one before it is gone for good.
    fn retire(&self, sequence: u64) -> Result<(), SinkError>;
}

/// What a sink was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkOp {
    /// Listing the files.
    List,
    /// Opening a file.
    Open,
    /// Reading.
    Read,
    /// Allocating segment memory.
    Memory,
    /// Creating and filling a file.
    Create,
    /// Writing.
    Write,
    /// Making writes durable.
    Sync,
    /// Giving back the unused end of a file.
    Trim,
    /// Copying or moving damage aside.
    SetAside,
    /// Removing a file.
    Remove,
    /// Taking the lock of the log.
    Lock,
    /// A panic inside the sink.
    Panic,
}

impl fmt::Display for SinkOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "listing the log files",
            Self::Open => "opening a log file",
            Self::Read => "reading",
            Self::Memory => "allocating segment memory",
            Self::Create => "creating a log file",
            Self::Write => "writing",
            Self::Sync => "syncing",
            Self::Trim => "trimming a log file",
            Self::SetAside => "setting damage aside",
            Self::Remove => "removing a log file",
            Self::Lock => "locking the log",
            Self::Panic => "running the sink (it panicked)",
        })
    }
}

/// A sink's failure: what it was doing, where, and the cause.
#[derive(Debug)]
pub struct SinkError {
    /// What failed.
    pub op: SinkOp,
    /// Sequence number of the file, where there is one.
    pub file: Option<u64>,
    /// Path of the file or directory, where there is one.
    pub path: Option<PathBuf>,
    /// Byte offset in the file, where there is one.
    pub offset: Option<u64>,
    /// The cause.
    pub source: io::Error,
}

impl SinkError {
    /// A failure of `op` that is not about one file.
    #[must_use]
    pub const fn of(op: SinkOp, source: io::Error) -> Self {
        Self { op, file: None, path: None, offset: None, source }
    }

    /// Whether the cause is a full disk or an exhausted quota.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.op)?;
        match (&self.path, self.file) {
            (Some(path), _) => write!(f, " at {}", path.display())?,
            (None, Some(file)) => write!(f, " at log file {file}")?,
            (None, None) => {}
        }
        if let Some(offset) = self.offset {
            write!(f, ", offset {offset}")?;
        }
        write!(f, ": {}", self.source)
    }
}

impl std::error::Error for SinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
